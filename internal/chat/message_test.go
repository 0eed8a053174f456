package chat_test

import (
	"testing"

	"github.com/mdebot/mdebot/internal/chat"
)

func TestMessage_FirstLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		m    chat.Message
		want string
	}{
		"the preview":      {chat.Message{Preview: chat.Plain("High alert on ws-042"), Title: chat.Plain("High alert")}, "High alert on ws-042"},
		"the title":        {chat.Message{Title: chat.Bold("High alert")}, "High alert"},
		"an empty preview": {chat.Message{Preview: chat.Plain(" \n "), Title: chat.Plain("High alert")}, "High alert"},
		"several lines":    {chat.Message{Title: chat.Plain("one\r\ntwo\nthree")}, "one two three"},
		"nothing":          {chat.Message{}, "mdebot"},
	} {
		if got := c.m.FirstLine().String(); got != c.want {
			t.Errorf("%s: FirstLine() = %q, want %q", name, got, c.want)
		}
	}
	outside := chat.Message{Title: chat.Untrusted("one\ntwo")}
	if got := outside.FirstLine()[0]; got.Kind != chat.SpanUntrusted || got.Value != "one\ntwo" {
		t.Errorf("outside text became %+v; renderers make its breaks visible", got)
	}
}

func TestMessage_ForAll(t *testing.T) {
	t.Parallel()
	m := chat.Message{Buttons: []chat.Button{{Label: "a"}, {Label: "b", Alone: true}, {Label: "c"}}}
	if got := m.ForAll().Buttons; len(got) != 2 || got[1].Label != "c" || len(m.Buttons) != 3 {
		t.Errorf("ForAll() has the buttons %+v, and the message itself %+v", got, m.Buttons)
	}
}

package commands

import (
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

// Everybody in the workspace may open it as often as they like, also those who are
// refused: what is shown then is as much as Slack takes from all of them.
func TestHome_openedVeryOftenIsNotShownEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var shown []chat.Page
	for range 200 {
		if page, allowed := w.Home(t.Context(), guest, true, "0"); len(page) > 0 {
			shown = append(shown, page)
			if allowed {
				t.Fatal("a guest has a page")
			}
		}
	}
	if n := len(shown); n == 0 || n > 40 {
		t.Errorf("the page of a guest is shown %d times in a minute", n)
	}
	w.clock = w.clock.Add(time.Minute)
	if page, _ := w.Home(t.Context(), guest, true, "0"); len(page) == 0 {
		t.Error("a minute later it is not shown again")
	}
}

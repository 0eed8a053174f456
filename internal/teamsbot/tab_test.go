package teamsbot

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const chatWithBot = "https://teams.microsoft.com/l/chat/0/0?users=28%3A" + appID

// tabKnown are the elements that the tab's script makes, with their attributes.
func tabKnown(t *testing.T) map[string][]string {
	t.Helper()
	script, err := os.ReadFile("web/tab.js")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?s)const known = \{(.*?)\n  \};`).FindStringSubmatch(string(script))
	if list == nil {
		t.Fatal("web/tab.js names no elements")
	}
	known := map[string][]string{}
	for _, m := range regexp.MustCompile(`(\w+): \[([^\]]*)\]`).FindAllStringSubmatch(list[1], -1) {
		known[m[1]] = strings.FieldsFunc(m[2], func(r rune) bool { return strings.ContainsRune("', ", r) })
	}
	return known
}

// walk calls f for e and everything in it, and text for every text with what holds it.
func walk(e element, f func(element), text func(in element, s string)) {
	f(e)
	for _, c := range e.Children {
		switch c := c.(type) {
		case element:
			walk(c, f, text)
		case string:
			text(e, c)
		}
	}
}

// Whatever a message is made of, the tab gets elements that it knows, links that are
// safe, and nothing that acts. Text from outside stays text, apart from ours.
func TestTab_drawsOnlyWhatShows(t *testing.T) {
	t.Parallel()
	known := tabKnown(t)
	if len(known) < 20 {
		t.Fatalf("web/tab.js knows %v", known)
	}
	messages := []chat.Message{approval(), full("web-01"), barred("web-01"), {}, {Title: chat.Plain("only a title")}}
	for _, h := range hostile {
		messages = append(messages, full(h), withoutTable(full(h)))
	}
	for _, m := range messages {
		for _, part := range drawTab(chat.Page{m, m}, chatWithBot) {
			walk(part.(element), func(e element) {
				attributes, ok := known[e.Name]
				if !ok {
					t.Errorf("web/tab.js does not know <%s>", e.Name)
				}
				for name, value := range e.Attributes {
					if !slices.Contains(attributes, name) {
						t.Errorf("web/tab.js gives <%s> no %s", e.Name, name)
					}
					if name == "href" && value != chatWithBot && !strings.HasPrefix(value, "https://security.microsoft.com/") {
						t.Errorf("the tab leads to %s", value)
					}
				}
			}, func(in element, s string) {
				if strings.Contains(s, "://") {
					t.Errorf("<%s> says %q, of which a client could make a link", in.Name, s)
				}
				if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
					t.Errorf("<%s> says %q, which cannot be seen", in.Name, s)
				}
			})
		}
		encoded, err := json.Marshal(drawTab(chat.Page{m}, chatWithBot))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range m.Buttons {
			if b.Action != "" && strings.Contains(string(encoded), `"`+b.Action+`"`) || b.Value != "" && strings.Contains(string(encoded), `"`+b.Value+`"`) {
				t.Errorf("the tab holds what the button %q sends: %s", b.Label, encoded)
			}
		}
	}
	// What outside text stands in, and where the way to a decision is.
	var holds []string
	ways := 0
	asks := full("web-01<b>x</b>")
	asks.Buttons[0].Whole = true
	walk(drawTabPart(asks, true, chatWithBot), func(e element) {
		if e.Name == "a" && e.Attributes["href"] == chatWithBot {
			ways++
			if got := e.Children[0]; got != "Decide in the chat" || !strings.HasPrefix(e.Attributes["aria-label"], "Decide in the chat: High alert") {
				t.Errorf("the way to decide says %q, %q", got, e.Attributes["aria-label"])
			}
		}
	}, func(in element, s string) {
		if strings.Contains(s, "<b>") {
			holds = append(holds, in.Name)
		}
	})
	if slices.Sort(holds); !slices.Equal(slices.Compact(holds), []string{"bdi", "code", "p"}) { // p is the words for a picture
		t.Errorf("outside text stands in %q", holds)
	}
	if ways != 1 {
		t.Errorf("%d ways to the chat, want 1", ways)
	}
}

// Two pages have the same key for the same request, and different ones for others.
func TestTab_keysFollowTheRequest(t *testing.T) {
	t.Parallel()
	request := func(title, value string) chat.Message {
		return chat.Message{Title: chat.Plain(title), Buttons: []chat.Button{{Label: "Approve", Action: "approve", Value: value, Whole: true}}}
	}
	before := drawTab(chat.Page{{}, request("Request #1: waits", "one"), request("Request #2: waits", "two")}, chatWithBot)
	after := drawTab(chat.Page{{}, request("Request #2: approved", "two")}, chatWithBot)
	if before[2].(element).Key != after[1].(element).Key || before[1].(element).Key == after[1].(element).Key {
		t.Errorf("the keys are %q, %q, and then %q", before[1].(element).Key, before[2].(element).Key, after[1].(element).Key)
	}
}

func tabConfig(change func(*Config)) Config {
	c := Config{
		AppID: appID, AppSecret: secret, TenantIDs: []string{home}, AuthorityURL: "https://login.microsoftonline.com",
		MetadataURL: "https://login.botframework.com/v1/.well-known/openidconfiguration", ServiceHosts: []string{"smba.trafficmanager.net"},
	}
	change(&c)
	return c
}

// Each cloud's own Teams may show the tab, and where that is not known nobody may.
func TestTab_framesByCloud(t *testing.T) {
	t.Parallel()
	for metadata, want := range map[string]string{
		"https://login.botframework.com/v1/.well-known/openidconfiguration":      "frame-ancestors https://teams.microsoft.com https://*.teams.microsoft.com https://*.cloud.microsoft",
		"https://login.botframework.azure.us/v1/.well-known/openidconfiguration": "frame-ancestors https://teams.microsoft.us https://*.teams.microsoft.us",
		"https://login.botframework.azure.cn/v1/.well-known/openidconfiguration": "frame-ancestors 'none'",
	} {
		b, err := New(tabConfig(func(c *Config) { c.MetadataURL = metadata }), Options{})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		b.Tab(Tab{Now: time.Now}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, TabPath, nil))
		if got := w.Header().Get("Content-Security-Policy"); w.Code != http.StatusOK || !strings.HasSuffix(got, want) {
			t.Errorf("%s: %d with %q, want %q", metadata, w.Code, got, want)
		}
	}
}

// Strangers with made-up tokens reach neither Entra, more than once, nor the handler.
func TestTab_madeUpTokensCostNobodyAnything(t *testing.T) {
	t.Parallel()
	var fetched, drawn atomic.Int64
	entra := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(entra.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	b, err := New(tabConfig(func(c *Config) { c.AuthorityURL = entra.URL }), Options{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	routes := b.Tab(Tab{
		Now:  time.Now,
		Mark: func(context.Context) (string, error) { drawn.Add(1); return "", nil },
		Draw: func(context.Context, identity.Principal, bool) (chat.Page, bool) { drawn.Add(1); return nil, false },
	})
	for i := range 200 {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"tid": home, "exp": time.Now().Add(time.Hour).Unix()})
		token.Header["alg"], token.Header["kid"] = "RS256", fmt.Sprint("made up ", i)
		raw, err := token.SigningString()
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, TabPath+"/page", nil)
		r.Header.Set("Authorization", "Bearer "+raw+".AAAA")
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "made up") {
			t.Fatalf("a made-up token is answered %d %s", w.Code, w.Body)
		}
	}
	if fetched.Load() > 1 || drawn.Load() > 0 {
		t.Errorf("200 made-up tokens fetched keys %d times and drew %d pages", fetched.Load(), drawn.Load())
	}
}

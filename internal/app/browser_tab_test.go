package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// tabPicture is the tab in the tour; Slack has its Home tab instead.
const tabPicture = "tab-teams"

// frame is the page in the only frame of a browser's page: another origin, which the
// page itself cannot look into.
type frame struct {
	*browser
	world runtime.ExecutionContextID
}

// frame waits for the frame.
func (b *browser) frame() *frame {
	b.Helper()
	f := &frame{browser: b}
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	for {
		err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
			tree, err := cdp.Call(ctx, tab, cdpage.GetFrameTree, cdp.Empty{})
			if err != nil {
				return err
			}
			if len(tree.FrameTree.ChildFrames) != 1 {
				return fmt.Errorf("%d frames", len(tree.FrameTree.ChildFrames))
			}
			world, err := cdp.Call(ctx, tab, cdpage.CreateIsolatedWorld, cdpage.CreateIsolatedWorldParams{FrameID: tree.FrameTree.ChildFrames[0].Frame.ID, WorldName: "test"})
			if err == nil {
				f.world = world.ExecutionContextID
			}
			return err
		}))
		if err == nil {
			if at, err := inFrame[string](f, "document.readyState + document.URL"); err == nil && strings.HasPrefix(at, "completehttp") {
				return f
			}
		}
		select {
		case <-ctx.Done():
			b.keep("failed")
			b.Fatalf("no frame: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func inFrame[V any](f *frame, expression string) (v V, err error) {
	err = chromedp.Do(f.ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		yes := true
		got, err := cdp.Call(ctx, tab, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ContextID: f.world, ReturnByValue: &yes, AwaitPromise: &yes})
		if err != nil {
			return err
		}
		if got.ExceptionDetails != nil {
			return errors.New(got.ExceptionDetails.Text)
		}
		return json.Unmarshal(got.Result.Value, &v)
	}))
	return v, err
}

func frameIs[V any](f *frame, expression string) V {
	f.Helper()
	v, err := inFrame[V](f, expression)
	if err != nil {
		f.Fatalf("evaluate %s: %v", expression, err)
	}
	return v
}

// until waits for an expression of the frame to become true.
func (f *frame) until(what, expression string) {
	f.Helper()
	ctx, stop := context.WithTimeout(f.ctx, patience)
	defer stop()
	for {
		got, err := inFrame[bool](f, expression)
		if got {
			return
		}
		select {
		case <-ctx.Done():
			f.keep("failed")
			text, _ := inFrame[string](f, "document.body.innerText.slice(0, 2000)")
			f.Fatalf("%s: it did not come about (%v) in %s", what, err, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// shows waits until the frame has all the words and none of the others, which are
// after "".
func (f *frame) shows(words ...string) {
	f.Helper()
	var tests []string
	want := true
	for _, w := range words {
		if w == "" {
			want = false
			continue
		}
		tests = append(tests, fmt.Sprintf("document.body.innerText.includes(%q) === %t", w, want))
	}
	f.until(fmt.Sprintf("look for %q", words), strings.Join(tests, " && "))
}

// openTab opens the world's page as somebody who goes to the app in Teams and there to
// the tab Requests.
func openTab(t *testing.T, s *story, dark bool, who sandbox.Person) (*browser, *frame) {
	t.Helper()
	b := openBrowser(t, dark)
	server := httptest.NewServer(pageOnly(s.world))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	b.do("open the page", chromedp.Navigate(server.URL), chromedp.WaitVisible(`[data-testid="slack-composer"]`))
	b.become(who)
	b.open("teams-direct")
	b.until("stand on the chat", `(document.querySelector('[data-testid=teams-tab-messages]').focus(), document.activeElement.ariaSelected === 'true')`)
	b.keys(kb.ArrowRight)
	return b, b.frame()
}

// Teams' own script speaks with the host, the tab follows what happens while it is
// open, and leads into the chat where it is decided.
func TestBrowserTab(t *testing.T) {
	t.Parallel()
	for _, dark := range []bool{false, true} {
		t.Run(fmt.Sprintf("dark: %t", dark), func(t *testing.T) {
			t.Parallel()
			s := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
			b, f := openTab(t, s, dark, sandbox.Avery)
			b.do("make room for a long page", chromedp.EmulateViewport(1500, 2250))
			f.shows("Nothing waits for you to decide", "Avery Stone", "No machine is isolated", "High and open")
			theme := map[bool]string{false: "default", true: "dark"}[dark]
			if got := frameIs[string](f, "document.documentElement.dataset.theme"); got != theme {
				t.Errorf("the theme is %q, want that of Teams, %q", got, theme)
			}

			// A request appears while somebody looks, and they hear of it.
			s.asks(sandbox.Riley, "ws-014")
			f.shows("1 request waits for you to decide", "Request #1: isolate ws-014", "beaconing to a known bad address", "Decide in the chat", "", "Approve", "Deny")
			f.until("hear of it", `document.getElementById('news').textContent.includes('1 request waits for you to decide') && document.getElementById('news').role === 'status'`)
			if got := frameIs[[]string](f, `[...document.querySelectorAll('main :is(h1, h2, h3)')].map(h => h.localName)`); len(got) < 4 || got[0] != "h1" || strings.Count(strings.Join(got, " "), "h1") != 1 || got[1] != "h2" {
				t.Errorf("the headings are %q", got)
			}
			way := `[...document.querySelectorAll('a')].find(a => a.textContent === 'Decide in the chat')`
			if c := b.controlIn(f.world, way); c.Role != "link" || !strings.HasPrefix(c.Name, "Decide in the chat: Request #1: isolate ws-014") {
				t.Errorf("the way to decide is %s", c)
			}
			if c := b.controlIn(f.world, way+`.closest('section')`); c.Role != "region" || !strings.Contains(c.Name, "Request #1: isolate ws-014") {
				t.Errorf("the request is %s", c)
			}
			for _, name := range []string{"contrast", theme} {
				f.until("have the theme "+name, fmt.Sprintf(`(document.documentElement.dataset.theme = %q, true)`, name))
				for _, poor := range frameIs[[]string](f, contrast) {
					t.Errorf("too little contrast in the theme %s: %s", name, poor)
				}
			}
			b.picture(tabPicture+"-"+map[bool]string{false: "light", true: "dark"}[dark], "[data-testid=teams-tab-frame]")

			// Another one comes above or below it: whoever stands on the way to one still does.
			f.until("stand on the way to decide", fmt.Sprintf(`(e => { window.stood = e; e.focus(); return document.activeElement === e; })(%s)`, way))
			s.asks(sandbox.Riley, "ws-013")
			f.shows("2 requests wait for you to decide", "Request #2: isolate ws-013")
			if !frameIs[bool](f, `document.activeElement === window.stood && window.stood.closest('section').innerText.includes('Request #1')`) {
				t.Errorf("the focus is on %s", frameIs[string](f, "document.activeElement.outerHTML.slice(0, 300)"))
			}
			// When what it is about is decided, it goes, and the focus stays in the page.
			card := s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "isolate ws-014", "waits for approval")
			s.slack().click(sandbox.Sam, card, "Approve")
			f.shows("1 request waits for you to decide", "Request #2: isolate ws-013", "1 machine is isolated", "", "Request #1")
			if !frameIs[bool](f, `document.activeElement.id === 'page'`) {
				t.Errorf("after it has gone the focus is on %s", frameIs[string](f, "document.activeElement.outerHTML.slice(0, 300)"))
			}

			// On a narrow screen nothing is cut off.
			b.do("hold a small phone", chromedp.EmulateViewport(320, 700))
			b.until("see Teams", `(document.querySelector('.tabs [data-tab=teams]').click(), document.querySelector('[data-testid=teams-tab-frame]').getBoundingClientRect().width <= 320)`)
			f.until("see it narrow", `innerWidth <= 320 && document.documentElement.scrollWidth <= innerWidth`)
			b.do("be back", chromedp.EmulateViewport(1500, 1200))

			// mdebot stops: what is there stays, and says of when it is.
			s.halt()
			f.shows("trying again", "As of", "Request #2: isolate ws-013")
			s.start()
			f.shows("Request #2: isolate ws-013", "", "trying again")

			// The way leads to the chat, and there alone it is decided.
			f.until("go", fmt.Sprintf(`(%s.click(), true)`, way))
			b.until("be in the chat", `document.activeElement === document.querySelector('[data-testid=teams-tab-messages]') && !document.querySelector('[data-testid=teams-tab-frame]')`)
			b.sees("teams-message", "isolate ws-013", "waits for approval")
			b.press("teams-message", "Approve", "Request #2")
			b.until("be asked once more", `[...document.querySelectorAll('.shown-card:not([hidden])')].some(c => c.innerText.includes('You approve'))`)
		})
	}
}

// Somebody whom mdebot does not know reads that and nothing else, and the tab belongs
// into Teams.
func TestBrowserTab_refused(t *testing.T) {
	t.Parallel()
	s := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
	s.asks(sandbox.Riley, "ws-014")
	s.raise("ws-018", "High", `<img src="x" onerror="document.title='owned'"> [here](https://evil.example)`)
	b, f := openTab(t, s, false, sandbox.Avery)
	f.shows(`<img src="x" onerror="document.title='owned'"> [here](https[:]//evil.example)`)
	if got := frameIs[string](f, `document.title + document.querySelectorAll('img, script:not([src]), a[href*=evil]').length`); got != "mdebot: Requests0" {
		t.Errorf("what an attacker wrote became something: %s", got)
	}
	b.become(sandbox.Noor)
	b.open("teams-direct")
	b.open("teams-tab-home")
	f = b.frame()
	f.shows("not linked to a person", "", "ws-014", "Decide")
	b.become(sandbox.Gale)
	b.open("teams-direct")
	b.open("teams-tab-home")
	f = b.frame()
	f.shows("Only full members of this organisation can use mdebot", "", "ws-014", "As of")
	b.do("open it outside Teams", chromedp.Navigate("http://"+s.bot.Addr().String()+"/teams/tab"))
	b.until("be told where it belongs", hasAll("document.body", []string{"This page belongs into Microsoft Teams"}))
}

package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// browser is a person at the page.
type browser struct {
	*testing.T
	ctx context.Context
	dir string // for screenshots, or ""
}

// openPage opens the world's page in a real Chromium.
func openPage(t *testing.T, world *sandbox.World, dark bool) *browser {
	t.Helper()
	b := openBrowser(t, dark)
	page := httptest.NewServer(pageOnly(world))
	t.Cleanup(page.Close)
	t.Cleanup(page.CloseClientConnections) // the page's event stream does not end by itself
	b.do("open the page", chromedp.Navigate(page.URL), chromedp.WaitVisible(`[data-testid="slack-composer"]`))
	return b
}

// browsers bounds how many run at a time: each takes a core while it draws, and a
// page that gets none draws no frames.
var browsers = make(chan struct{}, 2)

// openBrowser starts a Chromium, or skips the test where there is none.
func openBrowser(t *testing.T, dark bool) *browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("Chromium is not installed (apt-get install chromium)")
	}
	browsers <- struct{}{}
	t.Cleanup(func() { <-browsers })
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(
		chromedp.ExecPath(program), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("blink-settings", map[bool]string{false: "preferredColorScheme=1", true: "preferredColorScheme=0"}[dark]),
		chromedp.WindowSize(1680, 1050),
	))
	t.Cleanup(func() { cancel(); stop() })
	return &browser{T: t, ctx: ctx, dir: os.Getenv("MDEBOT_SCREENSHOTS")}
}

// pageOnly is the page under the loopback name that its host check expects.
func pageOnly(world *sandbox.World) http.Handler { return world.Page() }

func (b *browser) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

func testID(id string) string { return fmt.Sprintf(`[data-testid=%q]`, id) }

// become switches to another person.
func (b *browser) become(p sandbox.Person) {
	b.Helper()
	b.do("become "+p.Name, chromedp.SetValue(testID("person-select"), p.Key))
	b.until("become "+p.Name, `(document.querySelector('[data-testid="person-select"]').dispatchEvent(new Event('change', {bubbles: true})), true)`)
	b.until("see what "+p.Name+" sees", fmt.Sprintf(`document.body.dataset.person === %q`, p.Key))
}

// until waits for an expression of the page to become true.
func (b *browser) until(what, expression string) {
	b.Helper()
	if err := b.comes(expression, patience); err != nil {
		b.keep("failed")
		focused, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.activeElement?.outerHTML.slice(0, 300)"))
		b.Fatalf("%s: %v; the focus is on %s", what, err, focused)
	}
}

// comes waits until an expression of the page is true, for as long as wait.
func (b *browser) comes(expression string, wait time.Duration) error {
	ctx, stop := context.WithTimeout(b.ctx, wait)
	defer stop()
	for {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if got {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it did not come about: %w", errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// open shows a conversation.
func (b *browser) open(id string) {
	b.Helper()
	b.until("open "+id, fmt.Sprintf(`(e => { e?.focus(); e?.click(); return !!e; })(document.querySelector('%s'))`, testID(id)))
}

// write types a line into a composer.
func (b *browser) write(composer, text string) {
	b.Helper()
	b.do("type "+text, chromedp.Click(testID(composer)), chromedp.SendKeys(testID(composer), text+kb.Enter))
}

// sees waits for a message with all the words.
func (b *browser) sees(message string, words ...string) {
	b.Helper()
	script := fmt.Sprintf(`[...document.querySelectorAll('[data-testid=%q]')].some(m => %s)`, message, hasAll("m", words))
	b.until(fmt.Sprintf("look for %q", words), script)
}

// press clicks a button by its text on the newest message with the words.
func (b *browser) press(message, button string, words ...string) {
	b.Helper()
	script := fmt.Sprintf(`(() => {
		const m = [...document.querySelectorAll('[data-testid=%q]')].reverse().find(m => %s);
		const button = m && [...m.querySelectorAll('button')].filter(b => b.offsetParent && b.textContent.trim() === %q).pop();
		if (!button) return false;
		button.focus(); // as a finger or a mouse does
		button.click();
		return true;
	})()`, message, hasAll("m", words), button)
	b.until("press "+button, script)
}

func hasAll(element string, words []string) string {
	tests := []string{"true"}
	for _, w := range words {
		tests = append(tests, fmt.Sprintf(`%s.innerText.includes(%q)`, element, w))
	}
	return strings.Join(tests, " && ")
}

// scrollTo shows the beginning of the newest message with the words.
func (b *browser) scrollTo(message string, words ...string) {
	b.Helper()
	b.until("scroll", fmt.Sprintf(`(() => {
		const m = [...document.querySelectorAll('[data-testid=%q]')].reverse().find(m => %s);
		if (m) m.scrollIntoView({block: 'start', behavior: 'instant'});
		return !!m;
	})()`, message, hasAll("m", words)))
}

// keep saves a screenshot.
func (b *browser) keep(name string) {
	b.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.Fatalf("take a screenshot: %v", err)
	}
	b.save(name, png, 10_000)
}

// picture saves a picture of one element.
func (b *browser) picture(name, element string) {
	b.Helper()
	// A busy machine may never draw the frame that a picture waits for; the next try
	// asks for another one.
	for try := 1; ; try++ {
		ctx, stop := context.WithTimeout(b.ctx, patience/4)
		png, err := chromedp.Run(ctx, chromedp.Screenshot(element))
		stop()
		if err == nil {
			b.save(name, png, 2_000)
			return
		}
		if try == 4 {
			b.Fatalf("take a picture of %s: %v", name, err)
		}
	}
}

// save keeps a picture of at least so many bytes: fewer show nothing.
func (b *browser) save(name string, png []byte, least int) {
	b.Helper()
	if len(png) < least {
		b.Errorf("screenshot %s has %d bytes: it shows nothing", name, len(png))
	}
	if b.dir == "" {
		return
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

// One person asks on the Slack side, another approves on the Teams side, and
// both sides show the machine isolated.
func TestBrowser_askOnSlackApproveOnTeams(t *testing.T) {
	t.Parallel()
	for _, dark := range []bool{false, true} {
		name := map[bool]string{false: "light", true: "dark"}[dark]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, sandbox.Options{})
			b := openPage(t, s.world, dark)

			b.open("slack-channel-" + sandbox.SlackSOC)
			b.write("slack-composer", "/mde machine ws-014")
			b.sees("slack-message", "Machine ws-014", "not isolated", "Open alerts")
			b.keep("machine-" + name)

			b.write("slack-composer", "/mde isolate ws-014 beaconing to a known bad address")
			b.sees("slack-message", "Request #1", "waits for approval")
			b.scrollTo("slack-message", "Request #1")
			b.keep("asked-" + name)

			b.become(sandbox.Avery)
			b.open("teams-channel-" + sandbox.TeamsApprovals)
			b.sees("teams-message", "Request #1", "waits for approval", "beaconing to a known bad address")
			b.press("teams-message", "Approve", "Request #1", "waits for approval")
			b.keep("confirm-" + name)
			b.press("teams-message", "Approve", "Request #1", "You approve")
			b.sees("teams-message", "Request #1", "ws-014.corp.contoso.com – isolated", "approved by Avery Stone")
			b.sees("slack-message", "Request #1", "ws-014.corp.contoso.com – isolated", "approved by Avery Stone")
			b.sees("slack-message", "#1 isolate ws-014.corp.contoso.com: isolated")
			b.sees("teams-message", "Your approval counts")
			b.until("find room for every message", `[...document.querySelectorAll('.message-main')].every(m => !m.checkVisibility() || m.offsetWidth > 0.7 * m.parentNode.offsetWidth)`)
			b.scrollTo("teams-message", "Request #1")
			b.keep("isolated-" + name)
			if n := len(s.isolations()); n != 1 {
				t.Errorf("%d isolations took effect, want 1", n)
			}
		})
	}
}

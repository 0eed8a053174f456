package sandbox

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// browser is a tab of a real Chromium with the page in it.
type browser struct {
	*testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string // what the browser complained about
}

// openBrowser opens the page, or skips the test where there is no Chromium.
func openBrowser(t *testing.T, address string) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	ctx, stop := context.WithTimeout(context.Background(), 45*time.Second)
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WindowSize(1400, 900),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	))
	t.Cleanup(func() { cancel(); stop() })
	b := &browser{T: t, ctx: ctx}
	if err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.complain(e.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			b.complain(e.Entry.Text)
		}
	}); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	b.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, log.Enable, cdp.Empty{})
		return err
	}))
	b.do(chromedp.Navigate(address))
	return b
}

func (b *browser) complain(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, what)
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.Fatalf("in the browser: %v; it complained about %q", err, b.faults)
	}
}

// hook selects by data-testid.
func hook(id string) chromedp.CSS { return chromedp.CSS(fmt.Sprintf(`[data-testid=%q]`, id)) }

// write types a line into a composer.
func (b *browser) write(platform, line string) {
	b.Helper()
	b.keys(hook(platform+"-composer"), line+kb.Enter)
}

// keys types into a field. chromedp's own SendKeys reads the field's attributes
// while they change, which the race detector refuses.
func (b *browser) keys(field chromedp.CSS, keys string) {
	b.Helper()
	b.do(chromedp.Focus(field), chromedp.KeyEvent(keys))
}

// see waits for a message that contains text.
func (b *browser) see(platform, text string) {
	b.Helper()
	b.do(chromedp.WaitVisible(fmt.Sprintf(`//*[@data-testid="%s-message"][contains(., %q)]`, platform, text)))
}

// press clicks the button with that label in the message that contains text.
func (b *browser) press(platform, text, label string) {
	b.Helper()
	b.do(chromedp.Click(fmt.Sprintf(`//*[@data-testid="%s-message"][contains(., %q)]//button[normalize-space(.)=%q]`, platform, text, label)))
}

func TestPage_inABrowser(t *testing.T) {
	t.Parallel()
	p := newPage(t)
	const attack = `<img src=x onerror=document.title='owned'>`
	p.bot.answer("/slack/commands", `{"text":"Isolate?","blocks":[
		{"type":"header","text":{"type":"plain_text","text":"Isolate `+attack+`"}},
		{"type":"actions","elements":[{"type":"button","action_id":"go","value":"1","text":{"type":"plain_text","text":"Isolate it"},
			"confirm":{"title":{"type":"plain_text","text":"Sure?"},"text":{"type":"plain_text","text":"It loses its network."},
				"confirm":{"type":"plain_text","text":"Yes"},"deny":{"type":"plain_text","text":"No"}}}]}]}`)
	b := openBrowser(t, p.url)

	// A command, its private answer, and a button that asks first.
	b.write("slack", "/mde isolate ws-042")
	b.see("slack", "Only visible to you")
	b.see("slack", attack)
	before := p.bot.deliveries()
	b.press("slack", attack, "Isolate it")
	b.do(chromedp.Click(hook("confirm-no")), chromedp.WaitNotPresent(chromedp.CSS("dialog")))
	if p.bot.deliveries() != before {
		t.Errorf("the bot got %v though the answer was no", p.bot.last(t))
	}
	b.press("slack", attack, "Isolate it")
	b.do(chromedp.Click(hook("confirm-yes")), chromedp.WaitNotPresent(chromedp.CSS("dialog")))
	wait(t, func() bool { return p.bot.deliveries() == before+1 })
	click := p.bot.last(t)

	// A modal that the bot opens, and what is typed into it.
	text := func(s string) map[string]any { return map[string]any{"type": "plain_text", "text": s} }
	p.bot.slack(t, "views.open", map[string]any{"trigger_id": click["trigger_id"], "view": map[string]any{
		"type": "modal", "title": text("Why"), "submit": text("Ask"), "blocks": []any{
			map[string]any{"type": "input", "block_id": "why", "label": text("Reason"), "element": map[string]any{"type": "plain_text_input", "action_id": "input"}},
		},
	}})
	// What the page finds missing stays in sight while other things happen; what the
	// bot finds stands at the field as well.
	b.do(chromedp.Click(hook("modal-submit")), chromedp.WaitVisible(`.slack-dialog [aria-invalid=true]`))
	p.bot.teams(t, TeamsSOC, map[string]any{"type": "AdaptiveCard", "version": "1.5", "body": []any{map[string]any{"type": "TextBlock", "text": "News"}}})
	b.do(chromedp.WaitVisible(`//*[@data-testid="teams-message"][contains(., "News")]`), chromedp.WaitVisible(`//*[@class="fault"][.="Please fill in this field."]`))
	p.bot.answer("/slack/interactions", `{"response_action":"errors","errors":{"why":"That is no reason."}}`, "")
	b.keys(".slack-dialog input", "beaconing")
	b.do(chromedp.Click(hook("modal-submit")), chromedp.WaitVisible(`//*[@class="fault"][.="That is no reason."]`))
	b.do(chromedp.Click(hook("modal-submit")), chromedp.WaitNotPresent(chromedp.CSS("dialog")))
	values := p.bot.last(t)["view"].(map[string]any)["state"].(map[string]any)["values"]
	if got := fmt.Sprint(values); !strings.Contains(got, "beaconing") {
		t.Errorf("submitted %s, want what was typed", got)
	}

	// Another person does not see the private answer, and approves on a card.
	b.do(chromedp.SetValue(hook("person-select"), "avery"))
	b.do(evaluate(`document.querySelector('[data-testid=person-select]').dispatchEvent(new Event('change'))`))
	b.do(chromedp.WaitNotPresent(hook("slack-message")))
	b.do(chromedp.Click(hook("teams-channel-" + TeamsApprovals)))
	p.bot.teams(t, TeamsApprovals, map[string]any{
		"type": "AdaptiveCard", "version": "1.5",
		"body": []any{map[string]any{"type": "TextBlock", "text": "Request **#1**"}, map[string]any{"type": "RichTextBlock", "inlines": []any{map[string]any{"type": "TextRun", "text": attack}}}},
		"actions": []any{map[string]any{"type": "Action.ShowCard", "title": "Approve", "card": map[string]any{
			"type": "AdaptiveCard", "version": "1.5", "body": []any{},
			"actions": []any{map[string]any{"type": "Action.Execute", "title": "Yes, approve", "verb": "approve", "data": map[string]any{"n": "1"}}},
		}}},
	})
	b.see("teams", attack)
	p.bot.answer("/api/messages", `{"statusCode":200,"type":"application/vnd.microsoft.activity.message","value":"Your approval counts."}`)
	b.press("teams", attack, "Approve")
	b.press("teams", attack, "Yes, approve")
	b.see("teams", "Your approval counts.")

	// Defender beside it.
	b.do(chromedp.Click(hook("story")))
	b.do(chromedp.WaitVisible(`//*[@data-testid="defender"]//*[contains(., "Step 1 of")]`))

	title, err := chromedp.Run(b.ctx, chromedp.Title())
	if err != nil || title != "mdebot demo" {
		t.Errorf("title = %q, %v; what came from outside was not text alone", title, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.faults) > 0 {
		t.Errorf("the browser complained about %q", b.faults)
	}
}

func evaluate(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[any](expression))
		return err
	})
}

// wait waits for something that the browser does beside the test.
func wait(t *testing.T, done func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not come about")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

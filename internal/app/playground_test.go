package app

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// openPlayground opens Microsoft's Agents Playground before a story's bot. It is
// skipped where the Playground cannot be had.
func openPlayground(t *testing.T, s *story) *browser {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (apt-get install nodejs npm)", tool)
		}
	}
	program, err := exec.CommandContext(t.Context(), filepath.Join(root, "scripts", "playground")).Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Skipf("the Agents Playground cannot be installed, such as without a network: %v: %s", err, exit.Stderr)
	}
	b := openBrowser(t, false)
	ctx, stop := context.WithCancel(context.Background())
	address, wait, err := s.world.StartPlayground(ctx, strings.TrimSpace(string(program)), 0)
	if err != nil {
		stop()
		t.Fatalf("StartPlayground() = %v", err)
	}
	t.Cleanup(func() {
		stop()
		if err := wait(); err != nil {
			t.Errorf("the Playground ended: %v", err)
		}
	})
	b.do("open the Playground", chromedp.Navigate(address), chromedp.WaitVisible(playgroundComposer))
	return b
}

const playgroundComposer = `[contenteditable="true"][role="textbox"]`

// say types a line in the chat that is open in the Playground.
func (b *browser) say(text string) {
	b.Helper()
	b.do("type "+text, chromedp.Focus(playgroundComposer), chromedp.KeyEvent(text+kb.Enter))
}

// playgroundCard is the newest card in the Playground with all the words, as
// JavaScript.
func playgroundCard(words ...string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('.ac-adaptiveCard')].filter(c => !c.parentElement.closest('.ac-adaptiveCard') && %s).pop()`, hasAll("c", words))
}

func (b *browser) seesCard(words ...string) {
	b.Helper()
	b.until(fmt.Sprintf("look for a card with %q", words), "!!"+playgroundCard(words...))
}

// approveCard presses Approve on the newest card with the words, and Approve again
// below the question that opens. An edit of the card meanwhile closes the question.
func (b *browser) approveCard(words ...string) {
	b.Helper()
	b.until("approve", fmt.Sprintf(`(() => {
		const card = %s;
		const buttons = card ? [...card.querySelectorAll('button')].filter(b => b.offsetParent && b.textContent.trim() === 'Approve') : [];
		const asked = card?.innerText.includes('You approve');
		if (asked) buttons.pop()?.click();
		else if (buttons[0]?.getAttribute('aria-expanded') === 'false') buttons[0].click();
		return asked;
	})()`, playgroundCard(words...)))
}

// Microsoft's own stand-in for Teams shows the cards, and both halves of an
// approval work in it: Avery approves there what Riley asked for in Slack, and
// what Avery asks for there Sam approves in Slack, and Avery cannot.
func TestPlayground_showsCardsAndCompletesAnApproval(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{Playground: true, Customer: true})
	s.halt()
	s.writePolicy(s.world.PolicyYAML()) // as in the demo
	s.start()
	b := openPlayground(t, s)

	b.say("machine ws-014")
	b.seesCard("Machine ws-014", "not isolated", "Open alerts")

	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate ws-014 beaconing to a known bad address")
	asked := []string{"Request #1", "beaconing to a known bad address", "asked for by Riley Chen"}
	b.seesCard(asked...)
	s.wantIsolations(0)
	b.approveCard(asked...)
	b.seesCard("Request #1", "ws-014.corp.contoso.com – isolated", "approved by Avery Stone")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Request #1", "isolated", "approved by Avery Stone")
	s.wantIsolations(1)

	b.say("isolate ws-007 logons at night")
	own := []string{"Request #2", "logons at night", "asked for by Avery Stone"}
	b.seesCard(own...)
	b.approveCard(own...)
	b.until("be refused", `document.body.innerText.includes('You asked for this yourself')`)
	s.wantIsolations(1)
	card := s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "Request #2", "waits for approval", "logons at night")
	s.slack().click(sandbox.Sam, card, "Approve")
	b.seesCard("Request #2", "ws-007.corp.contoso.com – isolated", "approved by Sam Okafor")
	s.wantIsolations(2)
}

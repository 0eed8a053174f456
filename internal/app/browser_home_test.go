package app

import (
	"fmt"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// homePicture is the Home tab in the tour; Teams has a tab of its own kind.
const homePicture = "home-slack"

// An approver works through their Home tab with the keyboard: everything in it has a
// role and a name, in an order that the eye follows, and is dark or light enough.
func TestBrowserHome(t *testing.T) {
	t.Parallel()
	for _, dark := range []bool{false, true} {
		t.Run(fmt.Sprintf("dark: %t", dark), func(t *testing.T) {
			t.Parallel()
			s := newStory(t, sandbox.Options{})
			s.asks(sandbox.Riley, "ws-014")
			b := openPage(t, s.world, dark)
			b.do("make room for a long page", chromedp.EmulateViewport(1500, 2400))
			b.become(sandbox.Avery)
			if is[bool](b, `document.querySelector('.app-tabs').checkVisibility()`) {
				t.Error("a channel has the tabs of the app")
			}
			b.open("slack-direct")
			b.until("see the tabs", `document.querySelector('.app-tabs').checkVisibility()`)
			b.until("stand on the tabs", `(document.querySelector('[data-testid=slack-tab-messages]').focus(), document.activeElement.ariaSelected === 'true')`)
			b.keys(kb.ArrowLeft)
			shown := func(words ...string) string {
				return fmt.Sprintf(`(h => h.checkVisibility() && %s)(document.querySelector('[data-testid=slack-home]'))`, hasAll("h", words))
			}
			b.until("open Home", shown("1 request waits for you to decide", "isolate ws-014", "As of", "No machine is isolated"))
			if c := b.control("document.activeElement"); c.String() != `tab "Home"` || is[string](b, "document.activeElement.ariaSelected") != "true" {
				t.Errorf("the focus is on %s, want the tab that was opened", c)
			}
			if c := b.control(`document.querySelector('[data-testid=slack-home]')`); c.String() != `tabpanel "Home"` {
				t.Errorf("the panel is %s", c)
			}
			if is[bool](b, `document.querySelector('[data-testid=slack-composer]').checkVisibility()`) {
				t.Error("the Home tab has a composer")
			}
			var names []string
			for _, c := range b.tabsThrough("[data-testid=slack-home]", false) {
				names = append(names, c.String())
			}
			for _, want := range []string{`button "Approve"`, `button "Deny"`, `button "Deny with a reason"`, `button "Open in Messages"`} {
				if !slices.Contains(names, want) {
					t.Errorf("Tab visits %q, want also %s", names, want)
				}
			}
			for _, poor := range is[[]string](b, contrast) {
				t.Errorf("too little contrast: %s", poor)
			}
			b.until("stand on nothing", `(document.activeElement.blur(), true)`)
			b.picture(homePicture+"-"+map[bool]string{false: "light", true: "dark"}[dark], ".home-page")

			b.until("stand on Approve", `(e => { e?.focus(); return document.activeElement === e; })([...document.querySelectorAll('[data-testid=slack-home] button')].find(b => b.textContent === 'Approve'))`)
			b.keys(kb.Enter)
			b.until("be asked once more", `document.querySelector('dialog[open]')?.innerText.includes('You approve: isolate ws-014')`)
			b.do("confirm", chromedp.Click(testID("confirm-yes")))
			b.until("see it done", shown("Nothing waits for you to decide", "1 machine is isolated", "owner Riley Chen"))
			b.until("stand on the tabs", `(document.querySelector('[data-testid=slack-tab-home]').focus(), true)`)
			b.keys(kb.ArrowRight)
			b.sees("slack-message", "Your approval counts")

			// What one person sees is not another's.
			b.become(sandbox.Noor)
			b.until("be somebody else", `document.querySelector('[data-testid=slack-tab-messages]').ariaSelected === 'true'`)
			b.open("slack-tab-home")
			b.until("be a stranger", shown("not linked to a person"))
			if is[bool](b, shown("ws-014")) {
				t.Error("a stranger sees the machine")
			}

			b.do("hold a phone", chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
			b.become(sandbox.Avery)
			b.open("slack-tab-home")
			b.until("see it on a phone", shown("1 machine is isolated"))
			if wide := is[int](b, `(h => h.scrollWidth - h.clientWidth)(document.querySelector('[data-testid=slack-home]'))`); wide > 0 {
				t.Errorf("on a phone the Home tab is %d pixels too wide", wide)
			}
		})
	}
}

package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// contrast is JavaScript for every text in sight whose contrast to what lies behind
// it is less than WCAG 2 asks for at level AA.
const contrast = `(() => {
	const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
	const rgba = (css) => {
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = css;
		canvas.fillRect(0, 0, 1, 1);
		const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
		return [r, g, b, a / 255];
	};
	const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
	const luminance = (c) => {
		const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const dark = matchMedia('(prefers-color-scheme: dark)').matches;
	const behind = (e) => {
		const layers = [];
		for (let at = e; at; at = at.parentElement) layers.unshift(rgba(getComputedStyle(at).backgroundColor));
		return layers.reduce((below, layer) => over(layer, below), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
	};
	const poor = new Set();
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = walk.nextNode(); n; n = walk.nextNode()) {
		const e = n.parentElement;
		if (!n.data.trim() || e.closest('.unseen, noscript, script, [aria-hidden=true]') || !e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
		if (!/[\p{L}\p{N}]/u.test(n.data)) continue; // a sign beside its word
		const style = getComputedStyle(e);
		let opacity = 1;
		for (let at = e; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
		const back = behind(e);
		const ink = rgba(style.color);
		ink[3] *= opacity;
		const [a, b] = [luminance(over(ink, back)), luminance(back)];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		const size = parseFloat(style.fontSize);
		const least = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700 ? 3 : 4.5;
		if (ratio < least) poor.add(ratio.toFixed(2) + ' ' + e.tagName + '.' + e.className + ': ' + n.data.trim().slice(0, 40) + ' ' + style.color + ' on ' + back.slice(0, 3).map(Math.round));
	}
	return [...poor];
})()`

// outline reads the roles and names of the landmarks, and the levels of the
// headings, from the accessibility tree.
func (b *browser) outline() (landmarks []string, levels []int) {
	b.Helper()
	err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		tree, err := cdp.Call(ctx, tab, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			return err
		}
		for _, n := range tree.Nodes {
			role := axText(n.Role)
			switch {
			case n.Ignored:
			case slices.Contains([]string{"banner", "main", "navigation", "region", "complementary", "log"}, role):
				landmarks = append(landmarks, role+" "+axText(n.Name))
			case role == "heading":
				for _, p := range n.Properties {
					if p.Name == "level" {
						var level int
						_, _ = fmt.Sscan(axText(p.Value), &level)
						levels = append(levels, level)
					}
				}
			}
		}
		return nil
	}))
	if err != nil {
		b.Fatalf("read the accessibility tree: %v", err)
	}
	return landmarks, levels
}

// fillPage brings something of everything onto the page.
func (s *story) fillPage(b *browser) {
	s.Helper()
	b.open("story")
	b.shows("Step 1 of 7")
	s.goesOn()
	b.shows("Step 2 of 7")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "High alert: Suspicious PowerShell")
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "machine ws-014")
	s.teams().write(sandbox.Riley, sandbox.TeamsSOC, "machine ws-014")
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate ws-014 beaconing to a known bad address")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Request #1")
	s.told(s.teams(), sandbox.Riley, sandbox.TeamsSOC, "Machine ws-014")
	b.sees("slack-message", "Request #1")
	b.sees("teams-message", "Machine ws-014")
}

// Text is dark or light enough in both schemes, on a desk and on a phone; on a phone
// nothing is wider than the screen and everything is large enough for a finger.
func TestBrowserReading_contrastAndPhone(t *testing.T) {
	t.Parallel()
	for _, dark := range []bool{false, true} {
		t.Run(fmt.Sprintf("dark: %t", dark), func(t *testing.T) {
			t.Parallel()
			s := newStory(t, sandbox.Options{AttackInterval: time.Hour})
			s.watching()
			b := openPage(t, s.world, dark)
			s.fillPage(b)
			readable := func(where string) {
				t.Helper()
				for _, poor := range is[[]string](b, contrast) {
					t.Errorf("%s: too little contrast: %s", where, poor)
				}
			}
			readable("desk")
			s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate")
			b.until("open a dialog", "!!document.querySelector('dialog[open]')")
			b.until("refuse it", `(document.querySelector('[data-testid=modal-submit]').click(), !!document.querySelector('[aria-invalid=true]'))`)
			readable("dialog")
			b.keys("\x1b")

			b.do("hold a phone", chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch))
			for _, tab := range []string{"slack", "teams", "defender"} {
				b.until("open "+tab, fmt.Sprintf(`(document.querySelector('.tabs [data-tab=%s]').click(), document.getElementById(%[1]q).checkVisibility())`, tab))
				readable("phone, " + tab)
				if wide := is[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); wide > 0 {
					t.Errorf("on a phone %s is %d pixels too wide", tab, wide)
				}
				for _, small := range is[[]string](b, `[...document.querySelectorAll('button, select, textarea, summary, a.button, a.file')]
					.filter(e => e.checkVisibility({visibilityProperty: true, opacityProperty: true}))
					.map(e => [e, e.getBoundingClientRect()]).filter(([, r]) => r.width && (r.width < 24 || r.height < 24))
					.map(([e, r]) => e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 20) + ' ' + Math.round(r.width) + '×' + Math.round(r.height))`) {
					t.Errorf("on a phone, in %s, a finger misses %s", tab, small)
				}
			}

			// The whole way works with one column at a time.
			b.become(sandbox.Avery)
			b.until("open Teams", `(document.querySelector('.tabs [data-tab=teams]').click(), true)`)
			b.open("teams-channel-" + sandbox.TeamsApprovals)
			b.sees("teams-message", "Request #1", "waits for approval")
			b.press("teams-message", "Approve", "Request #1", "waits for approval")
			b.press("teams-message", "Approve", "Request #1", "You approve")
			b.sees("teams-message", "Request #1", "approved by Avery Stone")
		})
	}
}

// Who does not see the page finds the parts by landmarks and headings, and hears of
// each new message once.
func TestBrowserReading_screenReader(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{AttackInterval: time.Hour})
	s.watching()
	b := openPage(t, s.world, false)
	s.fillPage(b)
	landmarks, levels := b.outline()
	for _, want := range []string{"banner ", "main ", "region Slack", "region Teams", "complementary Defender", "navigation Slack conversations", "navigation Teams conversations", "log New messages"} {
		if n := len(slices.DeleteFunc(slices.Clone(landmarks), func(l string) bool { return l != want })); n != 1 {
			t.Errorf("the page has %d landmarks %q, want one: %q", n, want, landmarks)
		}
	}
	if len(levels) == 0 || levels[0] != 1 {
		t.Fatalf("the headings are %v, want a first one of level 1", levels)
	}
	for i := 1; i < len(levels); i++ {
		if levels[i] > levels[i-1]+1 {
			t.Errorf("heading %d of level %d follows one of level %d: %v", i, levels[i], levels[i-1], levels)
		}
		if levels[i] == 1 {
			t.Error("the page has two headings of level 1")
		}
	}
	if live := is[string](b, `document.getElementById('live').ariaLive`); live != "polite" {
		t.Errorf("new messages are announced as %q, want polite", live)
	}
	if n := is[int](b, `document.querySelectorAll('.column [aria-live], .column [role=log]').length`); n != 0 {
		t.Errorf("%d regions of the columns are announced beside the log: messages would be read twice", n)
	}

	// One line for a new message, none for an edit of it.
	heard := func(words string) int {
		return is[int](b, fmt.Sprintf(`[...document.querySelectorAll('#live p')].filter(p => p.textContent.includes(%q)).length`, words))
	}
	s.raise("ws-030", "High", "Credential dumping tool")
	s.later(20 * time.Second)
	b.sees("slack-message", "Credential dumping tool")
	b.sees("teams-message", "Credential dumping tool")
	b.until("be heard", `document.getElementById('live').textContent.includes('Credential dumping tool')`)
	if n := heard("Slack, soc: mdebot: "); n == 0 {
		t.Error("who speaks and where is not heard")
	}
	slack, teams := heard("Credential dumping tool"), is[int](b, `[...document.querySelectorAll('#live p')].filter(p => p.textContent.startsWith('Teams') && p.textContent.includes('Credential dumping tool')).length`)
	if slack-teams != 1 || teams != 1 {
		t.Errorf("the alert was announced %d times in Slack and %d times in Teams, want once each", slack-teams, teams)
	}
	b.press("slack-message", "Acknowledge", "Credential dumping tool")
	b.sees("slack-message", "Credential dumping tool", "In progress")
	if n := heard("High alert on ws-030.corp.contoso.com: Credential dumping tool"); n != 2 {
		t.Errorf("after an edit the alert was announced %d times in all, want 2", n)
	}

	// Nothing is told by colour alone: each sign has its word.
	for _, row := range is[[]string](b, `[...document.querySelectorAll('.alert-row .severity')].map(e => e.textContent)`) {
		if !strings.ContainsFunc(row, func(r rune) bool { return strings.ContainsRune("▲◆▽○", r) }) || !slices.ContainsFunc([]string{"High", "Medium", "Low", "Informational"}, func(w string) bool { return strings.Contains(row, w) }) {
			t.Errorf("an alert's severity is %q, want a sign and a word", row)
		}
	}
	if n := is[int](b, `[...document.querySelectorAll('.badge')].filter(e => e.checkVisibility() && !e.textContent.includes('unread') && !e.closest('.tabs')).length`); n != 0 {
		t.Errorf("%d unread marks have no word", n)
	}
	if n := is[int](b, `document.querySelectorAll('nav [aria-current=true]').length`); n < 2 {
		t.Errorf("%d conversations say that they are the open one, want one per platform", n)
	}
	for _, unnamed := range is[[]string](b, `[...document.querySelectorAll('button, select, textarea, input')].filter(e => e.checkVisibility()).filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML.slice(0, 120))`) {
		t.Errorf("a control has no name: %s", unnamed)
	}
}

package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// What the page calls the search, and what it sends, is what the manifest says.
func TestStory_searchIsThatOfTheManifest(t *testing.T) {
	t.Parallel()
	m := teamsManifest("00000000-0000-4000-8000-000000000000")
	extension := m["composeExtensions"].([]object)[0]
	if commands := extension["commands"].([]object); len(commands) != 1 || commands[0]["id"] != sandbox.TeamsSearch || commands[0]["title"] != appsTitle {
		t.Errorf("the manifest has %v", commands)
	}
}

// appsTitle is the search of the app at a message.
const appsTitle = "Look up a machine"

// apps is the field that finds machines, in what the button Apps opens.
const (
	appsButton = `document.querySelector('[data-testid=teams-apps]')`
	apps       = `document.querySelector('[data-testid=teams-apps-search]')`
	attached   = `document.querySelector('[data-testid=teams-attached]')`
)

// opensApps goes from the message back to the button before it and presses that.
func (b *browser) opensApps() {
	b.Helper()
	b.until("stand on the message", `(e => { e.focus(); return document.activeElement === e; })(document.querySelector('[data-testid=teams-composer]'))`)
	b.tabsBack(appsButton)
	b.keys(kb.Enter)
	b.until("be in the search", apps+" === document.activeElement")
}

// offers waits until what the search lists, or says in place of a list, has the words.
func (b *browser) offers(words ...string) {
	b.Helper()
	b.until(fmt.Sprintf("be offered %q", words), fmt.Sprintf(`(l => l.checkVisibility() && %s)(document.getElementById(%s.getAttribute('aria-controls')))`, hasAll("l", words), apps))
}

// Somebody finds a machine while they write in Teams, with the keyboard alone, and sends
// its card with their words.
func TestBrowserApps(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	b := openPage(t, s.world, false)
	b.open("teams-channel-" + sandbox.TeamsSOC)

	if c := b.control(appsButton); c.Role != "button" || !strings.HasPrefix(c.Name, "Apps") || !strings.Contains(c.Name, appsTitle) {
		t.Errorf("what opens it is %s", c)
	}
	b.opensApps()
	if c := b.control(apps + `.closest('[role=dialog]')`); c.Role != "dialog" || c.Name != "mdebot: "+appsTitle {
		t.Errorf("what opens is %s", c)
	}
	if c := b.control(apps); c.Role != "combobox" || c.Name != "Machine" {
		t.Errorf("the field is %s", c)
	}
	b.offers("Type the beginning of a machine's name")
	b.keys("ws-01")
	b.offers("Machine ws-014", "OS Windows11", "Machine ws-015")
	list := fmt.Sprintf(`document.getElementById(%s.getAttribute('aria-controls'))`, apps)
	if c := b.control(list); c.Role != "listbox" || c.Name == "" {
		t.Errorf("the list is %s", c)
	}
	for _, poor := range is[[]string](b, contrast) {
		t.Errorf("too little contrast: %s", poor)
	}
	chosen := fmt.Sprintf(`document.getElementById(%s.getAttribute('aria-activedescendant'))`, apps)
	for range 10 {
		b.keys(kb.ArrowDown)
		if c := b.control(chosen); c.Role == "option" && strings.Contains(c.Name, "Machine ws-014") {
			break
		}
	}
	b.keys(kb.Enter)

	// The card is in the message, which goes on; it can be taken out again.
	b.until("be back in the message", `document.activeElement.dataset.testid === 'teams-composer'`)
	b.until("see the card in it", hasAll(attached, []string{"Machine ws-014", "Windows11", "shows the rest"}))
	if c := b.control("document.activeElement"); !strings.Contains(c.Description, "Goes out with the message: Machine ws-014") {
		t.Errorf("the message with a card in it is %s, %q", c, c.Description)
	}
	b.tabsBack(attached + `.querySelector('button')`)
	if c := b.control("document.activeElement"); c.String() != `button "Remove the card"` {
		t.Errorf("what takes it out is %s", c)
	}
	b.keys(kb.Enter)
	b.until("be rid of it", `document.activeElement.dataset.testid === 'teams-composer' && !`+attached+`.checkVisibility()`)

	b.opensApps()
	b.keys("ws-014")
	b.offers("Machine ws-014")
	b.until("have one left", list+".children.length === 1")
	b.keys(kb.ArrowDown + kb.Enter)
	b.until("see the card in it", hasAll(attached, []string{"Machine ws-014"}))
	b.keys("have a look at this one" + kb.Enter)
	b.sees("teams-message", "Riley Chen", "have a look at this one", "Machine ws-014", "Windows11")
	b.until("have nothing left to send", `!`+attached+`.checkVisibility()`)

	// It is Riley's message, for everybody in the channel, also for who is not linked.
	b.become(sandbox.Noor)
	b.sees("teams-message", "Riley Chen", "have a look at this one", "Machine ws-014", "Windows11")
	if is[bool](b, `[...document.querySelectorAll('[data-testid=teams-message]')].some(m => m.innerText.includes('have a look') && m.classList.contains('from-bot'))`) {
		t.Error("the message is shown as the bot's")
	}
}

// Whoever finds nothing is told why, where they look for it; what somebody has found
// stays theirs.
func TestBrowserApps_refused(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	b := openPage(t, s.world, true)
	for _, c := range []struct {
		place, text string
		want        []string
	}{
		{"teams-channel-" + sandbox.TeamsApprovals, "ws-014", []string{"Machines are found here only in channels that mdebot.yaml names under readers."}},
		{"teams-direct", "ws-014", []string{"Not in a chat with mdebot."}},
		{"teams-channel-" + sandbox.TeamsSOC, "ws-999", []string{"You see no machine of that name"}},
	} {
		b.open(c.place)
		b.opensApps()
		b.keys(c.text)
		b.offers(c.want...)
		b.until("hear it", fmt.Sprintf(`%s.closest('.search').querySelector('[role=status]').textContent.includes(%q)`, apps, c.want[0]))
		for _, poor := range is[[]string](b, contrast) {
			t.Errorf("%s: too little contrast: %s", c.place, poor)
		}
		b.keys(kb.ArrowDown + kb.Enter)
		if is[bool](b, attached+".checkVisibility()") {
			t.Errorf("%s: a refusal goes into the message", c.place)
		}
		b.keys(kb.Escape)
		b.until("give the focus back", fmt.Sprintf("%s === document.activeElement && !%s", appsButton, apps))
	}

	b.opensApps()
	b.keys("ws-014")
	b.offers("Machine ws-014")
	b.keys(kb.ArrowDown + kb.Enter)
	b.until("see the card in the message", hasAll(attached, []string{"Machine ws-014"}))
	b.open("teams-channel-" + sandbox.TeamsApprovals)
	b.until("leave it where it was found", `!`+attached+`.checkVisibility()`)
	b.open("teams-channel-" + sandbox.TeamsSOC)
	b.until("find it there again", attached+`.checkVisibility()`)
	b.become(sandbox.Noor)
	if is[bool](b, attached+".checkVisibility()") {
		t.Error("Noor has a card in her message that Riley has found")
	}
	b.opensApps()
	b.keys("ws-014")
	b.offers("linked account")
}

// tabsBack walks back to an element with Shift and Tab.
func (b *browser) tabsBack(to string) {
	b.Helper()
	for range 5 {
		b.keysWith(shift, kb.Tab)
		if is[bool](b, to+" === document.activeElement") {
			return
		}
	}
	b.Fatalf("the way back from the message does not lead to %s", to)
}

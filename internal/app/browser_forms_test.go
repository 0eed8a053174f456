package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// desk is a person at one platform's column of the page.
type desk struct {
	*browser
	s        *story
	on       side
	platform string
	prefix   string // of a command in a channel
}

func (d desk) message() string { return d.platform + "-message" }

// openForm is a form that is open on the page.
type openForm struct {
	desk
	name   string
	root   string // selects it
	button string // that opened it, or "" for a command
	dialog bool
}

// typed opens a form by a command that lacks something: in Slack a dialog, and in
// Teams, where a message cannot open one, a card.
func (d desk) typed(command, title string) openForm {
	d.Helper()
	d.write(d.platform+"-composer", d.prefix+command)
	f := openForm{desk: d, name: d.platform + " " + command, root: "dialog[open]", dialog: true}
	if d.platform == "teams" {
		f.root, f.dialog = d.formCard(title), false
		return f
	}
	f.opens(title)
	return f
}

// pressed opens a form by a button on the newest message with the words.
func (d desk) pressed(button, title string, words ...string) openForm {
	d.Helper()
	f := openForm{desk: d, name: d.platform + " " + button, root: "dialog[open]", button: button, dialog: true}
	d.until("find "+button, fmt.Sprintf(`(() => {
		const m = [...document.querySelectorAll('[data-testid=%q]')].reverse().find(m => %s);
		const shown = m && [...m.querySelectorAll('button')].filter(b => b.checkVisibility());
		const button = shown?.find(b => b.textContent === %q) ?? shown?.find(b => b.textContent === 'More');
		button?.focus();
		button?.click();
		return button?.textContent === %[3]q;
	})()`, d.message(), hasAll("m", words), button))
	f.opens(title)
	return f
}

// opens waits for the dialog, which takes the focus.
func (f openForm) opens(title string) {
	f.Helper()
	f.until("open "+f.name, fmt.Sprintf(`document.querySelector('dialog[open] h2')?.textContent === %q`, title))
	if got := f.control(`document.querySelector("dialog[open]")`); got.Role != "dialog" || got.Name != title {
		f.Errorf("%s: the dialog is %s, want a dialog called %s", f.name, got, title)
	}
	if !is[bool](f.browser, `document.querySelector("dialog[open]").contains(document.activeElement) && document.activeElement.matches("input, textarea, select")`) {
		f.Errorf("%s: the focus is on %s, want a field of the dialog", f.name, f.control("document.activeElement"))
	}
}

// formCard selects the newest card that is a form of that title, as long as it lives.
func (d desk) formCard(title string) string {
	d.Helper()
	found := fmt.Sprintf(`[...document.querySelectorAll('[data-testid=%q]')].reverse().find(m => m.querySelector('.card .field') && m.querySelector('.card .text-block')?.textContent === %q)`, d.message(), title)
	d.until("find the form "+title, "!!"+found)
	return fmt.Sprintf(`[data-testid=%q][data-id=%q] .card`, d.message(), is[string](d.browser, found+".dataset.id"))
}

// field is JavaScript for the control with that label.
func (f openForm) field(label string) string {
	return fmt.Sprintf(`[...document.querySelector(%q).querySelectorAll('label[for]')].filter(l => l.textContent.startsWith(%q)).map(l => document.getElementById(l.htmlFor))[0]`, f.root, label)
}

// fill types into a field, or chooses the option that begins so.
func (f openForm) fill(label, text string) {
	f.Helper()
	at := f.field(label)
	if is[bool](f.browser, at+".tagName === 'SELECT'") {
		f.until("choose "+text, fmt.Sprintf(`(s => { s.focus(); const o = [...s.options].find(o => o.text.startsWith(%q)); if (o) s.value = o.value; s.dispatchEvent(new Event('change', {bubbles: true})); return !!o; })(%s)`, text, at))
		return
	}
	f.until("focus "+label, fmt.Sprintf("(e => { e.focus(); e.select(); return document.activeElement === e; })(%s)", at))
	f.keys(text)
	if got := is[string](f.browser, at+".value"); got != text {
		f.Errorf("%s: %s holds %q after %q was typed", f.name, label, got, text)
	}
}

// choose types into a search field and takes the suggestion with the words, all by
// the keyboard.
func (f openForm) choose(label, text, want string) {
	f.Helper()
	f.fill(label, text)
	list := fmt.Sprintf("document.getElementById(%s.getAttribute('aria-controls'))", f.field(label))
	f.until("suggest "+want, fmt.Sprintf("%s.checkVisibility() && [...%[1]s.children].some(o => o.textContent.includes(%q))", list, want))
	chosen := fmt.Sprintf("document.getElementById(%s.getAttribute('aria-activedescendant'))", f.field(label))
	for range 20 {
		f.keys(kb.ArrowDown)
		if c := f.control(chosen); c.Role == "option" && strings.Contains(c.Name, want) {
			f.keys(kb.Enter)
			if value := is[string](f.browser, f.field(label)+".value"); !strings.Contains(value, want) {
				f.Errorf("%s: %s holds %q, want %s", f.name, label, value, want)
			}
			return
		}
	}
	f.Fatalf("%s: the arrows do not reach %s in %s", f.name, want, label)
}

// send presses the form's own button.
func (f openForm) send(label string) {
	f.Helper()
	f.until("press "+label, fmt.Sprintf(`(() => {
		const button = [...document.querySelector(%q)?.querySelectorAll('button') ?? []].find(b => b.checkVisibility() && b.textContent === %q);
		button?.focus();
		button?.click();
		return !!button;
	})()`, f.root, label))
}

// refuses fails unless the form, sent as it is, says at each of the fields that it
// is needed, to assistive technology as well, and puts the focus on the first.
func (f openForm) refuses(submit string, fields ...string) {
	f.Helper()
	for range 2 { // also when the fault stands there already
		f.send(submit)
		f.until("say what is missing", fmt.Sprintf(`document.activeElement === %s`, f.field(fields[0])))
	}
	for _, label := range fields {
		c := f.control(f.field(label))
		// Chromium's tree leaves out that a list is required.
		if !c.Invalid || !c.Required && c.Role != "combobox" || !is[bool](f.browser, f.field(label)+".required") || !strings.Contains(c.Description, "fill in") && !strings.Contains(c.Description, "needed") {
			f.Errorf("%s: the empty field %s is %s, invalid: %t, required: %t, %q", f.name, label, c, c.Invalid, c.Required, c.Description)
		}
		if !is[bool](f.browser, fmt.Sprintf(`(e => document.getElementById(e.id + '-fault').checkVisibility())(%s)`, f.field(label))) {
			f.Errorf("%s: nothing in sight says what is wrong with %s", f.name, label)
		}
	}
}

// escapes closes a dialog by Escape; the focus goes back to what opened it.
func (f openForm) escapes() {
	f.Helper()
	f.keys(kb.Escape)
	f.until("close "+f.name+" by Escape, and give the focus back", fmt.Sprintf(`!document.querySelector('dialog[open]') && %s`, f.opener()))
}

// opener is JavaScript that tells whether what opened the form has the focus.
func (f openForm) opener() string {
	if f.button == "" {
		return fmt.Sprintf("document.activeElement.dataset.testid === '%s-composer'", f.platform)
	}
	return fmt.Sprintf("document.activeElement.closest('[data-id]') && ['More', %q].includes(document.activeElement.textContent)", f.button)
}

func (f openForm) wants(controls ...string) {
	f.Helper()
	if f.dialog {
		controls = slices.Concat([]string{`button "Close"`}, controls)
		if f.platform == "slack" {
			controls = slices.Insert(controls, len(controls)-1, `button "Cancel"`)
		}
	}
	wantControls(f.T, f.name, f.tabsThrough(f.root, f.dialog), controls...)
}

// Every form is completed by keyboard alone, on both platforms.
func TestBrowserForms(t *testing.T) {
	t.Parallel()
	for _, platform := range []string{"slack", "teams"} {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			s := newStoryUnder(t, strings.Replace(sandbox.PolicyYAML(), "to: [slack:C0FIN]", `to: [slack:C0SOC, "teams:19:soc@thread.tacv2"]`, 1), sandbox.Options{})
			s.watching()
			d := desk{browser: openPage(t, s.world, false), s: s, on: s.slack(), platform: platform, prefix: "/mde "}
			home := "slack-channel-" + sandbox.SlackSOC
			if platform == "teams" {
				d.on, d.prefix, home = s.teams(), "@mdebot ", "teams-channel-"+sandbox.TeamsSOC
			}
			d.open(home)

			s.raise("ws-018", "High", "Credential dumping tool")
			s.raise("ws-014", "Medium", "Suspicious scheduled task")
			s.later(time.Minute) // the next look at Defender
			high, medium := []string{"High alert: Credential dumping tool", "ws-018"}, []string{"Medium alert: Suspicious scheduled task", "ws-014"}

			f := d.typed("isolate", "Request isolation")
			f.wants(f.search("Machine"), `textbox "Why"`, `combobox "Type"`, `combobox "For"`, `button "Ask for approval"`)
			f.refuses("Ask for approval", "Machine", "Why")
			if f.dialog {
				f.escapes()
				f = d.typed("isolate", "Request isolation")
			}
			f.choose("Machine", "ws-01", "ws-014")
			f.fill("Why", "beaconing to a known bad address")
			f.send("Ask for approval")
			d.sees(d.message(), "Asked: #1 isolate ws-014")

			f = d.typed("mute", "Mute alerts")
			f.wants(f.optional("textbox", "Title of the alerts"), f.search(f.maybe("Machine")), `combobox "For"`, `textbox "Why"`, `button "Show what it hides"`)
			f.refuses("Show what it hides", "Why")
			f.fill("Title", "Suspicious scheduled task")
			f.choose("Machine", "ws-01", "ws-014")
			f.fill("For", "2 hours")
			f.fill("Why", "the backup tool is being rolled out")
			f.send("Show what it hides")
			d.sees(d.message(), "Mute these alerts?", "Suspicious scheduled task", "ws-014")

			f = d.typed("hunt", "Hunt")
			f.wants(f.optional("combobox", "Saved hunt"), f.optional("textbox", "Or a query of your own"), `button "Go on"`)
			f.fill("Saved hunt", "logons")
			f.send("Go on")
			f = f.goesOn("Run a saved hunt")
			f.wants(f.search("Its machine"), `textbox "How far back"`, `button "Run"`)
			f.refuses("Run", "Its machine")
			f.choose("Its machine", "ws-01", "ws-014")
			f.fill("How far back", "7d")
			f.send("Run")
			d.sees(d.message(), "Hunt: ", "logons", "ago(7d)")

			f = d.pressed("Assign", "Assign alert", high...)
			f.wants(`combobox "To"`, f.optional("textbox", "Or somebody else"), `button "Assign"`)
			f.fill("To", "Avery Stone")
			f.send("Assign")
			d.ends(f, "Avery Stone", high...)

			f = d.pressed("Comment", "Comment on alert", high...)
			f.wants(`textbox "Comment"`, `button "Comment"`)
			f.refuses("Comment", "Comment")
			f.escapes()
			f = d.pressed("Comment", "Comment on alert", high...)
			f.fill("Comment", "seen on two machines")
			f.send("Comment")
			d.ends(f, "", high...)

			f = d.pressed("Hunt around it", "Hunt around the alert", high...)
			f.wants(`combobox "Saved hunt"`, `textbox "How far back"`, `button "Run"`)
			f.fill("Saved hunt", "logons")
			f.send("Run")
			d.ends(f, "", high...)

			f = d.pressed("Request isolation", "Request isolation", high...)
			f.wants(`textbox "Why"`, `combobox "Type"`, `combobox "For"`, `button "Ask for approval"`)
			f.fill("Why", "its credentials are gone")
			f.send("Ask for approval")
			d.ends(f, "", high...)

			f = d.pressed("Resolve", "Resolve alert", high...)
			f.wants(`combobox "What it was"`, f.optional("textbox", "Comment"), `button "Resolve"`)
			f.refuses("Resolve", "What it was")
			f.escapes()
			f = d.pressed("Resolve", "Resolve alert", high...)
			f.fill("What it was", "True positive")
			f.send("Resolve")
			d.ends(f, "Resolved", high...)

			f = d.pressed("Mute", "Mute alerts like this", medium...)
			f.wants(`combobox "Keep back"`, `combobox "For"`, `textbox "Why"`, `button "Mute"`)
			f.refuses("Mute", "Why")
			f.escapes()
			f = d.pressed("Mute", "Mute alerts like this", medium...)
			f.fill("Why", "the backup tool is being rolled out")
			f.send("Mute")
			d.ends(f, "")
			d.sees(d.message(), "Muted", "the backup tool is being rolled out")

			s.later(31 * time.Minute)
			f = d.pressed("Ask again", "Ask again", "Request #1", "expired")
			f.wants(`textbox "Why"`, `button "Ask for approval"`)
			f.send("Ask for approval")
			d.ends(f, "")
			d.sees(d.message(), "Asked: #3 isolate ws-014")

			d.become(sandbox.Avery)
			open := []string{"Request #3", "waits for approval"}
			f = d.pressed("Deny with a reason", "Deny request", open...)
			f.wants(f.optional("combobox", "Why"), f.optional("textbox", "In your words"), `button "Deny"`)
			f.send("Deny")
			d.until("ask for a reason", `document.querySelector('dialog[open]')?.innerText.includes('Choose a reason or write one.')`)
			f.fill("Why", "Known and harmless")
			f.fill("In your words", "it is the backup server")
			f.send("Deny")
			d.ends(f, "Known and harmless. it is the backup server", "Request #3", "denied")

			alert := s.world.Tenant.Alerts()
			i := slices.IndexFunc(alert, func(a estate.Alert) bool { return a.Title == "Credential dumping tool" })
			if i < 0 || alert[i].Status != "Resolved" || *alert[i].Classification != "TruePositive" || *alert[i].AssignedTo != "Avery Stone" || len(alert[i].Comments) == 0 {
				t.Errorf("Defender has %+v", alert)
			}
		})
	}
}

// maybe is the label of an optional field: Slack says so in it.
func (f openForm) maybe(label string) string {
	if f.platform == "slack" {
		return label + " (optional)"
	}
	return label
}

func (f openForm) optional(role, label string) string {
	return fmt.Sprintf("%s %q", role, f.maybe(label))
}

// search is a field that suggests machines.
func (f openForm) search(label string) string { return fmt.Sprintf("combobox %q", label) }

// goesOn is the form that took the place of f.
func (f openForm) goesOn(title string) openForm {
	f.Helper()
	if f.dialog {
		f.opens(title)
		return f
	}
	f.root = f.formCard(title)
	return f
}

// ends waits until the dialog has closed, or says what came of it, and the card with
// the words says the outcome; the focus is back.
func (d desk) ends(f openForm, outcome string, words ...string) {
	d.Helper()
	d.until("close or answer", `!document.querySelector('dialog[open]') || [...document.querySelectorAll('dialog[open] button')].some(b => b.textContent === 'OK' && b === document.activeElement)`)
	if is[bool](d.browser, `!!document.querySelector('dialog[open]')`) {
		d.keys(kb.Enter)
	}
	// A button may be gone by what it did; then the message has the focus.
	d.until("give the focus back", fmt.Sprintf(`!document.querySelector('dialog[open]') && (%s || document.activeElement.matches('[data-id]'))`, f.opener()))
	if outcome != "" {
		d.sees(d.message(), append(slices.Clone(words), outcome)...)
	}
}

package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// hands is what people do beyond typing commands and pressing buttons.
type hands interface {
	// reply writes to the bot in the thread of a message.
	reply(who sandbox.Person, m seen, text string)
	// asks waits for a form with the words; open presses a button that opens one.
	asks(who sandbox.Person, place string, words ...string) form
	open(who sandbox.Person, m seen, label string) form
	// finds types text into a search field of a form and returns the values that are
	// offered, by what they are called.
	finds(who sandbox.Person, f form, field, typed string) map[string]string
	// fill submits a form and returns the faults it then shows, or "".
	fill(who sandbox.Person, f form, fields map[string]string) string
	// choose picks the entry of a menu on a message, by its label and value.
	choose(who sandbox.Person, m seen, label, value string)
	// files are the names and contents of the files who received from the bot.
	files(who sandbox.Person) map[string]string
}

// form is an open form: a modal on Slack, a card or a dialog on Teams.
type form struct {
	text   string
	card   seen   // of a form card on Teams
	dialog string // of a dialog on Teams
	submit string
}

var (
	_ hands = slackSide{}
	_ hands = teamsSide{}
)

func (p slackSide) reply(who sandbox.Person, m seen, text string) {
	p.Helper()
	thread := m.thread
	if thread == "" {
		thread = m.id
	}
	if err := p.world.Slack.Mention(p.Context(), who.Slack, m.place, thread, text); err != nil {
		p.Fatalf("%s replies %s: %v", who.Name, text, err)
	}
}

func (p slackSide) asks(who sandbox.Person, _ string, words ...string) form {
	p.Helper()
	var f form
	p.eventually(fmt.Sprintf("%s waits for a form with %q", who.Name, words), func() string {
		m, open := p.world.Slack.Modal(who.Slack)
		if !open {
			return "no form is open"
		}
		if f.text = string(m.View); !containsAll(f.text, words) {
			return "it says " + f.text
		}
		return ""
	})
	return f
}

func (p slackSide) open(who sandbox.Person, m seen, label string) form {
	p.Helper()
	p.click(who, m, label)
	return p.asks(who, m.place)
}

func (p slackSide) finds(who sandbox.Person, _ form, field, typed string) map[string]string {
	p.Helper()
	found, err := p.world.Slack.Suggest(p.Context(), who.Slack, field, typed)
	if err != nil {
		p.Fatalf("%s types %s into %s: %v", who.Name, typed, field, err)
	}
	options := map[string]string{}
	for _, o := range found {
		options[o.Label+" · "+o.Detail] = o.Value
	}
	return options
}

func (p slackSide) fill(who sandbox.Person, _ form, fields map[string]string) string {
	p.Helper()
	if err := p.world.Slack.SubmitView(p.Context(), who.Slack, fields); err != nil {
		p.Fatalf("%s submits the form: %v", who.Name, err)
	}
	if m, open := p.world.Slack.Modal(who.Slack); open {
		return fmt.Sprint(m.Errors)
	}
	return ""
}

func (p slackSide) choose(who sandbox.Person, m seen, _, value string) {
	p.Helper()
	if err := p.world.Slack.Choose(p.Context(), who.Slack, m.place, m.id, "", value); err != nil {
		p.Fatalf("%s chooses %s: %v", who.Name, value, err)
	}
}

func (p slackSide) files(who sandbox.Person) map[string]string {
	all := map[string]string{}
	for _, m := range p.world.Slack.Messages(p.direct(who), who.Slack) {
		for _, f := range m.Files {
			all[f.Name] = string(f.Content)
		}
	}
	return all
}

func (p teamsSide) reply(who sandbox.Person, m seen, text string) {
	p.Helper()
	thread := m.thread
	if thread == "" {
		thread = m.id
	}
	if _, err := p.world.Teams.Message(p.Context(), who.Object, m.place, "@mdebot "+text, thread); err != nil {
		p.Fatalf("%s replies %s: %v", who.Name, text, err)
	}
}

func (p teamsSide) asks(who sandbox.Person, place string, words ...string) form {
	p.Helper()
	m := p.sees(p, who, place, words...)
	return form{text: string(m.payload), card: m, submit: "Ask for approval"}
}

func (p teamsSide) open(who sandbox.Person, m seen, label string) form {
	p.Helper()
	d, err := p.world.Teams.OpenDialog(p.Context(), who.Object, m.id, teamssim.Choice{Title: label})
	if err != nil {
		p.Fatalf("%s opens %s: %v", who.Name, label, err)
	}
	return form{text: d.Title + string(d.Card), dialog: d.ID}
}

func (p teamsSide) finds(who sandbox.Person, f form, field, typed string) map[string]string {
	p.Helper()
	found, err := p.world.Teams.Search(p.Context(), who.Object, cmp.Or(f.dialog, f.card.id), "field."+field, typed)
	if err != nil {
		p.Fatalf("%s types %s into %s: %v", who.Name, typed, field, err)
	}
	options := map[string]string{}
	for _, o := range found {
		options[o.Title] = o.Value
	}
	return options
}

func (p teamsSide) fill(who sandbox.Person, f form, fields map[string]string) string {
	p.Helper()
	inputs := map[string]any{}
	for id, v := range fields {
		inputs["field."+id] = v
	}
	var out teamssim.Outcome
	var err error
	if f.dialog != "" {
		out, err = p.world.Teams.SubmitDialog(p.Context(), who.Object, f.dialog, inputs)
	} else {
		out, err = p.world.Teams.Click(p.Context(), who.Object, f.card.id, teamssim.Choice{Title: f.submit}, inputs)
	}
	if err != nil {
		p.Fatalf("%s submits the form: %v", who.Name, err)
	}
	switch {
	case out.Dialog != nil:
		return readable(out.Dialog.Card)
	case strings.Contains(readable(out.Card), f.submit) && f.submit != "":
		return readable(out.Card)
	}
	return ""
}

func (p teamsSide) choose(who sandbox.Person, m seen, label, _ string) {
	p.Helper()
	p.click(who, m, label)
}

// files accepts whatever the bot offers, as the person would.
func (p teamsSide) files(who sandbox.Person) map[string]string {
	p.Helper()
	for _, m := range p.world.Teams.Messages(p.direct(who), who.Object) {
		offers := slices.ContainsFunc(m.Attachments, func(a teamssim.Attachment) bool {
			return a.ContentType == "application/vnd.microsoft.teams.card.file.consent"
		})
		if offers && !m.Deleted {
			// A second answer to the same offer is refused.
			_ = p.world.Teams.AnswerFile(p.Context(), who.Object, m.ID, true)
		}
	}
	all := map[string]string{}
	for _, f := range p.world.Teams.Files() {
		if f.User == who.Object {
			all[f.Name] = string(f.Content)
		}
	}
	return all
}

// platforms runs a story once on each platform, each in a world of its own.
var platforms = []struct {
	name string
	on   func(*story) side
}{
	{"Slack", (*story).slack},
	{"Teams", (*story).teams},
}

// told waits until who is told all the words by a message in place or in the
// direct chat with the bot.
func (s *story) told(on side, who sandbox.Person, place string, words ...string) seen {
	s.Helper()
	var found seen
	s.eventually(fmt.Sprintf("%s is told %q", who.Name, words), func() string {
		all := slices.Concat(on.see(who, on.direct(who)), on.see(who, place))
		for _, m := range slices.Backward(all) {
			if containsAll(m.text, words) {
				found = m
				return ""
			}
		}
		var b strings.Builder
		for _, m := range all {
			fmt.Fprintf(&b, "\n--- %s", m.text)
		}
		return "not among" + b.String()
	})
	return found
}

// ask types a command in the SOC's channel and waits for an answer with the
// words, there or in the direct chat.
func (s *story) ask(on side, who sandbox.Person, text string, words ...string) seen {
	s.Helper()
	on.write(who, on.soc(), text)
	return s.told(on, who, on.soc(), words...)
}

// turns waits until the message m says all the words.
func (s *story) turns(on side, who sandbox.Person, m seen, words ...string) seen {
	s.Helper()
	s.eventually(fmt.Sprintf("%s waits for %q on a message", who.Name, words), func() string {
		for _, now := range on.see(who, m.place) {
			if now.id == m.id {
				if m = now; containsAll(m.text, words) {
					return ""
				}
			}
		}
		return "it says " + m.text
	})
	return m
}

// pressed clicks a button and waits until the one who clicked is told the words.
func (s *story) pressed(on side, who sandbox.Person, m seen, label string, words ...string) {
	s.Helper()
	if containsAll(on.click(who, m, label), words) {
		return
	}
	s.told(on, who, m.place, words...)
}

// request asks for the isolation of a machine on one platform and returns the
// card as an approver sees it on the other or the same.
func (s *story) request(ask, vote side, who, approver sandbox.Person, machine, reason string) seen {
	s.Helper()
	ask.write(who, ask.soc(), "isolate "+machine+" "+reason)
	return s.sees(vote, approver, vote.approvals(), "isolate "+machine, "waits for approval", reason)
}

// machine is the one machine with a name.
func (s *story) machine(name string) defendersim.MachineState {
	s.Helper()
	found := s.world.Tenant.Named(name)
	if len(found) != 1 {
		s.Fatalf("the estate has %d machines called %s, want one", len(found), name)
	}
	return found[0]
}

// watching waits until the bot has looked at Defender's alerts, so that what is
// raised from now on is new.
func (s *story) watching() {
	s.Helper()
	s.eventually("the first look at Defender", func() string {
		if h, err := s.bot.notify.Health(s.Context(), s.bot.tenant); err != nil || h.LastGood.IsZero() {
			return fmt.Sprint(h, err)
		}
		return ""
	})
}

// recorded waits until the bot has written down what it posted, which takes less
// time than a person needs to answer.
func (s *story) recorded() {
	s.Helper()
	s.eventually("posts are recorded", func() string {
		if p, err := s.bot.notify.Pending(s.Context()); err != nil || p.Count > 0 {
			return fmt.Sprint(p, err)
		}
		return ""
	})
}

// raise puts a new alert on a machine.
func (s *story) raise(machine, severity, title string) estate.Alert {
	s.Helper()
	a, err := s.world.Tenant.RaiseAlert(s.machine(machine).ID, severity, title)
	if err != nil {
		s.Fatal(err)
	}
	return a
}

// wantIsolations fails unless exactly n isolations took effect.
func (s *story) wantIsolations(n int) {
	s.Helper()
	if got := s.isolations(); len(got) != n {
		s.Errorf("%d isolations took effect, want %d: %+v", len(got), n, got)
	}
}

// posted counts the messages of a place, as who sees them, that hold the words.
func (s *story) posted(on side, who sandbox.Person, place string, words ...string) int {
	n := 0
	for _, m := range on.see(who, place) {
		if containsAll(m.text, words) {
			n++
		}
	}
	return n
}

// has tells whether a message of Slack or a card of Teams shows a button.
func (m seen) has(label string) bool {
	var v any
	return json.Unmarshal(m.payload, &v) == nil && hasButton(v, label)
}

func hasButton(v any, label string) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return hasButton(e, label) })
	case map[string]any:
		if kind, _ := v["type"].(string); kind == "button" || strings.HasPrefix(kind, "Action.") {
			if text, ok := v["text"].(map[string]any); ok && text["text"] == label || v["title"] == label {
				return true
			}
		}
		for _, e := range v {
			if hasButton(e, label) {
				return true
			}
		}
	}
	return false
}

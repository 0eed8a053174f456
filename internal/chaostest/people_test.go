package chaostest

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// eye reads what people see in the channels, over and over.
type eye struct {
	world *sandbox.World

	mu     sync.Mutex
	parsed map[string]seen // by place and message, of the newest edit
	about  map[string][]seen
}

// seen is a message as it stands.
type seen struct {
	place, id string
	edits     int
	text      string
	first     time.Time // when the eye saw it first
}

// places are the channels where cards and alerts of a round stand.
var places = []string{sandbox.SlackSOC, sandbox.SlackApprovals, sandbox.TeamsSOC, sandbox.TeamsApprovals}

// named finds what a message is about: machines of wishes, and alarms.
var named = regexp.MustCompile(`cx-\d{4}|Alarm \d{4}`)

func newEye(w *sandbox.World) *eye { return &eye{world: w, parsed: map[string]seen{}} }

// watch looks until ctx ends.
func (e *eye) watch(ctx context.Context) {
	for pause(ctx, 150*time.Millisecond) {
		e.look()
	}
}

func (e *eye) look() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	about := map[string][]seen{}
	note := func(place, id string, edits int, text func() string) {
		m, known := e.parsed[place+id]
		if !known || m.edits != edits {
			first := now
			if known {
				first = m.first
			}
			m = seen{place: place, id: id, edits: edits, text: text(), first: first}
			e.parsed[place+id] = m
		}
		names := map[string]bool{}
		for _, name := range named.FindAllString(m.text, -1) {
			names[name] = true
		}
		for name := range names {
			about[name] = append(about[name], m)
		}
	}
	for _, place := range places {
		if strings.HasPrefix(place, "19:") {
			for _, m := range e.world.Teams.Messages(place, sandbox.Riley.Object) {
				if m.FromBot && m.OnlyFor == "" {
					note(place, m.ID, m.Edits, func() string { return m.Text + "\n" + readable(m.Card) })
				}
			}
			continue
		}
		for _, m := range e.world.Slack.Messages(place, "") {
			if m.FromBot && m.OnlyFor == "" {
				note(place, m.TS, m.Edits, func() string { return readable(m.Blocks) + readable(m.Attachments) + m.Text })
			}
		}
	}
	e.about = about
}

// of are the messages about something, oldest first in each place.
func (e *eye) of(name string) []seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.about[name])
}

// titles finds a request's number, machine and state in its cards and replies.
var titles = regexp.MustCompile(`#(\d+):? isolate (cx-\d{4})[^\s:]*(?: –|:) ([a-z][^\n,]*)`)

// states are what the messages of a place say about a machine's request.
func (e *eye) states(machine, place string) map[string]bool {
	states := map[string]bool{}
	for _, m := range e.of(machine) {
		if m.place != place {
			continue
		}
		for _, found := range titles.FindAllStringSubmatch(m.text, -1) {
			if found[2] == machine {
				states[strings.TrimSpace(found[3])] = true
			}
		}
	}
	return states
}

// readable collects the strings of a payload that people read.
func readable(payload json.RawMessage) string {
	var v any
	if len(payload) == 0 || json.Unmarshal(payload, &v) != nil {
		return ""
	}
	var b strings.Builder
	read(&b, v, "\n")
	return b.String()
}

func read(b *strings.Builder, v any, end string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			read(b, e, end)
		}
	case map[string]any:
		inside := end
		runs := v["type"] == "rich_text_section" || v["type"] == "RichTextBlock"
		if runs {
			inside = ""
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			s, isText := v[k].(string)
			switch {
			case !isText:
				read(b, v[k], inside)
			case slices.Contains([]string{"text", "title", "value", "label", "altText", "alt_text"}, k):
				b.WriteString(s + inside)
			}
		}
		if runs {
			b.WriteString(end)
		}
	}
}

// What people have in mind for a request.
const (
	approve = "approve"
	twice   = "approve twice at once"
	deny    = "deny"
	both    = "approve and deny at once"
	selfish = "approve one's own"
)

var plans = []string{approve, approve, approve, approve, twice, twice, deny, both, selfish}

// wish is one person's wish to isolate a machine, and what becomes of it.
type wish struct {
	machine, id string
	asker       sandbox.Person
	voters      []sandbox.Person
	onSlack     bool   // where it is asked
	voteOnSlack []bool // where each voter votes
	plan        string
	at          time.Duration // after the round began

	mu     sync.Mutex
	clicks []click
}

// click is a press of a button, noted before the bot can know of it.
type click struct {
	at   time.Time
	by   sandbox.Person
	what string
}

func (w *wish) origin() string {
	if w.onSlack {
		return sandbox.SlackSOC
	}
	return sandbox.TeamsSOC
}

// ends are the states after which nothing more happens by itself.
var ends = []string{"isolated", "failed", "denied", "void", "withdrawn", "expired"}

// told is the end that the asker sees where they asked; unclear counts as one,
// because it says that people have to look.
func (r *round) told(w *wish) (end string, unclear bool) {
	for state := range r.eye.states(w.machine, w.origin()) {
		for _, e := range ends {
			if strings.HasPrefix(state, e) {
				end = e
			}
		}
		unclear = unclear || strings.HasPrefix(state, "unclear")
	}
	return end, unclear
}

// pursue asks and votes as people do who see no effect: again, after a while.
func (r *round) pursue(ctx context.Context, w *wish) {
	if !pause(ctx, w.at) {
		return
	}
	for len(r.eye.of(w.machine)) == 0 {
		r.Logf("%s asks %s", time.Since(r.began).Round(time.Millisecond), w.machine)
		text := "isolate " + w.machine + " chaos of " + w.plan
		if w.onSlack {
			_ = r.world.Slack.Slash(ctx, w.asker.Slack, sandbox.SlackSOC, text) // an error is one more reason to ask again
		} else {
			_, _ = r.world.Teams.Message(ctx, w.asker.Object, sandbox.TeamsSOC, "@mdebot "+text, "")
		}
		for wait := 0; wait < 40 && len(r.eye.of(w.machine)) == 0; wait++ {
			if !pause(ctx, 150*time.Millisecond) {
				return
			}
		}
	}
	for try, undecided := 0, true; undecided; try++ {
		var hands sync.WaitGroup
		for i, voter := range w.voters {
			what := "Approve"
			switch {
			case w.plan == selfish && try < 2:
				voter = w.asker
			case w.plan == selfish, w.plan == deny, w.plan == both && i == 1:
				what = "Deny"
			}
			hands.Go(func() { r.press(ctx, w, voter, w.voteOnSlack[i], what) })
		}
		hands.Wait()
		for wait := 0; wait < 20 && undecided; wait++ {
			if !pause(ctx, 150*time.Millisecond) {
				return
			}
			undecided = r.undecided(w)
		}
	}
}

// undecided tells that no message about the request says more than that it waits.
func (r *round) undecided(w *wish) bool {
	for _, place := range places {
		for state := range r.eye.states(w.machine, place) {
			if !strings.HasPrefix(state, "waits") {
				return false
			}
		}
	}
	return true
}

// press clicks a button on the newest card that offers it.
func (r *round) press(ctx context.Context, w *wish, who sandbox.Person, onSlack bool, what string) {
	place := sandbox.TeamsApprovals
	if onSlack {
		place = sandbox.SlackApprovals
	}
	for _, m := range slices.Backward(r.eye.of(w.machine)) {
		if m.place != place || !strings.Contains(m.text, "waits for approval") {
			continue
		}
		r.Logf("%s %s clicks %s on %s", time.Since(r.began).Round(time.Millisecond), who.Key, what, w.machine)
		w.mu.Lock()
		w.clicks = append(w.clicks, click{time.Now(), who, what})
		w.mu.Unlock()
		var err error
		if onSlack {
			err = r.world.Slack.Click(ctx, who.Slack, place, m.id, slacksim.Press{Label: what})
		} else {
			_, err = r.world.Teams.Click(ctx, who.Object, m.id, teamssim.Choice{Title: what}, nil)
		}
		if err != nil { // the bot may be down; a click is seen by its effect
			r.Logf("the click on %s: %v", m.id, err)
		}
		return
	}
}

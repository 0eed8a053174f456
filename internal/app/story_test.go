package app

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Stories wait far more than they compute.
	if err := flag.Set("test.parallel", "10"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		removeBinary()
		os.Exit(code)
	}))
}

// patience is how long a story waits for what must come. It is far more than it
// takes, because tests share two cores.
const patience = 3 * time.Minute

// story is the whole bot in a simulated world, used over HTTP.
type story struct {
	*testing.T
	world *sandbox.World
	dir   string
	env   []string

	logs io.Writer // of bots that are started from now on; nil shows them on demand

	texts sync.Map // of payloads, which are looked at again and again

	ahead atomic.Int64 // how far the bot's clock is ahead of the real one

	bot  *App
	stop context.CancelFunc
	done chan error
}

// later moves the bot's clock. Chat platforms and Defender keep the real time.
func (s *story) later(d time.Duration) { s.ahead.Add(int64(d)) }

func (s *story) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// newStory starts a world and the bot in it.
func newStory(t *testing.T, o sandbox.Options, env ...string) *story {
	t.Helper()
	return newStoryUnder(t, sandbox.PolicyYAML(), o, env...)
}

// newStoryUnder is newStory with a mdebot.yaml of its own.
func newStoryUnder(t *testing.T, yaml string, o sandbox.Options, env ...string) *story {
	t.Helper()
	return newStoryIn(t, yaml, o, func(*story) []string { return env })
}

// newStoryIn is newStoryUnder in a world that is prepared before the bot starts.
func newStoryIn(t *testing.T, yaml string, o sandbox.Options, prepare func(*story) []string) *story {
	t.Helper()
	if o.Timing == (defendersim.Timing{}) {
		o.Timing = defendersim.Timing{Start: 300 * time.Millisecond, Run: 300 * time.Millisecond}
	}
	if o.AckWithin == 0 {
		o.AckWithin = 15 * time.Second // how soon mdebot answers is measured elsewhere, on a quiet machine
	}
	world, err := sandbox.New(t.Context(), o)
	if err != nil {
		t.Fatalf("start the world: %v", err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Errorf("stop the world: %v", err)
		}
	})
	s := &story{T: t, world: world, dir: t.TempDir()}
	s.writePolicy(yaml)
	s.env = slices.Concat(world.Environment(), []string{
		"MDEBOT_CONFIG=" + filepath.Join(s.dir, "mdebot.yaml"),
		"MDEBOT_DATABASE_URL=sqlite:" + filepath.Join(s.dir, "mdebot.db"),
		"MDEBOT_LISTEN=127.0.0.1:0",
		"MDEBOT_ADMIN_LISTEN=127.0.0.1:0",
	}, prepare(s))
	t.Cleanup(s.firstLines)
	s.start()
	t.Cleanup(s.halt)
	return s
}

func (s *story) writePolicy(yaml string) {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "mdebot.yaml"), []byte(yaml), 0o600); err != nil {
		s.Fatal(err)
	}
}

// changePolicy writes an mdebot.yaml and waits until it is in force.
func (s *story) changePolicy(yaml string) {
	s.Helper()
	before := s.bot.policy.Current().Hash()
	s.writePolicy(yaml)
	s.eventually("the new mdebot.yaml", func() string {
		if s.bot.policy.Current().Hash() == before {
			return "the old one is still in force"
		}
		return ""
	})
}

// start starts the bot and connects the platforms to it.
func (s *story) start() {
	s.Helper()
	cfg, err := LoadConfig(s.Context(), s.env)
	if err != nil {
		s.Fatalf("LoadConfig() = %v", err)
	}
	logger := slog.New(slog.NewJSONHandler(logTo(s.T), nil))
	if s.logs != nil {
		logger = slog.New(slog.NewJSONHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	bot, err := newAt(s.Context(), cfg, logger, s.now)
	if err != nil {
		s.Fatalf("New() = %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.bot, s.stop, s.done = bot, stop, make(chan error, 1)
	go func() { s.done <- bot.Run(ctx) }()
	if err := s.world.Connect(s.Context(), "http://"+bot.Addr().String()); err != nil {
		s.halt()
		s.Fatalf("connect the platforms: %v", err)
	}
}

// halt stops the bot as SIGTERM does.
func (s *story) halt() {
	s.Helper()
	if s.stop == nil {
		return
	}
	s.stop()
	s.stop = nil
	if err := <-s.done; err != nil {
		s.Errorf("Run() = %v", err)
	}
}

// logTo shows the bot's log when MDEBOT_TEST_LOG is set.
func logTo(t *testing.T) io.Writer {
	if os.Getenv("MDEBOT_TEST_LOG") == "" {
		return io.Discard
	}
	return testWriter{t}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// eventually waits until check returns "", and fails with what it returned last.
func (s *story) eventually(what string, check func() string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	slack, stopSlack := s.world.Slack.Subscribe()
	defer stopSlack()
	teams, stopTeams := s.world.Teams.Subscribe()
	defer stopTeams()
	// Defender's ledger and the database change without telling.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := check()
		if missing == "" {
			return
		}
		select {
		case <-ctx.Done():
			s.Fatalf("%s: %s", what, missing)
		case <-slack:
		case <-teams:
		case <-tick.C:
		}
	}
}

// side is one chat platform as a person uses it.
type side interface {
	// write types a command in a place.
	write(who sandbox.Person, place, text string)
	// see lists what who sees in a place, oldest first.
	see(who sandbox.Person, place string) []seen
	// click presses a button by its label on a message.
	click(who sandbox.Person, m seen, label string) string
	// direct is who's direct chat with the bot.
	direct(who sandbox.Person) string
	approvals() string
	soc() string
	// lobby is where guests are.
	lobby() string
	hands
}

// seen is a message as somebody sees it.
type seen struct {
	place, id, thread string
	text              string // everything in the payload that people read
	edits             int
	payload           json.RawMessage
}

func (s *story) slack() side { return slackSide{s} }
func (s *story) teams() side { return teamsSide{s} }

// sees waits until who sees a message with all the words in a place, and
// returns the newest.
func (s *story) sees(on side, who sandbox.Person, place string, words ...string) seen {
	s.Helper()
	var found seen
	s.eventually(fmt.Sprintf("%s looks for %q in %s", who.Name, words, place), func() string {
		all := on.see(who, place)
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

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// isolations lists the isolations that took effect at Defender.
func (s *story) isolations() []defendersim.Effect {
	return s.world.Tenant.Effects(func(e defendersim.Effect) bool { return e.Kind == defendersim.EffectIsolate })
}

// readable is what people read of a payload.
func (s *story) readable(payload json.RawMessage) string {
	if text, known := s.texts.Load(string(payload)); known {
		return text.(string)
	}
	text := readable(payload)
	s.texts.Store(string(payload), text)
	return text
}

// readable collects the strings of a payload that people read, a line for each
// block and the runs of one line together.
func readable(payload json.RawMessage) string {
	var v any
	if json.Unmarshal(payload, &v) != nil {
		return string(payload)
	}
	var b strings.Builder
	read(&b, v, "\n")
	return b.String()
}

// read writes what v shows; end follows each string.
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
			case slices.Contains([]string{"text", "title", "value", "label", "altText", "alt_text", "placeholder"}, k):
				b.WriteString(s + inside)
			}
		}
		if runs {
			b.WriteString(end)
		}
	}
}

type slackSide struct{ *story }

func (p slackSide) write(who sandbox.Person, place, text string) {
	p.Helper()
	if err := p.world.Slack.Slash(p.Context(), who.Slack, place, text); err != nil {
		p.Fatalf("%s types /mde %s: %v", who.Name, text, err)
	}
}

func (p slackSide) see(who sandbox.Person, place string) []seen {
	var out []seen
	for _, m := range p.world.Slack.Messages(place, who.Slack) {
		text := p.readable(m.Blocks) + p.readable(m.Attachments)
		if text == "" {
			text = m.Text
		}
		out = append(out, seen{place: place, id: m.TS, thread: m.ThreadTS, text: text, edits: m.Edits, payload: m.Payload})
	}
	return out
}

func (p slackSide) click(who sandbox.Person, m seen, label string) string {
	p.Helper()
	if err := p.world.Slack.Click(p.Context(), who.Slack, m.place, m.id, slacksim.Press{Label: label}); err != nil {
		p.Fatalf("%s clicks %s: %v", who.Name, label, err)
	}
	return ""
}

func (p slackSide) direct(who sandbox.Person) string { return p.world.Slack.DirectChannel(who.Slack) }
func (slackSide) approvals() string                  { return sandbox.SlackApprovals }
func (slackSide) soc() string                        { return sandbox.SlackSOC }
func (slackSide) lobby() string                      { return sandbox.SlackLobby }

type teamsSide struct{ *story }

func (p teamsSide) write(who sandbox.Person, place, text string) {
	p.Helper()
	if strings.HasPrefix(place, "19:") {
		text = "@mdebot " + text
	}
	if _, err := p.world.Teams.Message(p.Context(), who.Object, place, text, ""); err != nil {
		p.Fatalf("%s writes %s: %v", who.Name, text, err)
	}
}

func (p teamsSide) see(who sandbox.Person, place string) []seen {
	var out []seen
	for _, m := range p.world.Teams.Messages(place, who.Object) {
		out = append(out, seen{place: place, id: m.ID, thread: m.Thread, text: m.Text + "\n" + p.readable(m.Card) + m.Note, edits: m.Edits, payload: m.Payload})
	}
	return out
}

func (p teamsSide) click(who sandbox.Person, m seen, label string) string {
	p.Helper()
	out, err := p.world.Teams.Click(p.Context(), who.Object, m.id, teamssim.Choice{Title: label}, nil)
	if err != nil {
		p.Fatalf("%s clicks %s: %v", who.Name, label, err)
	}
	return out.Note + readable(out.Card)
}

func (p teamsSide) direct(who sandbox.Person) string { return p.world.Teams.PersonalChat(who.Object) }
func (teamsSide) approvals() string                  { return sandbox.TeamsApprovals }
func (teamsSide) soc() string                        { return sandbox.TeamsSOC }
func (teamsSide) lobby() string                      { return sandbox.TeamsLobby }

func TestStory_askOnOnePlatformApproveOnTheOther(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name      string
		ask, vote func(*story) side
	}{
		{"Slack and Slack", (*story).slack, (*story).slack},
		{"Slack and Teams", (*story).slack, (*story).teams},
		{"Teams and Slack", (*story).teams, (*story).slack},
		{"Teams and Teams", (*story).teams, (*story).teams},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, sandbox.Options{})
			ask, vote := way.ask(s), way.vote(s)

			ask.write(sandbox.Riley, ask.soc(), "isolate ws-011 beaconing to a known bad address")
			s.sees(ask, sandbox.Riley, ask.soc(), "isolate ws-011", "waits for approval", "beaconing to a known bad address")
			card := s.sees(vote, sandbox.Avery, vote.approvals(), "isolate ws-011", "waits for approval")
			if n := len(s.isolations()); n != 0 {
				t.Fatalf("%d isolations before anybody approved", n)
			}
			vote.click(sandbox.Avery, card, "Approve")

			s.sees(ask, sandbox.Riley, ask.soc(), "isolate ws-011.corp.contoso.com – isolated", "Avery Stone")
			s.sees(vote, sandbox.Avery, vote.approvals(), "isolate ws-011.corp.contoso.com – isolated", "Avery Stone")
			got := s.isolations()
			if len(got) != 1 {
				t.Fatalf("%d isolations took effect, want 1: %+v", len(got), got)
			}
			if !strings.Contains(got[0].Comment, "Riley Chen") || !strings.Contains(got[0].Comment, "Avery Stone") {
				t.Errorf("Defender's comment %q names not both people", got[0].Comment)
			}
		})
	}
}

func TestStory_requesterCannotApproveFromEitherPlatform(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate ws-012 test of the rule")
	onSlack := s.sees(s.slack(), sandbox.Riley, sandbox.SlackApprovals, "isolate ws-012", "waits for approval")
	onTeams := s.sees(s.teams(), sandbox.Riley, sandbox.TeamsApprovals, "isolate ws-012", "waits for approval")

	s.slack().click(sandbox.Riley, onSlack, "Approve")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackApprovals, "You asked for this yourself")
	s.pressed(s.teams(), sandbox.Riley, onTeams, "Approve", "You asked for this yourself")
	s.sees(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "isolate ws-012", "waits for approval", "0 of 1")
	if n := len(s.isolations()); n != 0 {
		t.Errorf("%d isolations took effect, want none", n)
	}
}

func TestStory_highAlertPostsItselfOnceOnBothPlatforms(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.eventually("the first look at Defender", func() string {
		if h, err := s.bot.notify.Health(t.Context(), s.bot.tenant); err != nil || h.LastGood.IsZero() {
			return fmt.Sprint(h, err)
		}
		return ""
	})
	machine := s.world.Tenant.Named("ws-013.corp.contoso.com")[0]
	if _, err := s.world.Tenant.RaiseAlert(machine.ID, "High", "Credential theft on a finance machine"); err != nil {
		t.Fatal(err)
	}
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Credential theft on a finance machine", "High")
	s.sees(s.teams(), sandbox.Riley, sandbox.TeamsSOC, "Credential theft on a finance machine", "High")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackFinance, "Credential theft on a finance machine")
}

package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// listening is Defender and the two-person rule, and keeps what they were asked
// for that nobody typed.
type listening struct {
	*estate
	Approvals
	typed  string
	wrong  []string
	found  []string // machine IDs that a typed word led to
	opened int
}

func (l *listening) literal(what, value string) {
	typed := strings.ReplaceAll(strings.ToLower(l.typed), "[.]", ".") // as people write what must not be clicked
	if value == "" || !strings.Contains(typed, strings.ToLower(value)) {
		l.wrong = append(l.wrong, fmt.Sprintf("%s of %q", what, value))
	}
}

func (l *listening) Alert(ctx context.Context, id string) (defender.Alert, error) {
	l.literal("alert", id)
	return l.estate.Alert(ctx, id)
}

func (l *listening) UpdateAlert(ctx context.Context, id string, u defender.AlertUpdate) (defender.Alert, error) {
	l.literal("update", id)
	return defender.Alert{}, defender.ErrNotFound // the estate stays as it is
}

func (l *listening) FindMachines(ctx context.Context, query string) (defender.Found, error) {
	l.mu.Lock()
	l.literal("search", query)
	l.mu.Unlock()
	found, err := l.estate.FindMachines(ctx, query)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range found.Machines {
		l.found = append(l.found, m.ID)
	}
	return found, err
}

func (l *listening) MachineAction(ctx context.Context, id string) (defender.MachineAction, error) {
	l.literal("machine action", id)
	return l.estate.MachineAction(ctx, id)
}

func (l *listening) Vulnerability(ctx context.Context, id string) (defender.Vulnerability, error) {
	l.literal("vulnerability", id)
	return l.estate.Vulnerability(ctx, id)
}

func (l *listening) TagMachine(_ context.Context, id, tag string, _ bool) (defender.Machine, error) {
	l.literal("tag", tag)
	if !slices.Contains(l.found, id) {
		l.wrong = append(l.wrong, "tagging of "+id)
	}
	return defender.Machine{}, defender.ErrNotFound
}

func (l *listening) Open(_ context.Context, in approvals.OpenInput) (approvals.Opened, error) {
	l.opened++
	for _, t := range in.Targets {
		if approvals.Actions()[in.Action].Target == approvals.TargetIndicator {
			_, value, _ := strings.Cut(t.ID, ":")
			l.literal(in.Action, value)
			continue
		}
		if !slices.Contains(l.found, t.ID) {
			l.wrong = append(l.wrong, in.Action+" of "+t.ID)
		}
	}
	if strings.TrimSpace(in.Reason) == "" {
		l.wrong = append(l.wrong, in.Action+" without a reason")
	}
	return approvals.Opened{}, &approvals.Refusal{Sentence: "Not now."}
}

func (l *listening) Freeze(context.Context, approvals.FreezeInput) (approvals.Frozen, error) {
	return approvals.Frozen{}, &approvals.Refusal{Sentence: "Not now."}
}

// FuzzCommands types anything: every command's arguments and flags. It is answered
// and not with a fault, and nothing is read or asked for that was not typed.
func FuzzCommands(f *testing.F) {
	for _, s := range Specs() {
		for _, example := range append(s.Examples, s.Usage, s.Name) {
			f.Add(example, false)
		}
	}
	for _, s := range []string{
		"isolate ws-042,ws-043 --reason \"a b\"", "isolate " + ws042 + " –selective because", "alert " + alert1 + " ack", "alert ack " + alert1,
		"release twin x", "tag ws-042 +a -b", "machines ws- --seen 9999999999d", "alerts high --since 24H --machine ws-042", "hunt ```T | take 1```",
		"isolate ws-042\u202e x", "isolate <http://ws-042|ws-042> x", "settle 1 done ws-042 seen", "approve #1", "approve 99999999999999999999", "incident 7",
	} {
		f.Add(s, true)
	}
	w := newWorld(f)
	l := &listening{estate: w.estate, Approvals: w.service}
	w.Defender, w.Approvals = l, l
	f.Fuzz(func(t *testing.T, text string, asAdmin bool) {
		l.typed, l.wrong, l.found = text, nil, nil
		w.clock = w.clock.Add(10 * time.Minute) // limits of an hour are another matter
		w.log.Reset()
		clear(w.seen)
		w.recorded = nil
		by := riley
		if asAdmin {
			by = admin
		}
		inv := w.invocation(chat.Command, by)
		inv.Text, inv.Delivery = text, "d"
		resp := w.Handle(t.Context(), inv)
		said := resp.Message
		if resp.Later != nil {
			var out answers
			resp.Later(t.Context(), &out)
			if len(out.final) != 1 {
				t.Fatalf("%q got %d answers", text, len(out.final))
			}
			said = &out.final[0]
		}
		if said == nil && resp.Form == nil {
			t.Fatalf("%q got no answer", text)
		}
		if said != nil && strings.Contains(said.Title.String(), "Something went wrong") {
			t.Errorf("%q went wrong: %s", text, w.log.String())
		}
		if len(l.wrong) > 0 && utf8.ValidString(text) {
			t.Errorf("%q led to %q", text, l.wrong)
		}
	})
}

// FuzzParseAge: spans are bounded, and nothing but what they say.
func FuzzParseAge(f *testing.F) {
	for _, s := range []string{"90m", "24h", "7d", "180d", "181d", "0m", "-1h", "9223372036854775807d", "1D", "٣d", "1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseAge(s)
		if !ok {
			return
		}
		if d <= 0 || d > 180*24*time.Hour {
			t.Errorf("parseAge(%q) = %s", s, d)
		}
		hours := strings.NewReplacer("d", "*24h", "D", "*24h", "H", "h", "M", "m").Replace(s)
		number, unit, days := strings.Cut(hours, "*24")
		want, err := time.ParseDuration(number + unit)
		if days {
			want *= 24
		}
		if err != nil || want != d {
			t.Errorf("parseAge(%q) = %s, want %s, %v", s, d, want, err)
		}
	})
}

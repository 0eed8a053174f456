package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
)

func order(m policy.Mute, d time.Duration) policy.MuteOrder {
	return policy.MuteOrder{ID: uuid.NewString(), Mute: m, For: d, By: "Riley Chen", Reason: "rollout of the backup tool"}
}

// known puts the machine of the alerts where it can be read.
func (f *fixture) known(id string, tags ...string) {
	f.defender.machines[id] = defender.Machine{ID: id, Tags: append(tags, "finance")}
}

func lastAt(t *testing.T, posts []posted) string {
	t.Helper()
	if len(posts) == 0 {
		t.Fatal("nothing was posted")
	}
	m := posts[len(posts)-1].message
	var b strings.Builder
	fmt.Fprintln(&b, m.Title)
	for _, f := range m.Facts {
		fmt.Fprintln(&b, f.Label, f.Value)
	}
	for _, s := range m.Sections {
		for _, l := range s.Lines {
			fmt.Fprintln(&b, l)
		}
	}
	return b.String()
}

func TestMute_keepsBackIsAnnouncedAndSummedUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.known("m1")
	f.settle()
	v, err := f.n.BeginMute(t.Context(), contoso, order(policy.Mute{Title: "Noise"}, time.Hour))
	if err != nil || v.Number != 1 {
		t.Fatalf("BeginMute() = %+v, %v", v, err)
	}
	f.deliver()
	for _, to := range f.n.everyPlace(contoso) {
		if got := lastAt(t, f.chat.at(to)); !strings.Contains(got, "Mute 1") || !strings.Contains(got, "Riley Chen") || !strings.Contains(got, "rollout of the backup tool") {
			t.Errorf("%s is told %q", to, got)
		}
	}
	before := len(f.chat.at(fin))
	noise := func(id string, s defender.Severity) {
		f.alert(id, func(a *defender.Alert) { a.Title, a.Severity = "Noise", s })
	}
	noise("a1", defender.Medium)
	noise("a2", defender.Low)
	f.alert("a3", func(a *defender.Alert) { a.Title, a.Severity = "Something else", defender.Medium })
	f.clock.add(16 * time.Second)
	f.settle()
	if got := f.chat.at(fin); len(got) != before+1 || !strings.Contains(got[len(got)-1].message.Title.String(), "Something else") {
		t.Fatalf("posted %s, want the alert alone that nobody muted", titles(got[before:]))
	}
	if all, err := f.n.Mutes(t.Context(), contoso); err != nil || len(all) != 1 || all[0].Held != 2 {
		t.Errorf("Mutes() = %+v, %v", all, err)
	}

	noise("a4", defender.High) // nobody allowed this
	noise("a1", defender.High) // rises while it is muted
	f.clock.add(16 * time.Second)
	f.settle()
	if got := f.chat.at(soc); len(got) < 3 || strings.Count(titles(got), "High alert: Noise") != 2 {
		t.Errorf("posted %s, want both High alerts", titles(got))
	}

	f.clock.add(time.Hour)
	if err := f.n.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.deliver()
	got := lastAt(t, f.chat.at(fin))
	for _, want := range []string{"Mute 1 is over: it kept back 2 alerts", "a1", "a2"} {
		if !strings.Contains(got, want) {
			t.Errorf("the end says %q, want %q in it", got, want)
		}
	}
	noise("a9", defender.Low)
	f.clock.add(16 * time.Second)
	f.settle()
	if got := lastAt(t, f.chat.at(fin)); !strings.Contains(got, "Low alert: Noise") {
		t.Errorf("after the end %q is posted", got)
	}
}

func TestMute_neverHidesTierZeroOrWhatMayBe(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.known("m1")
	f.known("dc", "tier0")
	f.settle()
	if _, err := f.n.BeginMute(t.Context(), contoso, order(policy.Mute{Title: "Noise"}, time.Hour)); err != nil {
		t.Fatal(err)
	}
	for id, machine := range map[string]string{"a1": "m1", "a2": "dc", "a3": "unreadable"} {
		f.alert(id, func(a *defender.Alert) { a.Title, a.Severity, a.MachineID = "Noise", defender.Low, machine })
	}
	f.clock.add(16 * time.Second)
	f.settle()
	var posted string
	for _, p := range f.chat.at(fin) {
		posted += p.message.Note.String()
	}
	if strings.Contains(posted, "a1") || !strings.Contains(posted, "a2") || !strings.Contains(posted, "a3") {
		t.Errorf("posted %q, want the alerts of tier 0 and of the unknown machine", posted)
	}
}

func TestMute_thatHidesHighBeginsWithItsApproval(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.known("m1")
	f.settle()
	o := order(policy.Mute{Title: "Noise", High: true}, time.Hour)
	if _, err := f.n.BeginMute(t.Context(), contoso, o); err == nil {
		t.Fatal("a mute of High alerts began without a second person")
	}
	facts, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	r := approvals.Request{ID: "r1", Number: 1, Tenant: contoso, Action: approvals.Mute, State: approvals.Denied, Targets: []approvals.Target{{Facts: facts, State: approvals.Denied}}}
	f.requests.all["r1"] = r
	change := func(s approvals.State) {
		t.Helper()
		r.State, r.Targets[0].State = s, s
		f.requests.all["r1"] = r
		f.inTx(func(tx durable.Tx) error { return f.n.RequestChanged(t.Context(), tx, r, approvals.ChangeResolved) })
	}
	change(approvals.Denied)
	if all, _ := f.n.Mutes(t.Context(), contoso); len(all) != 0 {
		t.Fatalf("a denied mute is in force: %+v", all)
	}
	change(approvals.Succeeded)
	f.alert("a1", func(a *defender.Alert) { a.Title = "Noise" })
	f.clock.add(16 * time.Second)
	f.settle()
	if got := titles(f.chat.at(soc)); strings.Contains(got, "High alert") {
		t.Errorf("posted %s", got)
	}
	if v, ok, err := f.n.EndMute(t.Context(), contoso, 1, "Avery Stone"); err != nil || !ok || v.Held != 1 {
		t.Errorf("EndMute() = %+v, %t, %v", v, ok, err)
	}
	f.deliver()
	if got := lastAt(t, f.chat.at(soc)); !strings.Contains(got, "Ended by Avery Stone") || !strings.Contains(got, "a1") {
		t.Errorf("the end says %q", got)
	}
}

func TestMute_boundsHoldWhoeverAsks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	for name, o := range map[string]policy.MuteOrder{
		"longer than four hours": order(policy.Mute{Title: "x"}, 4*time.Hour+time.Second),
		"no time":                order(policy.Mute{Title: "x"}, 0),
		"everything":             order(policy.Mute{}, time.Hour),
	} {
		if v, err := f.n.BeginMute(t.Context(), contoso, o); err == nil {
			t.Errorf("%s: began as %+v", name, v)
		}
	}
}

func TestMute_preview(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	for i := range 5 {
		f.alert(fmt.Sprintf("a%d", i), func(a *defender.Alert) {
			a.Title = "Noise"
			if i > 2 {
				a.Severity, a.MachineID = defender.Low, "m2"
			}
		})
	}
	f.alert("other", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	for name, c := range map[string]struct {
		mute policy.Mute
		want policy.MutePreview
	}{
		"a title":            {policy.Mute{Title: "noise"}, policy.MutePreview{Held: 2, Of: 6, Days: 7}},
		"a title, also High": {policy.Mute{Title: "noise", High: true}, policy.MutePreview{Held: 5, High: 3, Of: 6, Days: 7}},
		"a machine":          {policy.Mute{Machine: "m2"}, policy.MutePreview{Held: 2, Of: 6, Days: 7}},
		"nothing like it":    {policy.Mute{Title: "zzz"}, policy.MutePreview{Of: 6, Days: 7}},
	} {
		if got, err := f.n.PreviewMute(t.Context(), contoso, c.mute); err != nil || got != c.want {
			t.Errorf("%s: PreviewMute() = %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	f.clock.add(8 * 24 * time.Hour)
	if got, err := f.n.PreviewMute(t.Context(), contoso, policy.Mute{Title: "noise"}); err != nil || got.Of != 0 {
		t.Errorf("a week later: PreviewMute() = %+v, %v", got, err)
	}
}

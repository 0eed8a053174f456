package commands

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

const scopedPeople = testPolicy + `
groups:
  emea: [22222222-2222-2222-2222-222222222201, 22222222-2222-2222-2222-222222222203]
scopes:
  - for: [emea]
    machines: machine.id == "` + ws043 + `"
`

func newScopedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	p, err := policy.Parse("mdebot.yaml", []byte(scopedPeople), policy.Options{HomeTenant: home})
	if err != nil {
		t.Fatal(err)
	}
	w.Policy.Set(p)
	return w
}

// Whatever somebody asks who may see one machine, nothing of another one is in the
// answer. Every command is asked.
func TestScope_nothingOutsideIsShown(t *testing.T) {
	t.Parallel()
	asked := map[string][]string{
		"alert": {"alert " + alert1}, "alerts": {"alerts", "alerts --machine ws-042"}, "ack": {"ack " + alert1},
		"assign": {"assign " + alert1 + " me"}, "resolve": {"resolve " + alert1 + " true-positive"}, "comment": {"comment " + alert1 + " seen"},
		"machine": {"machine ws-042", "machine " + ws042, "machine twin", "machine dc-01"}, "machines": {"machines", "machines ws-04", "machines --tag never-isolate"},
		"action": {"action " + action1}, "isolated": {"isolated"},
		"isolate": {"isolate ws-042 beaconing", "isolate " + ws042 + " beaconing", "isolate twin beaconing", "isolate ws-043,ws-042 beaconing"},
		"release": {"release ws-099 clean", "release " + cutOff + " clean"},
		"contain": {"contain printer-3 because"}, "restrict": {"restrict ws-042 because"}, "unrestrict": {"unrestrict ws-042 because"},
		"scan": {"scan ws-042", "scan ws-043,ws-042"}, "quarantine": {"quarantine " + evilFile + " ws-042 because"}, "package": {"package ws-042 because"},
		"actions": {"actions", "actions all --since 30d", "actions ws-042", "actions mdebot --since 30d"}, "cancel": {"cancel " + action1 + " because"}, "download": {"download 1"},
		"block": {"block evil.example because"}, "unblock": {"unblock evil.example because"}, "indicators": {"indicators"}, "live": {"live ws-042"}, "offboard": {"offboard ws-042"},
		"hunt": {"hunt DeviceInfo | take 1"}, "run": {"hunt run logons machine=ws-042", "hunt run quiet-machines"},
		"mute":  {"mute --machine ws-042 --reason noise", "mute --title Suspicious --reason noise", "mute " + alert1 + " --reason noise"},
		"mutes": {"mutes"}, "unmute": {"unmute 1"},
		"lookup": {"lookup 203.0.113.9", "lookup evil.example", "lookup " + strings.Repeat("a", 40)},
		"user":   {"user sam"}, "cve": {"cve CVE-2026-0001"}, "software": {"software openssl"}, "score": {"score"},
		"incident": {"incident 7"}, "incidents": {"incidents"},
		"incident-assign": {"incident 7 assign me"}, "incident-resolve": {"incident 7 resolve fp"}, "incident-comment": {"incident 7 comment seen"}, "tag": {"tag ws-042 +seen"}, "requests": {"requests"},
	}
	// These are about people, requests and the bot itself.
	others := setOf("whoami status tenant help freeze unfreeze link unlink confirm-link approve deny withdraw settle hunts")
	for _, s := range Specs() {
		if asked[s.Name] == nil && !others[s.Name] {
			t.Errorf("%s is not asked", s.Name)
		}
	}
	for name, texts := range asked {
		for _, text := range texts {
			t.Run(text, func(t *testing.T) {
				t.Parallel()
				w := newScopedWorld(t)
				told := textOf(w.says(t, riley, text))
				for _, outside := range []string{ws042, "ws-042.corp", "PowerShell", cutOff, "ws-099 ", guarded, "dc-01 ", twinA, twinB, "sam", "Old one"} {
					if strings.Contains(told, outside) && !strings.Contains(text, strings.TrimSpace(outside)) {
						t.Errorf("%s: %q is in the answer: %s", name, outside, told)
					}
				}
				if open := w.live(t); len(open) != 0 {
					t.Errorf("%q opened request #%d", text, open[0].Number)
				}
				if len(w.changed) != 0 || w.estate.alerts[0].Status != "New" {
					t.Errorf("%q changed an alert", text)
				}
			})
		}
	}
}

// Who may see one machine neither silences the others nor reads who did.
func TestScope_mutesStayInside(t *testing.T) {
	t.Parallel()
	w := newScopedWorld(t)
	w.muted.all = []cards.MuteView{
		{Number: 1, MuteOrder: policy.MuteOrder{Mute: policy.Mute{Title: "Everywhere"}, By: "Avery"}},
		{Number: 2, MuteOrder: policy.MuteOrder{Mute: policy.Mute{Machine: ws042, MachineName: "ws-042"}, By: "Avery"}},
		{Number: 3, MuteOrder: policy.MuteOrder{Mute: policy.Mute{Machine: ws043, MachineName: "ws-043"}, By: "Avery"}},
	}
	told := textOf(w.says(t, riley, "mutes"))
	if !strings.Contains(told, "ws-043") || strings.Contains(told, "ws-042") || strings.Contains(told, "Everywhere") {
		t.Errorf("mutes = %s, want the one of the machine inside", told)
	}
	mustSay(t, "outside", w.says(t, riley, "unmute 2"), "There is no mute 2 in force")
	mustSay(t, "a title on every machine", w.says(t, riley, "mute --title Noise --reason x"), "some machines only", "Name one of them")
	mustSay(t, "inside", w.says(t, riley, "mute --machine ws-043 --reason x"), "Mute these alerts?")
	mustSay(t, "inside", w.says(t, riley, "unmute 3"), "Mute 3 is ended")
	mustSay(t, "without a scope", w.says(t, admin, "mutes"), "Everywhere", "ws-042")
}

func TestScope_whatIsInsideWorks(t *testing.T) {
	t.Parallel()
	w := newScopedWorld(t)
	mustSay(t, "a machine", w.says(t, riley, "machine ws-043"), ws043)
	mustSay(t, "a list", w.says(t, viewer, "machines"), "1 machine", "ws-043")
	mustSay(t, "its alert", w.says(t, viewer, "alerts"), "Low one")
	w.says(t, riley, "isolate ws-043 beaconing")
	if open := w.live(t); len(open) != 1 || open[0].Targets[0].ID != ws043 {
		t.Errorf("%d requests are open, want the one for ws-043", len(open))
	}
	mustSay(t, "somebody without a scope", w.says(t, avery, "machine ws-042"), ws042)
	// Buttons and search fields lead nowhere else.
	m, _ := w.clicks(t, riley, cards.ActionShowMachine, ws042)
	if strings.Contains(textOf(m), "ws-042.corp") {
		t.Errorf("a button shows %s", textOf(m))
	}
	inv := w.invocation("suggest", riley)
	inv.Action, inv.Text = cards.ActionMachineSearch, "ws-04"
	if options := w.Handle(t.Context(), inv).Options; len(options) != 2 || options[0].Value != ws043 || options[1].Value != "ws-04" {
		t.Errorf("the search offers %+v", options)
	}
}

// noGroups is a directory that does not answer.
type noGroups struct{}

func (noGroups) Member(context.Context, policy.DirectoryGroup, identity.PersonID) (bool, error) {
	return false, errors.New("down")
}

func TestScope_thatCannotBeReadShowsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, err := policy.Parse("mdebot.yaml", []byte(testPolicy+`
groups:
  emea: { entra_group: 5c2e7d90-41fb-4a8c-96e3-0d8b5f7a1e65 }
scopes:
  - for: [emea]
    machines: machine.group == "EMEA"
`), policy.Options{HomeTenant: home})
	if err != nil {
		t.Fatal(err)
	}
	w.Policy.Set(p)
	w.Groups = noGroups{}
	mustSay(t, "a machine", w.says(t, riley, "machine ws-042"), "could not be looked up, so nothing is shown")
}

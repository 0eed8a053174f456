package commands

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// callable is an invocation text that reaches each command's handler.
var callable = map[string]string{
	"alert": "alert " + alert1, "alerts": "alerts", "ack": "ack " + alert1, "assign": "assign " + alert1 + " me",
	"resolve": "resolve " + alert1 + " fp", "comment": "comment " + alert1 + " hello", "machine": "machine ws-042",
	"machines": "machines", "action": "action " + action1, "isolated": "isolated", "isolate": "isolate ws-042 because",
	"release": "release ws-099 because", "hunt": "hunt DeviceInfo", "run": "hunt run quiet-machines", "hunts": "hunt list", "requests": "requests", "approve": "approve 1",
	"deny": "deny 1", "withdraw": "withdraw 1", "settle": "settle 1 done seen", "freeze": "freeze because", "mute": "mute --title x --reason y", "mutes": "mutes", "unmute": "unmute 1", "unfreeze": "unfreeze because", "whoami": "whoami", "status": "status", "help": "help",
	"lookup": "lookup 203.0.113.9", "incident": "incident 7", "incidents": "incidents", "incident-assign": "incident 7 assign me", "incident-resolve": "incident 7 resolve fp", "incident-comment": "incident 7 comment seen", "user": "user sam", "cve": "cve CVE-2021-44228",
	"tenant": "tenant", "score": "score", "software": "software log4j", "tag": "tag ws-042 +reimaged",
	"contain": "contain printer-3 because", "restrict": "restrict ws-042 because", "unrestrict": "unrestrict ws-042 because", "scan": "scan ws-042",
	"quarantine": "quarantine " + evilFile + " ws-042 because", "package": "package ws-042 because", "cancel": "cancel " + action1 + " because", "download": "download 1", "block": "block evil.example because", "unblock": "unblock evil.example because", "indicators": "indicators", "live": "live", "offboard": "offboard", "actions": "actions",
	"link": "link", "unlink": "unlink", "confirm-link": "confirm-link id",
}

// may is who may use each command: v(iewer), r(esponder who hunts), a(pprover),
// A(dmin), u(nlinked member), c = unlinked member in a readers channel, g(uest).
var may = map[string]string{
	"alert": "vraAc", "alerts": "vraAc", "machine": "vraAc", "machines": "vraAc", "action": "vraAc", "actions": "vraAc", "isolated": "vraAc", "requests": "vraAc", "mutes": "vraAc",
	"lookup": "vraAc", "incident": "vraAc", "incidents": "vraAc", "incident-assign": "r", "incident-resolve": "r", "incident-comment": "r", "user": "vraA", "tenant": "vraA", "cve": "vraAc", "score": "vraAc", "software": "vraAc", "tag": "r",
	"ack": "r", "assign": "r", "resolve": "r", "comment": "r", "isolate": "r", "release": "r", "contain": "r", "restrict": "r", "unrestrict": "r", "scan": "r", "quarantine": "r", "package": "r", "cancel": "r", "download": "r", "block": "r", "unblock": "r", "indicators": "vraAc", "live": "vraAc", "offboard": "vraAc", "settle": "r", "freeze": "vraA", "unfreeze": "r", "hunt": "r", "run": "r", "hunts": "vraA", "mute": "r", "unmute": "r",
	"approve": "vraA", "deny": "vraA", "withdraw": "vraA", "status": "A", "help": "vraAuc", "link": "vraAuc", "unlink": "vraAuc", "confirm-link": "a", "whoami": "vraAucg",
}

func TestSpecs_whoMayUseThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range Specs() {
		text, ok := callable[s.Name]
		if !ok {
			t.Errorf("%s: this test does not call it", s.Name)
			continue
		}
		for who, by := range map[string]identity.Principal{"v": viewer, "r": riley, "a": avery, "A": admin, "u": stranger, "c": stranger, "g": guest} {
			inv := w.invocation(chat.Command, by)
			inv.Text = text
			if who == "c" {
				inv.In.ID = "C0READ"
			}
			m, _ := w.ask(t, inv)
			refused := strings.Contains(textOf(m), "needs the role") || strings.Contains(textOf(m), "not linked to a person, so") || strings.Contains(textOf(m), "Only full members")
			if want := !strings.Contains(may[s.Name], who); refused != want {
				t.Errorf("%s by %s: refused = %v, want %v (%s)", s.Name, who, refused, want, textOf(m))
			}
		}
	}
}

func TestGuest_isToldInThePlatformsWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inTeams := identity.Principal{Platform: identity.Teams, Workspace: home, Account: guest.Account, Name: "Gus"}
	for want, by := range map[string]identity.Principal{"of this workspace": guest, "of this organisation": inTeams} {
		mustSay(t, string(by.Platform), w.says(t, by, "help"), "Only full members "+want)
	}
}

// Every button and form needs the rights of a command.
func TestDoors_guardedLikeTheirCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for action, d := range doors {
		if w.byName[d.spec] == nil {
			t.Errorf("%s belongs to %q, which is no command", action, d.spec)
			continue
		}
		fields := map[string]string{cards.FieldReason: "x"}
		for _, f := range d.required {
			fields[f] = "x"
		}
		for _, by := range []identity.Principal{guest, stranger} {
			inv := w.invocation(chat.Submit, by)
			inv.Action, inv.Value, inv.Fields = action, "a.b", fields
			m, resp := w.ask(t, inv)
			if resp.Form != nil || !strings.Contains(textOf(m), "so nothing is done") && !strings.Contains(textOf(m), "Only full members") {
				t.Errorf("%s by %s answers %s, want a refusal", action, by.Account, textOf(m))
			}
		}
	}
	if len(w.live(t)) != 0 || len(w.changed) != 0 {
		t.Errorf("something was changed: %v, %v", w.live(t), w.changed)
	}
}

func TestAuthorise_unknownStandingIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	delete(w.standing, riley.Account)
	for _, text := range []string{"isolate ws-042 because", "machine ws-042", "help"} {
		mustSay(t, text, w.says(t, riley, text), "could not be looked up")
	}
	if len(w.live(t)) != 0 {
		t.Error("a request was opened")
	}
}

func TestAuthorise_everyStandingButMemberIsRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []identity.Standing{identity.Guest, identity.Outsider, identity.Inactive, identity.Automaton, identity.Unknown, ""} {
		w := newWorld(t)
		w.standing[riley.Account] = s
		mustSay(t, string(s), w.says(t, riley, "isolate ws-042 because"), "Only full members")
	}
}

func TestAuthorise_missingPermissionIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.granted = defender.PermissionsOf([]string{"Machine.Read.All"}, nil)
	mustSay(t, "isolate", w.says(t, riley, "isolate ws-042 because"), "isolate needs Machine.Isolate on WindowsDefenderATP.", "Cloud Application Administrator grants it in Entra", "Grant admin consent")
	mustSay(t, "hunt", w.says(t, riley, "hunt DeviceInfo"), "ThreatHunting.Read.All on Microsoft Graph or AdvancedQuery.Read.All on WindowsDefenderATP")
	mustSay(t, "help", w.says(t, riley, "help isolate"), "needs Machine.Isolate on WindowsDefenderATP")
	mustSay(t, "status", w.says(t, admin, "status"), "isolate: not permitted", "machine: permitted")
}

func TestAuthorise_refusalsAreRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says(t, viewer, "isolate ws-042 because")
	if len(w.recorded) != 1 || w.recorded[0].Kind != "command.refused" || w.recorded[0].Outcome != "refused" || w.recorded[0].PersonName != "Vic Viewer" {
		t.Errorf("recorded %+v, want one refusal of Vic Viewer", w.recorded)
	}
}

func TestUnlinked_getsTheLinesToAdd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "machine", w.says(t, stranger, "machine ws-042"), "not linked to a person", "T0SOC/U0STRANGER", "roles: [viewer]")
	mustSay(t, "whoami", w.says(t, stranger, "whoami"), "You are not linked", "T0SOC/U0STRANGER")
}

func TestWhoami_oneHumanOnTwoPlatforms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, by := range []identity.Principal{riley, rileyInTeams} {
		mustSay(t, by.String(), w.says(t, by, "whoami"), "You are Riley Chen", "22222222-2222-2222-2222-222222222201", "responder")
	}
}

func TestChanges_areLimitedPerPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 30 {
		w.says(t, riley, "withdraw 99")
	}
	mustSay(t, "one too many", w.says(t, riley, "isolate ws-042 beaconing"), "a lot to ask for in a minute", "nothing of this one was done")
	if open := w.live(t); len(open) != 0 {
		t.Errorf("%d requests were opened all the same", len(open))
	}
	mustSay(t, "somebody else", w.says(t, avery, "withdraw 99"), "no request #99")
	w.clock = w.clock.Add(time.Minute)
	w.says(t, riley, "isolate ws-042 beaconing")
	if open := w.live(t); len(open) != 1 {
		t.Errorf("%d requests are open a minute later, want 1", len(open))
	}
}

func TestReads_areLimitedPerPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 60 {
		w.says(t, riley, "help")
	}
	mustSay(t, "the 61st", w.says(t, riley, "help"), "a lot of questions")
	mustSay(t, "somebody else", w.says(t, viewer, "help"), "What mdebot does")
	w.clock = w.clock.Add(2e9)
	mustSay(t, "a little later", w.says(t, riley, "help"), "What mdebot does")
}

// Nothing is shown to more people than asked because nobody thought of it: answers
// go to the asker, and only where a command offers --public and it was typed, to
// everybody.
func TestAnswers_arePrivateUnlessAskedOtherwise(t *testing.T) {
	t.Parallel()
	public := map[string]bool{}
	for _, s := range Specs() {
		if s.Audience == chat.Everyone {
			t.Errorf("%s answers everybody without being asked to", s.Name)
		}
		if _, offers := s.flag(publicFlag.Name); offers {
			public[s.Name] = true
			if s.Audience == chat.Personal || s.Changes || s.Role == "" {
				t.Errorf("%s offers --public, and its answers are for one person, change something or need no role", s.Name)
			}
		}
		for _, flags := range []map[string]string{{}, {publicFlag.Name: "true"}} {
			c := &call{spec: &s, flags: flags}
			if want := flags[publicFlag.Name] != ""; (c.audience() == chat.Everyone) != want {
				t.Errorf("%s with %v is shown to %v", s.Name, flags, c.audience())
			}
		}
	}
	for _, name := range []string{"hunt", "user", "whoami", "link"} {
		if public[name] {
			t.Errorf("%s offers --public", name)
		}
	}
	w := newWorld(t)
	if _, resp := w.ask(t, func() chat.Invocation {
		i := w.invocation(chat.Command, riley)
		i.Text = "hunt DeviceInfo | take 1 --public"
		return i
	}()); resp.Audience != chat.Personal {
		t.Errorf("a hunt with --public is shown to %v", resp.Audience)
	}
}

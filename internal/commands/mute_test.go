package commands

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/policy"
)

func buttonOf(m chat.Message, label string) string {
	for _, b := range m.Buttons {
		if b.Label == label {
			return b.Value
		}
	}
	return ""
}

func TestMute_isShownBeforeItBegins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.muted.preview = policy.MutePreview{Held: 14, High: 2, Of: 120, Days: 7}
	m := w.says(t, riley, "mute --title Suspicious task --machine ws-042 --for 2h --reason rollout of the backup tool")
	mustSay(t, "mute", m, "would have hidden 14 of the last 7 days' 120 alerts, 2 High", "called “Suspicious task” on ws-042.corp.example", "2h0m0s", "rollout of the backup tool")
	if len(w.muted.all) != 0 {
		t.Fatal("it began before anybody said so")
	}
	key := buttonOf(m, "Mute")
	other, _ := w.clicks(t, admin, cards.ActionMuteBegin, key)
	mustSay(t, "somebody else's click", other, "needs the role responder")
	m, _ = w.clicks(t, riley, cards.ActionMuteBegin, key)
	mustSay(t, "the click", m, "Mute 1: some alerts are not posted for 2h0m0s", "Riley Chen", "unmute 1")
	if got := w.muted.all[0]; got.Mute.Machine != ws042 || got.For != 2*time.Hour || got.Mute.High || got.Place != "slack:C0SOC" {
		t.Errorf("order = %+v", got.MuteOrder)
	}
	if !strings.Contains(w.kinds(), "mute.on") {
		t.Errorf("recorded %s, want the mute", w.kinds())
	}
	m, _ = w.clicks(t, riley, cards.ActionMuteBegin, key)
	mustSay(t, "the second click", m, "That offer is over")
	mustSay(t, "mutes", w.says(t, riley, "mutes"), "Suspicious task", "rollout of the backup tool", "Riley Chen")
	mustSay(t, "unmute", w.says(t, riley, "unmute 1"), "Mute 1 is ended")
	mustSay(t, "unmute again", w.says(t, riley, "unmute 1"), "There is no mute 1 in force")
	mustSay(t, "mutes", w.says(t, riley, "mutes"), "Nothing is muted")
}

func TestMute_refusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for text, wants := range map[string][]string{
		"mute --title x --for 5h --reason y":         {"4 hours at most", "suppression rules"},
		"mute --title x --for 7d --reason y":         {"4 hours at most"},
		"mute --title x --for soon --reason y":       {"from 5 minutes to 4 hours"},
		"mute --title x --for 1m --reason y":         {"from 5 minutes to 4 hours"},
		"mute --machine nobody --reason y":           {"Defender knows no machine nobody"},
		"mute --machine twin --reason y":             {"Nothing was muted"},
		"mute everything --title x --reason y":       {"takes an alert, or --title and --machine"},
		"mute --title x --machine ws-042 --reason y": {"Mute these alerts?"},
	} {
		mustSay(t, text, w.says(t, riley, text), wants...)
	}
	mustSay(t, "a viewer", w.says(t, viewer, "mute --title x --reason y"), "needs the role responder")
	w.recordErr = errOldButton
	m := w.says(t, riley, "mute --title x --reason y")
	w.clicks(t, riley, cards.ActionMuteBegin, buttonOf(m, "Mute"))
	if len(w.muted.all) != 0 {
		t.Error("a mute began that could not be recorded")
	}
}

func TestMute_thatCouldHideHighAsksASecondPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.muted.preview = policy.MutePreview{Held: 3, High: 2, Of: 9, Days: 7}
	m := w.says(t, riley, "mute --title Suspicious task --high --reason known")
	mustSay(t, "mute --high", m, "also High ones and those of tier 0", "a second person")
	m, _ = w.clicks(t, riley, cards.ActionMuteBegin, buttonOf(m, "Ask for approval"))
	mustSay(t, "the click", m, "Asked: ", "1 approval besides you")
	if len(w.muted.all) != 0 {
		t.Error("it began without a second person")
	}
	live, err := w.service.Live(t.Context(), thisTenant)
	if err != nil || len(live) != 1 || live[0].Action != approvals.Mute {
		t.Fatalf("requests = %+v, %v", live, err)
	}
	card := cards.Request(cards.RequestView{Request: live[0]})
	mustSay(t, "the request's card", card, "would have hidden 3 of the last 7 days' 9 alerts, 2 High", "Suspicious task", "1h0m0s from its approval on")
}

func TestMute_fromTheCard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.muted.preview = policy.MutePreview{Held: 14, High: 0, Of: 120, Days: 7}
	m, resp := w.clicks(t, riley, cards.ActionAlertMute, alert1)
	if resp.Form != nil {
		t.Error("a High alert offers to be muted")
	}
	mustSay(t, "High", m, "High alerts are not muted from their card")

	low := w.estate.alerts[1].ID
	_, resp = w.clicks(t, riley, cards.ActionAlertMute, low)
	if resp.Form == nil || len(resp.Form.Fields[0].Options) != 3 || resp.Form.Fields[0].Options[0].Detail != "7 days: 14 of 120, 0 High" {
		t.Fatalf("form = %+v", resp.Form)
	}
	if _, empty := w.submits(t, riley, resp.Form.Action, low, map[string]string{cards.FieldWhat: "both"}); empty.Errors[cards.FieldReason] == "" {
		t.Errorf("no reason is answered with %+v", empty)
	}
	m, _ = w.submits(t, riley, resp.Form.Action, low, map[string]string{cards.FieldWhat: "everything", cards.FieldReason: "x"})
	mustSay(t, "a choice of no form", m, "another version")
	m, _ = w.submits(t, riley, resp.Form.Action, low, map[string]string{cards.FieldWhat: "both", cards.FieldFor: "30m", cards.FieldReason: "known"})
	mustSay(t, "the form", m, "Mute 1: ", "30m0s")
	if got := w.muted.all[0].Mute; got.Title != "Low one" || got.Machine != ws043 || got.High {
		t.Errorf("mute = %+v", got)
	}
	w.estate.alerts[1].Severity = "High"
	m, _ = w.submits(t, riley, resp.Form.Action, low, map[string]string{cards.FieldWhat: "both", cards.FieldReason: "known"})
	mustSay(t, "an alert that rose meanwhile", m, "has become High")
}

func TestMute_withoutWordsOpensAForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inv := w.invocation(chat.Command, riley)
	inv.Text = "mute"
	_, resp := w.ask(t, inv)
	if resp.Form == nil || resp.Form.Action != cards.ActionMuteSubmit {
		t.Fatalf("form = %+v", resp.Form)
	}
	m, _ := w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldReason: "x", cards.FieldFor: "1h"})
	mustSay(t, "nothing named", m, "names the title of an alert, a machine, or both")
	m, _ = w.submits(t, riley, resp.Form.Action, resp.Form.Value, map[string]string{cards.FieldReason: "x", cards.FieldFor: "1h", cards.FieldMachine: ws042})
	mustSay(t, "the form", m, "Mute these alerts?", "on ws-042.corp.example")
	if _, resp = w.inThread(t, riley, Subject{Kind: SubjectAlert, ID: w.estate.alerts[1].ID}, "mute"); resp.Form == nil || resp.Form.Action != cards.ActionAlertMuteSubmit {
		t.Errorf("in the alert's thread: %+v", resp.Form)
	}
}

package slackbot

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// crowded is a pending request for n machines whose facts, all of them chosen by
// whoever holds the machines, are as long as Defender passes on.
func crowded(t *testing.T, n, length int) approvals.Request {
	t.Helper()
	long := strings.Repeat("x", length)
	os, health := long, long
	if length > 1_000 { // the longest warnings instead, of a machine never seen
		os, health = "WindowsServer2008R2", "NoSensorData"
	}
	facts, err := json.Marshal(cards.TargetFacts{
		OS: os, Health: health, Group: long, Tags: []string{long, long, long, long}, Users: []string{long, long, long},
		Pending: []string{long}, OpenAlerts: 3, WorstTitle: long, WorstID: "da1_2", ReadAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := approvals.Request{
		ID: "019a0000-0000-7000-8000-000000000001", Number: 7, Tenant: "t", Action: approvals.Isolate,
		Params: map[string]string{"scope": "full"}, State: approvals.Pending, Digest: strings.Repeat("d", 64),
		Requester: identity.PersonID{Tenant: "t", Object: "o"}, RequesterName: strings.Repeat("R", 80),
		Reason: strings.Repeat("w", approvals.MaxReason), Opened: time.Now(), Expires: time.Now().Add(time.Hour),
		Rule: policy.Applied{Name: "servers", Text: strings.Repeat("t", 600), Approvers: 1, From: []string{"soc-leads"}},
	}
	for i := range n {
		r.Targets = append(r.Targets, approvals.Target{
			Index: i, Kind: approvals.TargetMachine, ID: fmt.Sprintf("%040x", i+1), Name: fmt.Sprintf("m%02d-%s", i, long), Facts: facts, State: approvals.Pending,
		})
	}
	return r
}

// A request is approved by its card alone, so every machine stands on it by its
// whole ID, however much text came with the others (threat-model ).
func TestAttack_longFactsHideNoMachineOfAnApproval(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 5, approvals.MaxTargets} {
		for _, length := range []int{10, 200, 5_000} {
			t.Run(fmt.Sprintf("%d machines, facts of %d characters", n, length), func(t *testing.T) {
				t.Parallel()
				r := crowded(t, n, length)
				d := render(cards.Request(cards.RequestView{Request: r}))
				drawn, err := json.Marshal(d.blocks)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(drawn), cards.ActionApprove) {
					t.Fatal("the card has no Approve button, so nobody could approve it")
				}
				for _, target := range r.Targets {
					if !strings.Contains(string(drawn), target.ID) || !strings.Contains(string(drawn), target.Name[:4]) {
						t.Errorf("the card can be approved and does not show machine %s", target.ID)
					}
				}
				for _, want := range []string{"Defender's isolate, type Full", strings.Repeat("w", 400), strings.Repeat("R", 80)} {
					if !strings.Contains(string(drawn), want) {
						t.Errorf("the card can be approved and does not show %.30q", want)
					}
				}
			})
		}
	}
}

// Every route there is refuses what Slack did not sign (threat-model W-03).
func TestAttack_unsignedRequestOnEveryRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	for path, contentType := range map[string]string{"/slack/commands": formType, "/slack/interactions": formType, "/slack/events": jsonType} {
		body := map[string]string{"/slack/commands": goodSlash, "/slack/interactions": asForm(clickPayload("A0MDEBOT", "T0SOC")), "/slack/events": goodEvent}[path]
		for name, change := range map[string]func(*http.Request){
			"no signature":          func(r *http.Request) { r.Header.Del("X-Slack-Signature") },
			"no headers of Slack's": func(r *http.Request) { r.Header.Del("X-Slack-Signature"); r.Header.Del("X-Slack-Request-Timestamp") },
			"signed with no secret": func(r *http.Request) {
				r.Header.Set("X-Slack-Signature", slacksim.Sign("", time.Now(), []byte(body)).Get("X-Slack-Signature"))
			},
			"signature of all zeros": func(r *http.Request) { r.Header.Set("X-Slack-Signature", "v0="+strings.Repeat("0", 64)) },
		} {
			if got, _ := w.post(t, path, contentType, body, change); got != http.StatusUnauthorized {
				t.Errorf("%s, %s: status %d, want 401", path, name, got)
			}
		}
	}
	if n := w.handler.count(); n != 0 {
		t.Errorf("handler was asked %d times by unsigned requests", n)
	}
}

// A request is believed exactly while its stamp is within five minutes, before
// or after, wherever the clock stands (threat-model S-02).
func TestAttack_timestampAtTheEdges(t *testing.T) {
	t.Parallel()
	const secret = "8f742231b10e8888abcd99yyyzzz85a5"
	now := time.Unix(1_700_000_000, 0)
	for _, delta := range []int64{-1 << 40, -301, -300, -299, 0, 299, 300, 301, 1 << 40} {
		header := slacksim.Sign(secret, time.Unix(now.Unix()+delta, 0), []byte("x"))
		err := verify(header, []byte("x"), secret, now)
		if accepted, want := err == nil, delta >= -300 && delta <= 300; accepted != want {
			t.Errorf("stamp %d seconds off: accepted %t, want %t", delta, accepted, want)
		}
	}
}

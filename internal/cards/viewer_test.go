package cards

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

var (
	theRequester = identity.PersonID{Tenant: "11111111-1111-1111-1111-111111111111", Object: "22222222-2222-2222-2222-222222222222"}
	theVoter     = identity.PersonID{Tenant: "11111111-1111-1111-1111-111111111111", Object: "44444444-4444-4444-4444-444444444444"}
	somebody     = identity.PersonID{Tenant: "11111111-1111-1111-1111-111111111111", Object: "55555555-5555-5555-5555-555555555555"}
)

// Whoever looks, in every state, sees all of the card, and no button that is not on it.
func TestRequestFor_isNeverLessThanTheCard(t *testing.T) {
	t.Parallel()
	for state, r := range requestInEveryState(t) {
		v := RequestView{Request: r, Portal: portal{}}
		all := Request(v)
		for _, who := range []Viewer{{}, {Person: theRequester}, {Person: theRequester, Waits: true}, {Person: theVoter}, {Person: theVoter, Waits: true}, {Person: somebody}, {Person: somebody, Waits: true}} {
			m := RequestFor(v, who)
			if len(m.Facts) > 0 && m.Facts[0].Label == "You" {
				m.Facts = m.Facts[1:]
			}
			for _, b := range m.Buttons {
				if !slices.ContainsFunc(all.Buttons, func(o chat.Button) bool { return reflect.DeepEqual(o, b) }) {
					t.Errorf("%s, %+v: there is a button %s that is not on the card, or is another", state, who, b.Label)
				}
			}
			m.Buttons = all.Buttons
			if diff := cmp.Diff(all, m); diff != "" {
				t.Errorf("%s, %+v (-card +view):\n%s", state, who, diff)
			}
		}
	}
}

func TestRequestFor_whatEachMayPress(t *testing.T) {
	t.Parallel()
	twice := sampleRequest(t, approvals.Pending, 1)
	approvedBy(&twice, "Avery", false)
	stale := sampleRequest(t, approvals.Pending, 1)
	approvedBy(&stale, "Avery", false)
	stale.Votes[0].Digest = "of something else"
	denied := sampleRequest(t, approvals.Denied, 1)
	approvedBy(&denied, "Avery", true)
	every := []string{ActionApprove, ActionDeny, ActionDenyForm, ActionReport, ActionWithdraw}
	for name, c := range map[string]struct {
		r    approvals.Request
		who  Viewer
		says string
		want []string
	}{
		"the requester":                   {twice, Viewer{Person: theRequester}, "You asked for this. Somebody else decides; you can withdraw it.", []string{ActionWithdraw}},
		"the requester, whatever else":    {twice, Viewer{Person: theRequester, Waits: true}, "You asked for this. Somebody else decides; you can withdraw it.", []string{ActionWithdraw}},
		"who has approved":                {twice, Viewer{Person: theVoter}, "You approved this: 2026-11-21 12:02 UTC. You can still deny it.", []string{ActionDeny, ActionDenyForm, ActionReport}},
		"who may approve":                 {twice, Viewer{Person: somebody, Waits: true}, "It waits for your decision.", []string{ActionApprove, ActionDeny, ActionDenyForm, ActionReport}},
		"anybody else":                    {twice, Viewer{Person: somebody}, "", every},
		"nobody known":                    {twice, Viewer{Waits: true}, "", every},
		"who has approved something else": {stale, Viewer{Person: theVoter}, "", every},
		"who has denied":                  {denied, Viewer{Person: theVoter}, "", nil},
	} {
		m := RequestFor(RequestView{Request: c.r, Portal: portal{}}, c.who)
		says := ""
		if m.Facts[0].Label == "You" {
			says = m.Facts[0].Value.String()
		}
		var got []string
		for _, b := range m.Buttons {
			got = append(got, b.Action)
		}
		if says != c.says || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q with %q, want %q with %q", name, says, got, c.says, c.want)
		}
	}
}

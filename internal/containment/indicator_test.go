package containment

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/defender"
)

func (s *site) indicator(t *testing.T, kind string, params map[string]string, values ...string) approvals.Request {
	t.Helper()
	in := approvalstest.Isolate(approvalstest.Riley)
	in.Action, in.Params = kind, params
	for _, v := range values {
		in.Targets = append(in.Targets, approvals.TargetInput{ID: approvals.IndicatorID("DomainName", v), Name: v})
	}
	out, err := s.Open(t.Context(), in)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	r := out.Request
	for _, by := range []int{0, 1} {
		who := approvalstest.Avery
		if by == 1 {
			who = approvalstest.Jo
		}
		got, err := s.Vote(t.Context(), approvalstest.Vote(r, who, false))
		if err != nil {
			t.Fatalf("Vote: %v", err)
		}
		if got.Request.State == approvals.Approved {
			return got.Request
		}
	}
	t.Fatal("not approved")
	return r
}

func TestBlock_isSetOnceAndSeen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	until := s.Clock.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	r := s.indicator(t, approvals.Block, map[string]string{"effect": "warn", "expires": until}, "evil.example", "worse.example")
	s.run(t, 10*time.Second)
	s.want(t, r, approvals.Succeeded, "")
	sent := s.defender.sent()
	if len(sent) != 2 || sent[0].value != "evil.example" || sent[0].scope != "Warn" || !strings.HasPrefix(sent[0].comment, "[mdebot:"+r.ID+"]") {
		t.Errorf("calls = %+v", sent)
	}
	if got := s.defender.indicators[0].Expires.Format(time.RFC3339); got != until {
		t.Errorf("it ends %s, want %s", got, until)
	}
}

func TestIndicators_unclearAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind    string
		answers []answer
		state   approvals.State
		posts   int
		why     string
	}{
		"set without an answer":       {approvals.Block, []answer{actsSilently}, approvals.Succeeded, 1, ""},
		"not set, and set again":      {approvals.Block, []answer{onlySilent}, approvals.Succeeded, 2, ""},
		"never set":                   {approvals.Block, []answer{onlySilent, onlySilent, onlySilent}, approvals.Failed, 3, ""},
		"refused for good":            {approvals.Block, []answer{isFull}, approvals.Failed, 1, "The limit is 15000 per tenant"},
		"deleted without an answer":   {approvals.Unblock, []answer{actsSilently}, approvals.Succeeded, 1, ""},
		"not deleted, and once again": {approvals.Unblock, []answer{onlySilent}, approvals.Succeeded, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			params := map[string]string(nil)
			if tc.kind == approvals.Unblock {
				s.defender.indicators = []defender.Indicator{{ID: "995", Type: defender.IndicatorDomain, Value: "evil.example", Action: defender.IndicatorBlock}}
				params = map[string]string{"indicator": "995"}
			}
			s.defender.answers = tc.answers
			r := s.indicator(t, tc.kind, params, "evil.example")
			s.run(t, 9*time.Minute)
			s.want(t, r, tc.state, tc.why)
			s.wantPosts(t, tc.posts)
		})
	}
}

func TestUnblock_isVoidWhenTheIndicatorIsAnotherOne(t *testing.T) {
	t.Parallel()
	for why, there := range map[string][]defender.Indicator{
		"no such indicator":       nil,
		"another indicator":       {{ID: "996", Type: defender.IndicatorDomain, Value: "evil.example"}},
		"no such indicator any m": {{ID: "995", Type: defender.IndicatorURL, Value: "evil.example"}},
	} {
		s := newSite(t)
		s.defender.indicators = there
		r := s.indicator(t, approvals.Unblock, map[string]string{"indicator": "995"}, "evil.example")
		s.work(t)
		s.want(t, r, approvals.Void, why)
		s.wantPosts(t, 0)
	}
}

func TestBlock_changedBySomebodyElseSaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.indicator(t, approvals.Block, nil, "evil.example")
	s.work(t)
	s.defender.mu.Lock()
	s.defender.indicators[0].ID, s.defender.indicators[0].Action, s.defender.indicators[0].CreatedBy = "7", "Allowed", "dana@contoso.com"
	s.defender.mu.Unlock()
	s.run(t, 3*time.Minute)
	if got := s.now(t, r); got.State == approvals.Submitted {
		t.Errorf("it is %s (%s)", got.State, got.Targets[0].Why)
	}
}

package containment

import (
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
)

func TestTag_answers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change  string
		tags    []string
		answers []answer
		state   approvals.State
		posts   int
		why     string
	}{
		"added":                       {"+keys", nil, nil, approvals.Succeeded, 1, ""},
		"removed":                     {"-keys", []string{"keys", "other"}, nil, approvals.Succeeded, 1, ""},
		"added without an answer":     {"+keys", nil, []answer{actsSilently}, approvals.Succeeded, 1, ""},
		"not added, and once again":   {"+keys", nil, []answer{onlySilent}, approvals.Succeeded, 2, ""},
		"not removed, and once again": {"-keys", []string{"keys"}, []answer{onlySilent}, approvals.Succeeded, 2, ""},
		"never added":                 {"+keys", nil, []answer{onlySilent, onlySilent, onlySilent}, approvals.Failed, 3, "tags do not show it"},
		"forbidden":                   {"+keys", nil, []answer{forbids}, approvals.Failed, 1, "forbidden"},
		"success without an effect":   {"+keys", nil, []answer{answersLies}, approvals.Failed, 1, "tags do not show it"},
		"there already":               {"+keys", []string{"keys"}, nil, approvals.Void, 0, "as asked for already"},
		"gone already":                {"-keys", nil, nil, approvals.Void, 0, "as asked for already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			r := s.asked(t, approvals.Tag, map[string]string{"tag": tc.change})
			s.defender.change("ws-1", func(m *defender.Machine) { m.Tags = tc.tags })
			s.defender.answers = tc.answers
			s.run(t, 9*time.Minute)
			s.want(t, r, tc.state, tc.why)
			s.wantPosts(t, tc.posts)
			if sent := s.defender.sent(); tc.posts > 0 && (sent[0].machine != "ws-1" || sent[0].scope != tc.change) {
				t.Errorf("calls = %+v", sent)
			}
		})
	}
}

package approvals

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

var (
	riley = identity.PersonID{Tenant: "t", Object: "riley"}
	avery = identity.PersonID{Tenant: "t", Object: "avery"}
	sam   = identity.PersonID{Tenant: "t", Object: "sam"}
	vic   = identity.PersonID{Tenant: "t", Object: "vic"} // may deny, not approve
	noon  = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

func votes(list ...Vote) []Vote {
	for i := range list {
		if list[i].Digest == "" {
			list[i].Digest = "digest"
		}
		list[i].At = noon.Add(time.Duration(i) * time.Second)
	}
	return list
}

func rights(id identity.PersonID) Entitlement {
	switch id {
	case avery:
		return Entitlement{Approve: true, Deny: true, Groups: []string{"leads", "soc"}}
	case sam:
		return Entitlement{Approve: true, Deny: true, Groups: []string{"soc"}}
	case riley:
		return Entitlement{Approve: true, Deny: true, Groups: []string{"soc", "leads"}}
	case vic:
		return Entitlement{Deny: true}
	}
	return Entitlement{}
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	one := policy.Applied{Approvers: 1, From: []string{"soc"}}
	two := policy.Applied{Approvers: 2, From: []string{"soc"}}
	both := policy.Applied{Approvers: 1, From: []string{"leads", "soc"}}
	for name, tc := range map[string]struct {
		rule     policy.Applied
		votes    []Vote
		at       time.Time
		approved bool
		denied   identity.PersonID
		counted  int
		rejected int
	}{
		"no vote":                                 {rule: one},
		"one approval":                            {rule: one, votes: votes(Vote{By: avery}), approved: true, counted: 1},
		"requester approves own request":          {rule: one, votes: votes(Vote{By: riley}), rejected: 1},
		"requester beside an approver":            {rule: two, votes: votes(Vote{By: riley}, Vote{By: avery}), counted: 1, rejected: 1},
		"same person twice":                       {rule: two, votes: votes(Vote{By: avery}, Vote{By: avery}), counted: 1, rejected: 1},
		"two people":                              {rule: two, votes: votes(Vote{By: avery}, Vote{By: sam}), approved: true, counted: 2},
		"two groups, one person in both":          {rule: both, votes: votes(Vote{By: avery}), counted: 1},
		"two groups, two people":                  {rule: both, votes: votes(Vote{By: avery}, Vote{By: sam}), approved: true, counted: 2},
		"vote for another digest":                 {rule: one, votes: votes(Vote{By: avery, Digest: "old"}), rejected: 1},
		"approval of somebody not entitled":       {rule: one, votes: votes(Vote{By: vic}), rejected: 1},
		"approval of nobody":                      {rule: one, votes: votes(Vote{}), rejected: 1},
		"denial by a responder":                   {rule: one, votes: votes(Vote{By: avery}, Vote{By: vic, Deny: true}), denied: vic, counted: 1},
		"denial before approvals":                 {rule: one, votes: votes(Vote{By: vic, Deny: true}, Vote{By: avery}), denied: vic, counted: 1},
		"denial after own approval":               {rule: one, votes: votes(Vote{By: avery}, Vote{By: avery, Deny: true}), denied: avery, counted: 1},
		"denial of somebody without rights":       {rule: one, votes: votes(Vote{By: avery}, Vote{By: identity.PersonID{Tenant: "t", Object: "x"}, Deny: true}), approved: true, counted: 1, rejected: 1},
		"denial by the requester is no denial":    {rule: one, votes: votes(Vote{By: avery}, Vote{By: riley, Deny: true}), approved: true, counted: 1, rejected: 1},
		"a moment before expiry":                  {rule: one, votes: votes(Vote{By: avery}), at: noon.Add(30*time.Minute - 1), approved: true, counted: 1},
		"at expiry":                               {rule: one, votes: votes(Vote{By: avery}), at: noon.Add(30 * time.Minute), counted: 1},
		"a rule without number asks for somebody": {rule: policy.Applied{}, votes: nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Request{State: Pending, Requester: riley, Digest: "digest", Expires: noon.Add(30 * time.Minute), Votes: tc.votes}
			at := tc.at
			if at.IsZero() {
				at = noon
			}
			d := Evaluate(r, tc.rule, rights, at)
			if d.Approved() != tc.approved || len(d.Counted) != tc.counted || len(d.Rejected) != tc.rejected {
				t.Errorf("Evaluate() = approved %t, %d counted, %d rejected; want %t, %d, %d",
					d.Approved(), len(d.Counted), len(d.Rejected), tc.approved, tc.counted, tc.rejected)
			}
			if got := denier(d); got != tc.denied {
				t.Errorf("denied by %v, want %v", got, tc.denied)
			}
		})
	}
}

func denier(d Decision) identity.PersonID {
	if d.Denied == nil {
		return identity.PersonID{}
	}
	return d.Denied.By
}

// Whatever the votes: an approved decision has enough distinct people other than
// the requester, and adding a denial always ends it.
func TestEvaluate_properties(t *testing.T) {
	t.Parallel()
	people := []identity.PersonID{riley, avery, sam, vic, {}}
	rapid.Check(t, func(t *rapid.T) {
		r := Request{State: Pending, Requester: riley, Digest: "digest", Expires: noon.Add(time.Hour)}
		for range rapid.IntRange(0, 8).Draw(t, "votes") {
			r.Votes = append(r.Votes, Vote{
				By:     rapid.SampledFrom(people).Draw(t, "by"),
				Deny:   rapid.Bool().Draw(t, "deny"),
				Digest: rapid.SampledFrom([]string{"digest", "other"}).Draw(t, "digest"),
			})
		}
		rule := policy.Applied{Approvers: rapid.IntRange(0, 3).Draw(t, "approvers"), From: rapid.SampledFrom([][]string{{"soc"}, {"leads"}, {"leads", "soc"}}).Draw(t, "from")}
		d := Evaluate(r, rule, rights, noon)
		distinct := make(map[identity.PersonID]bool)
		for _, v := range r.Votes {
			if !v.Deny && v.Digest == "digest" && (v.By == avery || v.By == sam) {
				distinct[v.By] = true
			}
		}
		denied := slices.ContainsFunc(r.Votes, func(v Vote) bool {
			return v.Deny && v.Digest == "digest" && (v.By == avery || v.By == sam || v.By == vic)
		})
		if d.Approved() && (denied || len(distinct) < max(rule.Approvers, len(rule.From))) {
			t.Fatalf("approved by %d people, denied %t, under %+v", len(distinct), denied, rule)
		}
		r.Votes = append(r.Votes, Vote{By: vic, Deny: true, Digest: "digest"})
		if Evaluate(r, rule, rights, noon).Approved() {
			t.Fatal("approved in spite of a denial")
		}
	})
}

func TestSummarize(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		targets []State
		want    State
	}{
		"all pending":                    {[]State{Pending, Pending}, Pending},
		"approved":                       {[]State{Approved, Approved}, Approved},
		"one void, one to come":          {[]State{Void, Approved}, Approved},
		"one on its way":                 {[]State{Submitted, Approved}, Executing},
		"one claimed":                    {[]State{Executing, Submitted}, Executing},
		"unknown outweighs submitted":    {[]State{Submitted, Unknown}, Unknown},
		"unknown outweighs what is left": {[]State{Approved, Unknown}, Unknown},
		"followed":                       {[]State{Submitted, Succeeded}, Submitted},
		"all succeeded":                  {[]State{Succeeded, Succeeded}, Succeeded},
		"one failed":                     {[]State{Succeeded, Failed}, Failed},
		"stopped half-way":               {[]State{Succeeded, Denied}, Failed},
		"denied":                         {[]State{Denied, Denied}, Denied},
	} {
		var targets []Target
		for _, s := range tc.targets {
			targets = append(targets, Target{State: s})
		}
		if got := summarize(targets); got != tc.want {
			t.Errorf("%s: summarize(%v) = %s, want %s", name, tc.targets, got, tc.want)
		}
	}
}

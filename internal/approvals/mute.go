package approvals

import (
	"context"
	"encoding/json"

	"github.com/mdebot/mdebot/internal/tenant"
)

// MuteInput asks that alerts are kept out of chat which one person alone may not
// silence.
type MuteInput struct {
	Asked
	Tenant tenant.ID
	ID     string // of the mute
	Name   string // what it keeps back and for how long, in words
	// Facts are what begins when it is approved, as JSON; frozen with the request.
	Facts  json.RawMessage
	Reason string
}

// Mute asks for a mute. Like every request it needs others; the rule is the first
// whose condition the action alone meets, such as `action.kind == "mute"`, and
// otherwise the strictest of the file. The mute itself belongs to whoever posts
// alerts, and begins in the transaction that announces the approved request.
func (s *Service) Mute(ctx context.Context, in MuteInput) (Opened, error) {
	p := s.policy.Current()
	link, no, err := s.resolve(ctx, in.Tenant, p, in.By)
	if err != nil {
		return Opened{}, err
	}
	by := actor{person: link.Person, asked: in.Asked}
	if no != nil {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, no)
	}
	action, r, no := s.draft(p, link.Person, OpenInput{
		Asked: in.Asked, Tenant: in.Tenant, Action: Mute, Reason: in.Reason,
		Targets: []TargetInput{{ID: in.ID, Name: in.Name, Facts: in.Facts}},
	})
	if no != nil {
		return Opened{}, s.refused(ctx, in.Tenant, "request.refused", by, no)
	}
	r.Rule = s.asked(link, decide(p, action, r.Params, nil))
	return s.open(ctx, p, action, r, by)
}

// applyMute ends an approved request for a mute; the announcement begins it.
func applyMute(ctx context.Context, e *edit, ref Ref, d Decision) error {
	e.move(ref.Index, Succeeded, "")
	return e.record(ctx, "mute.on", "ok", actor{}, muteDetail{Mute: e.r.Targets[ref.Index].Facts, Approvers: votersOf(d.Counted)})
}

type muteDetail struct {
	Mute      json.RawMessage `json:"mute"`
	Approvers []voter         `json:"approvers"`
}

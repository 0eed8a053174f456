package containment

import (
	"context"
	"fmt"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
)

// effect is how one kind of action is carried out at Defender.
type effect struct {
	course
	// send makes the one call. Its answer says what was started, and with an error
	// what is known of it for the record.
	send func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (approvals.Started, error)
}

// course is how that which an effect brings about is judged beforehand, looked
// for and followed to its end.
type course interface {
	// before reads the facts of the moment and says in facts.Problem what stands in
	// the way. What the request has started already is returned instead.
	before(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target, facts *approvals.Facts) (own *approvals.Started, err error)
	// look searches for what the request has started.
	look(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (sighting, error)
	// follow reads where it stands.
	follow(ctx context.Context, x *Runner, r approvals.Request, t approvals.Target) (standing, error)
	// starts reports whether machine actions of that type come from it.
	starts(kind defender.MachineActionType) bool
}

// sighting is what a look has found.
type sighting struct {
	// own is what the request has started, or nil.
	own *approvals.Started
	// missing says in half a sentence what was looked through without it.
	missing string
	// other is what is under way in its place, as half a sentence, or "".
	other string
	// absent tells that it is known not to be there. Otherwise only people can know.
	absent bool
}

// standing is where something that was started stands.
type standing struct {
	status string // in Defender's words
	phase  phase
	note   string // a sentence for people, or empty
}

type phase int

const (
	running phase = iota
	succeeded
	failed
	lost // it is not what was started
)

var effects = map[string]effect{
	approvals.Isolate: {
		course: onMachine{kind: defender.Isolate, beside: isolations, obstacle: isolating},
		send: machineAction(func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (defender.MachineAction, error) {
			return actor.IsolateMachine(ctx, a.Target.ID, defender.IsolateInput{Comment: comment, Type: isolationTypes[a.Request.Params["scope"]]})
		}),
	},
	approvals.Release: {
		course: onMachine{kind: defender.Unisolate, beside: isolations, obstacle: releasing},
		send: machineAction(func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (defender.MachineAction, error) {
			return actor.ReleaseMachine(ctx, a.Target.ID, comment)
		}),
	},
	approvals.Contain: {
		course: onMachine{kind: defender.Isolate, beside: isolations, obstacle: isolating, unmanaged: true},
		send: machineAction(func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (defender.MachineAction, error) {
			return actor.IsolateMachine(ctx, a.Target.ID, defender.IsolateInput{Comment: comment, Type: defender.UnmanagedIsolation})
		}),
	},
	approvals.Restrict: {
		course: onMachine{kind: defender.Restrict, beside: restrictions, obstacle: restricting},
		send: machineAction(func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (defender.MachineAction, error) {
			return actor.RestrictMachine(ctx, a.Target.ID, comment)
		}),
	},
	approvals.Unrestrict: {
		course: onMachine{kind: defender.Unrestrict, beside: restrictions, obstacle: unrestricting},
		send: machineAction(func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (defender.MachineAction, error) {
			return actor.UnrestrictMachine(ctx, a.Target.ID, comment)
		}),
	},
	approvals.Quarantine: {
		course: onMachine{kind: defender.Quarantine, beside: []defender.MachineActionType{defender.Quarantine}, obstacle: oneAtATime},
		send: machineAction(func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (defender.MachineAction, error) {
			return actor.QuarantineFile(ctx, a.Target.ID, a.Request.Params["file"], comment)
		}),
	},
	approvals.Package: {
		course: onMachine{kind: defender.CollectPackage, beside: []defender.MachineActionType{defender.CollectPackage}, obstacle: oneAtATime},
		send: machineAction(func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (defender.MachineAction, error) {
			return actor.CollectPackage(ctx, a.Target.ID, comment)
		}),
	},
	approvals.Cancel: {
		course: onAction{},
		send: func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (approvals.Started, error) {
			got, err := actor.CancelAction(ctx, a.Target.ID, defender.MachineActionType(a.Request.Params["type"]), comment)
			if err != nil {
				return approvals.Started{Detail: detail(got, err)}, err
			}
			return started(got, ""), nil
		},
	},
	approvals.Block: {
		course: onIndicator{wanted: true},
		send: func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (approvals.Started, error) {
			kind, value := approvals.ParseIndicatorID(a.Target.ID)
			got, err := actor.SetIndicator(ctx, defender.IndicatorInput{
				Type: defender.IndicatorType(kind), Value: value, Action: indicatorActions[a.Request.Params["effect"]],
				Title:       fmt.Sprintf("mdebot #%d: %s", a.Request.Number, clean(value, 60)),
				Description: comment, Expires: expiry(a.Request),
			})
			return approvals.Started{ID: got.ID, Status: string(got.Action), Created: got.Created, Detail: indicatorDetail(got, err)}, err
		},
	},
	approvals.Unblock: {
		course: onIndicator{},
		send: func(ctx context.Context, actor Actor, a approvals.Attempt, _ string) (approvals.Started, error) {
			id := a.Request.Params["indicator"]
			err := actor.DeleteIndicator(ctx, id)
			return approvals.Started{ID: id, Status: "deleted", Detail: indicatorDetail(defender.Indicator{ID: id}, err)}, err
		},
	},
	approvals.Tag: {
		course: onTags{},
		send: func(ctx context.Context, actor Actor, a approvals.Attempt, _ string) (approvals.Started, error) {
			tag, add := tagOf(a.Request)
			m, err := actor.TagMachine(ctx, a.Target.ID, tag, add)
			return tagged(a.Request, m, err), err
		},
	},
	approvals.Scan: {
		course: onMachine{kind: defender.Scan, beside: []defender.MachineActionType{defender.Scan}, obstacle: oneAtATime},
		send: machineAction(func(ctx context.Context, actor Actor, a approvals.Attempt, comment string) (defender.MachineAction, error) {
			return actor.ScanMachine(ctx, a.Target.ID, scanTypes[a.Request.Params["scope"]], comment)
		}),
	},
}

var scanTypes = map[string]defender.ScanType{"quick": defender.QuickScan, "full": defender.FullScan}

var isolationTypes = map[string]defender.IsolationType{
	"full":      defender.FullIsolation,
	"selective": defender.SelectiveIsolation,
}

// describe says what a machine action is, who started it and when.
func describe(m defender.MachineAction) string {
	who := clean(m.Requestor, 80)
	if who == "" {
		who = "somebody unnamed"
	}
	return fmt.Sprintf("an action of type %s by %s from %s is %s (machine action %s)",
		m.Type, who, m.Created.UTC().Format("2006-01-02 15:04 UTC"), m.Status, clean(m.ID, 80))
}

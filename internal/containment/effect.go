package containment

import (
	"context"
	"fmt"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
)

// effect is how one kind of action is carried out at Defender.
type effect struct {
	// starts is the type of machine action it leads to.
	starts defender.MachineActionType
	// send makes the POST.
	send func(ctx context.Context, actor Actor, r approvals.Request, t approvals.Target, comment string) (defender.MachineAction, error)
	// obstacle says why it is pointless or harmful on a machine in that state, or
	// is empty.
	obstacle func(defender.Isolation) string
}

var effects = map[string]effect{
	approvals.Isolate: {
		starts: defender.Isolate,
		send: func(ctx context.Context, actor Actor, r approvals.Request, t approvals.Target, comment string) (defender.MachineAction, error) {
			return actor.IsolateMachine(ctx, t.ID, defender.IsolateInput{Comment: comment, Type: isolationTypes[r.Params["scope"]]})
		},
		obstacle: func(i defender.Isolation) string {
			switch i.State {
			case defender.Isolated:
				return "The machine is isolated already: " + describe(i.Action) + "."
			case defender.Isolating, defender.Releasing:
				return "Nothing was added, because " + describe(i.Action) + "."
			case defender.NotIsolated:
			}
			return ""
		},
	},
	approvals.Release: {
		starts: defender.Unisolate,
		send: func(ctx context.Context, actor Actor, _ approvals.Request, t approvals.Target, comment string) (defender.MachineAction, error) {
			return actor.ReleaseMachine(ctx, t.ID, comment)
		},
		obstacle: func(i defender.Isolation) string {
			switch {
			case i.State == defender.Isolating, i.State == defender.Releasing:
				return "Nothing was added, because " + describe(i.Action) + "."
			case i.State == defender.NotIsolated && i.Action.ID != "":
				return "The machine is released already: " + describe(i.Action) + "."
			}
			// Without any action on record the machine may have been isolated longer
			// ago than Defender's list reaches.
			return ""
		},
	},
}

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

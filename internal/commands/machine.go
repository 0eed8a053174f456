package commands

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// actionsRead is how many machine actions of one machine are read to tell its
// isolation.
const actionsRead = 100

// isolationActionsRead is how many isolations and releases of the tenant are
// read to tell who is cut off.
const isolationActionsRead = 1000

// candidatesShown is how many machines a chooser shows.
const candidatesShown = 10

func machineSpecs() []Spec {
	return []Spec{
		{
			Name: "machine", Usage: "machine <name|id|ip>", Summary: "Show one machine: health, risk, users, alerts, isolation.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{readMachines},
			Flags: []Flag{publicFlag}, Examples: []string{"machine ws-042", "machine 10.1.2.3"},
			busy: lookingUp, run: (*Router).machine,
		},
		{
			Name: "machines", Usage: "machines [beginning of a name] [--risk high] [--health active] [--os Windows11] [--tag finance] [--seen 24h]",
			Summary: "List machines.",
			Role:    identity.Viewer, Access: ReadersToo, Permissions: [][]string{readMachines},
			Flags: []Flag{
				{Name: "risk", Value: "high", Summary: "none, informational, low, medium or high"},
				{Name: "exposure", Value: "high", Summary: "none, low, medium or high"},
				{Name: "health", Value: "active", Summary: "active, inactive, impaired or no-data"},
				{Name: "os", Value: "Windows11", Summary: "as Defender writes it"},
				{Name: "tag", Value: "finance", Summary: "with this tag"},
				{Name: "seen", Value: "24h", Summary: "seen since: 90m, 24h, 7d"},
				publicFlag,
			},
			Examples: []string{"machines ws- --risk high", "machines --tag finance --seen 7d"},
			run:      (*Router).machines,
		},
		{
			Name: "isolated", Usage: "isolated", Summary: "List who is cut off, since when, by whom and until when.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{readMachines},
			Flags: []Flag{publicFlag}, Examples: []string{"isolated"},
			run: (*Router).isolated,
		},
	}
}

// machine shows the machine that is named, or that the thread is about.
func (r *Router) machine(ctx context.Context, c *call) (chat.Message, error) {
	query := c.arg(0)
	switch {
	case len(c.args) > 1:
		return chat.Message{}, usageError(c, "machine takes one machine; machines lists several.")
	case len(c.args) == 0:
		id, err := r.threadMachine(ctx, c.inv.In)
		if err != nil {
			return chat.Message{}, err
		}
		if id == "" {
			return chat.Message{}, usageError(c, "Which machine? Give its name, ID or IP address.")
		}
		query = id
	}
	m, err := r.oneMachine(ctx, query, cards.ChooserView{Action: cards.ActionShowMachine, Next: "Choose one."})
	if err != nil {
		return chat.Message{}, err
	}
	return r.showMachine(ctx, m), nil
}

// showMachine is the card of a machine.
func (r *Router) showMachine(ctx context.Context, m defender.Machine) chat.Message {
	v := r.machineView(ctx, m)
	granted, err := r.Defender.Permissions(ctx)
	v.MayIsolate = err == nil && granted.Has(defender.PermissionIsolate)
	if err == nil && m.EntraDeviceID != "" && granted.Has(defender.PermissionDeviceRead) {
		v.ShowOwners = true
		if v.Owners, err = r.Defender.DeviceOwners(ctx, m.EntraDeviceID); err != nil && !errors.Is(err, defender.ErrNotFound) {
			v.Unread.Owners = whyUnread(err, defender.PermissionDeviceRead)
		}
	}
	return cards.Machine(v)
}

// threadMachine is the ID of the machine that a thread is about: its own, or the
// one of its alert or request. "" when there is none or more than one.
func (r *Router) threadMachine(ctx context.Context, in chat.Conversation) (string, error) {
	s, ok, err := r.subject(ctx, in)
	if err != nil || !ok {
		return "", err
	}
	switch s.Kind {
	case SubjectMachine:
		return s.ID, nil
	case SubjectAlert:
		a, err := r.Defender.Alert(ctx, s.ID)
		return a.MachineID, err
	case SubjectRequest:
		q, err := r.Approvals.Request(ctx, r.Tenant, s.ID)
		if err != nil || len(q.Targets) != 1 {
			return "", err
		}
		return q.Targets[0].ID, nil
	}
	return "", nil
}

// oneMachine finds the machine that query names. Several, or names that only
// begin like it, are an error that shows chooser with the candidates.
func (r *Router) oneMachine(ctx context.Context, query string, chooser cards.ChooserView) (defender.Machine, error) {
	found, err := r.Defender.FindMachines(ctx, query)
	if err != nil {
		return defender.Machine{}, err
	}
	if len(found.Machines) == 1 && found.Match != defender.MatchPrefix {
		return found.Machines[0], nil
	}
	if len(found.Machines) == 0 {
		return defender.Machine{}, sayOf("Defender knows no machine ", query, ".", "Give its name, its ID or an IP address; machines <beginning> lists names.")
	}
	chooser.Typed, chooser.Prefix = query, found.Match == defender.MatchPrefix
	chooser.Candidates = r.candidates(ctx, found.Machines)
	return defender.Machine{}, &ambiguous{machines: found.Machines, sorry: instead(cards.MachineChooser(chooser))}
}

// ambiguous is the chooser shown for a name that several machines share.
type ambiguous struct {
	machines []defender.Machine
	sorry    error
}

func (a *ambiguous) Error() string { return a.sorry.Error() }
func (a *ambiguous) Unwrap() error { return a.sorry }

// candidates reads what tells machines apart.
func (r *Router) candidates(ctx context.Context, machines []defender.Machine) []cards.Candidate {
	machines = slices.Clone(machines)
	slices.SortStableFunc(machines, func(a, b defender.Machine) int { return b.LastSeen.Compare(a.LastSeen) })
	out := make([]cards.Candidate, min(len(machines), candidatesShown))
	var wg sync.WaitGroup
	for i := range out {
		out[i].Machine = machines[i]
		wg.Go(func() {
			users, err := r.Defender.MachineUsers(ctx, machines[i].ID)
			if err != nil {
				out[i].UsersUnread = whyUnread(err, defender.PermissionUserRead)
			}
			out[i].Users = users
		})
	}
	wg.Wait()
	return out
}

// machineView reads what goes with a machine, all at once. What cannot be read
// is named as missing.
func (r *Router) machineView(ctx context.Context, m defender.Machine) cards.MachineView {
	v := cards.MachineView{Machine: m, Now: r.Now(), Portal: r.Portal}
	var wg sync.WaitGroup
	wg.Go(func() {
		var err error
		if v.Users, err = r.Defender.MachineUsers(ctx, m.ID); err != nil {
			v.Unread.Users = whyUnread(err, defender.PermissionUserRead)
		}
	})
	wg.Go(func() {
		var err error
		if v.Alerts, err = r.Defender.MachineAlerts(ctx, m.ID); err != nil {
			v.Unread.Alerts = whyUnread(err, defender.PermissionAlertRead)
		}
	})
	wg.Go(func() {
		actions, bad, err := collect(r.Defender.MachineActions(ctx, defender.ActionFilter{MachineID: m.ID, Limit: actionsRead}))
		switch {
		case err != nil:
			v.Unread.Actions = whyUnread(err, defender.PermissionMachineRead)
		case bad > 0:
			v.Unread.Actions = "Defender's answer about them could not be read"
		default:
			v.Actions = actions
		}
	})
	wg.Wait()
	return v
}

// healths are Defender's values by how people write them.
var healths = map[string]string{
	"active": "Active", "inactive": "Inactive", "impaired": "ImpairedCommunication",
	"no-data": "NoSensorData", "nosensordata": "NoSensorData", "impairedcommunication": "ImpairedCommunication",
}

func (r *Router) machines(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 1 {
		return chat.Message{}, usageError(c, "machines takes one beginning of a name; the rest are flags.")
	}
	f := defender.MachineFilter{NamePrefix: c.arg(0), OS: c.flags["os"], Tag: c.flags["tag"], Limit: listed + 1}
	for _, level := range []struct {
		flag   string
		values []string
		into   *string
	}{
		{"risk", []string{"None", "Informational", "Low", "Medium", "High"}, &f.Risk},
		{"exposure", []string{"None", "Low", "Medium", "High"}, &f.Exposure},
	} {
		if word, given := c.flags[level.flag]; given {
			value, ok := oneOfFold(word, level.values)
			if !ok {
				return chat.Message{}, usageError(c, "--"+level.flag+" is none, low, medium or high.")
			}
			*level.into = value
		}
	}
	if word, given := c.flags["health"]; given {
		value, ok := healths[strings.ToLower(word)]
		if !ok {
			return chat.Message{}, usageError(c, "--health is active, inactive, impaired or no-data.")
		}
		f.Health = value
	}
	if word, given := c.flags["seen"]; given {
		d, ok := parseAge(word)
		if !ok {
			return chat.Message{}, usageError(c, "--seen takes a time such as 90m, 24h or 7d, up to 180d.")
		}
		f.SeenSince = r.Now().Add(-d)
	}
	all, _, err := collect(r.Defender.Machines(ctx, f))
	if err != nil {
		return chat.Message{}, err
	}
	return cards.MachineList(all[:min(len(all), listed)], nil, len(all) > listed), nil
}

func (r *Router) isolated(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 0 {
		return chat.Message{}, usageError(c, "isolated takes no machine; machine <name> shows one.")
	}
	all, complete, err := r.isolatedMachines(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.IsolatedList(all, complete, r.Now()), nil
}

// isolatedMachines are those that are cut off or changing, the longest first. Complete
// is false when older actions were not read.
func (r *Router) isolatedMachines(ctx context.Context) (all []cards.IsolatedMachine, complete bool, err error) {
	of := map[string][]defender.MachineAction{}
	var order []string
	actions, bad, err := collect(r.Defender.MachineActions(ctx, defender.ActionFilter{
		Types: []defender.MachineActionType{defender.Isolate, defender.Unisolate}, Limit: isolationActionsRead,
	}))
	if err != nil {
		return nil, false, err
	}
	for _, a := range actions {
		if _, known := of[a.MachineID]; !known {
			order = append(order, a.MachineID)
		}
		of[a.MachineID] = append(of[a.MachineID], a)
	}
	for _, id := range order {
		if state := defender.IsolationOf(of[id]); state.State != defender.NotIsolated {
			all = append(all, cards.IsolatedMachine{MachineID: id, Name: of[id][0].MachineName, Isolation: state})
		}
	}
	slices.SortStableFunc(all, func(a, b cards.IsolatedMachine) int { return a.Isolation.Since.Compare(b.Isolation.Since) })
	return all, bad == 0 && len(actions) < isolationActionsRead, r.addOwners(ctx, all)
}

// addOwners adds what the requests behind isolations say: who asked, and the end
// that was planned.
func (r *Router) addOwners(ctx context.Context, all []cards.IsolatedMachine) error {
	ids := make([]string, len(all))
	for i, m := range all {
		ids[i] = m.Isolation.Action.ID
	}
	started, err := r.Approvals.Started(ctx, r.Tenant, ids)
	if err != nil {
		return err
	}
	for i := range all {
		all[i] = all[i].Of(started[ids[i]])
	}
	return nil
}

// collect reads a list to its end. Records that cannot be read are counted.
func collect[T any](list iter.Seq2[T, error]) (all []T, bad int, err error) {
	for one, err := range list {
		var record *defender.RecordError
		switch {
		case errors.As(err, &record):
			bad++
		case err != nil:
			return nil, bad, err
		default:
			all = append(all, one)
		}
	}
	return all, bad, nil
}

// oneOfFold is the value that word means, without regard to case.
func oneOfFold(word string, values []string) (string, bool) {
	i := slices.IndexFunc(values, func(v string) bool { return strings.EqualFold(v, word) })
	if i < 0 {
		return "", false
	}
	return values[i], true
}

package containment

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/identity"
)

// Reader is what containment reads at Defender. Answers must not come from a
// cache.
type Reader interface {
	Machine(ctx context.Context, id string) (defender.Machine, error)
	MachineAction(ctx context.Context, id string) (defender.MachineAction, error)
	MachineActions(ctx context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error]
}

// IndicatorReader lists indicators, of one value when it is given.
type IndicatorReader interface {
	Indicators(ctx context.Context, value string) iter.Seq2[defender.Indicator, error]
}

// Actor starts machine actions: one POST each, and [defender.ErrUnclear] when it
// may have taken effect without an answer.
type Actor interface {
	IsolateMachine(ctx context.Context, machineID string, in defender.IsolateInput) (defender.MachineAction, error)
	ReleaseMachine(ctx context.Context, machineID, comment string) (defender.MachineAction, error)
	RestrictMachine(ctx context.Context, machineID, comment string) (defender.MachineAction, error)
	UnrestrictMachine(ctx context.Context, machineID, comment string) (defender.MachineAction, error)
	QuarantineFile(ctx context.Context, machineID, sha1, comment string) (defender.MachineAction, error)
	CollectPackage(ctx context.Context, machineID, comment string) (defender.MachineAction, error)
	CancelAction(ctx context.Context, id string, kind defender.MachineActionType, comment string) (defender.MachineAction, error)
	SetIndicator(ctx context.Context, in defender.IndicatorInput) (defender.Indicator, error)
	DeleteIndicator(ctx context.Context, id string) error
	TagMachine(ctx context.Context, machineID, tag string, add bool) (defender.Machine, error)
	ScanMachine(ctx context.Context, machineID string, scan defender.ScanType, comment string) (defender.MachineAction, error)
}

// Config is what a Runner works with. Everything but People is required.
type Config struct {
	Approvals *approvals.Service
	Reader    Reader
	// Indicators are read with the acting application.
	Indicators IndicatorReader
	Actor      Actor
	// Directory tells whether requester and approvers are still full members
	// where they asked and voted.
	Directory identity.Directory
	// Hold says why nothing is to be sent at the moment, or ""; an approval waits
	// until its time is over. Nil holds nothing.
	Hold func(ctx context.Context) string
	// People tells whether they are still active in the directory; nil leaves that
	// to the chat platforms.
	People identity.People
	Now    func() time.Time
	Logger *slog.Logger
}

// Runner carries out approved targets. It is safe for concurrent use; several
// processes may run one on the same database.
type Runner struct {
	approvals *approvals.Service
	reader    Reader
	// indicators are read with the acting application.
	indicators IndicatorReader
	actor      Actor
	directory  identity.Directory
	people     identity.People
	hold       func(context.Context) string
	now        func() time.Time
	logger     *slog.Logger
}

// New returns a Runner. Register [Runner.Execute] and [Runner.Follow] as the
// workers of [approvals.KindExecute] and [approvals.KindFollow].
func New(c Config) *Runner {
	return &Runner{
		approvals: c.Approvals, reader: c.Reader, indicators: c.Indicators, actor: c.Actor,
		directory: c.Directory, people: c.People, hold: c.Hold, now: c.Now, logger: c.Logger,
	}
}

const (
	// readTimeout bounds the reads before a claim, heldTimeout the look at the claim
	// and sendTimeout the POST. A send that starts in the first half of its lease ends
	// within the lease.
	readTimeout = 20 * time.Second
	heldTimeout = time.Second
	sendTimeout = approvals.LeaseFor/2 - 2*time.Second
	// recordTimeout bounds writing down an answer, also while stopping.
	recordTimeout = 10 * time.Second
	// readPatience is how long facts may stay unreadable before an approved target
	// becomes void.
	readPatience = time.Minute
	readAgain    = 5 * time.Second
	// sendAgain is when a refusal that may pass is tried again.
	sendAgain = 10 * time.Second
)

// Execute moves one approved target on: it starts it, or looks for what became
// of it. It is a [durable.Worker].
func (x *Runner) Execute(ctx context.Context, job durable.Job) error {
	ref, r, t, err := x.target(ctx, job)
	if err != nil || r.ID == "" {
		return err
	}
	switch t.State {
	case approvals.Approved:
		if wait := t.Due.Sub(x.now()); wait > 0 {
			return durable.Snooze(wait)
		}
		if why := x.held(ctx); why != "" {
			x.logger.WarnContext(ctx, "an approved action waits", slog.String("tenant_id", string(ref.Tenant)), slog.String("approval_id", ref.Request), slog.String("why", why))
			return durable.Snooze(sendAgain)
		}
		err = x.start(ctx, ref, r, t)
	case approvals.Unknown:
		err = x.look(ctx, ref, r, t)
	default: // followed, or over: nothing to send and nothing to look for
	}
	return x.ended(ctx, ref, err)
}

func (x *Runner) held(ctx context.Context) string {
	if x.hold == nil {
		return ""
	}
	return x.hold(ctx)
}

// target reads what job is about; a zero Request means that it is over.
func (x *Runner) target(ctx context.Context, job durable.Job) (approvals.Ref, approvals.Request, approvals.Target, error) {
	ref, err := approvals.ParseRef(job)
	if err != nil {
		return ref, approvals.Request{}, approvals.Target{}, err
	}
	r, err := x.approvals.Request(ctx, ref.Tenant, ref.Request)
	if errors.Is(err, approvals.ErrNotFound) {
		return ref, approvals.Request{}, approvals.Target{}, nil
	}
	if err != nil || ref.Index >= len(r.Targets) || r.Targets[ref.Index].Generation != ref.Generation {
		return ref, approvals.Request{}, approvals.Target{}, err
	}
	return ref, r, r.Targets[ref.Index], nil
}

// ended drops what is no fault of the job: somebody else has carried on, or the
// target became void and says so by itself.
func (x *Runner) ended(ctx context.Context, ref approvals.Ref, err error) error {
	var no *approvals.Refusal
	if errors.Is(err, approvals.ErrMoved) || errors.As(err, &no) {
		x.logger.InfoContext(ctx, "execution not needed", slog.String("tenant_id", string(ref.Tenant)),
			slog.String("approval_id", ref.Request), slog.Int("target", ref.Index), slog.Any("error", err))
		return nil
	}
	return err
}

func (x *Runner) start(ctx context.Context, ref approvals.Ref, r approvals.Request, t approvals.Target) error {
	effect, known := effects[r.Action]
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	facts := approvals.Facts{At: x.now()}
	var err error
	if facts.Barred, err = x.barred(reading, r); err == nil && known {
		var own *approvals.Started
		own, err = effect.before(reading, x, r, t, &facts)
		if err == nil && own != nil {
			// A restored database, or an attempt whose answer was lost.
			return x.approvals.Found(ctx, ref, *own)
		}
	}
	if err != nil {
		if wait := x.patience(t, err); wait > 0 {
			x.logger.WarnContext(ctx, "facts before an approved action could not be read; trying again",
				slog.String("tenant_id", string(ref.Tenant)), slog.String("approval_id", ref.Request), slog.Any("error", err))
			return durable.Snooze(wait)
		}
		facts.Problem = "What has to be known before sending it could not be read: " + words(err)
	}
	if x.approvals.Local(r.Action) {
		return readAgainIfStale(x.approvals.Apply(ctx, ref, facts))
	}
	attempt, err := x.approvals.Claim(ctx, ref, facts)
	if err != nil {
		return readAgainIfStale(err)
	}
	return x.send(ctx, effect, attempt)
}

// readAgainIfStale begins anew when this process has slept since it read what was
// to be judged.
func readAgainIfStale(err error) error {
	if errors.Is(err, approvals.ErrStale) {
		return durable.Snooze(0)
	}
	return err
}

// patience says how long to wait before reading again, or 0 when it was long
// enough.
func (x *Runner) patience(t approvals.Target, err error) time.Duration {
	var throttled *defender.ThrottledError
	switch {
	case errors.As(err, &throttled):
		return max(throttled.RetryAfter, time.Second) // the sweep voids it when its time is over
	case x.now().Sub(t.Updated) < readPatience:
		return readAgain
	}
	return 0
}

// send makes the one POST of an attempt and records what came of it. Both happen
// also while the process is stopping.
func (x *Runner) send(ctx context.Context, effect effect, a approvals.Attempt) error {
	ctx = context.WithoutCancel(ctx)
	late := x.now().After(a.Target.LeaseUntil.Add(-approvals.LeaseFor / 2))
	asking, cancel := context.WithTimeout(ctx, heldTimeout)
	held, err := x.approvals.Holds(asking, a)
	cancel()
	switch {
	case err != nil:
		x.logger.WarnContext(ctx, "claim could not be looked at before sending", slog.String("tenant_id", string(a.Request.Tenant)),
			slog.String("approval_id", a.Request.ID), slog.Any("error", err))
		return x.approvals.Postponed(ctx, a, sendAgain, "mdebot could not see whether it may still send it; trying again.")
	case fault.On(fault.Lease):
	case !held:
		return approvals.ErrMoved
	case late:
		return x.approvals.Postponed(ctx, a, 0, "mdebot was too slow to send it in time; trying again.")
	}
	sending, cancel := context.WithTimeout(ctx, sendTimeout)
	var sent approvals.Started
	err = failpoint.Around(failpoint.ActionCalled, func() (err error) {
		sent, err = effect.send(sending, x.actor, a, comment(a))
		return err
	})
	if fault.On(fault.Resend) && errors.Is(err, defender.ErrUnclear) {
		sent, err = effect.send(sending, x.actor, a, comment(a))
	}
	cancel()
	recording, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	if err == nil {
		return x.approvals.Submitted(recording, a, sent)
	}
	x.logger.WarnContext(ctx, "approved action was not accepted", slog.String("tenant_id", string(a.Request.Tenant)),
		slog.String("approval_id", a.Request.ID), slog.String("target", a.Target.ID),
		slog.Int("attempt", a.Target.Attempts), slog.Any("error", err))
	return x.refused(recording, effect, a, sent.Detail, err)
}

// refused sorts an error of the POST: without effect for good, without effect
// for now, or unclear. What is not known to be without effect is unclear.
func (x *Runner) refused(ctx context.Context, effect effect, a approvals.Attempt, detail json.RawMessage, err error) error {
	var throttled *defender.ThrottledError
	switch {
	case errors.Is(err, defender.ErrUnclear):
		return x.approvals.Unclear(ctx, a, "No clear answer from Defender; looking for what became of it.", detail)
	case errors.Is(err, defender.ErrAlreadyActive):
		return x.alreadyActive(ctx, effect, a, detail)
	case errors.As(err, &throttled):
		return x.approvals.Postponed(ctx, a, max(throttled.RetryAfter, time.Second), "Defender's quota is used up; waiting.")
	case errors.Is(err, defender.ErrUnavailable):
		return x.approvals.Postponed(ctx, a, sendAgain, "Defender cannot be reached; trying again.")
	case errors.Is(err, defender.ErrUnauthorized) && a.Target.Attempts == 1:
		return x.approvals.Postponed(ctx, a, sendAgain, "Defender refused the application's token; trying once more with a new one.")
	case errors.Is(err, defender.ErrUnauthorized), errors.Is(err, defender.ErrForbidden),
		errors.Is(err, defender.ErrNotFound), errors.Is(err, defender.ErrInvalid):
		return x.approvals.Refused(ctx, a, words(err), detail)
	}
	return x.approvals.Unclear(ctx, a, "No clear answer from Defender; looking for what became of it.", detail)
}

// alreadyActive finds out whose action is in the way. An earlier attempt's own
// is adopted, somebody else's is reported and no other is added.
func (x *Runner) alreadyActive(ctx context.Context, effect effect, a approvals.Attempt, detail json.RawMessage) error {
	found, err := effect.look(ctx, x, a.Request, a.Target)
	switch {
	case err == nil && found.own != nil:
		return x.approvals.Submitted(ctx, a, *found.own)
	case err == nil && found.other != "":
		return x.approvals.Refused(ctx, a, "Not sent: "+found.other+".", detail)
	}
	return x.approvals.Unclear(ctx, a, "Defender says that such an action is already active; looking for it.", detail)
}

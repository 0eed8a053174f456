package anchor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Guard stops everything destructive when a chain is not the one that was
// anchored.
type Guard interface {
	// Restored is called for as long as the chain does not contain the anchor. It
	// stops the tenant the first time, and reports whether people have accepted the
	// database since.
	Restored(ctx context.Context, known audit.Head, problem string) (accepted bool, err error)
}

// Config is what a Keeper works with.
type Config struct {
	DB           durable.DB
	Tenants      []tenant.ID
	Destinations []Destination
	// Key signs; nil sends anchors unsigned.
	Key    *audit.Key
	Guard  Guard
	Now    func() time.Time
	Logger *slog.Logger
}

// Keeper compares the chains with what was sent outside and sends their heads.
// It is safe for concurrent use; several processes may run one on the same
// database.
type Keeper struct {
	cfg  Config
	soon chan struct{}

	mu   sync.Mutex
	sent map[sentKey]sent
	// problem is why some destination has not been reached, "" when all have.
	problem map[string]string
	differs map[tenant.ID]string
}

type sentKey struct {
	tenant      tenant.ID
	destination string
}

type sent struct {
	seq int64
	at  time.Time
}

// New returns a Keeper.
func New(cfg Config) *Keeper {
	return &Keeper{
		cfg: cfg, soon: make(chan struct{}, 1), sent: map[sentKey]sent{}, problem: map[string]string{}, differs: map[tenant.ID]string{},
	}
}

// Soon asks that the heads are sent now: something destructive has been recorded.
func (k *Keeper) Soon() {
	select {
	case k.soon <- struct{}{}:
	default: // asked for already
	}
}

// retryEvery is how often destinations are looked at, also those that failed.
const retryEvery = 30 * time.Second

// Compare compares every chain with its newest anchor, before anything is added
// to the chain.
func (k *Keeper) Compare(ctx context.Context) {
	for _, id := range k.cfg.Tenants {
		k.compare(ctx, id)
	}
}

// Run keeps until ctx ends, and then sends once more.
func (k *Keeper) Run(ctx context.Context) {
	if len(k.cfg.Destinations) == 0 {
		return
	}
	k.Keep(ctx, false)
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		urgent := false
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
			k.Keep(last, true)
			cancel()
			return
		case <-k.soon:
			urgent = true
		case <-tick.C:
		}
		k.Keep(ctx, urgent)
	}
}

// Keep compares every chain with its newest anchor and sends heads where they are
// due, or everywhere when it is urgent.
func (k *Keeper) Keep(ctx context.Context, urgent bool) {
	for _, id := range k.cfg.Tenants {
		replaces, ok := k.compare(ctx, id)
		if !ok {
			continue
		}
		if err := k.send(ctx, id, replaces, urgent); err != nil {
			k.cfg.Logger.ErrorContext(ctx, "audit head not read", "tenant_id", id, "error", err)
		}
	}
}

// compare reports whether heads of the tenant may be sent. replaces is the anchor
// that people have given up, if they have.
func (k *Keeper) compare(ctx context.Context, id tenant.ID) (replaces *audit.Head, ok bool) {
	newest, found := k.newest(ctx, id)
	if !found {
		return nil, true
	}
	err := audit.Check(ctx, k.cfg.DB.Read(), newest.Head)
	if fault.On(fault.Restored) {
		err = nil
	}
	var broken *audit.BrokenError
	switch {
	case err == nil:
		k.differ(id, "")
		return nil, true
	case !errors.As(err, &broken):
		k.cfg.Logger.ErrorContext(ctx, "audit log not compared with its anchor", "tenant_id", id, "error", err)
		return nil, false
	}
	problem := fmt.Sprintf("The audit log is not the one anchored at %s with %d records: at record %d, %s.",
		newest.At.UTC().Format(time.RFC3339), newest.Seq, broken.Seq, broken.Problem)
	k.cfg.Logger.ErrorContext(ctx, "audit log differs from its anchor", "tenant_id", id, "problem", problem)
	accepted, err := k.cfg.Guard.Restored(ctx, newest.Head, problem)
	if err != nil {
		k.cfg.Logger.ErrorContext(ctx, "restored database not stopped", "tenant_id", id, "error", err)
	}
	if err != nil || !accepted {
		k.differ(id, problem)
		return nil, false
	}
	k.differ(id, "")
	return &newest.Head, true
}

// newest is the newest anchor of a tenant that any destination hands out.
func (k *Keeper) newest(ctx context.Context, id tenant.ID) (newest audit.Anchor, found bool) {
	public := ""
	if k.cfg.Key != nil {
		public = k.cfg.Key.Public()
	}
	for _, d := range k.cfg.Destinations {
		r, readable := d.(Reader)
		if !readable {
			continue
		}
		a, ok, err := r.Newest(ctx, id, public)
		switch {
		case errors.Is(err, errNotKept):
		case err != nil:
			k.cfg.Logger.WarnContext(ctx, "anchor not read; the audit log is not compared with it", "destination", d.String(), "tenant_id", id, "error", err)
		case ok && (!found || a.At.After(newest.At)):
			newest, found = a, true
		}
	}
	if !found {
		k.cfg.Logger.DebugContext(ctx, "no anchor to compare the audit log with", "tenant_id", id)
	}
	return newest, found
}

func (k *Keeper) send(ctx context.Context, id tenant.ID, replaces *audit.Head, urgent bool) error {
	head, err := audit.ReadHead(ctx, k.cfg.DB.Read(), id)
	if err != nil || head.Seq == 0 {
		return err
	}
	a := audit.Anchor{Head: head, At: k.cfg.Now().UTC().Truncate(time.Microsecond), Replaces: replaces}
	if k.cfg.Key != nil {
		a = k.cfg.Key.Sign(a)
	}
	var wg sync.WaitGroup
	for _, d := range k.cfg.Destinations {
		if k.due(d, a, urgent || replaces != nil) {
			wg.Go(func() { k.sendTo(ctx, d, a) })
		}
	}
	wg.Wait()
	return nil
}

func (k *Keeper) due(d Destination, a audit.Anchor, urgent bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.sent[sentKey{a.Tenant, d.String()}]
	return last.seq != a.Seq && (urgent || a.At.Sub(last.at) >= d.Every() || k.problem[d.String()] != "")
}

func (k *Keeper) sendTo(ctx context.Context, d Destination, a audit.Anchor) {
	err := failpoint.Around(failpoint.HeadSent, func() error { return d.Send(ctx, a) })
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.problem[d.String()] = err.Error()
		k.cfg.Logger.ErrorContext(ctx, "audit head not anchored; it is tried again", "destination", d.String(), "tenant_id", a.Tenant, "error", err)
		return
	}
	delete(k.problem, d.String())
	k.sent[sentKey{a.Tenant, d.String()}] = sent{a.Seq, a.At}
}

func (k *Keeper) differ(id tenant.ID, problem string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.differs[id] = problem
}

// Problem says in words for operators what is wrong, "" when nothing is.
func (k *Keeper) Problem(id tenant.ID) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.differs[id]; p != "" {
		return p
	}
	for d, p := range k.problem {
		return d + ": " + p
	}
	return ""
}

// Differs reports whether the tenant's chain does not contain its newest anchor
// and people have not accepted that.
func (k *Keeper) Differs(id tenant.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.differs[id] != ""
}

// Comparable reports whether any destination hands out what it was sent: without
// one, a restored database cannot be noticed at start.
func (k *Keeper) Comparable() bool {
	for _, d := range k.cfg.Destinations {
		if _, ok := d.(Reader); ok {
			return true
		}
	}
	return false
}

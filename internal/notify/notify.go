package notify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/seal"
	"github.com/mdebot/mdebot/internal/tenant"
)

// JobDeliver is the kind of the job that brings a destination up to date. Its ID
// is the destination; hand it to [Notifier.Deliver].
const JobDeliver = "deliver"

// RequestSource reads approval requests.
type RequestSource interface {
	Request(ctx context.Context, t tenant.ID, id string) (approvals.Request, error)
	// Frozen is the freeze in force, or the zero Freeze.
	Frozen(ctx context.Context, t tenant.ID) (approvals.Freeze, error)
	// Expiring lists the requests whose effect ends by itself and has not yet.
	Expiring(ctx context.Context, t tenant.ID) ([]approvals.Request, error)
	// Timed lists the requests of which some target has taken effect for a planned
	// time.
	Timed(ctx context.Context, t tenant.ID) ([]approvals.Request, error)
	// Started finds the requests that machine actions came from, by the actions' IDs.
	Started(ctx context.Context, t tenant.ID, machineActions []string) (map[string]approvals.Request, error)
}

// Watched is one Defender tenant whose alerts are posted.
type Watched struct {
	Tenant tenant.ID
	// Name is shown on its cards where there are several tenants.
	Name   string
	Source AlertSource
	Portal cards.Portal
	// Off says why the tenant's alerts cannot be read at all, or ""; nil means that
	// they can. Such a tenant is not polled and not announced as blind.
	Off func() string
	// MayUpdate, MayIsolate and MayHunt say what the tenant's token permits now: a
	// button that must fail is not shown.
	MayUpdate, MayIsolate, MayHunt func() bool
}

// Config is what a Notifier needs.
type Config struct {
	DB       durable.DB
	Posters  map[identity.Platform]chat.Poster
	Requests RequestSource
	Policy   *policy.Source
	Tenants  []Watched
	// Keys encrypts what is stored of alerts and notices.
	Keys   seal.Keys
	Now    func() time.Time
	Logger *slog.Logger
	// Hunts runs scheduled hunts; nil runs none.
	Hunts HuntRunner
	// Pager wakes people for notify.page; nil means nobody does.
	Pager Pager
	// Metrics is told how posting goes; nil means nobody.
	Metrics Metrics
	// MuteEnded records the end of a mute, in its transaction; nil records nothing.
	MuteEnded func(ctx context.Context, tx durable.Tx, t tenant.ID, v cards.MuteView) error
}

// Metrics counts. Its methods must not block.
type Metrics interface {
	// AlertPosted is told how long after it was seen an alert was posted, and how
	// long after Defender had made it.
	AlertPosted(lag, age time.Duration)
	// AlertUnreadable counts alerts that Defender sent in a form nobody can read.
	AlertUnreadable()
	// Posted is told the outcome of every try to post or edit.
	Posted(on identity.Platform, err error)
	// DuplicateAvoided counts posts that had gone out before a crash or an
	// unclear answer, and were found instead of repeated.
	DuplicateAvoided()
}

type noMetrics struct{}

func (noMetrics) AlertUnreadable()                         {}
func (noMetrics) AlertPosted(time.Duration, time.Duration) {}
func (noMetrics) DuplicateAvoided()                        {}
func (noMetrics) Posted(identity.Platform, error)          {}

// Notifier says what nobody asked for. It is safe for concurrent use.
type Notifier struct {
	db       durable.DB
	posters  map[identity.Platform]chat.Poster
	requests RequestSource
	policy   *policy.Source
	tenants  map[tenant.ID]*watch
	keys     seal.Keys
	hunts    HuntRunner
	pager    Pager
	now      func() time.Time
	log      *slog.Logger
	metrics  Metrics

	muteEnded func(ctx context.Context, tx durable.Tx, t tenant.ID, v cards.MuteView) error

	expiryMu   sync.Mutex
	expiryNext time.Time
}

// New returns a Notifier. Give its Deliver to the job runner, and call Sweep
// every two seconds on every replica.
func New(cfg Config) (*Notifier, error) {
	if cfg.DB == nil || cfg.Requests == nil || cfg.Policy == nil || cfg.Now == nil || cfg.Logger == nil {
		return nil, errors.New("notify: incomplete configuration")
	}
	n := &Notifier{
		db: cfg.DB, posters: cfg.Posters, requests: cfg.Requests, policy: cfg.Policy,
		tenants: map[tenant.ID]*watch{}, keys: cfg.Keys, hunts: cfg.Hunts, pager: cfg.Pager, now: cfg.Now, log: cfg.Logger, muteEnded: cfg.MuteEnded,
	}
	if n.metrics = cfg.Metrics; n.metrics == nil {
		n.metrics = noMetrics{}
	}
	for _, w := range cfg.Tenants {
		n.tenants[w.Tenant] = newWatch(w)
	}
	return n, nil
}

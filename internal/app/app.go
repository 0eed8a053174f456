package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/anchor"
	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/containment"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/directory"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/entra"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/links"
	"github.com/mdebot/mdebot/internal/notify"
	"github.com/mdebot/mdebot/internal/pager"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/seal"
	"github.com/mdebot/mdebot/internal/slackbot"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/teamsbot"
	"github.com/mdebot/mdebot/internal/tenant"
)

// What a stop may take, which is 20 seconds in all (reliability P-14). What is not
// finished then goes on at the next start, on this replica or another one.
const (
	// intakeTimeout is for deliveries that are being acknowledged.
	intakeTimeout = 4 * time.Second
	// stopTimeout is for the work in flight, intake included. What runs then is
	// cancelled and gets three seconds more, see [store.Store.Stop].
	stopTimeout = 14 * time.Second
	// lastWordTimeout is for the record that the process has stopped.
	lastWordTimeout = time.Second
)

// App is the whole bot.
type App struct {
	cfg    Config
	log    *slog.Logger
	now    func() time.Time
	tenant tenant.ID

	store       *store.Store
	policy      *policy.Source
	audit       *audit.Log
	defender    *defender.Client
	approvals   *approvals.Service
	customers   []*customer // the tenants served; the first stands for all in status
	misuse      *containment.Watch
	skew        *clockSkew
	notify      *notify.Notifier
	slack       *slackbot.Bot
	teams       *teamsbot.Bot
	links       *links.Service
	signIn      *links.SignIn // nil without
	permissions *permissions
	files       sentFiles
	homes       *homes // nil without Slack
	page        func(ctx context.Context, who identity.Principal, asked bool) (chat.Page, bool)
	expiry      *expiry
	refusals    *refusals
	people      *directory.Directory
	metrics     *metrics
	parts       *parts
	traces      *traces
	keys        seal.Keys
	anchors     *anchor.Keeper
	reload      *reloader
	handler     chat.Handler

	webhook, admin net.Listener
	ready          atomic.Bool
}

// New reads mdebot.yaml, opens the database and the listeners and puts the parts
// together. Nothing runs and nobody is called before Run. A configuration that
// cannot work is a *ConfigError.
func New(ctx context.Context, cfg Config, logger *slog.Logger) (*App, error) {
	return newAt(ctx, cfg, logger, nil)
}

// newAt is New with a clock, for tests: it decides when requests expire, jobs are
// due and cards are sent, and has to move. Nil means the real one.
func newAt(ctx context.Context, cfg Config, logger *slog.Logger, now func() time.Time) (_ *App, err error) {
	a := &App{cfg: cfg, log: logger, now: now, tenant: cfg.Defender.TenantID, metrics: newMetrics(), parts: newParts()}
	a.parts.expect(cfg.expected()...)
	a.metrics.parts = a.parts
	if now == nil {
		a.now = time.Now
	}
	a.refusals = newRefusals(a.now)
	pol, err := cfg.loadPolicy()
	if err != nil {
		return nil, &ConfigError{Faults: appendFault(nil, err)}
	}
	for _, w := range pol.Warnings() {
		logger.WarnContext(ctx, "configuration warning", "warning", w)
	}
	if !cfg.Defender.ActsApart() {
		logger.WarnContext(ctx, actsTogether)
	}
	for _, c := range []entra.Credential{cfg.Defender.Credential(), cfg.Defender.ActionCredential()} {
		if c.Effective() == entra.Secret {
			logger.WarnContext(ctx, "an application signs in with a client secret; a certificate, a managed or a workload identity is safer", "client_id", c.ClientID)
		}
	}
	if !cfg.SignIn.Enabled() {
		logger.WarnContext(ctx, withoutSignIn)
	}
	a.policy = policy.NewSource(pol)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.store, err = store.Open(ctx, cfg.DatabaseURL, store.Options{Logger: logger, Now: now, Metrics: a.metrics, Version: Version()}); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := a.assemble(); err != nil {
		return nil, err
	}
	if err := seal.Prepare(ctx, a.store, a.keys, sealedColumns()); err != nil {
		return nil, err
	}
	if a.webhook, err = listen(ctx, cfg.Listen, cfg.TLSCertFile, cfg.TLSKeyFile); err != nil {
		return nil, err
	}
	if a.admin, err = listen(ctx, cfg.AdminListen, "", ""); err != nil {
		return nil, err
	}
	return a, nil
}

// policyOptions says whose object IDs mdebot.yaml may give without their tenant.
func (c Config) policyOptions() policy.Options {
	home := string(c.Defender.TenantID)
	if len(c.Teams.TenantIDs) > 0 {
		home = c.Teams.TenantIDs[0]
	}
	return policy.Options{HomeTenant: home, SignIn: c.SignIn.Enabled(), ParamProblem: commands.ParamProblem}
}

// actWorkers carry out requests, and as many follow their actions.
const actWorkers = 8

// huntWorkers run scheduled hunts.
const huntWorkers = 2

// watchedAtOnce is how many tenants are looked at for misuse at a time.
const watchedAtOnce = 8

// assemble makes the parts, from the outside in, and hands each what it needs.
func (a *App) assemble() error {
	transport, err := outbound(a.cfg, a.parts)
	if err != nil {
		return &ConfigError{Faults: []error{err}}
	}
	toChat, err := toPublic(a.cfg, transport)
	if err != nil {
		return &ConfigError{Faults: []error{err}}
	}
	if a.traces, err = newTraces(a.cfg.Traces, transport, a.log); err != nil {
		return &ConfigError{Faults: []error{err}}
	}
	a.parts.traces = a.traces
	a.audit = audit.NewLog(a.now)
	if a.keys, err = seal.ParseKeys(a.cfg.DataKey); err != nil {
		return &ConfigError{Faults: []error{err}}
	}
	a.skew = &clockSkew{now: time.Now, log: a.log}
	if a.defender, err = defender.New(a.cfg.Defender, defender.WithTransport(transport), defender.WithLogger(a.log),
		defender.Around(func(next http.RoundTripper) http.RoundTripper { return a.parts.watch(next, a.cfg.microsoft()) }),
		defender.WithObserver(a.metrics.called), defender.WithDates(a.skew.measure)); err != nil {
		return err
	}
	actor, err := defender.NewActor(a.cfg.Defender, a.defender)
	if err != nil {
		return err
	}
	if a.customers, err = a.customersOf(a.policy.Current(), transport, actor); err != nil {
		return err
	}
	for _, c := range a.customers {
		c.permissions = newPermissions(c.reading(), a.now)
	}
	a.permissions = a.customers[0].permissions

	a.files = sentFiles{db: a.store, now: a.now, log: a.log}
	dir := directories{}
	posters := map[identity.Platform]chat.Poster{}
	handler := &lateHandler{}
	if a.cfg.Slack.Enabled() {
		cfg := a.cfg.Slack
		cfg.Transport, cfg.Refused = toChat, a.refusals.take
		cfg.OnSocket, cfg.OnAck = a.parts.socket, a.metrics.socketAcknowledged
		cfg.Around = func(next http.RoundTripper) http.RoundTripper { return a.parts.watch(next, named(partSlack)) }
		cfg.OnFile = a.files.sent
		a.homes = &homes{db: a.store, now: a.now, log: a.log, mark: a.homeMark}
		cfg.OnHome = a.homes.opened
		cfg.Guests = a.guestsMayRead
		if a.slack, err = slackbot.New(cfg, handler, a.log); err != nil {
			return err
		}
		a.files.delete, a.homes.show = a.slack.DeleteFile, a.slack
		dir[identity.Slack], posters[identity.Slack] = a.slack, a.slack
	}
	if a.cfg.Teams.Enabled() {
		if a.teams, err = teamsbot.New(a.cfg.Teams, teamsbot.Options{
			References: references{db: a.store, keys: a.keys, now: a.now}, Messages: ownMessages{db: a.store, now: a.now}, Transport: a.parts.watch(toChat, a.cfg.bot()),
			Refused: a.refusals.take, Guests: a.guestsMayRead, Logger: a.log,
		}); err != nil {
			return err
		}
		dir[identity.Teams], posters[identity.Teams] = a.teams, a.teams
	}

	var paging notify.Pager
	if a.cfg.PageKey != "" {
		paging = pager.New(a.cfg.PageKey, transport)
	}
	requests, hunts := &requestSource{}, &huntRunner{}
	var watched []notify.Watched
	var served []commands.Tenant
	for _, c := range a.customers {
		watched, served = append(watched, c.watched()), append(served, c.commanded())
	}
	if a.notify, err = notify.New(notify.Config{
		DB: a.store, Posters: posters, Requests: requests, Policy: a.policy, Keys: a.keys, Hunts: hunts, Pager: paging, Now: a.now, Logger: a.log, Metrics: a.metrics,
		MuteEnded: a.muteEnded,
		Tenants:   watched,
	}); err != nil {
		return err
	}
	people := a.newDirectory()
	a.people = people
	if a.links, err = a.newLinks(toChat, people); err != nil {
		return err
	}
	a.approvals = approvals.New(approvals.Config{
		DB: a.store, Audit: a.audit, Announcer: &timedAnnouncer{Announcer: a.notify, metrics: a.metrics}, Policy: a.policy, Groups: people, Links: a.links, StepUps: a.links, Actions: approvals.Actions(), Now: a.now, Skew: a.skew.ahead, Logger: a.log,
	})
	requests.Service = a.approvals
	for _, c := range a.customers {
		a.equip(c, dir, people)
	}
	a.misuse, a.expiry = a.customers[0].misuse, a.customers[0].expiry
	if a.anchors, err = a.newKeeper(transport, posters); err != nil {
		return err
	}
	a.handler = handler
	router := commands.New(commands.Config{
		Tenants: served, Tenant: a.tenant,
		Approvals: a.approvals, Policy: a.policy, Groups: people, Links: a.links, People: people, Directory: dir, Inbox: a.store, Recorder: recorder{a.store, a.audit},
		Watcher: a.notify, Mutes: a.notify, History: huntHistory{db: a.store, keys: a.keys, now: a.now}, Schedules: a.notify, Subjects: subjects{a.notify}, Status: a, Now: a.now, Logger: a.log, Ran: a.ran,
	})
	hunts.Router = router
	a.page = router.Home
	handler.Handler = a.traces.commands(router)

	a.store.Handle(notify.JobDeliver, a.traces.job(a.notify.Deliver), store.Workers(16))
	a.store.Handle(notify.JobHunt, newShares(huntWorkers, len(a.customers)).around(a.traces.job(a.notify.RunHunt)), store.Workers(huntWorkers))
	a.store.Handle(approvals.KindExecute, newShares(actWorkers, len(a.customers)).around(a.traces.job(a.execute)), store.Workers(actWorkers))
	a.store.Handle(approvals.KindFollow, newShares(actWorkers, len(a.customers)).around(a.traces.job(a.of((*containment.Runner).Follow))), store.Workers(actWorkers))
	a.store.Tick("requests", a.approvals.Sweep)
	a.store.Tick("misuse", func(ctx context.Context) error {
		// One that hangs must not keep the others from being watched.
		errs := make([]error, len(a.customers))
		var group errgroup.Group
		group.SetLimit(watchedAtOnce)
		for i, c := range a.customers {
			group.Go(func() error { errs[i] = c.misuse.Look(ctx); return nil })
		}
		_ = group.Wait() // each keeps its own
		return errors.Join(errs...)
	})
	a.store.Tick("replicas", a.shareQuota)
	a.store.Tick("patterns", (&patterns{app: a}).look)
	a.store.Tick("messages", a.notify.Sweep)
	if a.homes != nil {
		a.homes.draw = a.page
		a.store.Tick("homes", a.homes.look)
	}

	a.metrics.registry.MustRegister(state{a})
	a.reload = &reloader{
		file: a.cfg.File, read: a.cfg.loadPolicy, source: a.policy, log: a.log, served: a.policy.Current().Tenants,
		announce: func(ctx context.Context, about string, m chat.Message) error {
			return a.notify.Announce(ctx, a.tenant, about, m)
		},
		audit: a.record,
	}
	a.reload.seen = a.reload.stamps()
	return nil
}

// Addr is where Slack and Teams reach the bot.
func (a *App) Addr() net.Addr { return a.webhook.Addr() }

// AdminAddr is where health and readiness are told.
func (a *App) AdminAddr() net.Addr { return a.admin.Addr() }

// Run serves until ctx ends, then stops in order: intake first, then work in
// flight, then the database. It may be called once.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.close()) }()
	// Before anything is written: what is compared is the database as it was found.
	a.anchors.Compare(ctx)
	if err := a.record(ctx, "started", "ok", Version()); err != nil {
		return fmt.Errorf("record the start: %w", err)
	}
	if err := a.store.Start(ctx); err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}

	// The parts outlive ctx by the drain; stop ends them.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	failed := make(chan error, 4)
	webhook := newServer(a.routes(), a.log)
	adminMux := adminRoutes(&a.ready, a.degraded)
	adminMux.Handle("GET /metrics", a.metrics.handler())
	admin := newServer(adminMux, a.log)
	serve := func(srv *http.Server, l net.Listener) {
		wg.Go(func() {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
		})
	}
	part := func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(running); err != nil && running.Err() == nil {
				failed <- err
			}
		})
	}
	serve(webhook, a.webhook)
	serve(admin, a.admin)
	if a.slack != nil {
		part(a.slack.Run)
	}
	if a.teams != nil {
		part(a.teams.Run)
	}
	wg.Go(func() { a.notify.Poll(running) })
	wg.Go(func() { a.reload.run(running) })
	for _, c := range a.customers {
		wg.Go(func() {
			c.permissions.run(running, func(ctx context.Context, l cards.StatusLine) { a.tellSignIn(ctx, c.id, l) })
		})
		wg.Go(func() { c.expiry.run(running) })
	}
	wg.Go(func() { a.anchors.Run(running) })
	wg.Go(func() { a.retain(running) })
	wg.Go(func() { a.warn(running) })
	wg.Go(func() { a.watchTags(running) })
	wg.Go(func() { a.keepRefusals(running) })
	wg.Go(func() { (&rotation{app: a}).run(running) })
	if err := a.announceStart(ctx); err != nil {
		a.log.ErrorContext(ctx, "start not announced", "error", err)
	}
	a.ready.Store(true)
	a.log.InfoContext(ctx, "ready", "version", Version(), "listen", a.Addr().String(), "admin", a.AdminAddr().String(),
		"policy_hash", a.policy.Current().Hash(), "config", a.cfg)

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	a.ready.Store(false)
	a.log.InfoContext(context.WithoutCancel(ctx), "stopping")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	shut(drain, webhook, intakeTimeout)
	stop()
	err = errors.Join(err, a.store.Stop(drain))
	shut(drain, admin, 0)
	wg.Wait()
	word, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWordTimeout)
	defer cancel()
	return errors.Join(err, a.record(word, "stopped", "ok", Version()))
}

// shut lets srv finish what it is answering for a while and cuts the rest off: a
// peer that hangs on is no reason to fail.
func shut(ctx context.Context, srv *http.Server, within time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close() // the listener is closed either way
	}
}

// routes are the webhook paths of the configured platforms.
func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	proxies, _ := parseProxies(a.cfg.TrustedProxies) // it has been validated
	known := newSources(proxies, a.log)
	if a.slack != nil {
		mux.Handle("/slack/", a.traces.delivery("slack", a.metrics.acknowledged("slack", known.limit(a.slack.Routes()))))
	}
	if a.teams != nil {
		mux.Handle("/api/messages", a.traces.delivery("teams", a.metrics.acknowledged("teams", known.limit(a.teams.Endpoint(a.handler)))))
		if a.cfg.SignIn.PublicURL != "" {
			tab := known.limit(a.teams.Tab(teamsbot.Tab{Local: a.cfg.SignIn.Local(), Draw: a.page, Mark: a.homeMark, Now: a.now}))
			mux.Handle(teamsbot.TabPath, tab)
			mux.Handle(teamsbot.TabPath+"/", tab)
		}
	}
	if a.cfg.SignIn.Enabled() {
		mux.Handle("/link", known.limit(a.links.Routes()))
		mux.Handle("/link/", known.limit(a.links.Routes()))
	}
	return mux
}

// close closes what New opened, in reverse order. Closing twice is harmless.
func (a *App) close() error {
	var errs []error
	for _, l := range []net.Listener{a.webhook, a.admin} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.defender != nil {
		a.defender.Close()
	}
	for _, c := range a.customers {
		c.client.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastWordTimeout)
	defer cancel()
	a.traces.stop(ctx)
	return errors.Join(errs...)
}

// record appends an event about the bot itself to the audit log.
func (a *App) record(ctx context.Context, kind, outcome, detail string) error {
	e := audit.Event{Tenant: a.tenant, At: a.now(), Kind: kind, Outcome: outcome, PolicyHash: a.policy.Current().Hash(), Detail: jsonString(detail)}
	return a.store.InTx(ctx, func(tx durable.Tx) error {
		_, err := a.audit.Append(ctx, tx, e)
		return err
	})
}

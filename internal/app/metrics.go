package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/notify"
)

// metrics is what /metrics tells. Its labels come from closed lists of this
// program: the listener has no login, so no person, machine or tenant is named
// (threat-model W-11).
//
// What is state is read from the database when somebody asks, and is the same on
// every replica; what happened is counted by the replica it happened on.
type metrics struct {
	registry *prometheus.Registry
	parts    *parts // told what chat platforms make of messages

	ack        *prometheus.HistogramVec
	refused    *prometheus.CounterVec
	commands   *prometheus.CounterVec
	stages     *prometheus.HistogramVec
	alertLag   prometheus.Histogram
	alertAge   prometheus.Histogram
	unreadable prometheus.Counter
	duplicates prometheus.Counter
	posts      *prometheus.CounterVec
	calls      *prometheus.CounterVec
	throttled  *prometheus.CounterVec
	jobs       *prometheus.CounterVec
	writes     prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		ack: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mdebot_ack_seconds", Help: "Time to acknowledge a delivery, over HTTP or Socket Mode.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 3},
		}, []string{"platform"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mdebot_deliveries_refused_total", Help: "Deliveries refused over HTTP, by the status they were answered with.",
		}, []string{"platform", "status"}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mdebot_commands_total", Help: "Commands and buttons, by outcome: answered, refused, failed.",
		}, []string{"command", "outcome"}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mdebot_request_stage_seconds", Help: "Time from asking to the approval, and from the approval to the end of the action.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 1800, 3600, 86400, 259200},
		}, []string{"stage"}),
		alertLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mdebot_alert_post_seconds", Help: "Time from seeing an alert at Defender to its post, for each destination.",
			Buckets: []float64{.5, 1, 2, 5, 10, 25, 60, 300, 900, 3600, 86400},
		}),
		alertAge: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mdebot_alert_age_seconds", Help: "Time from an alert's creation at Defender to its post, Defender's own delay included.",
			Buckets: []float64{5, 15, 30, 60, 120, 300, 900, 3600, 6 * 3600, 48 * 3600},
		}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mdebot_alerts_unreadable_total", Help: "Alerts in a form that nobody can read; each was named in chat, and delayed no other.",
		}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mdebot_duplicates_avoided_total", Help: "Posts found after a crash or an unclear answer, and not repeated.",
		}),
		posts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mdebot_posts_total", Help: "Messages posted and edited, by outcome: done, throttled, refused, unclear. Unclear ones may have been posted.",
		}, []string{"platform", "outcome"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mdebot_defender_calls_total", Help: "Calls to Defender and Graph, by operation and HTTP status; 0 without an answer.",
		}, []string{"op", "status"}),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mdebot_defender_throttled_total", Help: "Calls that the quota did not allow, before or after they were made.",
		}, []string{"op"}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mdebot_job_failures_total", Help: "Runs of jobs that failed and are repeated.",
		}, []string{"kind"}),
		writes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mdebot_db_write_seconds", Help: "Time of a transaction, waiting for its turn included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}),
	}
	m.registry.MustRegister(m.ack, m.refused, m.commands, m.stages, m.alertLag, m.alertAge, m.unreadable, m.duplicates, m.posts, m.calls, m.throttled, m.jobs, m.writes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// acknowledged measures the deliveries of a platform.
func (m *metrics) acknowledged(platform string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(s, r)
		if s.status >= 400 {
			m.refused.WithLabelValues(platform, strconv.Itoa(s.status)).Inc()
			return
		}
		m.ack.WithLabelValues(platform).Observe(time.Since(began).Seconds())
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController see the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (m *metrics) ran(command, outcome string) { m.commands.WithLabelValues(command, outcome).Inc() }

func (m *metrics) called(op string, status int) {
	m.calls.WithLabelValues(op, strconv.Itoa(status)).Inc()
	if status == http.StatusTooManyRequests {
		m.throttled.WithLabelValues(op).Inc()
	}
}

// JobFailed implements store.Metrics.
func (m *metrics) JobFailed(kind string) { m.jobs.WithLabelValues(kind).Inc() }

// Wrote implements store.Metrics.
func (m *metrics) Wrote(took time.Duration) { m.writes.Observe(took.Seconds()) }

// AlertPosted implements notify.Metrics.
func (m *metrics) AlertPosted(lag, age time.Duration) {
	m.alertLag.Observe(lag.Seconds())
	m.alertAge.Observe(max(age, 0).Seconds())
}

// AlertUnreadable implements notify.Metrics.
func (m *metrics) AlertUnreadable() { m.unreadable.Inc() }

// socketAcknowledged measures a delivery of Socket Mode.
func (m *metrics) socketAcknowledged(took time.Duration) {
	m.ack.WithLabelValues("slack").Observe(took.Seconds())
}

// Posted implements notify.Metrics.
func (m *metrics) Posted(on identity.Platform, err error) {
	m.parts.posted(on, err)
	outcome := "refused"
	var throttled *chat.ThrottledError
	switch {
	case err == nil:
		outcome = "done"
	case errors.As(err, &throttled):
		outcome = "throttled"
	case errors.Is(err, chat.ErrUnclear), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		outcome = "unclear"
	}
	m.posts.WithLabelValues(string(on), outcome).Inc()
}

// DuplicateAvoided implements notify.Metrics.
func (m *metrics) DuplicateAvoided() { m.duplicates.Inc() }

// timedAnnouncer measures the stages of a request on their way to the people who
// are told of them.
type timedAnnouncer struct {
	approvals.Announcer
	metrics *metrics

	mu   sync.Mutex
	seen map[string]bool // a transaction that is repeated announces again
}

// RequestChanged implements approvals.Announcer.
func (a *timedAnnouncer) RequestChanged(ctx context.Context, tx durable.Tx, r approvals.Request, c approvals.Change) error {
	if err := a.Announcer.RequestChanged(ctx, tx, r, c); err != nil {
		return err
	}
	switch {
	case c == approvals.ChangeApproved && a.first(r.ID+" approved"):
		a.metrics.stages.WithLabelValues("approval").Observe(r.DecidedAt.Sub(r.Opened).Seconds())
	case c == approvals.ChangeResolved && r.State == approvals.Succeeded && a.first(r.ID+" done"):
		a.metrics.stages.WithLabelValues("execution").Observe(r.Closed.Sub(r.DecidedAt).Seconds())
	}
	return nil
}

func (a *timedAnnouncer) first(what string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[what] {
		return false
	}
	if a.seen == nil || len(a.seen) > 10_000 {
		a.seen = map[string]bool{}
	}
	a.seen[what] = true
	return true
}

// state reads what the database holds at the moment of a scrape.
type state struct {
	app *App
}

var (
	descRequests = prometheus.NewDesc("mdebot_requests", "Approval requests, by state.", []string{"state"}, nil)
	descAge      = prometheus.NewDesc("mdebot_requests_oldest_seconds", "Age of the oldest request in a state that is not final.", []string{"state"}, nil)
	descPages    = prometheus.NewDesc("mdebot_pages_open", "What somebody was woken for and is not over.", nil, nil)
	descReplicas = prometheus.NewDesc("mdebot_replicas", "Processes that share the database.", nil, nil)
	descBuild    = prometheus.NewDesc("mdebot_build_info", "1, with the version that runs.", []string{"version"}, nil)
	descVotes    = prometheus.NewDesc("mdebot_votes", "Votes that were recorded.", []string{"vote"}, nil)
	descEffects  = prometheus.NewDesc("mdebot_effects", "Actions sent to Defender, by what became of them.", []string{"state"}, nil)
	descWaiting  = prometheus.NewDesc("mdebot_messages_waiting", "Messages to be posted or redrawn, by class.", []string{"class"}, nil)
	descOldest   = prometheus.NewDesc("mdebot_messages_oldest_seconds", "Age of the oldest message that was never posted, by class.", []string{"class"}, nil)
	descPoll     = prometheus.NewDesc("mdebot_poll_age_seconds", "Time since alerts were last read in full.", nil, nil)
	descBlind    = prometheus.NewDesc("mdebot_blind_seconds", "How long alerts have not been read, once that was announced; 0 = seeing.", nil, nil)
	descQuota    = prometheus.NewDesc("mdebot_defender_quota_left", "Calls this replica's lane may still make in this hour.", []string{"lane"}, nil)
	descPart     = prometheus.NewDesc("mdebot_part_working", "1 when a part works as far as this replica knows, 0 when it is degraded. The parts are those of /mde status.", []string{"part"}, nil)
	descReadable = prometheus.NewDesc("mdebot_database_readable", "1 when the database could be read for this answer.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAge, descPages, descReplicas, descBuild, descRequests, descVotes, descEffects, descWaiting, descOldest, descPoll, descBlind, descQuota, descPart, descReadable} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s state) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for name, lane := range map[string]defender.Lane{
		"action": defender.LaneAction, "alerts": defender.LaneAlerts, "interactive": defender.LaneInteractive, "hunt": defender.LaneHunt, "scheduled": defender.LaneScheduled,
	} {
		gauge(descQuota, float64(s.app.defender.For(lane).QuotaLeft()), name)
	}
	gauge(descBuild, 1, Version())
	for _, l := range s.app.Status(ctx) {
		working := 0.0
		if l.Good {
			working = 1
		}
		gauge(descPart, working, l.Part)
	}
	if err := s.stored(ctx, gauge); err != nil {
		s.app.log.WarnContext(ctx, "metrics could not be read", slog.Any("error", err))
		gauge(descReadable, 0)
		return
	}
	gauge(descReadable, 1)
}

func (s state) stored(ctx context.Context, gauge func(d *prometheus.Desc, v float64, labels ...string)) error {
	a := s.app
	counts, err := approvals.Count(ctx, a.store.Read())
	if err != nil {
		return err
	}
	waiting, err := notify.WaitingByClass(ctx, a.store.Read())
	if err != nil {
		return err
	}
	pagings, err := a.notify.Pagings(ctx)
	if err != nil {
		return err
	}
	replicas, err := a.store.Replicas(ctx)
	if err != nil {
		return err
	}
	health, err := a.notify.Health(ctx, a.tenant)
	if err != nil {
		return err
	}
	for state, n := range counts.Requests {
		gauge(descRequests, float64(n), string(state))
	}
	for state, n := range counts.Effects {
		gauge(descEffects, float64(n), string(state))
	}
	gauge(descVotes, float64(counts.Approve), "approve")
	gauge(descVotes, float64(counts.Denied), "deny")
	for class, w := range waiting {
		gauge(descWaiting, float64(w.Count), class)
		gauge(descOldest, since(a.now(), w.Oldest), class)
	}
	for _, state := range []approvals.State{approvals.Pending, approvals.Approved, approvals.Executing, approvals.Submitted, approvals.Unknown} {
		gauge(descAge, since(a.now(), counts.Oldest[state]), string(state))
	}
	gauge(descPages, float64(pagings.Open))
	gauge(descReplicas, float64(replicas))
	gauge(descPoll, since(a.now(), health.LastGood))
	blind := 0.0
	if health.Blind {
		blind = since(a.now(), health.LastGood)
	}
	gauge(descBlind, blind)
	return nil
}

func since(now, then time.Time) float64 {
	if then.IsZero() {
		return 0
	}
	return now.Sub(then).Seconds()
}

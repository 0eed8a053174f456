package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
)

// longTx is how long a transaction may run before its caller is named in the
// log. It is far above any honest one: what runs that long waits for a second
// handle or for the network.
const longTx = 5 * time.Second

// Options are what a Store takes from its surroundings. The zero value works.
type Options struct {
	// Logger defaults to slog.Default.
	Logger *slog.Logger
	// Now is for tests that set the time: it then decides when a job is due, also
	// after a snooze, so it has to move. Nil means time.Now, and with PostgreSQL
	// the database's clock where replicas have to agree.
	Now func() time.Time
	// Version is what this process runs.
	Version string
	// Metrics is told how jobs and transactions go; nil means nobody.
	Metrics Metrics
}

// Metrics counts. Its methods are called often and must not block.
type Metrics interface {
	JobFailed(kind string)
	// Wrote is told how long a transaction took, waiting for its turn included.
	Wrote(took time.Duration)
}

type noMetrics struct{}

func (noMetrics) JobFailed(string)    {}
func (noMetrics) Wrote(time.Duration) {}

// Store is an open database with its job runner. It implements [durable.DB] and
// is safe for concurrent use.
type Store struct {
	engine  engine
	replica string
	logger  *slog.Logger
	now     func() time.Time // nil outside tests
	longTx  time.Duration
	version string
	metrics Metrics

	beatMu   sync.Mutex // Start holds mu during its first beat
	lastBeat time.Time  // that reached the database

	mu       sync.Mutex
	handlers map[string]handler
	ticks    []tick
	running  *running
	started  bool
	closed   bool
}

var _ durable.DB = (*Store)(nil)

// engine is what differs between SQLite and PostgreSQL.
type engine interface {
	inTx(ctx context.Context, fn func(*tx) error) error
	read() durable.DBTX
	migrate(ctx context.Context) error
	// reclaim frees what a dead process left behind, where this process alone
	// can own it.
	reclaim(ctx context.Context) (jobs int64, err error)
	// runner returns a River client that works the queues of config.
	runner(config *river.Config) (runner, error)
	dialect() dialect
	check(ctx context.Context) error
	backup(ctx context.Context, path string) error
	close(ctx context.Context) error
}

// dialect is the only SQL that is not the same text on both engines.
type dialect struct {
	// now is the database's clock in microseconds.
	now string
	// lastOwner is the replica that took a River job last.
	lastOwner string
	// tables lists our own tables, without River's and goose's.
	tables string
}

// The url may hold a password, so it is not repeated.
var errBadURL = errors.New(`database URL must start with "sqlite:" or "postgres://"`)

// Open opens the database at url, brings its schema up to date and returns a
// Store whose jobs do not run until [Store.Start]. The url is
// "sqlite:path/to/file" or "postgres://…".
//
// A SQLite file belongs to one process at a time: Open waits up to 30 seconds
// for another owner to leave and then returns an error that names it. It refuses
// a file that is damaged or not mdebot's, and on both engines a schema newer than
// this program's.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	s := &Store{
		replica:  uuid.Must(uuid.NewV7()).String(),
		logger:   opts.Logger,
		now:      opts.Now,
		longTx:   longTx,
		metrics:  opts.Metrics,
		version:  opts.Version,
		handlers: make(map[string]handler),
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if s.metrics == nil {
		s.metrics = noMetrics{}
	}
	var err error
	switch scheme, rest, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		s.engine, err = openSQLite(ctx, rest, s.riverConfig())
	case "postgres", "postgresql":
		s.engine, err = openPostgres(ctx, url, s.riverConfig())
	default:
		return nil, errBadURL
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := s.engine.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate database: %w", err), s.engine.close(ctx))
	}
	return s, nil
}

// InTx implements [durable.DB]. On PostgreSQL transactions are serialisable, as
// they are by nature on SQLite, so code that is right on one is right on both.
//
// A statement that has failed ends the transaction on both engines: it cannot be
// swallowed and committed past.
func (s *Store) InTx(ctx context.Context, fn func(durable.Tx) error) error {
	_, file, line, _ := runtime.Caller(1)
	watchdog := time.AfterFunc(s.longTx, func() {
		s.logger.WarnContext(ctx, "transaction takes long; inside InTx only its Tx may be used, and no network",
			slog.String("caller", fmt.Sprintf("%s:%d", file, line)))
	})
	defer watchdog.Stop()
	began := time.Now()
	defer func() { s.metrics.Wrote(time.Since(began)) }()
	step := failpoint.Of(ctx)
	err := s.engine.inTx(ctx, func(t *tx) error {
		t.now = s.clock
		if err := fn(t); err != nil {
			return err
		}
		return failpoint.Before(step)
	})
	if err != nil {
		return err
	}
	return failpoint.After(step)
}

func (s *Store) clock() time.Time {
	if s.now == nil {
		return time.Now()
	}
	return s.now()
}

// Read implements [durable.DB]. Its Exec always fails, and on SQLite so does
// every other statement that writes.
func (s *Store) Read() durable.DBTX { return s.engine.read() }

// Check verifies the structure of the database: every page and index on SQLite,
// that it answers on PostgreSQL, which checks itself.
func (s *Store) Check(ctx context.Context) error { return s.engine.check(ctx) }

// Backup writes a consistent copy of a SQLite database, jobs and state together,
// to a new file at path while work goes on. The copy holds everything the
// database does: it is created readable by this user alone. PostgreSQL has
// pg_dump, and the error says so.
func (s *Store) Backup(ctx context.Context, path string) error { return s.engine.backup(ctx, path) }

// Close releases the database. It stops the jobs first when [Store.Stop] was not
// called. A second call does nothing.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), hardStop)
	defer cancel()
	err := s.Stop(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(err, s.engine.close(ctx))
}

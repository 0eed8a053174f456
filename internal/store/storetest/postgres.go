package storetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mdebot/mdebot/internal/sandbox/freeport"
	"github.com/mdebot/mdebot/internal/store"
)

// PostgresEnv names a server to use instead of starting one: the URL of a
// database whose user may create others.
const PostgresEnv = "MDEBOT_TEST_POSTGRES_URL"

var errNoPostgres = errors.New("PostgreSQL is not installed (apt-get install postgresql) and " + PostgresEnv + " is not set")

// Postgres opens a new database in a PostgreSQL server that all tests of this
// process share.
func Postgres(t testing.TB, opts ...func(*store.Options)) *store.Store {
	t.Helper()
	return Open(t, PostgresURL(t), opts...)
}

var databases atomic.Int64

// PostgresURL names a new migrated database, which is dropped at the end of the
// test. It skips the test where PostgreSQL is not installed.
func PostgresURL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, func(s *server) string { return s.template })
}

// EmptyPostgresURL is [PostgresURL] without migrations.
func EmptyPostgresURL(t testing.TB) string {
	t.Helper()
	return newDatabase(t, func(*server) string { return "template0" })
}

func newDatabase(t testing.TB, template func(*server) string) string {
	t.Helper()
	s, err := postgres()
	if errors.Is(err, errNoPostgres) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	name := fmt.Sprintf("mdebot_%d_%d", os.Getpid(), databases.Add(1))
	if err := s.exec(`CREATE DATABASE ` + name + ` TEMPLATE ` + template(s)); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec(`DROP DATABASE ` + name + ` WITH (FORCE)`); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return s.url(name)
}

// server is a PostgreSQL server with a migrated database to copy.
type server struct {
	admin    *url.URL
	template string
	// alive is the write end of a pipe, of which the server's shell reads the other.
	alive *os.File
	shell *exec.Cmd
}

var postgres = sync.OnceValues(func() (*server, error) {
	s, err := connect()
	if err != nil {
		return nil, err
	}
	s.template = fmt.Sprintf("mdebot_template_%d", os.Getpid())
	if err := s.exec(`CREATE DATABASE ` + s.template); err != nil {
		return nil, err
	}
	migrated, err := store.Open(context.Background(), s.url(s.template), store.Options{})
	if err != nil {
		return nil, err
	}
	return s, migrated.Close()
})

func connect() (*server, error) {
	if given := os.Getenv(PostgresEnv); given != "" {
		admin, err := url.Parse(given)
		if err != nil {
			return nil, errors.New(PostgresEnv + " is not a URL")
		}
		return &server{admin: admin}, nil
	}
	c, err := newCluster()
	if err != nil {
		return nil, err
	}
	// No test of this server is about what it keeps.
	return c.serve("-F", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")
}

// cluster is the data of a server in a temporary directory.
type cluster struct {
	bin, dir, port string
	as             *syscall.Credential
}

func newCluster() (*cluster, error) {
	c, err := newDirectory()
	if err != nil {
		return nil, err
	}
	return c, c.run("initdb", "--pgdata="+c.data(), "--username=mdebot", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
}

// newDirectory is a cluster without data.
func newDirectory() (*cluster, error) {
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(programs) == 0 {
		return nil, errNoPostgres
	}
	as, err := owner()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mdebot-postgres-")
	if err != nil {
		return nil, err
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	address, err := freeport.Address(context.Background())
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	return &cluster{bin: filepath.Dir(slices.Max(programs)), dir: dir, port: port, as: as}, err
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// run runs one of the server's programs.
func (c *cluster) run(program string, args ...string) error {
	cmd := exec.Command(filepath.Join(c.bin, program), args...) //nolint:gosec,noctx // of the system, and soon over
	cmd.Dir, cmd.SysProcAttr = c.dir, &syscall.SysProcAttr{Credential: c.as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// serve starts a server on the cluster, at a loopback port. It ends, as if the power
// were cut, with s.alive, and so with this process, also when that is killed.
func (c *cluster) serve(settings ...string) (*server, error) {
	const script = `
		bin=$1 dir=$2 port=$3
		shift 3
		"$bin/postgres" -D "$dir/data" -p "$port" -h 127.0.0.1 -k "$dir" -c max_connections=300 "$@" >>"$dir/log" 2>&1 </dev/null &
		read -r stop || stop=remove
		kill -QUIT $!
		wait || true
		if [ "$stop" = remove ]; then rm -rf "$dir"; fi`
	stdin, alive, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	cmd := exec.Command("/bin/sh", slices.Concat([]string{"-c", script, "sh", c.bin, c.dir, c.port}, settings)...) //nolint:gosec,noctx // our own script; it outlives every test's context
	cmd.Dir = c.dir
	cmd.Stdin = stdin
	// A group of its own, so that an interrupt from the terminal stops the tests
	// first and the server after them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.as}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, alive.Close())
	}
	s := &server{
		admin: &url.URL{Scheme: "postgres", User: url.User("mdebot"), Host: net.JoinHostPort("127.0.0.1", c.port), Path: "/postgres"},
		alive: alive, shell: cmd,
	}
	deadline := time.Now().Add(time.Minute)
	for {
		err := s.exec(`SELECT 1`)
		if err == nil {
			return s, nil
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return nil, errors.Join(fmt.Errorf("no answer after a minute: %w\n%s", err, log), alive.Close())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Crashing is a PostgreSQL server of one test's own that keeps what it commits, as
// by default, and can be stopped at any moment. It is not safe for concurrent use.
type Crashing struct {
	testing.TB
	cluster *cluster
	server  *server
	crashed bool
}

// NewCrashing starts a server. It skips the test where PostgreSQL is not installed.
func NewCrashing(t testing.TB) *Crashing {
	t.Helper()
	c, err := newCluster()
	if errors.Is(err, errNoPostgres) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("make a PostgreSQL cluster: %v", err)
	}
	s := &Crashing{TB: t, cluster: c}
	s.Start()
	t.Cleanup(func() { s.stop("remove\n") })
	return s
}

// NewStandby starts a server that has everything that s commits from now on before s
// says that it is committed.
func (s *Crashing) NewStandby() *Crashing {
	s.Helper()
	c, err := newDirectory()
	if err == nil {
		err = c.run("pg_basebackup", "--pgdata="+c.data(), "--dbname="+s.URL(), "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	}
	if err != nil {
		s.Fatalf("copy a PostgreSQL cluster: %v", err)
	}
	standby := &Crashing{TB: s.TB, cluster: c}
	standby.Start()
	s.Cleanup(func() { standby.stop("remove\n") })
	s.exec(`ALTER SYSTEM SET synchronous_standby_names = '*'`)
	s.exec(`SELECT pg_reload_conf()`)
	return standby
}

// Promote makes a standby take over.
func (s *Crashing) Promote() {
	s.Helper()
	s.exec(`SELECT pg_promote()`)
}

func (s *Crashing) exec(query string) {
	s.Helper()
	if err := s.server.exec(query); err != nil {
		s.Fatalf("%s: %v", query, err)
	}
}

// Either names the database of whichever of the two is written to.
func (s *Crashing) Either(other *Crashing) string {
	u := *s.server.admin
	u.Host += "," + other.server.admin.Host
	u.RawQuery = "target_session_attrs=read-write"
	return u.String()
}

// URL names its database.
func (s *Crashing) URL() string { return s.server.url("postgres") }

// Start starts it, after Crash with what it had committed.
func (s *Crashing) Start() {
	s.Helper()
	var err error
	if s.server, err = s.cluster.serve(); err != nil {
		s.Fatalf("start PostgreSQL: %v", err)
	}
	s.crashed = false
}

// Crash stops it at once, in the middle of whatever it does.
func (s *Crashing) Crash() {
	s.Helper()
	s.stop("crash\n")
	s.crashed = true
}

func (s *Crashing) stop(how string) {
	s.Helper()
	if s.crashed {
		if err := os.RemoveAll(s.cluster.dir); err != nil {
			s.Errorf("remove a PostgreSQL cluster: %v", err)
		}
		return
	}
	_, err := s.server.alive.WriteString(how)
	if err := errors.Join(err, s.server.alive.Close(), s.server.shell.Wait()); err != nil {
		s.Errorf("stop PostgreSQL: %v", err)
	}
}

// owner is the user to run the server as: PostgreSQL refuses to run as root.
func owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nil means the user we are
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (s *server) url(database string) string {
	u := *s.admin
	u.Path = "/" + database
	return u.String()
}

func (s *server) exec(query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.admin.String())
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, query)
	return errors.Join(err, conn.Close(ctx))
}

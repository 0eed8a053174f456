package store_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

const childEnv = "MDEBOT_STORE_TEST_CHILD"

// childProcess is a process that takes one job and hangs in it, to be killed. It
// says "running" when it is there. It tells whether this process is one.
func childProcess() bool {
	url := os.Getenv(childEnv)
	if url == "" {
		return false
	}
	s, err := store.Open(context.Background(), url, store.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Println(err)
		return true
	}
	s.Handle("look", func(context.Context, durable.Job) error {
		fmt.Println("running")
		select {}
	}, 1)
	if err := s.Start(context.Background()); err != nil {
		fmt.Println(err)
		return true
	}
	select {}
}

// child starts a childProcess and waits until it runs the job.
func child(t *testing.T, url string) *osexec.Cmd {
	t.Helper()
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) != "running" {
		t.Fatalf("child said %q (%v), want running", line, err)
	}
	return cmd
}

func kill(t *testing.T, cmd *osexec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func TestKilledProcess_sqlite(t *testing.T) {
	t.Parallel()
	url := storetest.SQLiteURL(t)
	s := storetest.Open(t, url)
	enqueue(t, s, durable.Job{Kind: "look", ID: "a"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c := child(t, url)

	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := store.Open(short, url, store.Options{})
	if want := "process " + strconv.Itoa(c.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Open of a file in use = %v, want an error that names %s", err, want)
	}

	kill(t, c)
	s = storetest.Open(t, url)
	runs := make(chan durable.Job, 1)
	s.Handle("look", record(runs, always(nil)), 1)
	began := time.Now()
	start(t, s)
	next(t, runs)
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("the job ran %s after start, want at once", d)
	}
}

func TestKilledProcess_postgres(t *testing.T) {
	t.Parallel()
	url := storetest.PostgresURL(t)
	first := storetest.Open(t, url)
	enqueue(t, first, durable.Job{Kind: "look", ID: "a"})
	c := child(t, url)
	runs := make(chan durable.Job, 1)
	first.Handle("look", record(runs, always(nil)), 1)
	start(t, first)
	kill(t, c)
	began := time.Now()
	next(t, runs)
	if d := time.Since(began); d > 12*time.Second {
		t.Errorf("the other replica took the job after %s, want within 12 s", d)
	}
}

// A replica that leaves properly does not keep the others waiting.
func TestStoppedReplica_postgres(t *testing.T) {
	t.Parallel()
	url := storetest.PostgresURL(t)
	leaving, staying := storetest.Open(t, url), storetest.Open(t, url)
	taken := make(chan bool)
	leaving.Handle("look", func(ctx context.Context, _ durable.Job) error {
		taken <- true
		<-ctx.Done()
		return ctx.Err()
	}, 1)
	start(t, leaving)
	enqueue(t, leaving, durable.Job{Kind: "look", ID: "a"})
	next(t, taken)

	runs := make(chan durable.Job, 1)
	staying.Handle("look", record(runs, always(nil)), 1)
	start(t, staying)
	at, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := leaving.Stop(at); err != nil {
		t.Errorf("Stop = %v, want nil", err)
	}
	next(t, runs)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("the other replica took the job after %s, want within 5 s", d)
	}
}

func TestOpen_manyReplicasAtOnce(t *testing.T) {
	t.Parallel()
	url := storetest.PostgresURL(t)
	s := storetest.Open(t, url)
	exec(t, s, `DROP SCHEMA public CASCADE`)
	exec(t, s, `CREATE SCHEMA public`)
	opened := make(chan error)
	for range 4 {
		go func() {
			s, err := store.Open(t.Context(), url, store.Options{})
			if err == nil {
				err = s.Close()
			}
			opened <- err
		}()
	}
	for range 4 {
		if err := next(t, opened); err != nil {
			t.Errorf("Open: %v", err)
		}
	}
}

// The server drops every connection, as in a fail-over.
func TestLostConnections_postgres(t *testing.T) {
	t.Parallel()
	s := storetest.Postgres(t, func(o *store.Options) { o.Logger = slog.New(slog.DiscardHandler) })
	runs := make(chan durable.Job, 100)
	s.Handle("look", record(runs, always(nil)), 1)
	start(t, s)
	drop := func() (n int64) {
		t.Helper()
		for range 10 { // this call, too, may be handed a connection that is gone
			err := s.Read().QueryRow(t.Context(), `
				SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
			if err == nil {
				return n
			}
			t.Log(err)
		}
		t.Fatal("the server answers none of ten calls")
		return 0
	}
	var dropped int64
	for id := range 5 {
		dropped += drop()
		enqueue(t, s, durable.Job{Kind: "look", ID: strconv.Itoa(id)})
		if got := next(t, runs); got.ID != strconv.Itoa(id) {
			t.Errorf("job %s ran, want %d", got.ID, id)
		}
	}
	if dropped == 0 {
		t.Error("no connection was dropped: the test shows nothing")
	}
}

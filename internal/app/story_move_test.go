package app

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// db runs "mdebot db …" with the story's settings.
func (s *story) db(args ...string) (code int, out string) {
	s.Helper()
	var b bytes.Buffer
	code = Main(s.Context(), append([]string{"db"}, args...), s.env, &b, &b)
	return code, b.String()
}

// A stopped bot is moved to PostgreSQL with one request waiting for approval and
// one sent: the first can still be approved, the second is followed to its end.
func TestStory_moveToPostgres(t *testing.T) {
	t.Parallel()
	to := storetest.PostgresURL(t) // before the story, which ends first
	s := newStory(t, sandbox.Options{Timing: defendersim.Timing{Start: time.Second, Run: 4 * time.Second}})
	on := s.slack()
	sent := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-021", "beaconing")
	waiting := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-022", "beaconing too")
	on.click(sandbox.Avery, sent, "Approve")
	s.eventually("the isolation is sent", func() string {
		if len(s.isolations()) != 1 {
			return "not yet"
		}
		return ""
	})
	if code, out := s.db("move", "--to", to); code == exitOK || !strings.Contains(out, "in use by") {
		t.Fatalf("db move while the bot runs: exit code %d, %s", code, out)
	}
	backup := filepath.Join(t.TempDir(), "copy.db")
	if code, out := s.db("backup", backup); code != exitOK {
		t.Fatalf("db backup while the bot runs: exit code %d, %s", code, out)
	}
	if code, out := s.db("check"); code != exitOK || !strings.Contains(out, "structure: ok") || !strings.Contains(out, "audit chain of "+string(s.bot.tenant)+": ok") {
		t.Errorf("db check while the bot runs: exit code %d, %s", code, out)
	}
	s.halt()
	if code, out := s.db("move", "--to", to); code != exitOK || !strings.Contains(out, "1 audit chain(s) verified") {
		t.Fatalf("db move: exit code %d, %s", code, out)
	}
	for i, v := range s.env {
		if strings.HasPrefix(v, "MDEBOT_DATABASE_URL=") {
			s.env[i] = "MDEBOT_DATABASE_URL=" + to
		}
	}
	if code, out := s.db("status"); code != exitOK || !strings.Contains(out, "PostgreSQL") || !strings.Contains(out, "request_targets") {
		t.Errorf("db status: exit code %d, %s", code, out)
	}
	s.ahead.Store(int64(time.Minute)) // when the sweep gives lost jobs back
	s.start()
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-021", "isolated", "Avery Stone")
	on.click(sandbox.Avery, waiting, "Approve")
	s.sees(on, sandbox.Riley, on.soc(), "isolate ws-022.corp.contoso.com – isolated")
	s.wantIsolations(2)
}

func TestDB_refusals(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "nothing.db")
	for _, args := range [][]string{{"status"}, {"check"}, {"backup", filepath.Join(t.TempDir(), "copy.db")}, {"move", "--to", "postgres://127.0.0.1:1/mdebot"}} {
		var b bytes.Buffer
		code := Main(context.Background(), append([]string{"db"}, args...), []string{"MDEBOT_DATABASE_URL=sqlite:" + missing}, &b, &b)
		if code != exitFailed || !strings.Contains(b.String(), "no such file") {
			t.Errorf("db %v without a database: exit code %d, %s", args, code, b.String())
		}
	}
}

func TestDB_migrateThenStatus(t *testing.T) {
	t.Parallel()
	env := []string{"MDEBOT_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "new.db")}
	for _, command := range []string{"migrate", "status", "migrate"} {
		var b bytes.Buffer
		code := Main(t.Context(), []string{"db", command}, env, &b, &b)
		if out := b.String(); code != exitOK || !strings.Contains(out, "SQLite") || strings.Contains(out, "without") || !strings.Contains(out, "none waits") {
			t.Errorf("db %s: exit code %d, %s", command, code, out)
		}
	}
}

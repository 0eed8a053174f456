package chaostest

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

// The steps that a round does not come to often: each is crashed at alone.

// crashes starts the bot with one failpoint armed and waits for the crash; it fails
// when none comes, because a step that is never reached proves nothing.
func (b *bot) crashes(failpoint string, meanwhile func()) {
	b.Helper()
	b.start(failpoint)
	if b.ready() && meanwhile != nil {
		meanwhile()
	}
	if !b.ended(30 * time.Second) {
		b.kill()
		b.Fatalf("%s was not reached", failpoint)
	}
	if b.crashedAt() == "" {
		b.Fatalf("with %s it ended as %s:\n%s", failpoint, b.cmd.ProcessState, b.log)
	}
}

// whole stops the bot and verifies the database.
func (b *bot) whole() {
	b.Helper()
	b.kill()
	if out, err := b.command(nil, "db", "check").CombinedOutput(); err != nil {
		b.Errorf("db check: %v\n%s", err, out)
	}
}

func sides(point string) []string {
	return []string{point + "=crash-before", point + "=crash-after"}
}

func TestCrash_betweenMigrations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../store/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		b := newBot(t, "sqlite:"+filepath.Join(t.TempDir(), "mdebot.db"))
		for range files { // each start comes one migration further
			b.crashes("migrated=crash-after", nil)
		}
		b.up()
		b.whole()
	})
	t.Run("postgres, with another replica waiting", func(t *testing.T) {
		t.Parallel()
		url := storetest.EmptyPostgresURL(t)
		b := newBot(t, url)
		other := newProcess(t, "the other replica", b.env)
		b.start(fmt.Sprintf("migrated=delay:100ms,migrated=crash-after@%d", len(files)/2))
		untilMigrating(t, url)
		other.serve()
		if !b.ended(time.Minute) || b.crashedAt() == "" {
			t.Errorf("it did not crash while migrating:\n%s", b.log)
		}
		b.up()
		b.whole()
	})
}

// untilMigrating waits until somebody holds the lock of migrations and has begun.
func untilMigrating(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for begun := false; !begun; time.Sleep(10 * time.Millisecond) {
		if err := conn.QueryRow(t.Context(), `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&begun); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCrash_whileBackingUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBot(t, "sqlite:"+filepath.Join(dir, "mdebot.db"))
	b.up()
	copied := filepath.Join(dir, "copy.db")
	for _, c := range []struct {
		failpoint string
		stands    bool
	}{{"backup-written=crash-before", false}, {"backup-written=crash-after", true}} {
		out, err := b.command([]string{"FAILPOINTS=" + c.failpoint}, "db", "backup", copied).CombinedOutput()
		if err == nil {
			t.Errorf("with %s the backup ended well:\n%s", c.failpoint, out)
		}
		if _, err := os.Stat(copied); (err == nil) != c.stands {
			t.Errorf("after %s: the copy has its name: %v, want %v", c.failpoint, err == nil, c.stands)
		}
	}
	check := b.command([]string{"MDEBOT_DATABASE_URL=sqlite:" + copied}, "db", "check")
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("db check of the copy: %v\n%s", err, out)
	}
}

func TestCrash_whileTheKeyIsRotated(t *testing.T) {
	t.Parallel()
	key := func(n byte) string {
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune('A'+n)), 32)))
	}
	b := newBot(t, "sqlite:"+filepath.Join(t.TempDir(), "mdebot.db"))
	settings := b.env
	with := func(keys string) { b.env = append(settings[:len(settings):len(settings)], "MDEBOT_DATA_KEY="+keys) }
	with(key(0))
	b.up()
	b.raise("ws-030", "Sealed with the first key")
	b.sees(sandbox.Riley, sandbox.SlackSOC, "Sealed with the first key")
	b.kill()
	// It notes the new key, rewrites three columns, and forgets the old one.
	for i := 1; i <= 6; i++ {
		with(key(byte(i)) + "," + key(byte(i-1)))
		for _, side := range []string{"before", "after"} {
			b.crashes(fmt.Sprintf("key-rotated=crash-%s@%d", side, i), nil)
		}
		b.up()
		b.kill()
		with(key(byte(i))) // the old one is not needed any more
		b.up()
		b.kill()
	}
	b.up()
	b.raise("ws-031", "Sealed with the last key")
	b.sees(sandbox.Riley, sandbox.SlackSOC, "Sealed with the last key")
	b.whole()
}

func TestCrash_whileTheHeadIsSent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := newBot(t, "sqlite:"+filepath.Join(dir, "mdebot.db"))
	anchors := filepath.Join(dir, "anchors")
	b.env = append(b.env, "MDEBOT_AUDIT_ANCHORS=file:"+anchors)
	for _, failpoint := range sides("head-sent") {
		b.crashes(failpoint, nil)
	}
	b.up()
	b.degraded("Audit log", false)
	b.degraded("Actions", false) // an anchor that the database lacks would freeze it
	b.kill()
	if out, err := b.command(nil, "audit", "verify", "--anchor", anchors).CombinedOutput(); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

func TestCrash_whileOldRecordsAreRemoved(t *testing.T) {
	t.Parallel()
	b := newBot(t, "sqlite:"+filepath.Join(t.TempDir(), "mdebot.db"))
	for _, failpoint := range sides("checkpoint-saved") {
		b.crashes(failpoint, nil)
	}
	b.up()
	b.whole()
}

var linkCode = regexp.MustCompile(`link ([0-9A-Z]{4}-[0-9A-Z]{4})`)

// Somebody links a Slack account by a code from Teams while the bot dies at every
// transaction on the way; in the end the account is linked, to the right person.
func TestCrash_whileAnAccountIsLinked(t *testing.T) {
	t.Parallel()
	policy := strings.Replace(policyFor(), "    slack: [T0SOC/"+sandbox.Avery.Slack+"]\n", "", 1)
	world, env := newWorld(t, quick(), policy)
	env = append(env, "MDEBOT_DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "mdebot.db"))
	env = append(env, sandbox.SignInEnvironment("http://127.0.0.1:9")...)
	b := &bot{TB: t, world: world, process: newProcess(t, "the bot", env)}
	b.up()
	b.kill()
	ctx := t.Context()
	newest := func(place string, words string) (text, id string) {
		for _, m := range b.world.Slack.Messages(place, sandbox.Avery.Slack) {
			if all := readable(m.Blocks) + m.Text; strings.Contains(all, words) {
				text, id = all, m.TS
			}
		}
		return text, id
	}
	link := func() {
		_, before := newest(sandbox.SlackSOC, "Link this Slack account")
		_ = b.world.Slack.Slash(ctx, sandbox.Avery.Slack, sandbox.SlackSOC, "link") // it may die on the way
		var code []string
		b.within(5*time.Second, func() bool {
			text, id := newest(sandbox.SlackSOC, "Link this Slack account")
			code = linkCode.FindStringSubmatch(text)
			return id != before && code != nil
		})
		if code == nil {
			return
		}
		chat := b.world.Teams.PersonalChat(sandbox.Avery.Object)
		if _, err := b.world.Teams.Message(ctx, sandbox.Avery.Object, chat, "link "+code[1], ""); err != nil {
			return
		}
		var asked string
		b.within(5*time.Second, func() bool {
			all := b.world.Teams.Messages(chat, sandbox.Avery.Object)
			if last := all[len(all)-1]; strings.Contains(readable(last.Card), "Is this Slack account yours?") {
				asked = last.ID
			}
			return asked != ""
		})
		_, _ = b.world.Teams.Click(ctx, sandbox.Avery.Object, asked, teamssim.Choice{Title: "Yes, link it to me"}, nil) // as above
	}
	for n := 1; n <= 3; n++ {
		for _, side := range []string{"before", "after"} {
			b.start(fmt.Sprintf("link-saved=crash-%s@%d", side, n))
			if b.ready() {
				link()
			}
			b.ended(3 * time.Second)
			if n == 1 && b.alive() {
				t.Errorf("link-saved was not reached %s", side)
			}
			b.kill()
		}
	}
	b.up()
	b.eventually("the account is linked", func() string {
		_ = b.world.Slack.Slash(ctx, sandbox.Avery.Slack, sandbox.SlackSOC, "whoami")
		time.Sleep(500 * time.Millisecond)
		if text, _ := newest(sandbox.SlackSOC, "You are Avery Stone"); strings.Contains(text, "a code confirmed in Teams") {
			return ""
		}
		link()
		return "whoami does not say so"
	})
	b.whole()
}

// within waits for something that may not come.
func (b *bot) within(d time.Duration, done func() bool) {
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	for !done() && b.alive() && pause(ctx, 50*time.Millisecond) {
	}
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

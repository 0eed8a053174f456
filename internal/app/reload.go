package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/policy"
)

// reloadEvery is how often mdebot.yaml is looked at for changes.
const reloadEvery = 2 * time.Second

// reloader keeps the policy in force equal to mdebot.yaml. A file that does not
// load keeps the old policy and raises an alarm: people must not lose the
// second-person rule to a typing mistake.
type reloader struct {
	file     string
	read     func() (*policy.Policy, error)
	source   *policy.Source
	announce func(ctx context.Context, about string, m chat.Message) error
	audit    func(ctx context.Context, kind, outcome, detail string) error
	log      *slog.Logger

	// served tells which tenants this process serves.
	served func() []policy.Tenant

	seen map[string]fileStamp
}

// fileStamp tells whether a file was written since.
type fileStamp struct {
	modified time.Time
	size     int64
}

func stampOf(file string) fileStamp {
	info, err := os.Stat(file)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{info.ModTime(), info.Size()}
}

// stamps are those of the file and of tenants.d beside it. A directory that cannot
// be listed looks like an empty one, and loading says why.
func (r *reloader) stamps() map[string]fileStamp {
	files, _ := policy.Files(r.file)
	all := make(map[string]fileStamp, len(files))
	for _, file := range files {
		all[file] = stampOf(file)
	}
	return all
}

// run watches until ctx ends. SIGHUP looks at once.
func (r *reloader) run(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			r.load(ctx)
		case <-tick.C:
			if !maps.Equal(r.stamps(), r.seen) {
				r.load(ctx)
			}
		}
	}
}

// load puts the file in force, or says why not.
func (r *reloader) load(ctx context.Context) {
	r.seen = r.stamps()
	old := r.source.Current()
	next, err := r.read()
	if err != nil {
		r.log.ErrorContext(ctx, "configuration not reloaded", "file", r.file, "error", err)
		r.tell(ctx, "config.refused", "failed", cards.Notice(chat.Danger, "mdebot.yaml has faults; the old configuration stays in force",
			faultLines(err, old.Hash())...))
		return
	}
	if next.Hash() == old.Hash() {
		return
	}
	r.source.Set(next)
	r.log.InfoContext(ctx, "configuration reloaded", "file", r.file, "hash", next.Hash())
	lines := []chat.Text{chat.Join(chat.Plain("In force now: "), chat.Code(next.Hash()), chat.Plain("; before: "), chat.Code(old.Hash()))}
	lines = append(lines, waiting(r.served(), next.Tenants())...)
	for _, w := range next.Warnings() {
		lines = append(lines, chat.Untrusted(w))
	}
	r.tell(ctx, "config.changed", "ok", cards.Notice(chat.Notice, "People, rules or routes have changed", lines...))
}

func (r *reloader) tell(ctx context.Context, kind, outcome string, m chat.Message) {
	about := fmt.Sprintf("%s %s", kind, r.source.Current().Hash())
	if outcome == "failed" {
		newest := slices.MaxFunc(slices.Collect(maps.Values(r.seen)), func(a, b fileStamp) int { return a.modified.Compare(b.modified) })
		about += " " + newest.modified.UTC().Format(time.RFC3339Nano)
	}
	if err := errors.Join(r.audit(ctx, kind, outcome, r.source.Current().Hash()), r.announce(ctx, about, m)); err != nil {
		r.log.ErrorContext(ctx, "configuration change not recorded", "error", err)
	}
}

// waiting says which changes of tenants take effect at the next start.
func waiting(served, listed []policy.Tenant) []chat.Text {
	var lines []chat.Text
	say := func(name, what string) {
		lines = append(lines, chat.Join(chat.Plain("Tenant "), chat.Untrusted(name), chat.Plain(" "+what)))
	}
	for _, t := range listed {
		i := slices.IndexFunc(served, func(s policy.Tenant) bool { return s.ID == t.ID })
		switch {
		case i < 0:
			say(t.Name, "is new: it is served after the next restart.")
		case !served[i].SameSignIn(t):
			say(t.Name, "signs in otherwise: that is used after the next restart.")
		}
	}
	for _, s := range served {
		if !slices.ContainsFunc(listed, func(t policy.Tenant) bool { return t.ID == s.ID }) {
			say(s.Name, "is listed no more: nobody may work on it, and its alerts are read until the next restart.")
		}
	}
	return lines
}

// faultLines shows the first faults of a file; all of them are in the log.
func faultLines(err error, hash string) []chat.Text {
	const most = 10
	faults := strings.Split(err.Error(), "\n")
	var lines []chat.Text
	for _, f := range faults[:min(len(faults), most)] {
		lines = append(lines, chat.Untrusted(f))
	}
	if more := len(faults) - most; more > 0 {
		lines = append(lines, chat.Plain(fmt.Sprintf("and %d more; run mdebot config check", more)))
	}
	return append(lines, chat.Join(chat.Plain("In force: "), chat.Code(hash)))
}

package chaostest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
)

// marker names the request in the comment of a machine action.
var marker = regexp.MustCompile(`^\[mdebot:([0-9a-f-]{36})\]`)

func (r *round) effects(w *wish) []defendersim.Effect {
	return r.world.Tenant.Effects(defendersim.OfKind(defendersim.EffectIsolate), defendersim.OnMachine(w.id))
}

// missing says what a wish still lacks, or "".
func (r *round) missing(w *wish) string {
	end, unclear := r.told(w)
	acted := len(r.effects(w)) > 0
	switch {
	case end != "":
		return ""
	case acted:
		return "it was isolated and the asker is not told how it ended"
	case unclear:
		return "" // it was not, and people are asked to look
	}
	return "the asker is not told how it ended"
}

// unposted are the alarms that do not stand in both channels.
func (r *round) unposted() (missing []string) {
	for _, a := range r.alarms {
		for _, place := range []string{sandbox.SlackSOC, sandbox.TeamsSOC} {
			if !slices.ContainsFunc(r.eye.of(a.title), func(m seen) bool { return m.place == place }) {
				missing = append(missing, a.title+" in "+place)
			}
		}
	}
	return missing
}

// judge compares the ledgers: nothing missing, nothing extra, nothing twice.
func (r *round) judge() {
	r.Helper()
	requests := map[string]int{}
	known := map[string]bool{}
	for _, w := range r.wishes {
		known[w.id] = true
	}
	for _, e := range r.world.Tenant.Effects() {
		if e.Kind != defendersim.EffectIsolate {
			r.Errorf("extra: Defender was made to %s %s", e.Kind, e.MachineID)
			continue
		}
		found := marker.FindStringSubmatch(e.Comment)
		if found == nil || !known[e.MachineID] {
			r.Errorf("extra: an isolation that nobody asked for: %+v", e)
			continue
		}
		if requests[found[1]]++; requests[found[1]] > 1 {
			r.Errorf("twice: request %s was carried out %d times", found[1], requests[found[1]])
		}
	}
	for _, w := range r.wishes {
		r.judgeWish(w)
	}
	for _, m := range r.unposted() {
		r.Errorf("missing: %s", m)
	}
	r.judgePosts()
	r.judgeDatabase()
	if r.Failed() {
		r.Logf("repeat it with: go test ./internal/chaostest -run '^%s$' -chaos.seed=%d -v", strings.Split(r.Name(), "/")[0], r.seed)
	}
}

func (r *round) judgeWish(w *wish) {
	r.Helper()
	effects := r.effects(w)
	end, _ := r.told(w)
	about := fmt.Sprintf("%s (%s, asked by %s in %s, told %q)", w.machine, w.plan, w.asker.Name, w.origin(), end)
	if len(effects) > 1 {
		r.Errorf("twice: %s was isolated %d times", about, len(effects))
	}
	if why := r.missing(w); why != "" {
		r.Errorf("missing: %s: %s", about, why)
		for _, place := range places {
			r.Logf("  %s says %v", place, r.eye.states(w.machine, place))
		}
	}
	if len(effects) == 0 {
		if end == "isolated" {
			r.Errorf("extra: %s was never isolated", about)
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// The simulator cuts times to what Defender shows, a ten-millionth of a second.
	approved := slices.ContainsFunc(w.clicks, func(c click) bool {
		return c.what == "Approve" && c.by.Object != w.asker.Object && !c.at.After(effects[0].At.Add(time.Microsecond))
	})
	if !approved {
		r.Errorf("extra: %s was isolated before anybody else approved: %+v", about, w.clicks)
	}
	if end != "isolated" && end != "failed" {
		r.Errorf("extra: %s was isolated", about)
	}
}

// judgePosts counts repeated messages. Slack can be searched before a post of
// unknown outcome is repeated, so there is none; Teams cannot, and one more per
// crash or unclear answer is what is promised.
func (r *round) judgePosts() {
	r.Helper()
	deliveries := map[string]int{}
	for _, e := range r.world.Slack.Ledger() {
		if e.Op == "chat.postMessage" && e.Delivery != "" {
			r.posts++
			if deliveries[e.Delivery]++; deliveries[e.Delivery] > 1 {
				r.extra++
				r.Errorf("twice: a message stands %d times in Slack's %s: %.80q", deliveries[e.Delivery], e.Channel, e.Text)
			}
		}
	}
	once := func(what string, in []seen) {
		r.posts += len(in)
		if n := len(in) - 1; n > 0 {
			r.extra += n
			r.Logf("repeated: %s stands %d times in Teams", what, len(in))
		}
	}
	for _, a := range r.alarms {
		once(a.title, slices.DeleteFunc(r.eye.of(a.title), func(m seen) bool { return m.place != sandbox.TeamsSOC }))
	}
	for _, w := range r.wishes {
		once("the card of "+w.machine, slices.DeleteFunc(r.eye.of(w.machine), func(m seen) bool {
			return m.place != sandbox.TeamsApprovals || !strings.Contains(m.text, "Request #")
		}))
	}
	if most := r.count("") + r.unclear(); r.extra > most {
		r.Errorf("twice: %d messages were repeated, after %d crashes and unclear answers", r.extra, most)
	}
}

// unclear is how many answers of Teams were lost.
func (r *round) unclear() int {
	if r.troubles {
		return len(r.wishes) + len(r.alarms)
	}
	return 0
}

// judgeDatabase stops everything in order and verifies structure and audit chain.
func (r *round) judgeDatabase() {
	r.Helper()
	for _, p := range r.processes {
		p.signal(syscall.SIGTERM)
		if !p.ended(25 * time.Second) {
			r.Errorf("%s does not stop", p.name)
			p.kill()
		}
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			r.Errorf("%s stopped with exit code %d", p.name, code)
		}
	}
	if out, err := r.processes[0].command(nil, "db", "check").CombinedOutput(); err != nil {
		r.Errorf("db check: %v\n%s", err, out)
	}
}

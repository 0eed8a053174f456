package chaostest

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// flood is a storm of alerts over many channels, with the chats away in the middle.
type flood struct {
	alerts   int
	within   time.Duration
	channels int
	outage   time.Duration
}

func TestStorm_withChatOutage(t *testing.T) {
	t.Parallel()
	f := flood{alerts: 600, within: 6 * time.Second, channels: 4, outage: 15 * time.Second}
	if *figures {
		f = flood{alerts: 10_000, within: time.Minute, channels: 20, outage: 10 * time.Minute}
	}
	f.run(t)
}

// channel is where a share of the flood goes.
type channel struct {
	id    string
	slack bool
}

func (f flood) run(t *testing.T) {
	o := quick()
	o.Pace = true
	var channels []channel
	var routes strings.Builder
	for i := range f.channels {
		c := channel{id: fmt.Sprintf("C0FLOOD%02d", i), slack: true}
		to := "slack:" + c.id
		if i%2 == 1 {
			c = channel{id: fmt.Sprintf("19:flood%02d@thread.tacv2", i)}
			to = "teams:" + c.id
		}
		channels = append(channels, c)
		fmt.Fprintf(&routes, "    - name: flood %d\n      when: alert.title.endsWith(\"to %02d\")\n      to: [%q]\n", i, i, to)
	}
	policy := sandbox.PolicyYAML()
	at, end := strings.Index(policy, "  routes:\n"), strings.Index(policy, "  storm:")
	policy = policy[:at] + "  routes:\n" + routes.String() + policy[end:]
	if !*figures {
		policy = strings.Replace(policy, "within: 1m", "within: 10s", 1)
	}
	world, env := newWorld(t, o, policy)
	for _, c := range channels {
		if c.slack {
			world.Slack.AddChannel(slacksim.Channel{ID: c.id, Name: strings.ToLower(c.id), BotIn: true, Members: []string{sandbox.Riley.Slack}})
		} else {
			world.Teams.AddChannel(teamssim.Channel{Team: "19:general@thread.tacv2", ID: c.id, Name: c.id})
		}
	}
	p := newProcess(t, "the bot", append(env, "MDEBOT_DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "mdebot.db")))
	p.serve()
	if err := world.Connect(t.Context(), "http://"+p.listen); err != nil {
		t.Fatal(err)
	}
	for len(world.Defender.Calls("GET /api/alerts")) == 0 {
		time.Sleep(20 * time.Millisecond)
	}

	machine := world.Tenant.Named("ws-012.corp.contoso.com")[0].Machine
	critical := func(i int) bool { return i%21 == 7 }
	raise := func(i int) {
		severity := []string{"Low", "Medium", "Informational"}[i%3]
		if critical(i) {
			severity = "High"
		}
		now := time.Now()
		world.Tenant.AddAlert(estate.NewAlert(sandbox.TenantID, machine, now, int32(200_000+i), severity, fmt.Sprintf("Flood %05d to %02d", i, i%f.channels)), now)
	}
	began := time.Now()
	for i := range f.alerts {
		time.Sleep(time.Until(began.Add(f.within * time.Duration(i) / time.Duration(f.alerts))))
		if i == f.alerts/2 {
			world.Slack.Inject(slacksim.Fault{Kind: slacksim.FaultDrop, Times: -1})
			world.Teams.Fail(teamssim.Fault{Status: http.StatusServiceUnavailable})
		}
		raise(i)
	}
	gone := time.Until(began.Add(f.within/2 + f.outage))
	time.Sleep(gone)
	before := f.named(world, channels)
	world.Slack.ClearFaults()
	world.Teams.Heal()
	back := time.Now()

	var first, all time.Duration
	var named map[int]int
	for time.Since(back) < 15*time.Minute {
		time.Sleep(500 * time.Millisecond)
		named = f.named(world, channels)
		for i := range f.alerts {
			if first == 0 && critical(i) && named[i] > 0 && before[i] == 0 {
				first = time.Since(back)
			}
		}
		if len(named) == f.alerts {
			all = time.Since(back)
			break
		}
	}
	missing, extra := 0, 0
	for i := range f.alerts {
		switch n := named[i]; {
		case n == 0:
			missing++
			if missing <= 10 {
				t.Errorf("missing: alert %d", i)
			}
		case n > 1:
			extra += n - 1
		}
	}
	mib, _ := p.rss()
	t.Logf("%d alerts in %s over %d channels, chats away for %s: %d missing, %d named more than once (%.3f %%); first critical one %s after the recovery, all %s after it; %.0f MiB resident",
		f.alerts, f.within, f.channels, f.outage, missing, extra, 100*float64(extra)/float64(f.alerts), first.Round(100*time.Millisecond), all.Round(time.Second), mib)
	if missing > 0 {
		t.Errorf("%d alerts are missing", missing)
	}
	if extra*1000 > f.alerts {
		t.Errorf("%d alerts are named more than once, want at most one in a thousand", extra)
	}
	if first == 0 || first > time.Minute {
		t.Errorf("the first critical alert came %s after the recovery, want a minute at most", first)
	}
}

var floodTitle = regexp.MustCompile(`Flood (\d{5}) to`)

// named counts the cards and lines that name each alert.
func (f flood) named(w *sandbox.World, channels []channel) map[int]int {
	named := map[int]int{}
	note := func(text string) {
		seen := map[int]bool{}
		for _, m := range floodTitle.FindAllStringSubmatch(text, -1) {
			var i int
			fmt.Sscanf(m[1], "%05d", &i)
			seen[i] = true
		}
		for i := range seen { // a card says its title in several places
			named[i]++
		}
	}
	for _, c := range channels {
		if c.slack {
			for _, m := range w.Slack.Messages(c.id, "") {
				note(string(m.Blocks) + string(m.Attachments))
			}
			continue
		}
		for _, m := range w.Teams.Messages(c.id, sandbox.Riley.Object) {
			note(m.Text + string(m.Card))
		}
	}
	return named
}

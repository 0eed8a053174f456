package chaostest

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// sample is what a process holds at a moment.
type sample struct{ mib, files, goroutines float64 }

// A day's ordinary work, with outages now and then, leaves no memory, file or
// goroutine behind (P-15).
func TestSoak_nothingGrows(t *testing.T) {
	t.Parallel()
	lasts, tenants, every := 40*time.Second, 3, 500*time.Millisecond
	if *figures {
		lasts, tenants, every = *forFlag, 50, 5*time.Second
	}
	config := policyFor() + tenantsYAML(tenants, "soc")
	world, env := newWorld(t, quick(), config)
	customers := addCustomers(world, tenants)
	p := newProcess(t, "the bot", append(env, "MDEBOT_DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "mdebot.db")))
	p.serve()
	if err := world.Connect(t.Context(), "http://"+p.listen); err != nil {
		t.Fatal(err)
	}
	for len(world.Defender.Calls("GET /api/alerts")) < tenants {
		time.Sleep(20 * time.Millisecond)
	}

	ctx, stop := context.WithTimeout(t.Context(), lasts)
	defer stop()
	var busy sync.WaitGroup
	repeat := func(wait time.Duration, do func(i int)) {
		busy.Go(func() {
			for i := 0; pause(ctx, wait); i++ {
				do(i)
			}
		})
	}
	people := []sandbox.Person{sandbox.Riley, sandbox.Avery, sandbox.Sam, sandbox.Jordan}
	reads := []string{"machine ws-004", "alerts", "isolated", "requests", "machines ws-0", "help", "whoami", "nonsense", "isolate ws-005 --reason soak"}
	repeat(400*time.Millisecond, func(i int) {
		text := fmt.Sprintf("%s --tenant customer-%d", reads[i%len(reads)], i%tenants)
		who := people[i%len(people)]
		// During an outage some are refused; people ask again.
		if i%3 == 0 {
			_, _ = world.Teams.Message(ctx, who.Object, sandbox.TeamsSOC, "@mdebot "+text, "")
		} else {
			_ = world.Slack.Slash(ctx, who.Slack, sandbox.SlackSOC, text)
		}
	})
	raised := 0
	repeat(2*time.Second, func(i int) {
		of, now := customers[i%tenants], time.Now()
		of.AddAlert(estate.NewAlert(of.ID(), of.Machines()[0].Machine, now, int32(400_000+i), "High", fmt.Sprintf("Alarm %04d", i)), now)
		raised++
	})
	repeat(30*time.Second, func(i int) {
		switch i % 3 {
		case 0:
			world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Times: 50})
		case 1:
			world.Entra.Faults.Add(fault.Fault{Kind: fault.Drop, Times: 5})
		default:
			world.Slack.Inject(slacksim.Fault{Kind: slacksim.FaultDrop, Times: 20})
		}
	})
	var samples []sample
	repeat(every, func(int) {
		if s, ok := p.sample(); ok {
			samples = append(samples, s)
		}
	})
	busy.Wait()
	if len(samples) < 16 {
		t.Fatalf("%d samples in %s", len(samples), lasts)
	}
	early, late := median(samples[len(samples)/4:len(samples)/2]), median(samples[3*len(samples)/4:])
	t.Logf("%s with %d tenants and %d alerts: %.1f MiB in the second quarter and %.1f in the last, %.1f and %.1f open files, %.0f and %.0f goroutines",
		lasts, tenants, raised, early.mib, late.mib, early.files, late.files, early.goroutines, late.goroutines)
	if late.mib > early.mib*1.1+8 || late.files > early.files+8 || late.goroutines > early.goroutines*1.1+20 {
		t.Error("it grows")
	}
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)`)

// sample looks at the process; ok is false when it does not answer.
func (p *process) sample() (sample, bool) {
	p.Helper()
	_, text := p.get("/metrics")
	found := goroutines.FindStringSubmatch(text)
	if found == nil {
		return sample{}, false
	}
	n, _ := strconv.ParseFloat(strings.TrimSpace(found[1]), 64) // digits
	mib, files := p.rss()
	return sample{mib, float64(files), n}, true
}

// median is what a sample mostly is: a busy moment opens a hundred connections for a
// minute, and what leaks stays.
func median(all []sample) sample {
	of := func(value func(sample) float64) float64 {
		values := make([]float64, len(all))
		for i, s := range all {
			values[i] = value(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return sample{
		of(func(s sample) float64 { return s.mib }), of(func(s sample) float64 { return s.files }), of(func(s sample) float64 { return s.goroutines }),
	}
}

package app

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

const alertsRoute = "GET /api/alerts"

// balancer spreads requests over the replicas in turn, or hands every request
// to all of them, as platforms do that deliver twice.
type balancer struct {
	*httptest.Server
	mu      sync.Mutex
	targets []string
	next    int
	mirror  bool
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	b := &balancer{}
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	return b
}

func (b *balancer) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller has gone
	}
	b.mu.Lock()
	targets, mirror := slices.Clone(b.targets), b.mirror
	b.next++
	chosen := targets[b.next%len(targets)]
	b.mu.Unlock()
	var copies sync.WaitGroup
	for _, target := range targets {
		if target == chosen || !mirror {
			continue
		}
		copies.Go(func() { b.forward(httptest.NewRecorder(), r, body, target) })
	}
	b.forward(w, r, body, chosen)
	copies.Wait()
}

func (b *balancer) forward(w http.ResponseWriter, r *http.Request, body []byte, target string) {
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target}).ServeHTTP(w, r)
}

// only leaves these replicas in the rotation.
func (b *balancer) only(replicas ...*outside) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.targets = nil
	for _, p := range replicas {
		b.targets = append(b.targets, p.webhook)
	}
}

func (b *balancer) deliverTwice() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mirror = true
}

// newReplicas starts a world and n processes on one PostgreSQL behind a balancer.
func newReplicas(t *testing.T, n int, o sandbox.Options) ([]*outside, *balancer) {
	t.Helper()
	database := storetest.PostgresURL(t)
	first := newOutside(t, o)
	shared := slices.DeleteFunc(slices.Clone(first.env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"MDEBOT_DATABASE_URL", "MDEBOT_LISTEN", "MDEBOT_ADMIN_LISTEN"}, name)
	})
	var all []*outside
	for range n {
		p := &outside{story: &story{T: t, world: first.world, dir: first.dir}, webhook: freeAddress(t), admin: freeAddress(t), log: &lockedBuffer{}}
		p.env = slices.Concat(shared, []string{"MDEBOT_DATABASE_URL=" + database, "MDEBOT_LISTEN=" + p.webhook, "MDEBOT_ADMIN_LISTEN=" + p.admin})
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("log of %s:\n%s", p.webhook, p.log)
			}
		})
		p.serve()
		all = append(all, p)
	}
	b := newBalancer(t)
	b.only(all...)
	if err := first.world.Connect(t.Context(), b.URL); err != nil {
		t.Fatalf("connect the platforms: %v", err)
	}
	return all, b
}

// readsAlerts waits until Defender was asked for alerts once more.
func (s *story) readsAlerts() {
	s.Helper()
	before := len(s.world.Defender.Calls(alertsRoute))
	s.eventually("the alerts are read", func() string {
		if len(s.world.Defender.Calls(alertsRoute)) == before {
			return "not yet"
		}
		return ""
	})
}

func TestReplicas_shareTheWorkAndDoNothingTwice(t *testing.T) {
	t.Parallel()
	all, lb := newReplicas(t, 2, sandbox.Options{})
	s := all[0]
	for _, p := range all {
		s.eventually("people's questions share the quota", func() string {
			left := p.metric(`mdebot_defender_quota_left{lane="interactive"}`)
			if left > 0 && left <= 1500*70/100/2 {
				return ""
			}
			return fmt.Sprintf("%v calls are left on %s", left, p.admin)
		})
	}
	sides := []side{s.slack(), s.teams()}
	askers := []sandbox.Person{sandbox.Riley, sandbox.Sam}
	for i := range 4 {
		if i == 3 {
			lb.deliverTwice()
		}
		ask, vote := sides[i%2], sides[(i+1)%2]
		machine := fmt.Sprintf("ws-%03d", 60+i)
		card := s.request(ask, vote, askers[i%2], sandbox.Avery, machine, "two replicas")
		vote.click(sandbox.Avery, card, "Approve")
		s.sees(ask, askers[i%2], ask.soc(), "isolate "+machine+".corp.contoso.com – isolated", "Avery Stone")
	}
	s.wantIsolations(4)
	for _, on := range sides {
		for i := range 4 {
			machine := fmt.Sprintf("isolate ws-%03d", 60+i)
			if n := s.posted(on, sandbox.Avery, on.approvals(), machine, "Request #"); n != 1 {
				t.Errorf("%d cards of %q among %T's approvals, want 1", n, machine, on)
			}
		}
	}

	titles := []string{"First of the replicas", "Second of the replicas", "Third of the replicas"}
	s.readsAlerts()
	for i, title := range titles {
		s.raise(fmt.Sprintf("ws-%03d", 70+i), "High", title)
	}
	for _, title := range titles {
		for _, on := range sides {
			s.sees(on, sandbox.Riley, on.soc(), title)
		}
	}
	s.readsAlerts()
	s.readsAlerts()
	for _, title := range titles {
		for _, on := range sides {
			if n := s.posted(on, sandbox.Riley, on.soc(), title); n != 1 {
				t.Errorf("%q stands %d times in %T's channel, want once", title, n, on)
			}
		}
	}
}

// A replica is killed while it waits for Defender's answer to an isolation that
// took effect, and again while it reads alerts. The other one finds the
// isolation, and goes on reading within 15 seconds.
func TestReplicas_oneTakesOverFromTheOther(t *testing.T) {
	t.Parallel()
	all, lb := newReplicas(t, 2, sandbox.Options{})
	dies, lives := all[0], all[1]
	s := lives
	lives.pause() // so that the other one has everything in its hands
	lb.only(dies)
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-064", "killed in between")
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.ActHang, Route: isolateRoute, Times: 1})
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Hang, Route: alertsRoute, Times: 1})
	s.teams().click(sandbox.Avery, card, "Approve")
	s.eventually("Defender hangs on both", func() string {
		if s.world.Defender.Faults.Used(fault.ActHang) == 0 || s.world.Defender.Faults.Used(fault.Hang) == 0 {
			return "not yet"
		}
		return ""
	})
	dies.kill()
	killed := time.Now()
	s.world.Defender.Faults.Clear()
	lives.resume()
	lb.only(lives)
	s.raise("ws-065", "High", "While nobody looked")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "While nobody looked")
	if took := time.Since(killed); took > 17*time.Second {
		t.Errorf("the alert was posted %s after the kill, want 15 seconds and the time to post it", took)
	}
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-064.corp.contoso.com – isolated", "Avery Stone")
	t.Logf("isolation told %s after the kill", time.Since(killed).Round(time.Second))
	s.wantIsolations(1)
	if n := s.posted(s.slack(), sandbox.Riley, sandbox.SlackSOC, "While nobody looked"); n != 1 {
		t.Errorf("the alert stands %d times in the channel, want once", n)
	}
	// The dead one comes back and finds its place.
	dies.serve()
	lb.only(dies)
	card = s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-066", "after the return")
	s.teams().click(sandbox.Avery, card, "Approve")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-066.corp.contoso.com – isolated")
	s.wantIsolations(2)
}

// A replica that was stopped while it held work wakes up when the other one has
// done it, and does nothing.
func TestReplicas_oneThatWakesUpActsOnNothing(t *testing.T) {
	t.Parallel()
	all, lb := newReplicas(t, 2, sandbox.Options{})
	sleeps, works := all[0], all[1]
	s := works
	s.readsAlerts()
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-067", "asleep in between")
	sleeps.pause()
	lb.only(works)
	s.teams().click(sandbox.Avery, card, "Approve")
	s.raise("ws-068", "High", "While one sleeps")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-067.corp.contoso.com – isolated")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "While one sleeps")
	sleeps.resume()
	lb.only(sleeps)
	s.ask(s.slack(), sandbox.Riley, "machine ws-067", "Machine ws-067")
	s.readsAlerts()
	s.wantIsolations(1)
	if n := s.posted(s.slack(), sandbox.Riley, sandbox.SlackSOC, "While one sleeps"); n != 1 {
		t.Errorf("the alert stands %d times in the channel, want once", n)
	}
}

// Both replicas are replaced, one after the other, while requests are open and
// alerts come. Buttons of cards that a replaced one posted count on its successor,
// and nobody waits for either.
func TestReplicas_areReplacedOneByOne(t *testing.T) {
	t.Parallel()
	all, lb := newReplicas(t, 2, sandbox.Options{})
	s := all[0]
	s.readsAlerts()
	machines := []string{"ws-074", "ws-075"}
	var open []seen
	for i, machine := range machines {
		lb.only(all[i]) // each has a request of its own in its hands
		open = append(open, s.request(s.slack(), s.teams(), []sandbox.Person{sandbox.Riley, sandbox.Sam}[i], sandbox.Avery, machine, "open during the roll-out"))
	}
	for i, leaving := range all {
		staying := all[1-i]
		lb.only(staying)
		leaving.signal(syscall.SIGTERM)
		title := fmt.Sprintf("While replica %d was replaced", i)
		s.raise(fmt.Sprintf("ws-%03d", 78+i), "High", title)
		s.ask(s.slack(), sandbox.Riley, fmt.Sprintf("machine ws-%03d", 82+i), fmt.Sprintf("Machine ws-%03d", 82+i))
		if err := leaving.cmd.Wait(); err != nil {
			t.Errorf("replica %d left with %v\n%s", i, err, leaving.log)
		}
		leaving.cmd = nil
		// The one that votes on its predecessor's request.
		leaving.env = append(leaving.env, "MDEBOT_LOG_LEVEL=debug")
		leaving.serve()
		lb.only(leaving)
		s.pressed(s.teams(), sandbox.Avery, open[i], "Approve", "Your approval counts")
		s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate "+machines[i]+".corp.contoso.com – isolated", "Avery Stone")
		s.sees(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, "isolate "+machines[i]+".corp.contoso.com – isolated", "Avery Stone")
		for _, on := range []side{s.slack(), s.teams()} {
			s.sees(on, sandbox.Riley, on.soc(), title)
		}
	}
	s.wantIsolations(len(machines))
	s.readsAlerts()
	for i := range all {
		for _, on := range []side{s.slack(), s.teams()} {
			if n := s.posted(on, sandbox.Riley, on.soc(), fmt.Sprintf("While replica %d was replaced", i)); n != 1 {
				t.Errorf("the alert stands %d times in %T's channel, want once", n, on)
			}
		}
	}
}

// pause is SIGSTOP, as a machine that is suspended; resume is SIGCONT.
// metric reads one series.
func (p *outside) metric(series string) float64 {
	p.Helper()
	resp, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				p.Fatal(err)
			}
			return n
		}
	}
	p.Fatalf("%s has no series %s", p.admin, series)
	return 0
}

func (p *outside) pause()  { p.signal(syscall.SIGSTOP) }
func (p *outside) resume() { p.signal(syscall.SIGCONT) }

func (p *outside) signal(sig syscall.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.Fatal(err)
	}
}

// The click on Cancel may reach the replica that does not run the hunt.
func TestReplicas_huntIsCancelledThroughTheOtherOne(t *testing.T) {
	t.Parallel()
	all, lb := newReplicas(t, 2, sandbox.Options{})
	s := all[0]
	for i, on := range []side{s.slack(), s.teams()} {
		lb.only(all[0])
		s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Hang, Route: "POST /v1.0/security/runHuntingQuery", Times: 1})
		on.write(sandbox.Riley, on.direct(sandbox.Riley), fmt.Sprintf("hunt DeviceInfo | take %d", i+1))
		running := s.sees(on, sandbox.Riley, on.direct(sandbox.Riley), "Hunting", "Cancel")
		lb.only(all[1])
		on.click(sandbox.Riley, running, "Cancel")
		s.sees(on, sandbox.Riley, on.direct(sandbox.Riley), "The hunt was cancelled")
		s.world.Defender.Faults.Clear()
	}
}

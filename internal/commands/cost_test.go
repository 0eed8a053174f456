package commands

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	sim "github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// office is many people who share a Defender tenant that is asked over HTTP.
type office struct {
	*Router
	defender *defendersim.Server
	people   []identity.Principal

	mu    sync.Mutex
	clock time.Time
}

func newOffice(t *testing.T, people int) *office {
	t.Helper()
	const app = "0d9c1f6e-55a1-4f0b-8a7d-3e2b6c4d1a01"
	o := &office{clock: noon}
	entra := entrasim.New(entrasim.Options{Now: o.now})
	entra.Register(string(thisTenant), entrasim.App{ID: app, Name: "mdebot", Secret: "sandbox", Roles: map[string][]string{
		entrasim.Defender: {"Alert.Read.All", "Machine.Read.All", "User.Read.All"}, entrasim.Graph: {},
	}})
	o.defender = defendersim.New(defendersim.Options{Entra: entra, Now: o.now})
	o.defender.AddTenant(sim.Generate(sim.Options{Seed: 1, Now: noon, Tenant: string(thisTenant)}))
	authority, api := httptest.NewServer(entra), httptest.NewServer(o.defender)
	t.Cleanup(authority.Close)
	t.Cleanup(api.Close)
	client, err := defender.New(defender.Config{
		TenantID: thisTenant, ClientID: app, ClientSecret: "sandbox", BaseURL: api.URL, GraphURL: api.URL, AuthorityURL: authority.URL,
	}, defender.WithNow(o.now), defender.WithTransport(&http.Transport{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)

	yaml := strings.Builder{}
	yaml.WriteString("approvals:\n  rules:\n    - name: everything\npeople:\n")
	for i := range people {
		fmt.Fprintf(&yaml, "  - person: 22222222-2222-2222-2222-%012d\n    name: Person %d\n    slack: [T0SOC/U%d]\n    roles: [responder, approver]\n", i, i, i)
		o.people = append(o.people, account(fmt.Sprintf("U%d", i)))
	}
	p, err := policy.Parse("mdebot.yaml", []byte(yaml.String()), policy.Options{HomeTenant: home})
	if err != nil {
		t.Fatal(err)
	}
	// Nobody is a guest here, and nothing else around a Router is asked.
	around := &world{standing: map[string]identity.Standing{}}
	for _, one := range o.people {
		around.standing[one.Account] = identity.Member
	}
	o.Router = New(Config{
		Tenant: thisTenant, Defender: client, Policy: policy.NewSource(p), Links: fileLinks{source: policy.NewSource(p)}, Directory: around, Recorder: around, Subjects: around,
		Portal: client.Portal(), Now: o.now, Logger: slog.New(slog.DiscardHandler),
	})
	return o
}

func (o *office) now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.clock
}

func (o *office) later(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clock = o.clock.Add(d)
}

// ask lets one person type a command, and fails unless the answer holds words.
func (o *office) ask(t *testing.T, who int, text, words string) {
	t.Helper()
	resp := o.Handle(t.Context(), chat.Invocation{
		Kind: chat.Command, By: o.people[who], Delivery: fmt.Sprint(who), Text: text, Slash: true, At: o.now(),
		In: chat.Conversation{Platform: identity.Slack, Workspace: "T0SOC", ID: "C0SOC"},
	})
	var out answers
	resp.Later(t.Context(), &out)
	if len(out.final) != 1 || !strings.Contains(textOf(out.final[0]), words) {
		t.Errorf("%q is answered %v, want %q in it", text, out.final, words)
	}
}

// calls counts what Defender was asked, by route.
func (o *office) calls() map[string]int {
	n := map[string]int{}
	for _, c := range o.defender.Calls("") {
		switch {
		case strings.HasSuffix(c.Path, "/logonusers"):
			n["users"]++
		case strings.HasSuffix(c.Path, "/alerts"):
			n["alerts"]++
		case strings.HasSuffix(c.Path, "/machineactions"):
			n["actions"]++
		default:
			n["machine"]++
		}
		n["all"]++
	}
	return n
}

func TestMachine_oneRoundOfCalls(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	o.ask(t, 0, "machine ws-013", "ws-013")
	for _, of := range []string{"machine", "users", "alerts", "actions"} {
		if got := o.calls()[of]; got != 1 {
			t.Errorf("%d calls for %s, want 1: %+v", got, of, o.defender.Calls(""))
		}
	}
}

func TestMachine_readsWhatGoesWithItAtOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t, 2)
	o.defender.Faults.Add(fault.Fault{Kind: fault.Hang, Skip: 1, Times: 3})
	answered := make(chan bool)
	go func() {
		o.ask(t, 0, "machine ws-013", "ws-013")
		close(answered)
	}()
	// Three calls hang at the same time only if none waits for another.
	for o.defender.Faults.Used(fault.Hang) < 3 {
		select {
		case <-answered:
			t.Fatalf("the answer came before three calls were under way: %v", o.defender.Calls(""))
		case <-time.After(time.Millisecond):
		}
	}
	o.defender.Faults.Clear()
	<-answered
}

func TestMachine_fiftyPeopleInThirtySecondsCostTwoRounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pause  time.Duration
		rounds int
	}{
		"one after the other": {600 * time.Millisecond, 2},
		"all at once":         {0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const people = 50
			o := newOffice(t, people)
			var asked sync.WaitGroup
			for who := range people {
				asked.Go(func() { o.ask(t, who, "machine ws-013", "ws-013") })
				if c.pause > 0 {
					asked.Wait()
					o.later(c.pause)
				}
			}
			asked.Wait()
			if got := o.calls()["all"]; got > 4*c.rounds {
				t.Errorf("%d calls, want at most %d: %v", got, 4*c.rounds, o.calls())
			}
		})
	}
}

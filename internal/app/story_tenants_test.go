package app

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

func customerID(i int) string { return fmt.Sprintf("cccccccc-0000-4000-8000-%012d", i) }
func mark(i int) string       { return fmt.Sprintf("cust%03dmark", i) }

var anyMark = regexp.MustCompile(`cust\d{3}mark`)

// everybodys is the estate that all customers share, IDs and all.
var everybodys = sync.OnceValue(func() *estate.Estate {
	return estate.Generate(estate.Options{Seed: 1, Now: time.Now(), Tenant: customerID(0)})
})

// addCustomer makes a tenant whose machines, alerts and actions have the same IDs
// as everybody else's, and whose names tell whose they are.
func (s *story) addCustomer(i int, consented bool) *defendersim.Tenant {
	e := &estate.Estate{Tenant: customerID(i), Machines: slices.Clone(everybodys().Machines[:30]), Alerts: slices.Clone(everybodys().Alerts[:8])}
	for j := range e.Machines {
		m := &e.Machines[j]
		m.ComputerDNSName = m.ShortName() + "." + mark(i) + ".example"
		m.MachineTags = nil
	}
	for j := range e.Alerts {
		a := &e.Alerts[j]
		name := mark(i)
		a.Title, a.Description, a.ComputerDNSName, a.AADTenantID = name+" "+a.Title, name, &name, customerID(i)
	}
	if consented {
		s.world.Entra.Register(customerID(i), entrasim.App{ID: setupAppID, Name: "partner", Secret: setupSecret, Foreign: true, Roles: map[string][]string{
			entrasim.Defender: {"Alert.ReadWrite.All", "Machine.Read.All", "User.Read.All", "Machine.Isolate", "Ip.Read.All"},
			entrasim.Graph:    {"ThreatHunting.Read.All"},
		}})
	} else {
		s.world.Entra.Register(customerID(i), entrasim.App{ID: "00000000-0000-4000-8000-00000000ffff", Secret: "x"})
	}
	return s.world.Defender.AddTenant(e)
}

// partner is set-up 3: one application, n customers of whom the last k have not
// consented.
func partner(t *testing.T, n, withoutConsent int) (*story, []*defendersim.Tenant) {
	t.Helper()
	yaml := strings.Replace(sandbox.PolicyYAML(), "groups:\n", "all_tenants: [soc-leads]\ngroups:\n  riley: [8a1f0000-0000-4000-8000-000000000001]\n", 1)
	var b strings.Builder
	b.WriteString(yaml + "\ntenants:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - { id: %s, name: %s, people: [soc]%s }\n", customerID(i), fmt.Sprintf("customer-%d", i),
			map[bool]string{true: `, channels: ["slack:` + sandbox.SlackFinance + `"]`}[i == 0])
	}
	var all []*defendersim.Tenant
	s := newStoryIn(t, b.String(), sandbox.Options{}, func(s *story) []string {
		s.world.Entra.Register(sandbox.TenantID, entrasim.App{ID: setupAppID, Name: "partner", Secret: setupSecret})
		for i := range n {
			all = append(all, s.addCustomer(i, i < n-withoutConsent))
		}
		return []string{"MDE_CLIENT_ID=" + setupAppID, "MDE_CLIENT_SECRET=" + setupSecret, "MDE_ACTION_CLIENT_ID=", "MDE_ACTION_CLIENT_SECRET="}
	})
	return s, all
}

func TestStory_setupPartner(t *testing.T) {
	t.Parallel()
	s, customers := partner(t, 3, 1)
	on := s.slack()

	// No default tenant: the bound channel, --tenant, or a choice for reads.
	s.ask(on, sandbox.Riley, "machine ws-004", "Which tenant?", "--tenant")
	s.ask(on, sandbox.Riley, "machine ws-004 --tenant customer-1", "Tenant: customer-1", mark(1))
	s.ask(on, sandbox.Riley, "tenant", "No tenant is bound", "customer-0, customer-1, customer-2")
	s.ask(on, sandbox.Riley, "tenant customer-0", "Chosen for reading", "customer-0, until")
	s.ask(on, sandbox.Riley, "machine ws-005", "Tenant: customer-0", mark(0))
	s.ask(on, sandbox.Riley, "isolate ws-005 beaconing", "Which tenant?", "does not count here")
	s.ask(on, sandbox.Riley, "machine ws-004 --tenant nobody", "There is no tenant nobody")
	on.write(sandbox.Riley, sandbox.SlackFinance, "machine ws-006")
	s.told(on, sandbox.Riley, sandbox.SlackFinance, "Tenant: customer-0", mark(0))
	on.write(sandbox.Riley, sandbox.SlackFinance, "help score")
	s.told(on, sandbox.Riley, sandbox.SlackFinance, "Tenant: customer-0", "Not permitted here", "Score.Read.All")

	// A destructive request acts on the tenant that was named and on no other,
	// although all have a machine with that ID.
	s.ask(on, sandbox.Riley, "isolate ws-005 --tenant customer-1 --reason beaconing", "Asked:", "ws-005", "customer-1")
	card := s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-005", "waits for approval", "Tenant: customer-1")
	on.click(sandbox.Avery, card, "Approve")
	s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-005."+mark(1), "Defender says Succeeded")
	for i, c := range customers {
		want := map[bool]int{true: 1}[i == 1]
		if got := len(c.Effects(defendersim.OfKind(defendersim.EffectIsolate))); got != want {
			t.Errorf("customer-%d has %d isolations, want %d", i, got, want)
		}
	}

	// All at once by explicit grant, the failure named.
	s.ask(on, sandbox.Riley, "alerts --tenant all", "You may not ask all tenants at once")
	s.ask(on, sandbox.Sam, "isolated --tenant all", "isolated of 3 tenants", "customer-1: 1 machine is isolated", "customer-0: No machine is isolated", "customer-2", "does not know mdebot's application")
	s.ask(on, sandbox.Sam, "hunt --tenant all DeviceInfo | take 1", "hunt works on one tenant at a time", "hunt run take --tenant all")
	s.ask(on, sandbox.Sam, "hunt run logons --tenant all", "everything it takes has to be typed")
	s.ask(on, sandbox.Riley, "hunt run quiet-machines --tenant all", "You may not ask all tenants at once")
	s.ask(on, sandbox.Sam, "hunt run quiet-machines --tenant all", "Hunt quiet-machines of 3 tenants; 1 failed", "customer-0: Hunt: 30 rows in", "customer-1: Hunt: 30 rows in", "1 of your 10 hunts",
		"customer-2", "does not know mdebot's application", "Query", "DeviceInfo")
	s.eventually("one file of all tenants", func() string {
		for name, content := range on.files(sandbox.Sam) {
			rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(content, "\ufeff"))).ReadAll()
			if err != nil || len(rows) == 0 {
				return fmt.Sprintf("%s is no table: %v", name, err)
			}
			of := map[string]int{}
			for _, row := range rows[1:] {
				if !strings.HasSuffix(row[1], mark(int(row[0][len(row[0])-1]-'0'))+".example") {
					t.Errorf("%s stands as a machine of %s", row[1], row[0])
				}
				of[row[0]]++
			}
			if rows[0][0] == "Tenant" && of["customer-0"] == 30 && of["customer-1"] == 30 && len(of) == 2 {
				return ""
			}
			return fmt.Sprintf("%s begins %v and has rows of %v", name, rows[0], of)
		}
		return "no file"
	})
	s.ask(on, sandbox.Sam, "status", "Tenant customer-0", "Tenant customer-2", "does not know mdebot's application")

	// One customer's outage touches no other.
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Route: "GET /api/machines/*"})
	s.world.Entra.Unregister(customerID(1), setupAppID)
	s.ask(on, sandbox.Riley, "alerts --since 180d --tenant customer-0", "Tenant: customer-0", mark(0))
}

// A changed file of tenants.d is noticed like mdebot.yaml itself: a good one is in
// force, a faulty one is refused by its name, and what waits for a restart is said.
func TestStory_changedTenantFilesAreNoticed(t *testing.T) {
	t.Parallel()
	s, _ := partner(t, 2, 0)
	on := s.slack()
	dir := filepath.Join(s.dir, "tenants.d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, yaml string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := s.bot.policy.Current().Hash()
	put("tailspin.yaml", "id: "+customerID(7)+"\nname: tailspin\npeople: [nobody]\n")
	s.sees(on, sandbox.Sam, sandbox.SlackOps, "has faults", "tenants.d/tailspin.yaml:3", "nobody", before)
	put("tailspin.yaml", "id: "+customerID(7)+"\nname: tailspin\npeople: [soc]\n")
	s.sees(on, sandbox.Sam, sandbox.SlackOps, "have changed", "Tenant tailspin is new", "next restart")
	s.ask(on, sandbox.Riley, "machine ws-004 --tenant tailspin", "There is no tenant tailspin")
	if err := os.Remove(filepath.Join(dir, "tailspin.yaml")); err != nil {
		t.Fatal(err)
	}
	s.eventually("the removal is in force", func() string {
		if now := s.bot.policy.Current().Hash(); now != before {
			return now
		}
		return ""
	})
}

// A replaced secret counts for every customer that the application signs in to, and
// that of a customer's own application for this one.
func TestStory_replacedSecretsCountForEveryCustomer(t *testing.T) {
	t.Parallel()
	const ownApp, fresh = "5a6b7c8d-0001-4000-8000-00000000a0ff", "fresh-secret-of-the-partner"
	secrets := t.TempDir()
	put := func(name, value string) {
		t.Helper()
		partial := filepath.Join(secrets, name+".new")
		if err := os.WriteFile(partial, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(partial, filepath.Join(secrets, name)); err != nil {
			t.Fatal(err)
		}
	}
	put("partner", setupSecret)
	put("own", "own-secret-at-first")
	yaml := sandbox.PolicyYAML() + fmt.Sprintf(`
tenants:
  - { id: %s, name: customer-0, people: [soc] }
  - { id: %s, name: customer-1, people: [soc], client_id: %s, client_secret_file: %s }
`, customerID(0), customerID(1), ownApp, filepath.Join(secrets, "own"))
	s := newStoryIn(t, yaml, sandbox.Options{}, func(s *story) []string {
		s.world.Entra.Register(sandbox.TenantID, entrasim.App{ID: setupAppID, Name: "partner", Secret: setupSecret})
		s.addCustomer(0, true)
		s.addCustomer(1, false)
		s.world.Entra.Register(customerID(1), entrasim.App{ID: ownApp, Name: "the customer's own", Secret: "own-secret-at-first", Roles: map[string][]string{entrasim.Defender: {"Machine.Read.All"}}})
		return []string{"MDE_CLIENT_ID=" + setupAppID, "MDE_CLIENT_SECRET=", "MDE_CLIENT_SECRET_FILE=" + filepath.Join(secrets, "partner"), "MDE_ACTION_CLIENT_ID=", "MDE_ACTION_CLIENT_SECRET="}
	})
	on := s.slack()
	s.ask(on, sandbox.Riley, "machine ws-004 --tenant customer-0", mark(0))
	s.ask(on, sandbox.Riley, "machine ws-004 --tenant customer-1", mark(1))

	s.world.Entra.SetSecret(customerID(0), setupAppID, fresh)
	s.world.Entra.SetSecret(customerID(1), ownApp, "own-secret-replaced")
	put("partner", fresh)
	put("own", "own-secret-replaced")
	s.sees(on, sandbox.Sam, sandbox.SlackOps, "Secrets have been replaced", "MDE_CLIENT_SECRET")
	s.sees(on, sandbox.Sam, sandbox.SlackOps, "Secrets have been replaced", "the credential of tenant customer-1")
	s.world.Entra.Revoke()
	s.ask(on, sandbox.Riley, "machine ws-005 --tenant customer-0", mark(0))
	s.ask(on, sandbox.Riley, "machine ws-005 --tenant customer-1", mark(1))

	// A file that holds nothing keeps what was there.
	put("own", "")
	s.sees(on, sandbox.Sam, sandbox.SlackOps, "Not every secret could be replaced", "customer-1")
	s.world.Entra.Revoke()
	s.ask(on, sandbox.Riley, "machine ws-006 --tenant customer-1", mark(1))
}

func TestStory_partnerPeopleNeedAGrantForEachCustomer(t *testing.T) {
	t.Parallel()
	s, _ := partner(t, 2, 0)
	on := s.slack()
	s.halt()
	yaml := strings.Replace(sandbox.PolicyYAML(), "groups:\n", "groups:\n  riley: [8a1f0000-0000-4000-8000-000000000001]\n", 1) +
		"\ntenants:\n  - { id: " + customerID(0) + ", name: customer-0, people: [soc] }\n  - { id: " + customerID(1) + ", name: customer-1, people: [soc-leads] }\n"
	s.writePolicy(yaml)
	s.start()
	s.ask(on, sandbox.Riley, "machine ws-004 --tenant customer-1", "You have no grant for the tenant customer-1")
	s.ask(on, sandbox.Riley, "machine ws-004 --tenant customer-0", mark(0))
	// An approver of the SOC without a grant for the customer does not count.
	s.ask(on, sandbox.Sam, "isolate ws-005 --tenant customer-1 --reason beaconing", "Asked:", "customer-1")
	card := s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-005", "waits for approval", "customer-1")
	s.pressed(on, sandbox.Avery, card, "Approve", "no grant for the tenant customer-1")
	on.click(sandbox.Jordan, card, "Approve")
	s.sees(on, sandbox.Jordan, on.approvals(), "isolate ws-005."+mark(1), "Defender says Succeeded")
}

// A channel that a customer shares gets that customer's alerts by name, and no
// request, no other customer's alert, and no answer for everybody.
func TestStory_customersSharedChannelGetsItsAlertsAlone(t *testing.T) {
	t.Parallel()
	var customers []*defendersim.Tenant
	yaml := sandbox.PolicyYAML() + fmt.Sprintf(`
tenants:
  - id: %s
    name: customer-0
    people: [soc]
    channels: [slack:C0PARTNER]
    shared_channels: alerts
    routes: [{ name: theirs, to: ["slack:C0PARTNER"] }]
  - { id: %s, name: customer-1, people: [soc] }
`, customerID(0), customerID(1))
	s := newStoryIn(t, yaml, sandbox.Options{}, func(s *story) []string {
		s.world.Entra.Register(sandbox.TenantID, entrasim.App{ID: setupAppID, Name: "partner", Secret: setupSecret})
		customers = []*defendersim.Tenant{s.addCustomer(0, true), s.addCustomer(1, true)}
		return []string{"MDE_CLIENT_ID=" + setupAppID, "MDE_CLIENT_SECRET=" + setupSecret, "MDE_ACTION_CLIENT_ID=", "MDE_ACTION_CLIENT_SECRET="}
	})
	on := s.slack()
	for _, c := range s.bot.customers {
		s.eventually("the first look at "+c.name, func() string {
			if h, err := s.bot.notify.Health(t.Context(), c.id); err != nil || h.LastGood.IsZero() {
				return fmt.Sprint(h, err)
			}
			return ""
		})
	}
	for i, c := range customers {
		if _, err := c.RaiseAlert(everybodys().Machines[4].ID, "High", fmt.Sprintf("Credential theft at %s", mark(i))); err != nil {
			t.Fatal(err)
		}
	}
	s.sees(on, sandbox.Riley, on.soc(), "Credential theft at "+mark(1))
	s.sees(on, sandbox.Riley, sandbox.SlackPartner, "Credential theft at "+mark(0))
	on.write(sandbox.Riley, sandbox.SlackPartner, "isolate ws-005 seen by the customer")
	s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-005", "waits for approval", "customer-0")
	s.sees(on, sandbox.Riley, on.direct(sandbox.Riley), "isolate ws-005", "waits for approval")
	on.write(sandbox.Riley, sandbox.SlackPartner, "machine ws-006 --public")
	s.told(on, sandbox.Riley, sandbox.SlackPartner, "Machine ws-006")
	// Sam types nothing there, so Sam reads what everybody of the customer reads.
	for _, m := range on.see(sandbox.Sam, sandbox.SlackPartner) {
		if strings.Contains(m.text, mark(1)) || strings.Contains(m.text, "waits for approval") || strings.Contains(m.text, "Machine ws-006") || strings.Contains(m.text, "watches this tenant") {
			t.Errorf("the customer reads %s", m.text)
		}
	}
}

// captured is a Replier that keeps every byte of an answer.
type captured struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *captured) Progress(_ context.Context, m chat.Message) { _ = c.Answer(context.Background(), m) }

func (c *captured) Answer(_ context.Context, m chat.Message) error {
	b, err := json.Marshal(m)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(b)
	return err
}

// Fifty customers share every ID. Whatever is asked at the same time in random
// order, no byte of one is in an answer or card about another.
func TestTenants_noForeignByteInAnyOutput(t *testing.T) {
	t.Parallel()
	const n = 50
	s, customers := partner(t, n, 0)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 3))
	machine := customers[0].Named("ws-005." + mark(0) + ".example")[0]
	if got, ok := customers[n-1].Machine(machine.ID); !ok || got.ComputerDNSName == machine.ComputerDNSName {
		t.Fatalf("the customers do not share the ID %s", machine.ID)
	}
	alert := customers[0].Alerts()[0]
	texts := []string{
		"machine ws-004", "machine " + machine.ID, "machines ws-0", "alerts --since 180d", "alert " + alert.ID, "isolated",
		"lookup 203.0.113.9", "hunt run quiet-machines", "comment " + alert.ID + " seen", "requests", "isolate " + machine.ID + " --reason beaconing",
	}
	type asked struct {
		of   int
		text string
	}
	var questions []asked
	for range 200 {
		questions = append(questions, asked{random.IntN(n), texts[random.IntN(len(texts))]})
	}
	people := []sandbox.Person{sandbox.Riley, sandbox.Avery, sandbox.Sam, sandbox.Jordan}
	var wg sync.WaitGroup
	var own atomic.Int64
	slots := make(chan struct{}, 16)
	for i, q := range questions {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			who := people[i%len(people)]
			out := &captured{}
			resp := s.bot.handler.Handle(t.Context(), chat.Invocation{
				Kind: chat.Command, Delivery: fmt.Sprintf("random-%d", i), Slash: true, At: time.Now(),
				By:   identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: who.Slack, Name: who.Name},
				In:   chat.Conversation{Platform: identity.Slack, Workspace: "T0SOC", ID: sandbox.SlackSOC},
				Text: fmt.Sprintf("%s --tenant customer-%d", q.text, q.of),
			})
			if resp.Later != nil {
				resp.Later(t.Context(), out)
			}
			if resp.Message != nil {
				_ = out.Answer(t.Context(), *resp.Message)
			}
			for _, found := range anyMark.FindAllString(out.text.String(), -1) {
				own.Add(1)
				if found != mark(q.of) {
					t.Errorf("seed %d: %q about customer-%d is answered with %s", seed, q.text, q.of, found)
				}
			}
		})
	}
	wg.Wait()
	if own.Load() < 50 {
		t.Errorf("seed %d: only %d of %d answers showed anything of their customer", seed, own.Load(), len(questions))
	}
	s.eventually("a card about a customer", func() string {
		for _, m := range s.world.Slack.Messages(sandbox.SlackApprovals, sandbox.Sam.Slack) {
			if anyMark.Match(m.Payload) {
				return ""
			}
		}
		return "none yet"
	})
	for _, place := range []string{sandbox.SlackSOC, sandbox.SlackApprovals, sandbox.SlackFinance, sandbox.SlackOps} {
		for _, m := range s.world.Slack.Messages(place, sandbox.Sam.Slack) {
			marks := slices.Compact(slices.Sorted(slices.Values(anyMark.FindAllString(string(m.Payload), -1))))
			if len(marks) > 1 {
				t.Errorf("seed %d: one message holds %v", seed, marks)
			}
		}
	}
}

package app

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// playedAction is how one action of the registry is asked for and told in a story.
type playedAction struct {
	// thing makes a fresh thing to act on: what is typed, what cards call it, and the
	// machine, or "".
	thing func(s *play) (typed, shown, machine string)
	text  string // with %s for what is typed
	says  string // before what cards call it
	done  string
	route string // of its call
	// effect is what it leaves in the ledger.
	effect defendersim.EffectKind
	// repeats: an attempt without an effect is made again without people.
	repeats bool
	// single: it takes one target.
	single bool
}

const quarantined = "4f1c2d3e4f1c2d3e4f1c2d3e4f1c2d3e4f1c2d3e"

// playedActions has every action of the registry that calls Defender.
var playedActions = map[string]playedAction{
	approvals.Isolate: {
		thing: (*play).workstation, text: "isolate %s a story", says: "isolate", done: "isolated",
		route: "POST /api/machines/*/isolate", effect: defendersim.EffectIsolate,
	},
	approvals.Release: {
		thing: after("Isolate"), text: "release %s a story", says: "release", done: "released",
		route: "POST /api/machines/*/unisolate", effect: defendersim.EffectUnisolate,
	},
	approvals.Contain: {
		thing: (*play).unmanaged, text: "contain %s a story", says: "contain", done: "contained",
		route: "POST /api/machines/*/isolate", effect: defendersim.EffectIsolate,
	},
	approvals.Restrict: {
		thing: (*play).workstation, text: "restrict %s a story", says: "restrict", done: "restricted",
		route: "POST /api/machines/*/restrictCodeExecution", effect: defendersim.EffectRestrict,
	},
	approvals.Unrestrict: {
		thing: after("RestrictCodeExecution"), text: "unrestrict %s a story", says: "unrestrict", done: "unrestricted",
		route: "POST /api/machines/*/unrestrictCodeExecution", effect: defendersim.EffectUnrestrict,
	},
	approvals.Scan: {
		thing: (*play).workstation, text: "scan %s full a story", says: "scan (full)", done: "scanned",
		route: "POST /api/machines/*/runAntiVirusScan", effect: defendersim.EffectScan,
	},
	approvals.Quarantine: {
		thing: (*play).infected, text: "quarantine " + quarantined + " %s a story", says: "quarantine a file on", done: "quarantined",
		route: "POST /api/machines/*/StopAndQuarantineFile", effect: defendersim.EffectQuarantine,
	},
	approvals.Package: {
		thing: (*play).workstation, text: "package %s a story", says: "collect the investigation package of", done: "collected",
		route: "POST /api/machines/*/collectInvestigationPackage", effect: defendersim.EffectPackage, single: true,
	},
	approvals.Cancel: {
		thing: (*play).waiting, text: "cancel %s a story", says: "cancel", done: "cancelled",
		route: "POST /api/machineactions/*/cancel", effect: defendersim.EffectCancel, repeats: true, single: true,
	},
	approvals.Block: {
		thing: (*play).domain, text: "block %s a story", says: "block", done: "in force",
		route: "POST /api/indicators", effect: defendersim.EffectIndicator, repeats: true,
	},
	approvals.Tag: {
		thing: (*play).workstation, text: "tag %s +tier0 --reason a story", says: "tag (+tier0)", done: "tagged",
		route: "POST /api/machines/*/tags", effect: defendersim.EffectTag, repeats: true,
	},
	approvals.Unblock: {
		thing: (*play).blocked, text: "unblock %s a story", says: "unblock", done: "removed",
		route: "DELETE /api/indicators/*", effect: defendersim.EffectUnindicator, repeats: true, single: true,
	},
}

// play is a story with one action, on things of its own.
type play struct {
	*story
	on     side
	action playedAction
	alone  bool
	things int
	typed  string // what was asked last
}

// put adds a fresh machine to the estate.
func (p *play) put(change func(*estate.Machine)) estate.Machine {
	p.things++
	m := p.story.machine("ws-014").Machine
	m.ID = fmt.Sprintf("%040x", 0xabc000+p.things)
	m.ComputerDNSName = fmt.Sprintf("play-%03d.corp.contoso.com", p.things)
	m.Offline, m.MachineTags = false, nil
	if change != nil {
		change(&m)
	}
	p.world.Tenant.PutMachine(m)
	return m
}

func (p *play) workstation() (typed, shown, machine string) {
	m := p.put(nil)
	return m.ComputerDNSName, m.ComputerDNSName, m.ID
}

func (p *play) unmanaged() (typed, shown, machine string) {
	m := p.put(func(m *estate.Machine) { m.OnboardingStatus = "CanBeOnboarded" })
	return m.ComputerDNSName, m.ComputerDNSName, m.ID
}

// after is a workstation on which somebody did something in the portal before.
func after(kind string) func(*play) (typed, shown, machine string) {
	return func(p *play) (typed, shown, machine string) {
		m := p.put(nil)
		a, err := p.world.Tenant.PortalAction(m.ID, kind, "dana@contoso.com", "before the story")
		if err != nil {
			p.Fatal(err)
		}
		p.eventually("the action before the story", func() string {
			for _, now := range p.world.Tenant.Actions() {
				if now.ID == a.ID && now.Status != "Succeeded" {
					return now.Status
				}
			}
			return ""
		})
		return m.ComputerDNSName, m.ComputerDNSName, m.ID
	}
}

func (p *play) infected() (typed, shown, machine string) {
	m := p.put(nil)
	p.world.Tenant.PutFile(m.ID, quarantined)
	return m.ComputerDNSName, m.ComputerDNSName, m.ID
}

// waiting is a restriction that waits for a machine which is away.
func (p *play) waiting() (typed, shown, machine string) {
	m := p.put(func(m *estate.Machine) { m.Offline = true })
	a, err := p.world.Tenant.PortalAction(m.ID, "RestrictCodeExecution", "dana@contoso.com", "before the story")
	if err != nil {
		p.Fatal(err)
	}
	return a.ID, "RestrictCodeExecution on " + m.ComputerDNSName, m.ID
}

func (p *play) domain() (typed, shown, machine string) {
	p.things++
	name := fmt.Sprintf("evil%d.example", p.things)
	return strings.Replace(name, ".", "[.]", 1), name, ""
}

func (p *play) blocked() (typed, shown, machine string) {
	typed, shown, _ = p.domain()
	if _, err := p.world.Tenant.PortalIndicator("DomainName", shown, "Block", "dana@contoso.com", "before the story"); err != nil {
		p.Fatal(err)
	}
	return typed, shown, ""
}

// stands waits until Riley sees the card of a request in a state, with the words.
// The bot's clock moves on a little at a time, but never during a call: an attempt
// has to end within its lease.
func (p *play) stands(shown, state string, d time.Duration, words ...string) seen {
	p.Helper()
	all := append([]string{p.action.says + " " + shown + " – " + state}, words...)
	var found seen
	moved := time.Duration(0)
	p.eventually(all[0], func() string {
		for _, m := range p.on.see(sandbox.Riley, p.on.soc()) {
			if containsAll(m.text, all) {
				found = m
				return ""
			}
		}
		var now []string
		called := false
		for _, m := range p.on.see(sandbox.Riley, p.on.soc()) {
			if strings.Contains(m.text, "Request #") && strings.Contains(m.text, shown) {
				now = append(now, m.text)
				called = !strings.Contains(m.text, "– running") && !strings.Contains(m.text, "about to run") && !strings.Contains(m.text, "waits for approval")
			}
		}
		if called && moved < 2*d {
			moved += clockStep
			p.later(clockStep)
		}
		return fmt.Sprintf("%q is not among\n%s", all, strings.Join(now, "\n---\n"))
	})
	return found
}

// ask types the command.
func (p *play) ask(targets ...string) {
	p.Helper()
	p.typed = fmt.Sprintf(p.action.text, strings.Join(targets, ","))
	p.on.write(sandbox.Riley, p.on.soc(), p.typed)
}

// card is that of the request. Whoever is told to wait, because the bot has used its
// share of Defender's calls for this minute, asks again.
func (p *play) card(shown string) seen {
	p.Helper()
	words := p.action.says + " " + shown + " – waits for approval"
	again := time.Now().Add(time.Minute)
	p.eventually("the card of "+shown, func() string {
		if p.posted(p.on, sandbox.Avery, p.on.approvals(), words) > 0 {
			return ""
		}
		if time.Now().After(again) {
			again = again.Add(time.Minute)
			p.on.write(sandbox.Riley, p.on.soc(), p.typed)
		}
		return "not there"
	})
	return p.sees(p.on, sandbox.Avery, p.on.approvals(), words)
}

func (p *play) effects() int {
	n := 0
	for _, e := range p.world.Tenant.Effects(defendersim.OfKind(p.action.effect)) {
		if !e.Portal {
			n++
		}
	}
	return n
}

// Every action, on both platforms, to every end it can come to.
func TestStory_everyActionToEveryEnd(t *testing.T) {
	t.Parallel()
	registry := approvals.Actions()
	for kind, a := range registry {
		if _, played := playedActions[kind]; played == a.Local() {
			t.Errorf("%s is played: %t", kind, played)
		}
	}
	type end struct {
		name string
		play func(*play) (effects int)
	}
	// Two stories share the ends: one bot's quota at Defender does not carry all.
	stories := [][]end{
		{{"approved", (*play).approvedEnd}, {"denied", (*play).deniedEnd}, {"failed", (*play).failedEnd}, {"timed out", (*play).timedOutEnd}},
		{{"unknown and settled", (*play).unknownEnd}, {"partly failed", (*play).partlyEnd}, {"expired", (*play).expiredEnd}, {"void", (*play).voidEnd}},
	}
	yaml := strings.Replace(sandbox.PolicyYAML(), "  execute_within: 10m\n",
		"  execute_within: 10m\n  limits: { per_person_per_hour: 1000, per_tenant_per_hour: 1000 }\n", 1)
	for kind, action := range playedActions {
		alone := kind == approvals.Scan
		for _, platform := range platforms {
			for n, ends := range stories {
				t.Run(fmt.Sprintf("%s on %s, part %d", kind, platform.name, n+1), func(t *testing.T) {
					t.Parallel()
					s := newStoryUnder(t, yaml, sandbox.Options{})
					p := &play{story: s, on: platform.on(s), action: action, alone: alone}
					for _, end := range ends {
						before := p.effects()
						want := end.play(p)
						if got := p.effects() - before; got != want {
							t.Fatalf("%s left %d effects, want %d", end.name, got, want)
						}
					}
				})
			}
		}
	}
}

// asked types the command and returns after Avery has approved it.
func (p *play) asked() (shown, machine string) {
	p.Helper()
	typed, shown, machine := p.action.thing(p)
	p.ask(typed)
	if !p.alone {
		p.on.click(sandbox.Avery, p.card(shown), "Approve")
	}
	return shown, machine
}

func (p *play) approvedEnd() int {
	p.Helper()
	shown, _ := p.asked()
	words := []string{"Riley Chen", "Avery Stone"}
	if p.alone {
		words = []string{"Riley Chen", "none needed"}
	}
	p.stands(shown, p.action.done, time.Minute, words...)
	return 1
}

func (p *play) deniedEnd() int {
	p.Helper()
	if p.alone {
		return 0 // nobody is asked
	}
	typed, shown, _ := p.action.thing(p)
	p.ask(typed)
	p.on.click(sandbox.Avery, p.card(shown), "Deny")
	p.stands(shown, "denied", 0)
	return 0
}

func (p *play) failedEnd() int {
	p.Helper()
	typed, shown, machine := p.action.thing(p)
	effects := 1
	if machine == "" || p.action.repeats {
		p.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Route: p.action.route, Status: http.StatusBadRequest, Times: 1})
		effects = 0
	} else {
		p.world.Tenant.FailNext(machine, -2147024891)
	}
	p.ask(typed)
	if !p.alone {
		p.on.click(sandbox.Avery, p.card(shown), "Approve")
	}
	p.stands(shown, "failed", time.Minute)
	return effects
}

func (p *play) timedOutEnd() int {
	p.Helper()
	if p.action.repeats {
		return 0 // nothing waits for a machine
	}
	p.world.Tenant.SetTiming(defendersim.Timing{Start: 300 * time.Millisecond, Run: 300 * time.Millisecond, TimeOut: time.Second})
	typed, shown, machine := p.action.thing(p)
	if err := p.world.Tenant.SetOnline(machine, false); err != nil {
		p.Fatal(err)
	}
	p.ask(typed)
	if !p.alone {
		p.on.click(sandbox.Avery, p.card(shown), "Approve")
	}
	p.stands(shown, "failed", time.Minute, "did not take it in time (TimeOut)")
	p.world.Tenant.SetTiming(defendersim.Timing{Start: 300 * time.Millisecond, Run: 300 * time.Millisecond})
	return 1
}

var requestNumber = regexp.MustCompile(`Request #(\d+):`)

func (p *play) unknownEnd() int {
	p.Helper()
	p.world.Defender.Faults.Add(fault.Fault{Kind: fault.Drop, Route: p.action.route, Times: 1})
	shown, _ := p.asked()
	if p.action.repeats {
		p.stands(shown, p.action.done, 4*time.Minute)
		return 1
	}
	card := p.stands(shown, "unclear", 4*time.Minute, "Needs people")
	number := requestNumber.FindStringSubmatch(card.text)[1]
	p.on.write(sandbox.Riley, p.on.soc(), "settle "+number+" done the portal shows it")
	if !p.alone { // a scan's outcome needs nobody else either
		p.on.click(sandbox.Avery, p.sees(p.on, sandbox.Avery, p.on.approvals(), "settle #"+number, "waits for approval"), "Approve")
	}
	p.stands(shown, p.action.done, time.Minute, "Settled as done by Riley Chen")
	return 0
}

func (p *play) partlyEnd() int {
	p.Helper()
	if p.action.single {
		return 0
	}
	one, _, machine := p.action.thing(p)
	two, _, _ := p.action.thing(p)
	effects := 2
	if machine == "" || p.action.repeats {
		p.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Route: p.action.route, Status: http.StatusBadRequest, Times: 1})
		effects = 1
	} else {
		p.world.Tenant.FailNext(machine, -2147024891)
	}
	p.ask(one, two)
	many := "2 machines"
	if machine == "" {
		many = "2 indicators"
	}
	if !p.alone {
		p.on.click(sandbox.Avery, p.card(many), "Approve")
	}
	p.stands(many, "failed", time.Minute, "1 succeeded, 1 failed", "failed, not "+p.action.done)
	return effects
}

func (p *play) expiredEnd() int {
	p.Helper()
	if p.alone {
		return 0 // nobody is waited for
	}
	typed, shown, _ := p.action.thing(p)
	p.ask(typed)
	p.card(shown)
	p.later(31 * time.Minute)
	p.stands(shown, "expired undecided", 0)
	return 0
}

// voidEnd is last: a freeze stops what was approved and could not be sent yet.
func (p *play) voidEnd() int {
	p.Helper()
	p.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Route: p.action.route, Status: http.StatusTooManyRequests})
	shown, _ := p.asked()
	p.stands(shown, "approved, about to run", 0, "not sent yet")
	p.on.write(sandbox.Sam, p.on.soc(), "freeze a story")
	p.stands(shown, "void", 0, "has frozen all actions")
	return 0
}

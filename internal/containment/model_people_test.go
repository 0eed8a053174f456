package containment

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/approvals/approvalstest"
	"github.com/mdebot/mdebot/internal/identity"
)

// The model's people and rules: plain values that know nothing of the product.
// What mdebot.yaml says is written from them.

// human is a person by index into crew.
type human int

const nobody human = -1

var crew = []string{"Riley", "Robin", "Lou", "Avery", "Sam", "Jo", "Kim"}

func (h human) object() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", int(h)+1) }

// hand is a chat account by index into hands.
type hand int

// hands are the accounts: for everybody the Slack account that the file may name,
// a second one that only its owner can link, and the directory's own in Teams.
// The last one is a stranger's who carries an approver's name.
var hands = func() (all []identity.Principal) {
	slack := func(account, name string) identity.Principal {
		return identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: account, Address: account, Name: name}
	}
	for i, name := range crew {
		upper := strings.ToUpper(name)
		all = append(all, slack("U0"+upper, name), slack("U1"+upper, name), identity.Principal{
			Platform: identity.Teams, Workspace: approvalstest.Home, Account: human(i).object(), Address: "29:" + upper, Name: name,
		})
	}
	return append(all, slack("U9STRANGER", "Avery"))
}()

func slackOf(h human) hand  { return hand(3 * h) }
func secondOf(h human) hand { return hand(3*h + 1) }
func teamsOf(h human) hand  { return hand(3*h + 2) }

var stranger = hand(len(hands) - 1)

// entry is one person in the file.
type entry struct {
	listed bool
	roles  string // with spaces
	soc    bool
	slack  hand // named by the file, or -1
}

func (e entry) has(role string) bool {
	return e.listed && slices.Contains(strings.Fields(e.roles), role)
}

// demand is what a rule asks for.
type demand struct {
	approvers int
	from      string // groups, with spaces; empty = holders of the role approver
	then      string // the group that stands in when nobody has decided for long enough
}

func (d demand) groups() []string {
	if d.approvers == 0 {
		return nil
	}
	if d.from == "" {
		return []string{"approver"}
	}
	return strings.Fields(d.from)
}

// rulebook is mdebot.yaml.
type rulebook struct {
	entries              [7]entry
	tier0, servers, rest demand
	expire, execute      time.Duration
}

func firstBook() rulebook {
	b := rulebook{
		tier0: demand{2, "soc leads", ""}, servers: demand{2, "soc", ""}, rest: demand{1, "soc", "leads"},
		expire: 30 * time.Minute, execute: 10 * time.Minute,
	}
	for i, e := range []entry{
		{roles: "responder"},
		{roles: "responder"},
		{roles: "responder approver", soc: true},
		{roles: "responder approver", soc: true},
		{roles: "approver", soc: true},
		{roles: "approver", soc: true},
		{roles: "approver"},
	} {
		e.listed, e.slack = true, slackOf(human(i))
		b.entries[i] = e
	}
	return b
}

const leadsGroup = "00000000-0000-4000-8000-00000000aaaa"

func (b rulebook) yaml() string {
	var out strings.Builder
	rule := func(name, when string, d demand) {
		fmt.Fprintf(&out, "    - name: %s\n", name)
		if when != "" {
			fmt.Fprintf(&out, "      when: '%s'\n", when)
		}
		fmt.Fprintf(&out, "      approvers: %d\n", d.approvers)
		if d.from != "" {
			fmt.Fprintf(&out, "      from: [%s]\n", strings.Join(strings.Fields(d.from), ", "))
		}
		if d.then != "" {
			fmt.Fprintf(&out, "      then: [%s]\n", d.then)
		}
	}
	fmt.Fprintf(&out, "approvals:\n  expire_after: %s\n  execute_within: %s\n", b.expire, b.execute)
	out.WriteString("  limits: { per_person_per_hour: 500, per_tenant_per_hour: 500, tier0_per_day: 500 }\n  rules:\n")
	rule("tier zero", `"tier0" in machine.tags`, b.tier0)
	rule("servers", `machine.os.startsWith("WindowsServer")`, b.servers)
	rule("the rest", "", b.rest)
	out.WriteString("  protected:\n    - when: '\"never-isolate\" in machine.tags'\npeople:\n")
	for i, e := range b.entries {
		if !e.listed {
			continue
		}
		fmt.Fprintf(&out, "  - { person: %s, name: %s", human(i).object(), crew[i])
		if e.slack >= 0 {
			fmt.Fprintf(&out, ", slack: [%s]", hands[e.slack].Key())
		}
		fmt.Fprintf(&out, ", roles: [%s] }\n", strings.Join(strings.Fields(e.roles), ", "))
	}
	out.WriteString("groups:\n  leads: { entra_group: " + leadsGroup + " }\n  soc:\n")
	for i, e := range b.entries {
		if e.listed && e.soc {
			fmt.Fprintf(&out, "    - %s\n", human(i).object())
		}
	}
	return out.String()
}

// box is a machine as the model knows it at Defender.
type box struct {
	name, os  string
	tags      string // with spaces
	elsewhere bool   // in another tenant
	merged    bool
	excluded  bool
	gone      bool
}

func (b box) tagged(tag string) bool { return slices.Contains(strings.Fields(b.tags), tag) }

// demandFor is the first rule of the file that what is asked for meets. A scan needs
// nobody else, because no rule asks about actions, and neither does cancelling one.
func (b rulebook) demandFor(o order, m box) demand {
	switch {
	case o.action == approvals.Scan, o.action == approvals.Cancel && o.params["type"] == "RunAntiVirusScan":
		return demand{}
	case o.action == approvals.Block, o.action == approvals.Unblock:
		return b.rest // the others ask about machines
	case m.tagged("tier0"):
		return b.tier0
	case strings.HasPrefix(m.os, "WindowsServer"):
		return b.servers
	}
	return b.rest
}

// strictest is what an unfreeze needs, because no rule is about it: a machine
// would have to be known for the first.
func (b rulebook) strictest() demand {
	best := b.tier0
	for _, d := range []demand{b.servers, b.rest} {
		if d.approvers > best.approvers || d.approvers == best.approvers && len(strings.Fields(d.from)) > len(strings.Fields(best.from)) {
			best = d
		}
	}
	return best
}

// tie is a link that the owner of an account has made.
type tie struct {
	id           string
	person       human
	since, count time.Time
	confirmedBy  human
}

// scene is the world at one moment, as far as decisions hang on it.
type scene struct {
	at       time.Time // by the wall clock
	book     rulebook
	ties     map[hand]tie
	standing map[hand]identity.Standing
	boxes    map[string]box
	dirDown  bool
}

func (s scene) clone() scene {
	s.ties, s.standing, s.boxes = maps.Clone(s.ties), maps.Clone(s.standing), maps.Clone(s.boxes)
	return s
}

// owner is who an account stands for, and since when.
func (s scene) owner(a hand) (human, tie, bool) {
	for i, e := range s.book.entries {
		if e.listed && (e.slack == a || teamsOf(human(i)) == a) {
			return human(i), tie{confirmedBy: nobody}, true
		}
	}
	t, linked := s.ties[a]
	if !linked || !s.book.entries[t.person].listed {
		return nobody, tie{}, false
	}
	return t.person, t, true
}

func (s scene) member(a hand) bool {
	standing, known := s.standing[a]
	return !s.dirDown && (!known || standing == identity.Member)
}

// changes is what a value was when, so that answers up to five minutes old can be
// allowed for.
type changes struct {
	at  []time.Time
	yes []bool
}

func (c *changes) set(at time.Time, yes bool) { c.at, c.yes = append(c.at, at), append(c.yes, yes) }

func (c *changes) now() bool { return c.yes[len(c.yes)-1] }

// since reports whether it was so at some time from then on.
func (c *changes) since(then time.Time) bool {
	for i := len(c.yes) - 1; i >= 0; i-- {
		if c.yes[i] {
			return true
		}
		if c.at[i].Before(then) {
			break
		}
	}
	return false
}

// standIn is how long a request waits before others can stand in.
const standIn = 15 * time.Minute

// satisfied reports whether different people can stand for every group, and
// enough of them belong to one. late are those who approved when others could
// stand in.
func (d demand) satisfied(people []human, member func(human, string) bool, late map[human]bool) bool {
	in := func(p human, group string) bool {
		return member(p, group) || d.then != "" && late[p] && member(p, d.then)
	}
	groups, able := d.groups(), 0
	for _, p := range people {
		if slices.ContainsFunc(groups, func(g string) bool { return in(p, g) }) {
			able++
		}
	}
	var cover func(groups []string, taken map[human]bool) bool
	cover = func(groups []string, taken map[human]bool) bool {
		if len(groups) == 0 {
			return true
		}
		for _, p := range people {
			if taken[p] || !in(p, groups[0]) {
				continue
			}
			taken[p] = true
			if cover(groups[1:], taken) {
				return true
			}
			delete(taken, p)
		}
		return false
	}
	return able >= d.approvers && cover(groups, map[human]bool{})
}

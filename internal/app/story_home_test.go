package app

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

// opensHome opens who's Home tab.
func (s *story) opensHome(who sandbox.Person) {
	s.Helper()
	if err := s.world.Slack.OpenHome(s.Context(), who.Slack); err != nil {
		s.Fatalf("%s opens the Home tab: %v", who.Name, err)
	}
}

// connected waits for Socket Mode, where it is on.
func (s *story) connected(o sandbox.Options) {
	s.Helper()
	s.eventually("a connection", func() string {
		if o.SocketMode && s.world.Slack.Connections() == 0 {
			return "there is none"
		}
		return ""
	})
}

// home is what who reads in their Home tab.
func (s *story) home(who sandbox.Person) string {
	h, _ := s.world.Slack.Home(who.Slack)
	var view struct{ Blocks json.RawMessage }
	if h.View != nil && json.Unmarshal(h.View, &view) != nil {
		s.Fatalf("the view cannot be read: %s", h.View)
	}
	return readable(view.Blocks)
}

// homeShows waits until who's Home tab has all the words and none of the others, which
// are after "".
func (s *story) homeShows(who sandbox.Person, words ...string) {
	s.Helper()
	s.shows(who.Name+"'s Home tab", func() string { return s.home(who) }, words)
}

// shows waits until what is read has all the words and none of the others, which are
// after "".
func (s *story) shows(what string, read func() string, words []string) {
	s.Helper()
	var without []string
	if i := slices.Index(words, ""); i >= 0 {
		words, without = words[:i], words[i+1:]
	}
	s.eventually(what, func() string {
		text := read()
		if !containsAll(text, words) {
			return fmt.Sprintf("lacks some of %q: %s", words, text)
		}
		for _, w := range without {
			if strings.Contains(text, w) {
				return fmt.Sprintf("still has %q: %s", w, text)
			}
		}
		return ""
	})
}

// pressesHome presses a button of who's Home tab; value "" is any.
func (s *story) pressesHome(who sandbox.Person, label, value string) {
	s.Helper()
	if err := s.world.Slack.ClickHome(s.Context(), who.Slack, slacksim.Press{Label: label, Value: value}); err != nil {
		s.Fatalf("%s presses %s: %v in %s", who.Name, label, err, s.home(who))
	}
}

// stuck keeps Home tabs as they are.
func (s *story) stuck() {
	s.world.Slack.Inject(slacksim.Fault{Method: "views.publish", Kind: slacksim.FaultServerError, Times: -1})
}

// requestValue is what the buttons of the only open request about a machine hold.
func (s *story) requestValue(machine string) string {
	s.Helper()
	live, err := s.bot.approvals.Live(s.Context(), s.bot.tenant)
	if err != nil {
		s.Fatal(err)
	}
	for _, r := range live {
		if strings.HasPrefix(r.Targets[0].Name, machine) {
			return cards.RequestValue(r.ID, r.Digest)
		}
	}
	s.Fatalf("no request about %s is open", machine)
	return ""
}

func (s *story) asks(who sandbox.Person, machine string) {
	s.Helper()
	s.slack().write(who, sandbox.SlackOps, "isolate "+machine+" beaconing to a known bad address")
	s.sees(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "isolate "+machine, "waits for approval")
}

func TestStory_approverWorksThroughTheQueueInHome(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sandbox.Options{"HTTP": {}, "Socket Mode": {SocketMode: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, o)
			s.connected(o)
			s.asks(sandbox.Riley, "ws-011")
			s.asks(sandbox.Riley, "ws-013")
			first, second := s.requestValue("ws-011"), s.requestValue("ws-013")
			s.opensHome(sandbox.Avery)
			// All of each card is there: what, on what, why, which rule, and the digest.
			s.homeShows(sandbox.Avery, "2 requests wait for you to decide", "As of", "Avery Stone",
				"Request #1: isolate ws-011", "Request #2: isolate ws-013", "beaconing to a known bad address", s.machine("ws-011.corp.contoso.com").ID,
				"loses all network", "workstations", "No machine is isolated", "High and open", "", "Withdraw")
			if _, digest, ok := cards.ParseRequestValue(first); !ok || !strings.Contains(s.home(sandbox.Avery), digest) {
				t.Errorf("the digest %s of what is voted on is not shown", digest)
			}

			s.pressesHome(sandbox.Avery, "Approve", first)
			direct := s.slack().direct(sandbox.Avery)
			s.sees(s.slack(), sandbox.Avery, direct, "Your approval counts")
			s.homeShows(sandbox.Avery, "1 request waits for you to decide", "ws-013", "1 machine is isolated", "owner Riley Chen")
			if got := s.isolations(); len(got) != 1 || !strings.Contains(got[0].Comment, "Avery Stone") {
				t.Errorf("isolations %+v, want one that Avery approved", got)
			}

			s.pressesHome(sandbox.Avery, "Open in Messages", second)
			s.sees(s.slack(), sandbox.Avery, direct, "Request #2", "ws-013", "waits for approval", "Digest")
			s.pressesHome(sandbox.Avery, "Deny with a reason", second)
			s.eventually("the form", func() string {
				if _, open := s.world.Slack.Modal(sandbox.Avery.Slack); !open {
					return "is not open"
				}
				return ""
			})
			if err := s.world.Slack.SubmitView(t.Context(), sandbox.Avery.Slack, map[string]string{cards.FieldReason: "that is the backup"}); err != nil {
				t.Fatal(err)
			}
			s.sees(s.slack(), sandbox.Avery, direct, "Your denial counts")
			s.homeShows(sandbox.Avery, "Nothing waits for you to decide", "", "ws-013")
			s.sees(s.slack(), sandbox.Riley, sandbox.SlackOps, "denied", "that is the backup")
		})
	}
}

func TestStory_homeFollowsWhatOthersDo(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	for _, who := range []sandbox.Person{sandbox.Riley, sandbox.Avery} {
		s.opensHome(who)
		s.homeShows(who, "Nothing waits for you to decide")
	}
	s.asks(sandbox.Riley, "ws-011")
	s.homeShows(sandbox.Avery, "1 request waits for you to decide", "ws-011")
	s.homeShows(sandbox.Riley, "Nothing waits for you to decide", "You asked for", "isolate ws-011", "0 of 1 approvals", "", "Approve")

	// The pages are known to be open after a restart too.
	s.halt()
	s.start()
	card := s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "isolate ws-011", "waits for approval")
	s.slack().click(sandbox.Sam, card, "Approve")
	s.homeShows(sandbox.Avery, "Nothing waits for you to decide", "1 machine is isolated", "", "Approve")
	s.homeShows(sandbox.Riley, "1 machine is isolated", "", "You asked for")
	if sam, shown := s.world.Slack.Home(sandbox.Sam.Slack); shown {
		t.Errorf("Sam never opened the Home tab, and got %s", sam.View)
	}

	// A day later nobody looks at it any more.
	before, _ := s.world.Slack.Home(sandbox.Avery.Slack)
	s.later(homeLife + time.Minute)
	s.asks(sandbox.Riley, "ws-013")
	s.later(time.Minute)
	s.sees(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "isolate ws-013", "waits for approval")
	if err := s.bot.homes.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, _ := s.world.Slack.Home(sandbox.Avery.Slack); after.Published != before.Published {
		t.Errorf("a page that was opened a day ago was drawn %d times more", after.Published-before.Published)
	}
}

func TestStory_homeTellsStrangersWhatACommandTellsThem(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.asks(sandbox.Riley, "ws-011")
	secret := []string{"ws-011", "isolat", "alerts", "Approve"}
	s.opensHome(sandbox.Noor)
	s.homeShows(sandbox.Noor, append([]string{"not linked to a person", "As of", ""}, secret...)...)
	s.opensHome(sandbox.Gale)
	s.homeShows(sandbox.Gale, append([]string{"Only full members of this workspace can use mdebot", ""}, secret...)...)
	// They are not among those whose pages are kept.
	var kept int
	if err := s.bot.store.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM homes`).Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d pages are kept up to date (%v), want none", kept, err)
	}
	if n := len(s.audited("command.refused")); n != 0 {
		t.Errorf("%d refusals are recorded of people who only looked", n)
	}
}

func TestStory_homeOfSomebodyWhoLosesTheirRole(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.asks(sandbox.Riley, "ws-011")
	value := s.requestValue("ws-011")
	for _, who := range []sandbox.Person{sandbox.Avery, sandbox.Jordan} {
		s.opensHome(who)
		s.homeShows(who, "1 request waits for you to decide")
	}
	// Avery's account stands for nobody, and Jordan is in one group less.
	yaml := strings.Replace(sandbox.PolicyYAML(), "    slack: [T0SOC/U0AVERY]\n", "", 1)
	yaml = strings.Replace(yaml, "    - "+sandbox.Jordan.Object+"\n", "", 1)
	s.stuck()
	s.changePolicy(yaml)
	// What still stands in their tabs gives them nothing.
	for who, want := range map[sandbox.Person]string{sandbox.Avery: "not linked to a person", sandbox.Jordan: "Your approval would not count"} {
		s.pressesHome(who, "Approve", value)
		s.sees(s.slack(), who, s.slack().direct(who), want)
	}
	s.world.Slack.ClearFaults()
	s.later(2 * homeRetry)
	s.homeShows(sandbox.Avery, "not linked to a person", "", "ws-011", "Approve")
	s.homeShows(sandbox.Jordan, "Nothing waits for you to decide", "ws-011", "", "Approve")
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "isolate ws-011", "waits for approval", "0 of 1")
	if n := len(s.isolations()); n != 0 {
		t.Errorf("%d isolations took effect, want none", n)
	}
}

func TestStory_homeButtonsThatMustNotCount(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.asks(sandbox.Riley, "ws-011")
	value := s.requestValue("ws-011")

	// The requester has no such button; whatever stands there, it is refused.
	id, _, _ := cards.ParseRequestValue(value)
	r, err := s.bot.approvals.Request(t.Context(), s.bot.tenant, id)
	if err != nil {
		t.Fatal(err)
	}
	riley := identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: sandbox.Riley.Slack}
	if err := s.bot.slack.Publish(t.Context(), riley, chat.Page{cards.HomeRequest(cards.RequestView{Request: r})}); err != nil {
		t.Fatal(err)
	}
	s.pressesHome(sandbox.Riley, "Approve", value)
	s.sees(s.slack(), sandbox.Riley, s.slack().direct(sandbox.Riley), "You asked for this yourself")

	// A digest of something else is not this request.
	r.Digest = strings.Repeat("0", 64)
	avery := identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: sandbox.Avery.Slack}
	if err := s.bot.slack.Publish(t.Context(), avery, chat.Page{cards.HomeRequest(cards.RequestView{Request: r})}); err != nil {
		t.Fatal(err)
	}
	s.pressesHome(sandbox.Avery, "Approve", "")
	direct := s.slack().direct(sandbox.Avery)
	s.sees(s.slack(), sandbox.Avery, direct, "That card does not show the request as it is stored")

	// A tab that could not be brought up to date offers what is over.
	s.opensHome(sandbox.Avery)
	s.homeShows(sandbox.Avery, "1 request waits for you to decide", "ws-011")
	s.stuck()
	s.slack().click(sandbox.Sam, s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "isolate ws-011", "waits for approval"), "Deny")
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "isolate ws-011", "denied")
	s.pressesHome(sandbox.Avery, "Approve", value)
	s.sees(s.slack(), sandbox.Avery, direct, "Sam Okafor", "denied")
	if n := len(s.isolations()); n != 0 {
		t.Errorf("%d isolations took effect, want none", n)
	}
	s.world.Slack.ClearFaults()
	s.later(2 * homeRetry)
	s.homeShows(sandbox.Avery, "Nothing waits for you to decide", "", "Approve")
}

// With several tenants, everything on the page says whose it is, and its buttons are
// about that tenant wherever the person works.
func TestStory_homeOfSeveralTenants(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{Customer: true})
	s.writePolicy(s.world.PolicyYAML())
	s.halt()
	s.start()
	s.slack().write(sandbox.Riley, sandbox.SlackOps, "isolate ws-011 beaconing to a known bad address")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackOps, "isolate ws-011", "waits for approval")
	s.opensHome(sandbox.Avery)
	s.homeShows(sandbox.Avery, "1 request waits for you to decide", "Tenant: contoso", "Tenant: fabrikam", "Request #1: isolate ws-011", "No machine is isolated")
	s.pressesHome(sandbox.Avery, "Approve", "")
	s.sees(s.slack(), sandbox.Avery, s.slack().direct(sandbox.Avery), "Your approval counts")
	s.homeShows(sandbox.Avery, "1 machine is isolated")
	if n := len(s.isolations()); n != 1 {
		t.Errorf("%d isolations took effect, want 1", n)
	}
	if n := len(s.world.Fabrikam.Effects(func(defendersim.Effect) bool { return true })); n != 0 {
		t.Errorf("%d effects in the other tenant", n)
	}
	s.opensHome(sandbox.Noor)
	s.homeShows(sandbox.Noor, "not linked to a person", "", "contoso", "fabrikam")
}

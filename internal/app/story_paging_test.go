package app

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/notify"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/sandbox/pagersim"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// pagedPolicy is the company's mdebot.yaml with notify.page.
func (s *story) pagedPolicy() string {
	return strings.Replace(sandbox.PolicyYAML(), "notify:\n", "notify:\n  page: "+s.world.PageAddress()+"\n", 1)
}

// paged puts notify.page into the bot's configuration.
func (s *story) paged() { s.pagedUnder(s.pagedPolicy()) }

// pagedPatiently is paged for stories that move the clock by more than the bot may
// be blind for: whether it has polled again by then is not what they are about.
func (s *story) pagedPatiently() {
	s.pagedUnder(strings.Replace(s.pagedPolicy(), "blind_after: 5m", "blind_after: 1h", 1))
}

func (s *story) pagedUnder(yaml string) {
	s.Helper()
	s.writePolicy(yaml)
	s.eventually("notify.page is in force", func() string {
		if s.bot.policy.Current().Page() == "" {
			return "not yet"
		}
		return ""
	})
}

// woken waits until the receiver has n incidents, open of which are open, and
// returns them.
func (s *story) woken(n, open int) []pagersim.Incident {
	s.Helper()
	var all []pagersim.Incident
	s.eventually(fmt.Sprintf("%d incidents, %d of them open", n, open), func() string {
		all = s.world.Pager.Incidents()
		left := 0
		for _, i := range all {
			if i.Open {
				left++
			}
		}
		if len(all) != n || left != open {
			return fmt.Sprintf("%+v", all)
		}
		return ""
	})
	for _, i := range all {
		if i.Woken != 1 {
			s.Errorf("%q woke %d times, want once", i.Summary, i.Woken)
		}
	}
	return all
}

func TestStory_undecidedRequestWakesSomebodyOnce(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.pagedPatiently()
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-110", "beaconing, nobody is awake")
	s.later(4 * time.Minute)
	s.ask(s.slack(), sandbox.Riley, "whoami", "You are Riley Chen")
	s.woken(0, 0)

	// The receiver is down, then takes the event and its answer is lost, and the
	// bot is restarted in between.
	s.world.Pager.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Times: 2})
	s.world.Pager.Faults.Add(fault.Fault{Kind: fault.ActDrop, Times: 1})
	s.later(61 * time.Second)
	s.eventually("the receiver is down", func() string {
		if s.world.Pager.Faults.Used(fault.Answer) == 0 {
			return "not asked yet"
		}
		return ""
	})
	s.halt()
	s.start()
	got := s.woken(1, 1)[0]
	for _, want := range []string{"request #1", "isolate", "waits for approval"} {
		if !strings.Contains(got.Summary, want) {
			t.Errorf("summary %q does not say %q", got.Summary, want)
		}
	}
	for _, private := range []string{"Riley", "ws-110", "beaconing", sandbox.Riley.Object} {
		if strings.Contains(fmt.Sprint(got), private) {
			t.Errorf("the receiver is told %q: %+v", private, got)
		}
	}
	s.later(11 * time.Minute) // the second reminder wakes nobody again
	s.sees(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, "still waits after 1")
	s.woken(1, 1)
	s.toldPager()
	s.ask(s.slack(), sandbox.Sam, "status", "On-call page", "woken for 1")

	s.world.Pager.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 429, Header: http.Header{"Retry-After": {"1"}}, Times: 1})
	s.teams().click(sandbox.Avery, card, "Approve")
	s.woken(1, 0)
	s.becomes("ws-110", "isolated")
	s.woken(1, 0)
	if refused := s.world.Pager.Refused(); len(refused) > 0 {
		t.Errorf("the receiver refused %v", refused)
	}
}

func TestStory_requestDecidedBeforeTheReceiverHeardWakesNobody(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.pagedPatiently()
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-111", "decided in time")
	s.world.Pager.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 429, Header: http.Header{"Retry-After": {"60"}}, Times: 1})
	s.later(5*time.Minute + time.Second)
	s.eventually("the receiver asks to wait", func() string {
		if s.world.Pager.Faults.Used(fault.Answer) == 0 {
			return "not asked yet"
		}
		return ""
	})
	s.teams().click(sandbox.Avery, card, "Approve")
	s.becomes("ws-111", "isolated")
	s.later(2 * time.Minute)
	s.toldPager()
	s.woken(0, 0)
}

// toldPager waits until nothing is left to tell the receiver.
func (s *story) toldPager() {
	s.Helper()
	s.eventually("nothing waits for the receiver", func() string {
		p, err := s.bot.notify.Pagings(s.Context())
		if err != nil || p.Problem != "" {
			return fmt.Sprint(p, err)
		}
		return ""
	})
}

func TestStory_highAlertThatReachesNobodyWakesSomebody(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.pagedPatiently()
	s.watching()
	// Every channel is shut, the fallback too.
	s.world.Slack.Inject(slacksim.Fault{Method: "chat.postMessage", Kind: slacksim.FaultServerError, Times: -1})
	s.world.Teams.Fail(teamssim.Fault{Method: http.MethodPost, Path: "/activities", Status: 503})
	s.raise("ws-112", "Medium", "Nobody is woken for this")
	a := s.raise("ws-113", "High", "Nobody can see this")
	s.later(30 * time.Second)
	s.eventually("the alert waits", func() string {
		if waiting, err := notify.WaitingByClass(t.Context(), s.bot.store.Read()); err != nil || waiting["alert"].Count == 0 {
			return fmt.Sprint(waiting, err)
		}
		return ""
	})
	s.woken(0, 0)
	s.later(2 * time.Minute)
	got := s.woken(1, 1)[0]
	if got.Severity != "critical" || got.Details["alerts"] != "1" || strings.Contains(fmt.Sprint(got), a.Title) {
		t.Errorf("the incident is %+v, want a critical one of one alert that is not named", got)
	}
	s.halt()
	s.start()
	s.woken(1, 1)

	s.world.Slack.ClearFaults()
	s.world.Teams.Heal()
	s.later(11 * time.Minute)
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, a.Title)
	s.woken(1, 0)
}

func TestStory_blindnessWakesSomebody(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.paged()
	s.watching()
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Route: alertsRoute})
	s.later(6 * time.Minute)
	if got := s.woken(1, 1)[0]; !strings.Contains(got.Summary, "cannot be read") {
		t.Errorf("the incident says %q", got.Summary)
	}
	s.world.Defender.Faults.Clear()
	s.later(time.Minute)
	s.woken(1, 0)
}

func TestStory_receiverThatRefusesIsNamed(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{}, "MDEBOT_PAGE_KEY=a key of somebody else")
	s.paged()
	s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-114", "wrong key")
	s.later(5*time.Minute + time.Second)
	s.told(s.slack(), sandbox.Sam, sandbox.SlackOps, "Messages cannot be delivered", "page:on-call", "MDEBOT_PAGE_KEY")
	s.ask(s.slack(), sandbox.Sam, "status", "On-call page", "answered 400", "MDEBOT_PAGE_KEY")
	if n := len(s.world.Pager.Incidents()); n != 0 {
		t.Errorf("%d incidents with a wrong key", n)
	}
}

func TestStory_pageWithoutAKeyIsRefused(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{}, "MDEBOT_PAGE_KEY=")
	s.writePolicy(s.pagedPolicy())
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "mdebot.yaml has faults", "MDEBOT_PAGE_KEY")
	if s.bot.policy.Current().Page() != "" {
		t.Error("notify.page is in force without a key")
	}
	if code, out, complaint := s.mdebot("config", "check"); code != exitConfig || !strings.Contains(complaint, "MDEBOT_PAGE_KEY") {
		t.Errorf("config check: exit code %d, %s%s", code, out, complaint)
	}
}

package app

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

const isolateRoute = "POST /api/machines/*/isolate"

// approved asks for an isolation on Slack and has it approved on Teams.
func (s *story) approved(machine string) {
	s.Helper()
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, machine, "fault story")
	s.teams().click(sandbox.Avery, card, "Approve")
}

// becomes waits until the card of a machine's isolation says how it stands, on
// both platforms.
func (s *story) becomes(machine, state string, words ...string) seen {
	s.Helper()
	all := append([]string{"isolate " + machine + ".corp.contoso.com – " + state}, words...)
	s.sees(s.teams(), sandbox.Avery, sandbox.TeamsApprovals, all...)
	return s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, all...)
}

func TestStory_refusalsOfTheIsolateCall(t *testing.T) {
	t.Parallel()
	answer := func(status int, header ...string) fault.Fault {
		h := http.Header{}
		if len(header) == 2 {
			h.Set(header[0], header[1])
		}
		return fault.Fault{Kind: fault.Answer, Route: isolateRoute, Status: status, Header: h}
	}
	html := answer(http.StatusBadGateway)
	html.Body = "<html><body>Bad gateway</body></html>"
	once := func(f fault.Fault) fault.Fault { f.Times = 1; return f }
	for _, c := range []struct {
		name    string
		fault   fault.Fault
		later   time.Duration
		state   string
		words   []string
		effects int
	}{
		{"400", answer(400), 0, "failed", nil, 0},
		{"401 once", once(answer(401)), 15 * time.Second, "isolated", nil, 1},
		{"401 for good", answer(401), 15 * time.Second, "failed", nil, 0},
		{"403", answer(403), 0, "failed", nil, 0},
		{"404", answer(404), 0, "failed", nil, 0},
		{"429 with Retry-After", once(answer(429, "Retry-After", "1")), 15 * time.Second, "isolated", nil, 1},
		{"429 without Retry-After", answer(429), 0, "approved, about to run", []string{"not sent yet", "Defender's quota is used up"}, 0},
		{"nothing taken, nothing answered", once(fault.Fault{Kind: fault.Drop, Route: isolateRoute}), 3 * time.Minute, "unclear", []string{"Needs people", "settle 1 done"}, 0},
		{"500 without effect", once(answer(500)), 3 * time.Minute, "unclear", []string{"Needs people", "settle 1 done"}, 0},
		{"HTML from a proxy", once(html), 3 * time.Minute, "unclear", []string{"Needs people", "settle 1 done"}, 0},
		{"taken and not answered", once(fault.Fault{Kind: fault.ActDrop, Route: isolateRoute}), 10 * time.Second, "isolated", nil, 1},
		{"taken and answered with 504", once(fault.Fault{Kind: fault.ActAnswer, Route: isolateRoute, Status: 504}), 10 * time.Second, "isolated", nil, 1},
		{"taken after the answer was given up", once(fault.Fault{Kind: fault.ActLate, Route: isolateRoute, Wait: 2 * time.Second}), 10 * time.Second, "isolated", nil, 1},
		{"taken and listed late", once(fault.Fault{Kind: defendersim.ListedLate, Route: isolateRoute, Wait: 2 * time.Second}), 10 * time.Second, "isolated", nil, 1},
		{"taken once and listed twice", once(fault.Fault{Kind: defendersim.ListedTwice, Route: isolateRoute}), 10 * time.Second, "isolated", nil, 1},
		{"answered and never taken", once(fault.Fault{Kind: defendersim.NoEffect, Route: isolateRoute}), 5 * time.Minute, "unclear", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, sandbox.Options{})
			s.world.Defender.Faults.Add(c.fault)
			s.approved("ws-050")
			s.eventually("the call", func() string {
				if len(s.world.Defender.Calls(isolateRoute)) == 0 {
					return "not made"
				}
				return ""
			})
			if c.later > 0 {
				s.becomesAfter(c.later, "ws-050", c.state, c.words...)
			} else {
				s.becomes("ws-050", c.state, c.words...)
			}
			s.wantIsolations(c.effects)
			if c.state != "isolated" {
				if n := s.posted(s.slack(), sandbox.Riley, sandbox.SlackSOC, "– isolated"); n != 0 {
					t.Error("a card claims an isolation that never was")
				}
			}
		})
	}
}

// clockStep is short beside what the bot plans ahead.
const clockStep = 3 * time.Second

// becomesAfter is becomes with the clock moved on until it is so, a little at a
// time: every step the bot takes may plan the next for later. d is what it takes
// where every step is taken on time; on a busy machine the bot falls behind.
func (s *story) becomesAfter(d time.Duration, machine, state string, words ...string) {
	s.Helper()
	all := append([]string{"isolate " + machine + ".corp.contoso.com – " + state}, words...)
	moved := time.Duration(0)
	s.eventually("isolate "+machine+" becomes "+state, func() string {
		if s.posted(s.slack(), sandbox.Riley, sandbox.SlackSOC, all...) > 0 {
			return ""
		}
		if moved < 2*d {
			moved += clockStep
			s.later(clockStep)
		}
		var now []string
		for _, m := range s.slack().see(sandbox.Riley, sandbox.SlackSOC) {
			now = append(now, m.text)
		}
		return "it is not among\n" + strings.Join(now, "\n---\n")
	})
	s.becomes(machine, state, words...)
}

func TestStory_unclearOutcomeIsSettledByTwoPeople(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Drop, Route: isolateRoute, Times: 1})
		s.approved("ws-051")
		s.eventually("the call", func() string {
			if len(s.world.Defender.Calls(isolateRoute)) == 0 {
				return "not made"
			}
			return ""
		})
		s.becomesAfter(3*time.Minute, "ws-051", "unclear", "Needs people", "settle 1 not-done")
		s.ask(on, sandbox.Riley, "isolate ws-051 again", "Request #1 by Riley Chen", "settle 1 done")
		s.ask(on, sandbox.Riley, "settle 1 perhaps I saw nothing", "Say done or not-done")
		s.ask(on, sandbox.Riley, "settle 1 not-done", "Say in a few words what you saw")
		on.write(sandbox.Riley, on.soc(), "settle 1 not-done the portal shows nothing")
		card := s.sees(on, sandbox.Avery, on.approvals(), "Request #2", "waits for approval", "the portal shows nothing")
		s.pressed(on, sandbox.Riley, card, "Approve", "You asked for this yourself")
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
		// Still in time: not done means one more attempt.
		s.becomesAfter(time.Minute, "ws-051", "isolated")
		s.wantIsolations(1)
	})
}

func TestStory_machineActionThatDoesNotSucceed(t *testing.T) {
	t.Parallel()
	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		s := newStory(t, sandbox.Options{})
		s.world.Tenant.FailNext(s.machine("ws-052").ID, -2147024891)
		s.approved("ws-052")
		card := s.becomes("ws-052", "failed", "Failed")
		if !card.has("Ask again") {
			t.Error("the card of a failed isolation does not offer to ask again")
		}
		s.ask(s.slack(), sandbox.Riley, "isolated", "No machine is isolated")
	})
	t.Run("offline", func(t *testing.T) {
		t.Parallel()
		s := newStory(t, sandbox.Options{})
		m := s.machine("ws-053")
		if err := s.world.Tenant.SetOnline(m.ID, false); err != nil {
			t.Fatal(err)
		}
		s.approved("ws-053")
		s.becomes("ws-053", "taken by Defender, not isolated yet", "Pending")
		if err := s.world.Tenant.SetOnline(m.ID, true); err != nil {
			t.Fatal(err)
		}
		s.becomesAfter(time.Minute, "ws-053", "isolated")
		s.wantIsolations(1)
	})
	t.Run("never reached", func(t *testing.T) {
		t.Parallel()
		s := newStory(t, sandbox.Options{Timing: defendersim.Timing{Start: 100 * time.Millisecond, Run: 100 * time.Millisecond, TimeOut: time.Second}})
		if err := s.world.Tenant.SetOnline(s.machine("ws-054").ID, false); err != nil {
			t.Fatal(err)
		}
		s.approved("ws-054")
		s.becomes("ws-054", "failed", "TimeOut")
		if s.machine("ws-054").Isolated {
			t.Error("the machine is isolated after all")
		}
	})
}

func TestStory_answerAboutAnotherAlertIsNotShown(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.world.Defender.Faults.Add(fault.Fault{Kind: defendersim.WrongObject, Route: "GET /api/alerts/*"})
		s.ask(on, sandbox.Riley, "alert da637472900382838869_1364969609", "Defender cannot be reached")
	})
}

// Every command that asks Defender, whatever it is answered: the person gets a
// sentence with the next step, and never "something went wrong".
func TestStory_everyCommandExplainsEveryRefusal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault fault.Fault
		words []string // one of them: hunts and lists have sentences of their own
	}{
		{"400", fault.Fault{Kind: fault.Answer, Status: 400}, []string{"Defender does not accept that", "Defender refused the query"}},
		{"401", fault.Fault{Kind: fault.Answer, Status: 401}, []string{"Defender or Entra refuses mdebot itself"}},
		{"403", fault.Fault{Kind: fault.Answer, Status: 403}, []string{" needs ", "not permitted: "}},
		{"404", fault.Fault{Kind: fault.Answer, Status: 404}, []string{"Defender does not know that", "Defender cannot be reached", "knows no machine", "No machines"}},
		{"409", fault.Fault{Kind: fault.Answer, Status: 409}, []string{"Defender does not accept that", "Defender refused the query"}},
		{"429", fault.Fault{Kind: fault.Answer, Status: 429}, []string{"quota for this is used up", "hunting quota is used up", "Defender's quota is used up"}},
		{"503", fault.Fault{Kind: fault.Answer, Status: 503}, []string{"Defender cannot be reached"}},
		{"HTML", fault.Fault{Kind: fault.Answer, Status: 200, Body: "<html>sign in</html>"}, []string{"Defender cannot be reached"}},
		{"nothing", fault.Fault{Kind: fault.Drop}, []string{"Defender cannot be reached"}},
	} {
		specs := askingDefender()
		for _, p := range platforms {
			// In parts: what is read again and again uses up the quota that one bot allows itself.
			for some := range slices.Chunk(specs, (len(specs)+2)/3) {
				t.Run(c.name+" on "+p.name+", from "+some[0].Name, func(t *testing.T) {
					t.Parallel()
					explainsRefusals(t, p.on, c.fault, c.words, some)
				})
			}
		}
	}
}

// askingDefender are the commands that ask Defender whatever else they find.
func askingDefender() []commands.Spec {
	return slices.DeleteFunc(commands.Specs(), func(s commands.Spec) bool {
		// download asks after a look at its request, which there is none of, and mute
		// looks at the alerts that are here.
		return len(s.Permissions) == 0 || s.Name == "download" || s.Name == "mute"
	})
}

func explainsRefusals(t *testing.T, platform func(*story) side, f fault.Fault, wanted []string, specs []commands.Spec) {
	t.Helper()
	s := newStory(t, sandbox.Options{})
	on := platform(s)
	s.watching()
	for _, route := range []string{"/api/**", "/v1.0/security/**"} { // the directory goes on answering
		f.Route = route
		s.world.Defender.Faults.Add(f)
	}
	// Everything Riley can see of the bot's, so that each answer is told apart.
	count := func(words ...string) (n int) {
		for _, w := range words {
			n += s.posted(on, sandbox.Riley, on.soc(), w) + s.posted(on, sandbox.Riley, on.direct(sandbox.Riley), w)
		}
		return n
	}
	for _, spec := range specs {
		example := spec.Examples[0]
		before := count(wanted...)
		on.write(sandbox.Riley, on.soc(), example)
		s.eventually("the answer to "+example, func() string {
			if count(wanted...) > before {
				return ""
			}
			all := slices.Concat(on.see(sandbox.Riley, on.soc()), on.see(sandbox.Riley, on.direct(sandbox.Riley)))
			var b strings.Builder
			for _, m := range all[max(0, len(all)-4):] {
				b.WriteString("\n--- " + m.text)
			}
			return "last:" + b.String()
		})
	}
	if n := count("Something went wrong"); n != 0 {
		t.Errorf("%d answers explain nothing", n)
	}
	s.wantIsolations(0)
}

func TestStory_throttledReadSaysWhen(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.watching()
		s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 429, Header: http.Header{"Retry-After": {"600"}}, Route: "GET /api/machines/**"})
		s.ask(on, sandbox.Riley, "machine ws-055", "quota for this is used up", "Try again in")
	})
}

func TestStory_readThatHangsIsAnsweredAndKeepsNobodyWaiting(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Hang, Route: "GET /api/machines/*/logonusers"})
		on.write(sandbox.Riley, on.soc(), "machine ws-056")
		s.ask(on, sandbox.Riley, "whoami", "You are Riley Chen")
		s.told(on, sandbox.Riley, on.soc(), "Machine ws-056", "could not be read (it took too long)")
	})
}

func TestStory_foreignNextLinkIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.world.Defender.Faults.Add(fault.Fault{Kind: defendersim.ForeignNextLink, Route: "GET /api/machines"})
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "machines --tag finance")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Defender cannot be reached")
}

func TestStory_platformsRefuseThePosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		trouble func(*story)
	}{
		{"Slack throttles", func(s *story) {
			s.world.Slack.Inject(slacksim.Fault{Method: "chat.postMessage", Kind: slacksim.FaultThrottle, RetryAfter: "1", Times: 2})
		}},
		{"Slack fails", func(s *story) {
			s.world.Slack.Inject(slacksim.Fault{Method: "chat.postMessage", Kind: slacksim.FaultServerError, Times: 2})
		}},
		{"Slack posts and loses the answer", func(s *story) {
			s.world.Slack.Inject(slacksim.Fault{Method: "chat.postMessage", Kind: slacksim.FaultDropAfter, Times: 1})
		}},
		{"Teams throttles", func(s *story) {
			s.world.Teams.Fail(teamssim.Fault{Method: http.MethodPost, Path: "/activities", Status: 429, RetryAfter: "1", Times: 2})
		}},
		{"Teams fails", func(s *story) {
			s.world.Teams.Fail(teamssim.Fault{Method: http.MethodPost, Path: "/activities", Status: 502, Times: 2})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t, sandbox.Options{})
			s.watching()
			s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "watches this tenant")
			s.sees(s.teams(), sandbox.Riley, sandbox.TeamsSOC, "watches this tenant")
			c.trouble(s)
			a := s.raise("ws-057", "High", "Alert in bad weather")
			s.later(15 * time.Second)
			for _, on := range []side{s.slack(), s.teams()} {
				s.sees(on, sandbox.Riley, on.soc(), a.Title)
			}
			s.approved("ws-058")
			s.becomes("ws-058", "isolated")
			for _, on := range []side{s.slack(), s.teams()} {
				if n := s.posted(on, sandbox.Riley, on.soc(), a.Title); n != 1 {
					t.Errorf("%d cards for one alert in %s, want 1", n, on.soc())
				}
			}
		})
	}
}

func TestStory_channelWithoutTheBot(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	for _, c := range s.world.Slack.Channels("") {
		if c.ID == sandbox.SlackApprovals || c.ID == sandbox.SlackSOC {
			c.BotIn = false
			s.world.Slack.AddChannel(c)
		}
	}
	// Answers by the response address still come; the card goes to approvers directly.
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate ws-059 bot is not here")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Asked: #1 isolate ws-059")
	card := s.sees(s.slack(), sandbox.Avery, s.slack().direct(sandbox.Avery), "isolate ws-059", "waits for approval")
	s.pressed(s.slack(), sandbox.Avery, card, "Approve", "Your approval counts")
	s.sees(s.slack(), sandbox.Avery, s.slack().direct(sandbox.Avery), "isolate ws-059.corp.contoso.com – isolated")
	s.wantIsolations(1)
}

func TestStory_requesterIsToldWhenNoApproverIsReached(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	for _, c := range s.world.Slack.Channels("") {
		if c.ID == sandbox.SlackApprovals {
			c.BotIn = false
			s.world.Slack.AddChannel(c)
		}
	}
	s.world.Slack.Inject(slacksim.Fault{Method: "conversations.open", Kind: slacksim.FaultError, Code: "cannot_dm_bot", Times: -1})
	s.world.Teams.Fail(teamssim.Fault{Method: http.MethodPost, Path: "/v3/conversations", Status: 403})
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate ws-060 nobody hears")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Asked: #1")
	s.later(8 * time.Second)
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "has not been posted to anyone who could approve", "approve 1")
}

func TestStory_alertIsPostedOnceAcrossARestart(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.watching()
	first := s.raise("ws-061", "High", "Before the restart")
	s.later(15 * time.Second)
	for _, on := range []side{s.slack(), s.teams()} {
		s.sees(on, sandbox.Riley, on.soc(), first.Title)
	}
	s.halt()
	while := s.raise("ws-062", "High", "While it was stopped")
	s.start()
	s.later(20 * time.Second)
	for _, on := range []side{s.slack(), s.teams()} {
		s.sees(on, sandbox.Riley, on.soc(), while.Title)
		for _, a := range []string{first.Title, while.Title} {
			if n := s.posted(on, sandbox.Riley, on.soc(), a); n != 1 {
				t.Errorf("%q was posted %d times in %s, want once", a, n, on.soc())
			}
		}
	}
	// Seen again with a new update time: the same card, changed.
	if err := s.world.Tenant.EditAlert(first.ID, func(a *estate.Alert) { a.Status = "Resolved" }); err != nil {
		t.Fatal(err)
	}
	s.later(20 * time.Second)
	for _, on := range []side{s.slack(), s.teams()} {
		s.sees(on, sandbox.Riley, on.soc(), first.Title, "Resolved")
		if n := s.posted(on, sandbox.Riley, on.soc(), first.Title); n != 1 {
			t.Errorf("a changed alert has %d cards in %s, want one", n, on.soc())
		}
	}
}

func TestStory_blindnessAndRecoveryAreAnnounced(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.watching()
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Route: "GET /api/alerts"})
	s.later(6 * time.Minute)
	for _, on := range []side{s.slack(), s.teams()} {
		s.sees(on, sandbox.Riley, on.soc(), "New alerts are not seen here")
	}
	missed := s.raise("ws-063", "High", "While nobody could look")
	s.world.Defender.Faults.Clear()
	s.later(time.Minute)
	for _, on := range []side{s.slack(), s.teams()} {
		s.sees(on, sandbox.Riley, on.soc(), "What came in between has been read")
		s.sees(on, sandbox.Riley, on.soc(), missed.Title)
	}
}

func TestStory_restartBetweenAskingAndApproving(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		card := s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-064", "restart in the middle")
		s.halt()
		s.start()
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
		s.sees(on, sandbox.Riley, on.soc(), "isolate ws-064.corp.contoso.com – isolated")
		s.halt()
		s.start()
		s.ask(on, sandbox.Riley, "isolated", "ws-064")
		s.wantIsolations(1)
		if n := s.posted(on, sandbox.Riley, on.approvals(), "Request #1:", "ws-064"); n != 1 {
			t.Errorf("the request has %d cards in the approvals channel, want one", n)
		}
	})
}

func TestStory_slowIsolateCallIsMadeOnce(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.ActDelay, Wait: 3 * time.Second, Route: isolateRoute, Times: 1})
	card := s.request(s.slack(), s.slack(), sandbox.Riley, sandbox.Avery, "ws-065", "slow call")
	onTeams := s.sees(s.teams(), sandbox.Sam, sandbox.TeamsApprovals, "isolate ws-065", "waits for approval")
	s.clickQuietly(s.slack(), sandbox.Avery, card, "Approve")
	s.clickQuietly(s.teams(), sandbox.Sam, onTeams, "Approve")
	s.becomes("ws-065", "isolated")
	s.wantIsolations(1)
	if n := len(s.world.Defender.Calls(isolateRoute)); n != 1 {
		t.Errorf("%d isolate calls, want 1", n)
	}
}

// Two versions may judge one approval differently, so neither acts while both are
// at work; the approval waits and is carried out afterwards.
func TestStory_replicaOfAnotherVersionHoldsActionsBack(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.sql(`INSERT INTO replicas (replica_id, started_at, beat_at, version) VALUES ('other', 0, $1, 'v0.0.0-older')`, time.Now().Add(24*time.Hour).UnixMicro())
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-073", "during an upgrade")
	s.pressed(s.teams(), sandbox.Avery, card, "Approve", "Your approval counts")
	s.ask(s.slack(), sandbox.Sam, "status", "approved actions wait", "v0.0.0-older")
	s.wantIsolations(0)
	s.sql(`DELETE FROM replicas WHERE replica_id = 'other'`)
	s.later(15 * time.Second)
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-073.corp.contoso.com – isolated")
	s.wantIsolations(1)
}

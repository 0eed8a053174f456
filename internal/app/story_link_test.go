package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// publicURL is what the bot believes its address is; browsers are led to where it
// really listens.
const publicURL = "http://127.0.0.1:9"

// withoutSlack is the sandbox's mdebot.yaml in which Avery has no Slack account.
func withoutSlack(who sandbox.Person) string {
	return strings.Replace(sandbox.PolicyYAML(), "    slack: [T0SOC/"+who.Slack+"]\n", "", 1)
}

func newLinkStory(t *testing.T, yaml string) *story {
	t.Helper()
	return newStoryUnder(t, yaml, sandbox.Options{}, sandbox.SignInEnvironment(publicURL)...)
}

// visitor is one person's browser.
type visitor struct {
	*story
	client *http.Client
}

func (s *story) visitor() visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	var d net.Dialer
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == strings.TrimPrefix(publicURL, "http://") {
			address = s.bot.Addr().String()
		}
		return d.DialContext(ctx, network, address)
	}}
	s.Cleanup(transport.CloseIdleConnections)
	return visitor{s, &http.Client{Transport: transport, Jar: jar}}
}

// page is what a browser shows.
type page struct {
	status int
	at     *url.URL
	body   string
}

func (b visitor) do(method, address string, form url.Values) page {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.Fatalf("%s %s: %v", method, address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return page{resp.StatusCode, resp.Request.URL, string(body)}
}

func (b visitor) open(address string) page { b.Helper(); return b.do(http.MethodGet, address, nil) }

// goOn presses the button of the page that names the account, and arrives at the
// directory.
func (b visitor) goOn(p page) page {
	b.Helper()
	token := regexp.MustCompile(`name="t" value="([A-Z2-7]+)"`).FindStringSubmatch(p.body)
	if token == nil {
		b.Fatalf("%s asks nothing: %s", p.at, p.body)
	}
	return b.do(http.MethodPost, publicURL+"/link", url.Values{"t": {token[1]}})
}

// signIn chooses who to be at the directory and comes back.
func (b visitor) signIn(p page, who sandbox.Person) page {
	b.Helper()
	if !strings.Contains(p.body, "Pick an account") {
		b.Fatalf("%s is not where people sign in: %s", p.at, p.body)
	}
	return b.do(http.MethodPost, p.at.String(), url.Values{"user": {who.Object}})
}

func (p page) says(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(p.body, w) {
			t.Fatalf("%s answers %d %s, want %q in it", p.at, p.status, p.body, w)
		}
	}
}

// code is what the page after signing in says to type.
func (p page) code(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`/mde link ([0-9A-Z]{4}-[0-9A-Z]{4})<`).FindStringSubmatch(p.body)
	if found == nil {
		t.Fatalf("%s shows no code: %d %s", p.at, p.status, p.body)
	}
	return found[1]
}

var (
	linkAddress = regexp.MustCompile(publicURL + `/link\?t=[A-Z2-7]{52}`)
	teamsCode   = regexp.MustCompile(`link ([0-9A-Z]{4}-[0-9A-Z]{4})`)
)

// offered asks for a link in Slack and returns its address and its code for Teams.
func (s *story) offered(who sandbox.Person) (address, code string) {
	s.Helper()
	before := len(s.offers(who))
	s.slack().write(who, sandbox.SlackSOC, "link")
	s.eventually(who.Name+" is offered a link", func() string {
		all := s.offers(who)
		if len(all) <= before {
			return "no new offer"
		}
		m := all[len(all)-1]
		found := teamsCode.FindStringSubmatch(m.text)
		if address = linkAddress.FindString(string(m.payload)); address == "" || found == nil {
			return "the offer has no address or no code: " + string(m.payload)
		}
		code = found[1]
		return ""
	})
	return address, code
}

func (s *story) offers(who sandbox.Person) []seen {
	var all []seen
	for _, m := range s.slack().see(who, sandbox.SlackSOC) {
		if strings.Contains(m.text, "Link this Slack account to you") {
			all = append(all, m)
		}
	}
	return all
}

// link links who's Slack account to the one who signs in.
func (s *story) link(who, as sandbox.Person) {
	s.Helper()
	address, _ := s.offered(who)
	b := s.visitor()
	code := b.signIn(b.goOn(b.open(address)), as).code(s.T)
	s.slack().write(who, sandbox.SlackSOC, "link "+code)
	s.told(s.slack(), who, sandbox.SlackSOC, "Linked", as.Object)
}

func TestStory_linkBySigningIn(t *testing.T) {
	t.Parallel()
	s := newLinkStory(t, withoutSlack(sandbox.Avery))
	avery, slack := sandbox.Avery, s.slack()
	s.ask(slack, avery, "isolate ws-021 beaconing", "not linked to a person")

	address, _ := s.offered(avery)
	b := s.visitor()
	asks := b.open(address)
	asks.says(t, "Link this Slack account to you?", "T0SOC/"+avery.Slack)
	b.open(address).says(t, "Go on and sign in") // looking uses nothing up
	there := b.goOn(asks)
	shown := b.signIn(there, avery)
	shown.says(t, "Signed in", "Avery Stone", avery.Object, "T0SOC/"+avery.Slack)
	b.open(address).says(t, "not good any more")
	b.open(shown.at.String()).says(t, "did not begin in this browser") // replayed: the cookie is gone

	s.ask(slack, avery, "link AAAA-AAAA", "That is not the code")
	slack.write(avery, sandbox.SlackSOC, "link "+shown.code(t))
	s.told(slack, avery, sandbox.SlackSOC, "Linked", avery.Object)
	s.told(s.teams(), avery, sandbox.TeamsSOC, "A Slack account was linked", "T0SOC/"+avery.Slack)
	s.ask(slack, avery, "whoami", "You are Avery Stone", "signing in to the directory", "Approvals count from", "approver")
	s.ask(slack, avery, "link "+shown.code(t), "Nobody has signed in for this account")

	// Approvals count after a day; a denial always does.
	card := s.request(slack, slack, sandbox.Riley, avery, "ws-021", "first look")
	s.pressed(slack, avery, card, "Approve", "approvals through a new link do not count yet")
	s.wantIsolations(0)

	// Unless a second approver confirms the link, which its owner cannot.
	notice := s.sees(slack, sandbox.Sam, sandbox.SlackOps, "A Slack account was linked", "T0SOC/"+avery.Slack)
	s.pressed(slack, avery, notice, "Confirm the link", "Your own link is confirmed by somebody else")
	s.pressed(slack, sandbox.Sam, notice, "Confirm the link", "A link was confirmed")
	slack.click(avery, card, "Approve")
	s.sees(slack, sandbox.Riley, sandbox.SlackSOC, "isolate ws-021.corp.contoso.com – isolated", "Avery Stone")
	s.wantIsolations(1)
}

func TestStory_luredSignInLinksNothing(t *testing.T) {
	t.Parallel()
	s := newLinkStory(t, withoutSlack(sandbox.Avery))
	slack := s.slack()

	// Noor passes her address on; Avery signs in and sees the code, which is good in
	// Noor's account alone. Whoever does not know it gets nowhere.
	address, _ := s.offered(sandbox.Noor)
	victim := s.visitor()
	shown := victim.signIn(victim.goOn(victim.open(address)), sandbox.Avery)
	s.ask(slack, sandbox.Avery, "link "+shown.code(t), "Nobody has signed in for this account")
	for range 4 {
		s.ask(slack, sandbox.Noor, "link ZZZZ-ZZZZ", "That is not the code that the browser shows")
	}
	s.ask(slack, sandbox.Noor, "link ZZZZ-ZZZZ", "it was the last try")
	s.ask(slack, sandbox.Noor, "link "+shown.code(t), "Nobody has signed in for this account")

	// Noor begins in her browser and has Avery sign in in another one.
	address, _ = s.offered(sandbox.Noor)
	mine := s.visitor()
	there := mine.goOn(mine.open(address))
	other := s.visitor()
	other.signIn(there, sandbox.Avery).says(t, "did not begin in this browser")

	// So it is in a browser that began a sign-in of its own.
	address, _ = s.offered(sandbox.Noor)
	there = mine.goOn(mine.open(address))
	address, _ = s.offered(sandbox.Avery)
	own := other.goOn(other.open(address))
	other.signIn(there, sandbox.Avery).says(t, "did not begin in this browser")
	mine.signIn(there, sandbox.Avery).says(t, "not good any more")
	other.signIn(own, sandbox.Avery).says(t, "did not begin in this browser") // the cookie was used up

	// She swaps the state for one of her own sign-ins.
	address, _ = s.offered(sandbox.Noor)
	back := mine.goOn(mine.open(address))
	swapped := *back.at
	q := swapped.Query()
	q.Set("state", strings.Repeat("A", 52))
	swapped.RawQuery = q.Encode()
	mine.signIn(page{body: back.body, at: &swapped}, sandbox.Avery).says(t, "not good any more")

	// She is late.
	address, _ = s.offered(sandbox.Noor)
	s.later(11 * time.Minute)
	mine.open(address).says(t, "not good any more")

	s.ask(slack, sandbox.Noor, "whoami", "You are not linked")
	s.ask(slack, sandbox.Noor, "isolate ws-021 as somebody else", "not linked to a person")
	s.wantIsolations(0)
}

func TestStory_linkRefusesGuestsAndDisabledPeople(t *testing.T) {
	t.Parallel()
	s := newLinkStory(t, withoutSlack(sandbox.Avery))
	for _, who := range []entrasim.User{
		{Object: sandbox.Avery.Object, Name: "Avery Stone", Guest: true},
		{Object: sandbox.Avery.Object, Name: "Avery Stone", Disabled: true},
	} {
		s.world.Entra.AddUser(sandbox.TenantID, who)
		address, _ := s.offered(sandbox.Noor)
		b := s.visitor()
		b.signIn(b.goOn(b.open(address)), sandbox.Avery).says(t, "Nothing was linked")
	}
	s.slack().write(sandbox.Gale, sandbox.SlackLobby, "link")
	s.told(s.slack(), sandbox.Gale, sandbox.SlackLobby, "Only full members")
}

func TestStory_linkByTeamsCode(t *testing.T) {
	t.Parallel()
	s := newLinkStory(t, withoutSlack(sandbox.Avery))
	avery, slack, teams := sandbox.Avery, s.slack(), s.teams()
	_, code := s.offered(avery)
	s.ask(teams, avery, "link "+code, "Codes are typed in the personal chat")
	teams.write(avery, teams.direct(avery), "link "+code)
	asked := s.sees(teams, avery, teams.direct(avery), "Is this Slack account yours?", "T0SOC/"+avery.Slack)
	s.pressed(teams, avery, asked, "Yes, link it to me", "Linked")
	s.ask(slack, avery, "whoami", "You are Avery Stone", "a code confirmed in Teams")

	// Saying no, and a code that is used up.
	_, code = s.offered(sandbox.Noor)
	teams.write(avery, teams.direct(avery), "link "+code)
	asked = s.sees(teams, avery, teams.direct(avery), "Is this Slack account yours?", "T0SOC/"+sandbox.Noor.Slack)
	s.pressed(teams, avery, asked, "No", "Nothing was linked")
	teams.write(avery, teams.direct(avery), "link "+code)
	s.sees(teams, avery, teams.direct(avery), "That code is not known")
	s.ask(slack, sandbox.Noor, "whoami", "You are not linked")
}

func TestStory_oneHumanWithTwoSlackAccountsAndTeams(t *testing.T) {
	t.Parallel()
	s := newLinkStory(t, sandbox.PolicyYAML())
	slack, teams := s.slack(), s.teams()
	second := sandbox.Person{Name: "Riley Chen", Object: sandbox.Riley.Object, Slack: sandbox.Noor.Slack}
	s.link(second, sandbox.Riley)
	s.later(25 * time.Hour)

	card := s.request(slack, slack, sandbox.Riley, second, "ws-022", "alone with three accounts")
	s.pressed(slack, second, card, "Approve", "You asked for this yourself")
	onTeams := s.sees(teams, sandbox.Riley, sandbox.TeamsApprovals, "isolate ws-022", "waits for approval")
	s.pressed(teams, sandbox.Riley, onTeams, "Approve", "You asked for this yourself")
	s.wantIsolations(0)
}

func TestStory_unlinkVoidsAVote(t *testing.T) {
	t.Parallel()
	// Without the fresh sign-in that tier 0 asks for, which has stories of its own.
	s := newLinkStory(t, strings.Replace(withoutSlack(sandbox.Sam), "  expire_after: 30m\n", "  expire_after: 30m\n  step_up: never\n", 1))
	sam, slack := sandbox.Sam, s.slack()
	s.link(sam, sam)
	s.later(25 * time.Hour)

	// dc-01 needs two people; the second vote comes when the first is void.
	slack.write(sandbox.Riley, sandbox.SlackSOC, "isolate dc-02 lateral movement")
	card := s.sees(slack, sam, sandbox.SlackApprovals, "isolate dc-02", "waits for approval")
	slack.click(sam, card, "Approve")
	s.sees(slack, sam, sandbox.SlackApprovals, "isolate dc-02", "1 of 2")
	s.ask(slack, sam, "unlink", "A Slack account was unlinked")
	slack.click(sandbox.Jordan, card, "Approve")
	s.sees(slack, sandbox.Jordan, sandbox.SlackApprovals, "isolate dc-02", "Jordan Reyes")
	s.wantIsolations(0)
	s.ask(slack, sam, "whoami", "You are not linked")
}

// directoryGroup is the sandbox's mdebot.yaml with soc as a group of the directory.
func directoryGroup() string {
	yaml := sandbox.PolicyYAML()
	begin := strings.Index(yaml, "  soc:\n")
	end := strings.Index(yaml, "  soc-leads:\n")
	return yaml[:begin] + "  soc: { entra_group: " + socGroup + " }\n" + yaml[end:]
}

const socGroup = "5c2e0000-0000-4000-8000-0000000000a1"

// answerGroup makes the directory's group hold people, one of them through another
// group.
func (s *story) answerGroup(people ...sandbox.Person) {
	inner := entrasim.Group{Object: "5c2e0000-0000-4000-8000-0000000000a2"}
	for _, p := range people {
		inner.Members = append(inner.Members, p.Object)
	}
	s.world.Entra.AddGroup(sandbox.TenantID, inner)
	s.world.Entra.AddGroup(sandbox.TenantID, entrasim.Group{Object: socGroup, Members: []string{inner.Object}})
}

func TestStory_approversOfADirectoryGroup(t *testing.T) {
	t.Parallel()
	s := newStoryUnder(t, directoryGroup(), sandbox.Options{})
	slack := s.slack()
	s.answerGroup(sandbox.Avery)
	s.ask(slack, sandbox.Avery, "whoami", "You are Avery Stone", "soc")
	slack.write(sandbox.Riley, sandbox.SlackSOC, "isolate ws-023 beaconing")
	card := s.sees(slack, sandbox.Avery, sandbox.SlackApprovals, "isolate ws-023", "waits for approval")
	s.pressed(slack, sandbox.Jordan, card, "Approve", "Your approval would not count")
	slack.click(sandbox.Avery, card, "Approve")
	s.sees(slack, sandbox.Riley, sandbox.SlackSOC, "isolate ws-023.corp.contoso.com – isolated", "Avery Stone")
}

func TestStory_removedFromTheDirectoryGroupBetweenVoteAndExecution(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*story){
		"removed from the group": func(s *story) { s.answerGroup(sandbox.Sam) },
		"disabled": func(s *story) {
			s.world.Entra.AddUser(sandbox.TenantID, entrasim.User{Object: sandbox.Avery.Object, Name: "Avery Stone", Disabled: true})
		},
		"made a guest": func(s *story) {
			s.world.Entra.AddUser(sandbox.TenantID, entrasim.User{Object: sandbox.Avery.Object, Name: "Avery Stone", Guest: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStoryUnder(t, directoryGroup(), sandbox.Options{})
			slack := s.slack()
			s.answerGroup(sandbox.Avery, sandbox.Sam)
			// Defender does not answer, so that the approved request waits.
			s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Route: "GET /api/machineactions"})
			slack.write(sandbox.Riley, sandbox.SlackSOC, "isolate ws-024 beaconing")
			card := s.sees(slack, sandbox.Avery, sandbox.SlackApprovals, "isolate ws-024", "waits for approval")
			slack.click(sandbox.Avery, card, "Approve")
			s.sees(slack, sandbox.Riley, sandbox.SlackSOC, "isolate ws-024", "Avery Stone", "pproved")
			change(s)
			s.later(5 * time.Minute)
			s.world.Defender.Faults.Clear()
			s.sees(slack, sandbox.Riley, sandbox.SlackSOC, "isolate ws-024", "void")
			s.wantIsolations(0)
		})
	}
}

func TestStory_directoryDownMeansNo(t *testing.T) {
	t.Parallel()
	s := newStoryUnder(t, directoryGroup(), sandbox.Options{})
	s.answerGroup(sandbox.Avery)
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Answer, Status: 503, Route: "GET /v1.0/groups/" + socGroup + "/transitiveMembers"})
	s.ask(s.slack(), sandbox.Riley, "isolate ws-025 beaconing", "Nobody besides you could approve this now", "The directory could not be read")
	s.ask(s.slack(), sandbox.Avery, "whoami", "Not every group could be read")
	s.wantIsolations(0)
	s.world.Defender.Faults.Clear()
	s.eventually("the directory is back", func() string {
		s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate ws-025 beaconing")
		if n := s.posted(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "isolate ws-025", "waits for approval"); n == 0 {
			return fmt.Sprint(n, " cards")
		}
		return ""
	})
}

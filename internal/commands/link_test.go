package commands

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/links"
	"github.com/mdebot/mdebot/internal/policy"
)

// fileLinks knows mdebot.yaml and what a test links beside it.
type fileLinks struct {
	Links
	source *policy.Source
	linked map[string]identity.PersonID // by account key
}

func (l fileLinks) Who(_ context.Context, account identity.Principal) (identity.Link, error) {
	book := l.source.Current().Book()
	id, ok := l.linked[account.Key()]
	if !ok {
		return book.LinkOf(account)
	}
	link := identity.Link{Person: identity.Person{ID: id}, How: identity.BySignIn, Since: noon, CountsFrom: noon.Add(links.CoolDown)}
	person, listed := book.Person(id)
	if !listed {
		return link, identity.ErrUnlisted
	}
	link.Person = person
	return link, nil
}

// nothingOpen is what a service without attempts answers.
var nothingOpen = &links.Refusal{Sentence: "Nothing waits for you here, so nothing is done.", Next: "whoami shows your links."}

func (fileLinks) Offer(context.Context, links.Asked) (links.Offer, error) {
	return links.Offer{}, nothingOpen
}

func (fileLinks) Complete(context.Context, links.Asked, string) (links.Stored, error) {
	return links.Stored{}, nothingOpen
}

func (fileLinks) Accept(context.Context, links.Asked, string) (links.Stored, error) {
	return links.Stored{}, nothingOpen
}

func (fileLinks) Decline(context.Context, links.Asked, string) error { return nothingOpen }

func (fileLinks) Unlink(context.Context, links.Asked) (links.Stored, error) {
	return links.Stored{}, nothingOpen
}

func (fileLinks) Confirm(context.Context, links.Asked, string) (links.Stored, error) {
	return links.Stored{}, nothingOpen
}

// ways is a links service that answers with what it was asked.
type ways struct {
	fileLinks
	asked []string
}

var slackAccount = identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0NEW", Name: "new"}

func (l *ways) note(what string, in links.Asked, more string) (links.Stored, error) {
	l.asked = append(l.asked, what+" "+in.By.Key()+" "+more)
	return links.Stored{ID: "id", Account: slackAccount, How: identity.BySignIn, At: noon, CountsFrom: noon.Add(links.CoolDown)}, nil
}

func (l *ways) Offer(_ context.Context, in links.Asked) (links.Offer, error) {
	_, err := l.note("offer", in, "")
	return links.Offer{URL: "https://mdebot.example.com/link?t=A", TeamsCode: "AAAA-BBBB", Expires: noon}, err
}

func (l *ways) Complete(_ context.Context, in links.Asked, code string) (links.Stored, error) {
	return l.note("complete", in, code)
}

func (l *ways) Propose(_ context.Context, in links.Asked, code string) (links.Proposal, error) {
	_, err := l.note("propose", in, code)
	return links.Proposal{Account: slackAccount, Key: slackAccount.Key()}, err
}

func (l *ways) Accept(_ context.Context, in links.Asked, key string) (links.Stored, error) {
	return l.note("accept", in, key)
}

func (l *ways) Decline(_ context.Context, in links.Asked, key string) error {
	_, err := l.note("decline", in, key)
	return err
}

func (l *ways) Unlink(_ context.Context, in links.Asked) (links.Stored, error) {
	return links.Stored{}, &links.Refusal{Sentence: "This account has no link of its own.", Next: "whoami"}
}

func (l *ways) Confirm(_ context.Context, in links.Asked, id string) (links.Stored, error) {
	return l.note("confirm", in, id)
}

func newWays(t *testing.T) (*world, *ways) {
	t.Helper()
	w := newWorld(t)
	l := &ways{fileLinks: fileLinks{source: w.Policy, linked: map[string]identity.PersonID{}}}
	w.Links = l
	return w, l
}

func TestLink(t *testing.T) {
	t.Parallel()
	w, l := newWays(t)
	mustSay(t, "offer", w.says(t, stranger, "link"), "Link this Slack account to you", "T0SOC/U0STRANGER", "link AAAA-BBBB")
	mustSay(t, "code in Slack", w.says(t, stranger, "link K7QM-2XHD"), "Linked", "signing in to the directory")
	mustSay(t, "two codes", w.says(t, stranger, "link K7QM 2XHD"), "link takes one code")
	mustSay(t, "nothing to unlink", w.says(t, stranger, "unlink"), "This account has no link of its own.")
	m, _ := w.clicks(t, rileyInTeams, cards.ActionLinkAccept, "T0SOC/U0NEW")
	mustSay(t, "yes", m, "Linked")
	m, _ = w.clicks(t, rileyInTeams, cards.ActionLinkDecline, "T0SOC/U0NEW")
	mustSay(t, "no", m, "Nothing was linked.")
	want := []string{
		"offer T0SOC/U0STRANGER ", "complete T0SOC/U0STRANGER K7QM-2XHD",
		"accept " + rileyInTeams.Key() + " T0SOC/U0NEW", "decline " + rileyInTeams.Key() + " T0SOC/U0NEW",
	}
	if diff := cmp.Diff(want, l.asked); diff != "" {
		t.Errorf("asked of links (-want +got):\n%s", diff)
	}
}

func TestLink_codeInTeamsOnlyInThePersonalChat(t *testing.T) {
	t.Parallel()
	w, l := newWays(t)
	inv := w.invocation(chat.Command, rileyInTeams)
	inv.In.Platform = identity.Teams
	inv.Text = "link K7QM-2XHD"
	m, _ := w.ask(t, inv)
	mustSay(t, "in a channel", m, "Codes are typed in the personal chat")
	if len(l.asked) > 0 {
		t.Errorf("links was asked %v", l.asked)
	}
	inv.In.Direct = true
	inv.Delivery += "2"
	m, _ = w.ask(t, inv)
	mustSay(t, "in the personal chat", m, "Is this Slack account yours?", "T0SOC/U0NEW")
}

func TestLink_refusesGuests(t *testing.T) {
	t.Parallel()
	w, l := newWays(t)
	mustSay(t, "guest", w.says(t, guest, "link"), "Only full members")
	mustSay(t, "viewer confirms", w.says(t, viewer, "confirm-link id"), "needs the role approver")
	if len(l.asked) > 0 {
		t.Errorf("links was asked %v", l.asked)
	}
}

func TestLink_aLinkedAccountIsItsPerson(t *testing.T) {
	t.Parallel()
	w, l := newWays(t)
	riley, _ := w.Policy.Current().Book().Resolve(rileyInTeams)
	l.linked[stranger.Key()] = riley.ID
	mustSay(t, "machine", w.says(t, stranger, "machine ws-042"), "ws-042")
	mustSay(t, "whoami", w.says(t, stranger, "whoami"), "You are Riley Chen", "signing in to the directory", "Approvals count from")

	l.linked[stranger.Key()] = identity.PersonID{Tenant: home, Object: "22222222-2222-2222-2222-222222222299"}
	mustSay(t, "somebody unknown", w.says(t, stranger, "machine ws-042"), "not linked to a person")
	mustSay(t, "whoami", w.says(t, stranger, "whoami"), "whom no entry of mdebot.yaml names", home+"/22222222-2222-2222-2222-222222222299")
}

// census is a directory that knows one standing.
type census identity.Standing

func (p census) Standing(context.Context, identity.PersonID) (identity.Standing, error) {
	if p == "" {
		return identity.Unknown, errors.New("directory down")
	}
	return identity.Standing(p), nil
}

func TestAuthorise_asksTheDirectory(t *testing.T) {
	t.Parallel()
	for standing, want := range map[census]string{
		census(identity.Member):   "ws-042",
		census(identity.Inactive): "you are: inactive",
		census(identity.Guest):    "you are: guest",
		census(""):                "The directory could not be asked about you",
	} {
		w := newWorld(t)
		w.People = standing
		mustSay(t, string(standing), w.says(t, riley, "machine ws-042"), want)
	}
}

package cards

import (
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// LinkOffer says how an account can be linked. url and command are "" where that
// way is not set up; command is what to type in the personal Teams chat.
func LinkOffer(account identity.Principal, url, command string, expires time.Time) chat.Message {
	m := chat.Message{
		Title: chat.Plain("Link this Slack account to you"),
		Tone:  chat.Notice,
		Facts: []chat.Fact{
			{Label: "Account", Value: chat.Code(account.Key())},
			{Label: "Good until", Value: chat.At(expires)},
		},
		Note: chat.Plain("Only for you: pass none of this on. Whoever is linked to this account is taken for whoever uses it."),
	}
	if url != "" {
		m.Sections = append(m.Sections, chat.Section{Lines: []chat.Text{chat.Plain("Sign in with your work account. The page then shows a code to type here.")}})
		m.Buttons = []chat.Button{{Label: "Sign in", URL: url, Style: chat.StylePrimary}}
	}
	if command != "" {
		lead := "In your personal Teams chat with mdebot, type: "
		if url != "" {
			lead = "Or, in your personal Teams chat with mdebot, type: "
		}
		m.Sections = append(m.Sections, chat.Section{Lines: []chat.Text{chat.Join(chat.Plain(lead), chat.Code(command))}})
	}
	return m
}

// StepUp asks an approver to sign in before a tier 0 request.
func StepUp(no *approvals.Refusal, url string, expires time.Time) chat.Message {
	return chat.Message{
		Title: chat.Untrusted(no.Sentence),
		Tone:  chat.Warning,
		Facts: []chat.Fact{
			{Label: "Request", Value: RequestReply(no.Request).Title},
			{Label: "Good until", Value: chat.At(expires)},
		},
		Buttons: []chat.Button{{Label: "Sign in", URL: url, Style: chat.StylePrimary}},
		Note:    chat.Join(chat.Untrusted(no.Next), chat.Plain(" The sign-in is good for you and this request alone.")),
	}
}

// LinkProposal asks somebody in Teams whether a Slack account is theirs.
func LinkProposal(account identity.Principal) chat.Message {
	return chat.Message{
		Title: chat.Plain("Is this Slack account yours?"),
		Tone:  chat.Notice,
		Facts: []chat.Fact{{Label: "Slack account", Value: dotted(outside(account.Name), chat.Code(account.Key()))}},
		Sections: []chat.Section{{Lines: []chat.Text{chat.Plain(
			"Yes means: whoever uses that account is taken for you, and their approvals for yours. Choose it only if you typed link in that account yourself, a moment ago.")}}},
		Buttons: []chat.Button{
			{Label: "Yes, link it to me", Action: ActionLinkAccept, Value: account.Key(), Style: chat.StylePrimary},
			{Label: "No", Action: ActionLinkDecline, Value: account.Key(), Style: chat.StyleDanger},
		},
	}
}

// LinkView is a link that somebody made, or its end.
type LinkView struct {
	ID         string
	Account    identity.Principal
	Person     identity.PersonID
	Name       string // as the directory calls the person
	How        identity.How
	At         time.Time
	CountsFrom time.Time
	// Replaces is the person whom the account stood for before.
	Replaces identity.PersonID
	// ConfirmedBy is the second person, when there is one.
	ConfirmedBy identity.PersonID
}

func (v LinkView) facts() []chat.Fact {
	facts := []chat.Fact{
		{Label: "Slack account", Value: dotted(outside(v.Account.Name), chat.Code(v.Account.Key()))},
		{Label: "Person", Value: dotted(outside(v.Name), chat.Code(v.Person.String()))},
		{Label: "Proven by", Value: chat.Plain(howWords(v.How))},
		{Label: "Linked", Value: chat.At(v.At)},
	}
	if !v.Replaces.IsZero() {
		facts = append(facts, chat.Fact{Label: "Before that", Value: chat.Code(v.Replaces.String())})
	}
	return append(facts, countsFrom(v.CountsFrom, v.ConfirmedBy)...)
}

func countsFrom(at time.Time, by identity.PersonID) []chat.Fact {
	switch {
	case !by.IsZero():
		return []chat.Fact{{Label: "Confirmed by", Value: chat.Code(by.String())}}
	case at.IsZero():
		return nil
	}
	return []chat.Fact{{Label: "Approvals count from", Value: chat.At(at)}}
}

func howWords(how identity.How) string {
	switch how {
	case identity.ByFile:
		return "mdebot.yaml names this account"
	case identity.ByDirectory:
		return "Teams: the account is the directory identity itself"
	case identity.BySignIn:
		return "signing in to the directory"
	case identity.ByTeamsCode:
		return "a code confirmed in Teams"
	}
	return "unknown"
}

// LinkMade answers whoever has just linked an account.
func LinkMade(v LinkView) chat.Message {
	return chat.Message{
		Title: chat.Plain("Linked"), Tone: chat.Good, Facts: v.facts(),
		Note: chat.Plain("Until approvals count, another approver can confirm the link from mdebot's ops channel. Roles come from mdebot.yaml; whoami shows yours."),
	}
}

// LinkAnnounced tells everybody concerned about a new link. confirm adds the
// button for a second person.
func LinkAnnounced(v LinkView, confirm bool) chat.Message {
	m := chat.Message{
		Title: chat.Plain("A Slack account was linked"), Tone: chat.Notice, Facts: v.facts(),
		Note: chat.Plain("If that is not right, type unlink in that account and tell an admin."),
	}
	if !v.Replaces.IsZero() {
		m.Title, m.Tone = chat.Plain("A Slack account now stands for somebody else"), chat.Warning
	}
	if confirm {
		m.Buttons = []chat.Button{{
			Label: "Confirm the link", Action: ActionLinkConfirm, Value: v.ID,
			Confirm: &chat.Confirm{
				Title: "Confirm this link?",
				Text:  chat.Join(chat.Plain("Approvals by "), chat.Code(v.Account.Key()), chat.Plain(" then count at once. Ask the person by another way than this account first.")),
				Yes:   "Confirm", No: "Cancel",
			},
		}}
	}
	return m
}

// LinkConfirmed tells everybody concerned that a link counts.
func LinkConfirmed(v LinkView) chat.Message {
	return chat.Message{Title: chat.Plain("A link was confirmed; its approvals count now"), Tone: chat.Notice, Facts: v.facts()}
}

// LinkEnded tells everybody concerned that an account stands for nobody.
func LinkEnded(v LinkView) chat.Message {
	v.CountsFrom, v.ConfirmedBy = time.Time{}, identity.PersonID{}
	return chat.Message{
		Title: chat.Plain("A Slack account was unlinked"), Tone: chat.Notice, Facts: v.facts(),
		Note: chat.Plain("Its approvals that have not been carried out no longer count."),
	}
}

// linkFacts say in whoami how an account came to stand for a person.
func linkFacts(l *identity.Link) []chat.Fact {
	if l == nil || l.How == "" {
		return nil
	}
	facts := []chat.Fact{{Label: "Linked by", Value: chat.Plain(howWords(l.How))}}
	if !l.Since.IsZero() {
		facts = append(facts, chat.Fact{Label: "Linked", Value: chat.At(l.Since)})
	}
	return append(facts, countsFrom(l.CountsFrom, l.ConfirmedBy)...)
}

package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
)

// threadPrefix marks a card's parent that is a platform thread and not a card.
const threadPrefix = "thread:"

var _ approvals.Announcer = (*Notifier)(nil)

// RequestChanged plans what people see of a change: the card everywhere it
// stands, and a short new message for what they must notice. It runs inside the
// transaction of the change.
func (n *Notifier) RequestChanged(ctx context.Context, tx durable.Tx, r approvals.Request, c approvals.Change) error {
	if c == approvals.ChangeOpened {
		return n.requestOpened(ctx, tx, r)
	}
	redraw := n.redraw
	if byPerson(r, c) {
		redraw = n.redrawUrgent
	}
	if err := errors.Join(redraw(ctx, tx, r.Tenant, SubjectRequest, r.ID), n.pageForRequest(ctx, tx, r, c)); err != nil {
		return err
	}
	if r.Action == approvals.Mute && c == approvals.ChangeResolved && r.State == approvals.Succeeded {
		if err := n.muteApproved(ctx, tx, r); err != nil {
			return err
		}
	}
	if c == approvals.ChangeTarget || c == approvals.ChangeResolved {
		// Cards of alerts on those machines say whether they are cut off.
		if err := n.lookAgain(ctx, tx, r.Tenant); err != nil {
			return err
		}
	}
	switch {
	case c == approvals.ChangeResolved, c == approvals.ChangeNeedsPeople:
		return n.reply(ctx, tx, r, string(c), n.askedIn(r))
	case isReminder(c):
		return n.reply(ctx, tx, r, string(c), n.approverPlaces(ctx, r))
	case c == approvals.ChangeAskedNext:
		return n.askNext(ctx, tx, r)
	}
	return nil
}

// byPerson reports whether a change is what somebody did just now, with a click as a
// rule. What Defender does and what time brings about are not: hundreds of requests can
// expire at once.
func byPerson(r approvals.Request, c approvals.Change) bool {
	switch c { //nolint:exhaustive // the others are not
	case approvals.ChangeVote, approvals.ChangeApproved:
		return true
	case approvals.ChangeResolved:
		return r.State == approvals.Denied || r.State == approvals.Withdrawn
	}
	return false
}

// askNext tells the groups that a request's rule has fallen back to: each of their
// people by the card in their direct chat, and all by a mention where requests are
// posted.
func (n *Notifier) askNext(ctx context.Context, tx durable.Tx, r approvals.Request) error {
	if err := n.showToApprovers(ctx, tx, r); err != nil {
		return err
	}
	places := n.postTo(r.Tenant)
	if len(places) == 0 && r.Origin != "" {
		places = []chat.Destination{chat.Destination(r.Origin)}
	}
	return n.reply(ctx, tx, r, fmt.Sprintf("%s-%d", approvals.ChangeAskedNext, r.Asked()), places)
}

func isReminder(c approvals.Change) bool {
	return c == approvals.ChangeReminder5 || c == approvals.ChangeReminder15
}

// requestOpened shows the card in the asking conversation, in the places of
// approvals.post_to, and to everyone whose approval would count.
func (n *Notifier) requestOpened(ctx context.Context, tx durable.Tx, r approvals.Request) error {
	if origin := chat.Destination(r.Origin); origin != "" {
		asked := requestCard(r, origin)
		if r.OriginThread != "" {
			asked.parent = threadPrefix + r.OriginThread
		}
		if err := n.want(ctx, tx, asked); err != nil {
			return err
		}
	}
	return n.showToApprovers(ctx, tx, r)
}

func requestCard(r approvals.Request, to chat.Destination) want {
	return want{tenant: r.Tenant, subject: SubjectRequest, subjectID: r.ID, class: classDecision, destination: to}
}

// showToApprovers makes the card stand wherever approvers find it.
func (n *Notifier) showToApprovers(ctx context.Context, tx durable.Tx, r approvals.Request) error {
	for _, d := range n.approverPlaces(ctx, r) {
		if d == chat.Destination(r.Origin) {
			continue // the card in the asking conversation is it
		}
		if tired, err := n.prompted(ctx, tx, r, d); err != nil {
			return err
		} else if tired {
			continue
		}
		if err := n.wantOnce(ctx, tx, requestCard(r, d)); err != nil {
			return err
		}
	}
	return nil
}

// promptsPerHour is how many requests are put before one approver in their direct
// chat within an hour. Whoever is asked more often approves without reading
// (threat-model A-22); the configured places show every request.
const promptsPerHour = 10

// prompted reports whether d is the direct chat of somebody who has been asked often
// enough. Where no place is configured, the direct chats are all there is.
func (n *Notifier) prompted(ctx context.Context, tx durable.Tx, r approvals.Request, d chat.Destination) (bool, error) {
	if _, direct := d.Account(); !direct || len(n.policyOf(r.Tenant).PostTo()) == 0 {
		return false, nil
	}
	var asked int64
	err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM cards WHERE tenant = $1 AND subject = $2 AND destination = $3 AND created_at > $4 AND subject_id <> $5`,
		string(r.Tenant), string(SubjectRequest), string(d), durable.Micros(n.now().Add(-time.Hour)), r.ID).Scan(&asked)
	return asked >= promptsPerHour, err
}

// reply plans a short message about something under the request's card at each of
// the places where there is one.
func (n *Notifier) reply(ctx context.Context, tx durable.Tx, r approvals.Request, about string, places []chat.Destination) error {
	for _, d := range places {
		head, ok, err := cardOf(ctx, tx, r.Tenant, SubjectRequest, r.ID, d)
		if err != nil {
			return err
		}
		w := want{tenant: r.Tenant, subject: subjectReply, subjectID: r.ID + "/" + about, destination: d, class: classDecision}
		if ok {
			w.parent = head.id
		}
		if err := n.want(ctx, tx, w); err != nil {
			return err
		}
	}
	return nil
}

// approverPlaces are where approvers find a request: the configured places and
// the direct chats of everyone whose approval would count by the file alone.
// Members of directory groups are not looked up here, inside a transaction; they
// see it in the configured places. A request that needs nobody else is shown where
// it was asked for alone.
func (n *Notifier) approverPlaces(ctx context.Context, r approvals.Request) []chat.Destination {
	if r.Rule.Alone {
		return nil
	}
	return append(n.postTo(r.Tenant), n.approverChats(ctx, r)...)
}

// postTo are the places of approvals.post_to.
func (n *Notifier) postTo(t tenantID) []chat.Destination {
	var out []chat.Destination
	for _, to := range n.policyOf(t).PostTo() {
		out = append(out, chat.Destination(to))
	}
	return out
}

// approverChats are the direct chats of everyone whose approval would count by the
// file alone.
func (n *Notifier) approverChats(ctx context.Context, r approvals.Request) []chat.Destination {
	if r.Rule.Alone {
		return nil
	}
	var out []chat.Destination
	for _, person := range n.mayApprove(ctx, r, r.Asked()) {
		out = append(out, n.directChats(person)...)
	}
	return out
}

// mayApprove is everyone whose approval would count by the file alone when the
// groups up to the step asked are asked.
func (n *Notifier) mayApprove(ctx context.Context, r approvals.Request, asked int) []identity.Person {
	people, err := n.policyOf(r.Tenant).Eligible(ctx, nil, r.Rule, r.Requester, asked)
	if err != nil {
		n.log.WarnContext(ctx, "approvers not listed in full", "approval_id", r.ID, "error", err)
	}
	return people
}

// askedIn is where the requester hears what became of the request: the asking
// conversation, and the direct chat of the account that asked.
func (n *Notifier) askedIn(r approvals.Request) []chat.Destination {
	out := []chat.Destination{}
	if r.Origin != "" {
		out = append(out, chat.Destination(r.Origin))
	}
	if r.Rule.Alone {
		return out
	}
	for _, to := range n.policy.Current().PostTo() {
		if to != r.Origin {
			out = append(out, chat.Destination(to))
		}
	}
	return out
}

// directChats are a person's accounts on the configured platforms.
func (n *Notifier) directChats(p identity.Person) []chat.Destination {
	var out []chat.Destination
	for _, account := range p.Accounts {
		if n.posters[account.Platform] != nil {
			out = append(out, chat.DirectTo(account))
		}
	}
	if n.posters[identity.Teams] != nil {
		out = append(out, chat.DirectTo(onTeams(p.ID)))
	}
	return out
}

// onTeams is a person's account on Teams, which is the person.
func onTeams(p identity.PersonID) identity.Principal {
	return identity.Principal{Platform: identity.Teams, Workspace: p.Tenant, Account: p.Object}
}

// concerned are the accounts of those to whom r's card looks different: who asked, who
// voted, and whose approval would count by the file alone. Members of directory groups
// see it as everybody does.
func (n *Notifier) concerned(ctx context.Context, r approvals.Request) []identity.Principal {
	if !cards.RequestDiffers(r) {
		return nil
	}
	people := []identity.Person{{ID: r.Requester, Accounts: []identity.Principal{r.RequesterAs}}}
	for _, v := range r.Votes {
		people = append(people, identity.Person{ID: v.By, Accounts: []identity.Principal{v.As}})
	}
	var out []identity.Principal
	for _, p := range append(people, n.mayApprove(ctx, r, r.Asked())...) {
		for _, account := range append(slices.Clone(p.Accounts), onTeams(p.ID)) {
			if !slices.ContainsFunc(out, func(o identity.Principal) bool { return o.Platform == account.Platform && o.Key() == account.Key() }) {
				out = append(out, account)
			}
		}
	}
	return out
}

// approverMentions are those of approvals.mention, on the configured places of
// their platform.
func (n *Notifier) approverMentions(d chat.Destination) []chat.Mention {
	if _, direct := d.Account(); direct {
		return nil
	}
	return mentions(n.policy.Current().Mention(), d.Platform())
}

// mentionedMost is how many people a message mentions one by one.
const mentionedMost = 10

// mentionPeople are the people, as one platform knows them, after those of
// configured. A direct chat notifies by itself.
func mentionPeople(d chat.Destination, configured []chat.Mention, people []identity.Person) []chat.Mention {
	if _, direct := d.Account(); direct {
		return nil
	}
	for _, p := range people[:min(len(people), mentionedMost)] {
		account := p.ID.Object // Teams
		if d.Platform() != identity.Teams {
			i := slices.IndexFunc(p.Accounts, func(a identity.Principal) bool { return a.Platform == d.Platform() })
			if i < 0 {
				continue
			}
			account = p.Accounts[i].Account
		}
		if !slices.ContainsFunc(configured, func(m chat.Mention) bool { return m.ID == account }) {
			configured = append(configured, chat.Mention{ID: account, Name: p.Name})
		}
	}
	return configured
}

// mentionOf is the requester, where the account that asked can be notified.
func (n *Notifier) mentionOf(r approvals.Request, d chat.Destination) (chat.Mention, bool) {
	if r.RequesterAs.Platform != d.Platform() {
		return chat.Mention{}, false
	}
	return chat.Mention{ID: r.RequesterAs.Account, Name: r.RequesterName}, true
}

// mentions turns configured mentions, such as "slack:S0LEADS", into those of one
// platform.
func mentions(configured []string, platform identity.Platform) []chat.Mention {
	var out []chat.Mention
	for _, m := range configured {
		name, id, ok := strings.Cut(m, ":")
		if !ok || identity.Platform(name) != platform {
			continue
		}
		out = append(out, chat.Mention{ID: id, Name: id, Group: platform == identity.Slack && strings.HasPrefix(id, "S")})
	}
	return out
}

// unreachedAfter is how long a request may be shown to no approver before its
// requester is told.
const unreachedAfter = 7 * time.Second

// tellUnreached tells requesters whose card has been posted to nobody who could
// approve it.
func (n *Notifier) tellUnreached(ctx context.Context) error {
	now := n.now()
	waiting, err := queryCards(ctx, n.db.Read(), `
		SELECT `+cardColumns+` FROM cards
		WHERE subject = 'request' AND created_at > $1 AND created_at <= $2
		ORDER BY tenant, subject_id`, now.Add(-time.Hour).UnixMicro(), now.Add(-unreachedAfter).UnixMicro())
	if err != nil {
		return err
	}
	var errs []error
	for len(waiting) > 0 {
		same := 1
		for same < len(waiting) && waiting[same].tenant == waiting[0].tenant && waiting[same].subjectID == waiting[0].subjectID {
			same++
		}
		errs = append(errs, n.tellIfUnreached(ctx, waiting[:same]))
		waiting = waiting[same:]
	}
	return errors.Join(errs...)
}

func (n *Notifier) tellIfUnreached(ctx context.Context, copies []card) error {
	posted := map[chat.Destination]bool{}
	for _, c := range copies {
		if !c.ref.IsZero() {
			posted[c.destination] = true
		}
	}
	if len(posted) > 1 {
		return nil // the asking conversation and at least one more
	}
	r, err := n.requests.Request(ctx, copies[0].tenant, copies[0].subjectID)
	if err != nil || r.State != approvals.Pending {
		return err
	}
	for _, d := range n.approverPlaces(ctx, r) {
		if posted[d] {
			return nil
		}
	}
	to := []chat.Destination{chat.DirectTo(r.RequesterAs)}
	if r.Origin != "" {
		to = append(to, chat.Destination(r.Origin))
	}
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		return n.notice(ctx, tx, r.Tenant, "unreached "+r.ID, cards.Unreached(r), to...)
	})
}

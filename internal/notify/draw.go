package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// errNotYet reports a card whose thread has not begun.
var errNotYet = errors.New("the thread's first message is not posted yet")

// drawing is a card as it should look now.
type drawing struct {
	message   chat.Message
	thread    string
	broadcast bool
	// editOnly cards are not posted again after somebody deleted them.
	editOnly bool
	// skip means there is nothing to show.
	skip bool
}

// draw makes the current state of c's subject into a message.
func (n *Notifier) draw(ctx context.Context, c card) (drawing, error) {
	d, err := n.drawSubject(ctx, c)
	if err != nil && c.strikes >= reducedAfter && c.subject == SubjectAlert {
		d, err = drawing{message: cards.Unshowable(c.subjectID)}, nil
	}
	if err != nil || d.skip {
		return d, err
	}
	if c.parent != "" && c.ref.IsZero() {
		d.thread, err = n.threadOf(ctx, c)
		if err != nil {
			return drawing{}, err
		}
	}
	if c.strikes >= reducedAfter {
		d.message = reduced(d.message)
	}
	if w, ok := n.tenants[c.tenant]; ok {
		d.message = cards.ForTenant(d.message, c.tenant, w.Name)
	}
	return d, nil
}

func (n *Notifier) drawSubject(ctx context.Context, c card) (drawing, error) {
	switch c.subject {
	case SubjectRequest:
		return n.drawRequest(ctx, c)
	case subjectReply:
		return n.drawReply(ctx, c)
	case SubjectAlert:
		return n.drawAlert(ctx, c)
	case subjectRaised:
		return n.drawRaised(ctx, c)
	case subjectStorm:
		return n.drawStorm(ctx, c)
	case subjectPage:
		return n.drawPage(ctx, c)
	case subjectNotice, subjectHunt:
		return n.drawNotice(ctx, c)
	default:
		return drawing{}, fmt.Errorf("no such subject: %s", c.subject)
	}
}

// threadOf is the message to reply to, or "" when the parent cannot be had: a
// reply that loses its thread is better than none.
func (n *Notifier) threadOf(ctx context.Context, c card) (string, error) {
	if thread, ok := strings.CutPrefix(c.parent, threadPrefix); ok {
		return thread, nil
	}
	parent, ok, err := cardByID(ctx, n.db.Read(), c.parent)
	if err != nil || !ok {
		return "", err
	}
	switch {
	case parent.ref.IsZero() && parent.problem == "":
		return "", errNotYet
	case parent.ref.Conversation.Thread != "":
		return parent.ref.Conversation.Thread, nil
	default:
		return parent.ref.MessageID, nil
	}
}

func (n *Notifier) drawRequest(ctx context.Context, c card) (drawing, error) {
	r, err := n.requests.Request(ctx, c.tenant, c.subjectID)
	if err != nil {
		return drawing{}, err
	}
	freeze, err := n.requests.Frozen(ctx, c.tenant)
	if err != nil {
		return drawing{}, err
	}
	m := cards.Request(cards.RequestView{Request: r, Portal: n.portal(c.tenant), Freeze: freeze})
	if r.State == approvals.Pending {
		m.Mentions = n.approverMentions(c.destination)
	}
	m.Views = cards.RequestViews(r, n.concerned(ctx, r))
	return drawing{message: m, editOnly: r.State.Resolved()}, nil
}

// drawReply draws the short message about one change of a request. It is drawn
// from the request as it is now: a reply that comes late tells the truth of now.
func (n *Notifier) drawReply(ctx context.Context, c card) (drawing, error) {
	id, change, _ := strings.Cut(c.subjectID, "/")
	r, err := n.requests.Request(ctx, c.tenant, id)
	if err != nil {
		return drawing{}, err
	}
	if isReminder(approvals.Change(change)) {
		if r.State != approvals.Pending {
			return drawing{skip: true}, nil
		}
		m := cards.RequestReminder(r, n.now())
		m.Mentions = mentionPeople(c.destination, n.approverMentions(c.destination), n.mayApprove(ctx, r, r.Asked()))
		return drawing{message: m, editOnly: true}, nil
	}
	if step, ok := strings.CutPrefix(change, string(approvals.ChangeAskedNext)+"-"); ok {
		return n.drawAskedNext(ctx, c, r, step)
	}
	m := cards.RequestReply(r)
	if mention, ok := n.mentionOf(r, c.destination); ok {
		m.Mentions = []chat.Mention{mention}
	}
	return drawing{message: m, editOnly: true}, nil
}

// drawAskedNext draws that a request's rule has fallen back to the groups of a step.
func (n *Notifier) drawAskedNext(ctx context.Context, c card, r approvals.Request, step string) (drawing, error) {
	if r.State != approvals.Pending {
		return drawing{skip: true}, nil
	}
	at, err := strconv.Atoi(step)
	if err != nil {
		return drawing{}, err
	}
	before := n.mayApprove(ctx, r, at-1)
	added := slices.DeleteFunc(n.mayApprove(ctx, r, at), func(p identity.Person) bool {
		return slices.ContainsFunc(before, func(b identity.Person) bool { return b.ID == p.ID })
	})
	m := cards.AskedNext(r, at)
	m.Mentions = mentionPeople(c.destination, nil, added)
	return drawing{message: m, editOnly: true}, nil
}

func (n *Notifier) drawAlert(ctx context.Context, c card) (drawing, error) {
	a, err := n.storedAlert(ctx, c.tenant, c.subjectID)
	if err != nil {
		return drawing{}, err
	}
	v := cards.AlertView{Alert: a, Posted: true, Portal: n.portal(c.tenant)}
	if a.Evidence == nil {
		v.EvidenceUnread = "not read yet"
	}
	if w := n.tenants[c.tenant]; w != nil {
		v.MayUpdate, v.MayIsolate, v.MayHunt = w.MayUpdate(), w.MayIsolate(), w.MayHunt()
	}
	isolation, known, err := n.isolation(ctx, c.tenant, a.MachineID)
	if err != nil {
		return drawing{}, err
	}
	if known {
		v.Isolation, v.IsolationSince = isolation.State, isolation.Since
	}
	m := cards.Alert(v)
	m.Mentions = n.alertMentions(a, c)
	if c.parent == "" {
		others, err := n.threadAlerts(ctx, c)
		if err != nil {
			return drawing{}, err
		}
		m = cards.WithIncident(m, a, others)
	}
	high := a.Severity == defender.High
	return drawing{message: m, broadcast: c.parent != "" && high}, nil
}

// drawRaised says that a severity rose: an edit alone would notify nobody.
func (n *Notifier) drawRaised(ctx context.Context, c card) (drawing, error) {
	id := c.subjectID[:strings.LastIndexByte(c.subjectID, '/')]
	a, err := n.storedAlert(ctx, c.tenant, id)
	if err != nil {
		return drawing{}, err
	}
	m := cards.AlertRaised(a)
	m.Mentions = n.alertMentions(a, c)
	return drawing{message: m, broadcast: a.Severity == defender.High, editOnly: true}, nil
}

func (n *Notifier) drawNotice(ctx context.Context, c card) (drawing, error) {
	m, err := n.storedNotice(ctx, c.tenant, c.subjectID)
	if err != nil {
		return drawing{}, err
	}
	if strings.HasPrefix(c.subjectID, aboutForeign) {
		m.Mentions = n.approverMentions(c.destination)
	}
	return drawing{message: m, editOnly: true}, nil
}

func (n *Notifier) storedNotice(ctx context.Context, t tenantID, id string) (m chat.Message, err error) {
	var body string
	if err := n.db.Read().QueryRow(ctx, `SELECT body FROM notices WHERE tenant = $1 AND id = $2`, string(t), id).Scan(&body); err != nil {
		return chat.Message{}, err
	}
	if err := n.openJSON(noticeBody, t, id, body, &m); err != nil {
		return chat.Message{}, fmt.Errorf("read stored notice: %w", err)
	}
	return m, nil
}

func (n *Notifier) portal(t tenantID) cards.Portal {
	if w := n.tenants[t]; w != nil {
		return w.Portal
	}
	return nil
}

// reduced is a message cut to what always fits: its first line, its note and
// its links.
func reduced(m chat.Message) chat.Message {
	out := chat.Message{Preview: m.Preview, Title: m.Title, Tone: m.Tone, Note: m.Note, Mentions: m.Mentions}
	for _, b := range m.Buttons {
		if b.URL != "" {
			out.Buttons = append(out.Buttons, b)
		}
	}
	out.Sections = []chat.Section{{Lines: []chat.Text{chat.Plain("This message could not be shown in full; open it in Defender.")}}}
	return out
}

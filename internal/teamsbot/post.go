package teamsbot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	libactivity "github.com/infracloudio/msbotbuilder-go/core/activity"
	"github.com/infracloudio/msbotbuilder-go/schema"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// Post implements [chat.Poster]. Without a thread, a post to a channel begins
// one. Teams has no broadcast: what must be noticed carries a mention.
func (b *Bot) Post(ctx context.Context, p chat.Post) (chat.Ref, error) {
	if p.To.Platform() != identity.Teams {
		return chat.Ref{}, fmt.Errorf("post to %s: not a Teams destination", p.To)
	}
	if person, ok := p.To.Account(); ok {
		to, err := b.personalChat(ctx, person)
		if err != nil {
			return chat.Ref{}, err
		}
		ref, err := b.send(ctx, to, summary(p.Message), b.drawnIn(ctx, to, p.Message, fileNotes(p.Message.Files, "You can save %s from the message below.")...))
		if err != nil {
			return chat.Ref{}, err
		}
		b.offerFiles(ctx, person, p.Message.Files)
		return ref, nil
	}
	to, err := b.locate(ctx, p.To.ID())
	if err != nil {
		return chat.Ref{}, err
	}
	if err := b.checkPlace(ctx, to, p.Admits); err != nil {
		return chat.Ref{}, err
	}
	if isChannel(to.ID) {
		to.Thread = p.Thread
	}
	return b.send(ctx, to, summary(p.Message), b.drawnIn(ctx, to, p.Message, fileNotes(p.Message.Files, "%s cannot be attached in a Teams channel.")...))
}

// Edit implements [chat.Poster].
func (b *Bot) Edit(ctx context.Context, ref chat.Ref, m chat.Message) error {
	if ref.IsZero() {
		return chat.ErrGone
	}
	return b.edit(ctx, ref, false, summary(m), b.drawnIn(ctx, ref.Conversation, m))
}

// Find implements [chat.Poster]. Bot Connector has no call to read messages.
func (b *Bot) Find(context.Context, chat.Post, time.Time) (chat.Ref, bool, error) {
	return chat.Ref{}, false, nil
}

// isChannel tells channels, which have threads, from chats, which have none.
func isChannel(id string) bool {
	return strings.HasSuffix(id, "@thread.tacv2") || strings.HasSuffix(id, "@thread.skype")
}

// locate finds the tenant of a conversation that is known by ID alone.
func (b *Bot) locate(ctx context.Context, id string) (chat.Conversation, error) {
	c := chat.Conversation{Platform: identity.Teams, Workspace: b.tenants[0], ID: id, Direct: strings.HasPrefix(id, personalPrefix)}
	if len(b.tenants) == 1 {
		return c, nil
	}
	for _, t := range b.tenants {
		_, ok, err := b.reference(ctx, t, id)
		if err != nil {
			return chat.Conversation{}, err
		}
		if ok {
			c.Workspace = t
			break
		}
	}
	return c, nil
}

// serviceURL is where the conversation was last heard from, or the cloud's
// default.
func (b *Bot) serviceURL(ctx context.Context, tenant, key string) (string, error) {
	r, ok, err := b.reference(ctx, tenant, key)
	if err != nil {
		return "", err
	}
	if !ok || r.ServiceURL == "" {
		return b.services.fallback(), nil
	}
	return r.ServiceURL, nil
}

// personalChat is the person's chat with the bot, made when it is not known.
func (b *Bot) personalChat(ctx context.Context, p identity.Principal) (chat.Conversation, error) {
	const op = "open personal chat"
	if !slices.Contains(b.tenants, p.Workspace) || !isGUID(p.Account) {
		return chat.Conversation{}, fmt.Errorf("%s: %w: the account is of no configured tenant", op, chat.ErrNotThere)
	}
	c := chat.Conversation{Platform: identity.Teams, Workspace: p.Workspace, Direct: true}
	r, ok, err := b.reference(ctx, p.Workspace, personalKey(p.Account))
	if err != nil {
		return chat.Conversation{}, fmt.Errorf("%s: %w", op, err)
	}
	if ok && r.ConversationID != "" {
		c.ID = r.ConversationID
		return c, nil
	}
	serviceURL := b.services.fallback()
	if r.ServiceURL != "" {
		serviceURL = r.ServiceURL
	}
	var made struct {
		ID string `json:"id"`
	}
	// Asking twice gives the same chat, so a lost answer does no harm.
	err = b.connector.do(ctx, request{
		op: op, method: http.MethodPost, serviceURL: serviceURL, path: []string{"conversations"},
		body: object{
			"isGroup": false, "bot": object{"id": b.botID()}, "members": []object{{"id": p.Account}},
			"tenantId": p.Workspace, "channelData": object{"tenant": object{"id": p.Workspace}},
		},
	}, &made)
	if err != nil {
		return chat.Conversation{}, err
	}
	if made.ID == "" {
		return chat.Conversation{}, fmt.Errorf("%s: the answer holds no ID", op)
	}
	c.ID = made.ID
	for _, key := range []string{personalKey(p.Account), made.ID} {
		b.learn(Reference{Tenant: p.Workspace, Key: key, ConversationID: made.ID, ServiceURL: serviceURL})
	}
	return c, nil
}

// send posts one card. Text beside it would become a message of its own, and no
// ID would come back.
func (b *Bot) send(ctx context.Context, to chat.Conversation, summary string, card object) (chat.Ref, error) {
	return b.sendAttachment(ctx, to, summary, object{"contentType": cardContentType, "content": card})
}

// sendTargeted posts one card that only person sees.
func (b *Bot) sendTargeted(ctx context.Context, to chat.Conversation, person identity.Principal, summary string, card object) (chat.Ref, error) {
	c, err := b.call(ctx, "post targeted message", chat.Ref{Conversation: to})
	if err != nil {
		return chat.Ref{}, err
	}
	c.targeted = true
	c.body = message(summary, object{"contentType": cardContentType, "content": card})
	c.body["recipient"] = object{"id": person.Address, "isTargeted": true}
	return b.make(c, to)
}

func (b *Bot) sendAttachment(ctx context.Context, to chat.Conversation, summary string, attachment object) (chat.Ref, error) {
	c, err := b.call(ctx, "post message", chat.Ref{Conversation: to})
	if err != nil {
		return chat.Ref{}, err
	}
	c.body = message(summary, attachment)
	return b.make(c, to)
}

// make posts what c holds.
func (b *Bot) make(c *call, to chat.Conversation) (chat.Ref, error) {
	reply := libactivity.HandlerFuncs{OnMessageFunc: func(*libactivity.TurnContext) (schema.Activity, error) {
		return c.address(), nil
	}}
	if err := b.adapter(c).ProcessActivity(c.ctx, schema.Activity{Type: schema.Message}, reply); err != nil {
		return chat.Ref{}, c.plain(err)
	}
	if c.id == "" {
		return chat.Ref{}, fmt.Errorf("post message: the answer holds no ID: %w", chat.ErrUnclear)
	}
	ref := chat.Ref{Conversation: to, MessageID: c.id}
	b.own.add(ref)
	return ref, nil
}

// edit redraws a message. A targeted one is told by that alone: its recipient stays.
func (b *Bot) edit(ctx context.Context, ref chat.Ref, targeted bool, summary string, card object) error {
	c, err := b.call(ctx, "edit message", ref)
	if err != nil {
		return err
	}
	c.targeted = targeted
	c.body = message(summary, object{"contentType": cardContentType, "content": card})
	return c.gone(c.plain(b.adapter(c).UpdateActivity(ctx, c.address())))
}

func (b *Bot) remove(ctx context.Context, ref chat.Ref) error {
	c, err := b.call(ctx, "delete message", ref)
	if err != nil {
		return err
	}
	a := c.address()
	return c.gone(c.plain(b.adapter(c).DeleteActivity(ctx, ref.MessageID, schema.ConversationReference{
		Conversation: a.Conversation, ServiceURL: a.ServiceURL, ChannelID: a.ChannelID,
	})))
}

func message(summary string, attachment object) object {
	body := object{"type": "message", "attachments": []object{attachment}}
	if summary != "" {
		body["summary"] = summary
	}
	return body
}

// call is one use of the library's adapter, as its client.Client. The library
// pastes unescaped IDs into the address and loses the new message's ID, so the
// call builds the address itself and keeps the ID.
type call struct {
	ctx          context.Context
	connector    *connector
	op           string
	serviceURL   string
	conversation string // with thread
	activity     string
	targeted     bool
	body         object
	id           string
	err          error // as the connector gave it, before the library wrapped it
}

func (b *Bot) call(ctx context.Context, op string, ref chat.Ref) (*call, error) {
	in := ref.Conversation
	if in.Workspace == "" {
		located, err := b.locate(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		in.Workspace = located.Workspace
	}
	serviceURL, err := b.serviceURL(ctx, in.Workspace, in.ID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	conversation := in.ID
	if in.Thread != "" && isChannel(in.ID) {
		conversation += ";messageid=" + in.Thread
	}
	return &call{
		ctx: ctx, connector: b.connector, op: op, serviceURL: serviceURL,
		conversation: conversation, activity: ref.MessageID,
	}, nil
}

// address is the call as the library's adapter wants to see it.
func (c *call) address() schema.Activity {
	return schema.Activity{
		Type: schema.Message, ID: c.activity, ChannelID: teamsChannel, ServiceURL: c.serviceURL,
		Conversation: schema.ConversationAccount{ID: c.conversation},
	}
}

// Post implements client.Client.
func (c *call) Post(url.URL, schema.Activity) error {
	var made struct {
		ID string `json:"id"`
	}
	c.err = c.connector.do(c.ctx, c.request(http.MethodPost, true), &made)
	c.id = made.ID
	return c.err
}

// Put implements client.Client.
func (c *call) Put(url.URL, schema.Activity) error {
	c.err = c.connector.do(c.ctx, c.request(http.MethodPut, false), nil)
	return c.err
}

// Delete implements client.Client.
func (c *call) Delete(url.URL, schema.Activity) error {
	c.err = c.connector.do(c.ctx, c.request(http.MethodDelete, false), nil)
	return c.err
}

func (c *call) request(method string, effect bool) request {
	r := request{
		op: c.op, method: method, serviceURL: c.serviceURL, effect: effect,
		path: []string{"conversations", c.conversation, "activities"},
	}
	if method != http.MethodPost {
		r.path = append(r.path, c.activity)
	}
	if c.body != nil {
		r.body = c.body
	}
	if c.targeted {
		r.query = url.Values{"isTargetedActivity": {"true"}}
	}
	return r
}

// plain is the connector's own error without the library's words around it.
func (c *call) plain(err error) error {
	if err != nil && c.err != nil {
		return c.err
	}
	return err
}

// gone turns "not found" for a message into chat.ErrGone.
func (c *call) gone(err error) error {
	var refused *ConnectorError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound && refused.Code != "ConversationNotFound" {
		return fmt.Errorf("%w: %s", chat.ErrGone, refused.Error())
	}
	return err
}

// reference is where a conversation was last heard from.
func (b *Bot) reference(ctx context.Context, tenant, key string) (Reference, bool, error) {
	if r, ok := b.known.get(tenant, key); ok {
		return r, true, nil
	}
	r, ok, err := b.references.Get(ctx, tenant, key)
	if err != nil {
		return Reference{}, false, fmt.Errorf("read conversation reference: %w", err)
	}
	return r, ok, nil
}

// learn keeps references that are news. A failure to store costs nothing now and
// is made good by the next activity.
func (b *Bot) learn(refs ...Reference) {
	refs = slices.DeleteFunc(refs, func(r Reference) bool { return !b.known.put(r) })
	if len(refs) == 0 {
		return
	}
	stored := b.tasks.start(func(ctx context.Context) {
		for _, r := range refs {
			if err := b.references.Put(ctx, r); err != nil {
				b.known.forget(r)
				b.log.WarnContext(ctx, "conversation reference not stored", "tenant_id", r.Tenant, "conversation_id", r.Key, "error", err)
			}
		}
	})
	if !stored {
		for _, r := range refs {
			b.known.forget(r)
		}
	}
}

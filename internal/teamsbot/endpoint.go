package teamsbot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/wire"
)

const maxBody = 256 << 10

// Endpoint is the handler for POST /api/messages. What people ask goes to h.
func (b *Bot) Endpoint(h chat.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := b.receive(w, r)
		if err != nil {
			b.refuse(w, r, err)
			return
		}
		if !a.composing() {
			b.learn(a.references()...)
		}
		if by, ok := a.by(); ok {
			b.addresses.put(by)
		}
		switch {
		case strings.HasPrefix(a.From.ID, "28:"): // another bot, or this one
			w.WriteHeader(http.StatusOK)
		case a.Type == "message":
			b.onMessage(w, r, h, a)
		case a.Type == "invoke":
			b.onInvoke(w, r, h, a)
		default: // also messageUpdate: an edited command does not run again
			w.WriteHeader(http.StatusOK)
		}
	})
}

// receive returns an activity that has passed every check.
func (b *Bot) receive(w http.ResponseWriter, r *http.Request) (activity, error) {
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return activity{}, &refusal{http.StatusMethodNotAllowed, "not a POST"}
	case r.URL.RawQuery != "" || r.URL.ForceQuery:
		return activity{}, &refusal{http.StatusBadRequest, "query string in the address"}
	case !isJSON(r.Header):
		return activity{}, &refusal{http.StatusUnsupportedMediaType, "not application/json in UTF-8"}
	case r.ContentLength > maxBody:
		return activity{}, &refusal{http.StatusRequestEntityTooLarge, "body too large"}
	}
	if _, err := b.verifier.header(r.Header); err != nil {
		return activity{}, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			return activity{}, &refusal{http.StatusRequestEntityTooLarge, "body too large"}
		}
		return activity{}, &refusal{http.StatusBadRequest, "body could not be read"}
	}
	if err := wire.StrictJSON(body); err != nil {
		return activity{}, &refusal{http.StatusBadRequest, err.Error()}
	}
	a, err := decodeActivity(body)
	if err != nil {
		return activity{}, &refusal{http.StatusBadRequest, err.Error()}
	}
	if err := b.authenticate(r, a); err != nil {
		return activity{}, err
	}
	if err := a.checkTenant(b.tenants); err != nil {
		b.refused.Tell(r.Context(), identity.Principal{Platform: identity.Teams, Workspace: a.tenant, Account: a.From.ObjectID}, chat.RefusedForeign)
		return activity{}, err
	}
	return a, nil
}

// authenticate lets the library's adapter parse and verify the request. It gets
// a body with only the fields that the verification looks at, because its own
// type cannot decode every activity.
func (b *Bot) authenticate(r *http.Request, a activity) error {
	body, err := a.skeleton()
	if err != nil {
		return &refusal{http.StatusBadRequest, "activity cannot be encoded again"}
	}
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	_, err = b.adapter(nil).ParseRequest(r.Context(), again)
	if err == nil {
		return nil
	}
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		return refused
	}
	return unauthorized("request could not be authenticated")
}

func isJSON(h http.Header) bool {
	if len(h.Values("Content-Type")) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

// refuse answers with the status alone. The reason goes to the log, at a bounded
// rate, and holds nothing of what came in.
func (b *Bot) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, reason := http.StatusInternalServerError, err.Error()
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		status = refused.status
	}
	if b.refusals.AllowN(b.now(), 1) {
		b.log.WarnContext(r.Context(), "request refused", "status_code", status, "reason", reason)
	}
	w.WriteHeader(status)
}

// references are the places that an activity came from.
func (a activity) references() []Reference {
	var data struct {
		Team     struct{ ID string } `json:"team"`
		Channel  struct{ ID string } `json:"channel"`
		Settings struct {
			SelectedChannel struct{ ID string } `json:"selectedChannel"`
		} `json:"settings"`
	}
	_ = json.Unmarshal(a.ChannelData, &data) // other shapes name no places
	in := a.in()
	var refs []Reference
	for _, id := range []string{in.ID, data.Team.ID, data.Channel.ID, data.Settings.SelectedChannel.ID} {
		if id != "" {
			refs = append(refs, Reference{Tenant: a.tenant, Key: id, ConversationID: id, ServiceURL: a.ServiceURL})
		}
	}
	if by, ok := a.by(); ok && in.Direct {
		refs = append(refs, Reference{Tenant: a.tenant, Key: personalKey(by.Account), ConversationID: in.ID, ServiceURL: a.ServiceURL})
	}
	return refs
}

// onMessage acknowledges a message and works on it afterwards.
func (b *Bot) onMessage(w http.ResponseWriter, r *http.Request, h chat.Handler, a activity) {
	by, ok := a.by()
	if !ok {
		b.refuse(w, r, forbidden("sender without object ID"))
		return
	}
	inv, targeted, ok := b.messageInvocation(a, by)
	if !ok || !b.seen.first(inv.Delivery) {
		w.WriteHeader(http.StatusOK)
		return
	}
	b.standings.saw(by, inv.In.ID)
	if a.Recipient.IsTargeted {
		b.targeting.saw(a.tenant)
	}
	accepted := b.tasks.start(func(ctx context.Context) {
		if inv.Kind != chat.Command && !b.onOurs(ctx, a) {
			b.deliver(ctx, inv, chat.Response{Message: &chat.Message{Title: chat.Plain(wordNotOurs), Tone: chat.Warning}}, targeted)
			return
		}
		b.deliver(ctx, inv, b.handle(ctx, h, inv), targeted)
	})
	if !accepted {
		b.seen.forget(inv.Delivery)
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// messageInvocation makes a command of text for the bot, or a click of what old
// clients send in place of a card action. Anything else is not for the bot.
// targeted tells that others do not see what is answered.
func (b *Bot) messageInvocation(a activity, by identity.Principal) (inv chat.Invocation, targeted, ok bool) {
	targeted = a.Recipient.IsTargeted
	if len(a.Value) > 0 && string(a.Value) != "null" {
		d, err := decodeCardData(a.Value)
		inv := a.invocation(d, by)
		inv.At = b.now()
		return inv, targeted || d.aside, err == nil
	}
	text, mentioned := a.command(b.botID())
	if !mentioned && !targeted && !a.in().Direct {
		return chat.Invocation{}, false, false
	}
	return chat.Invocation{
		Kind: chat.Command, Delivery: a.delivery(), By: by, In: a.in(), Text: text, At: b.now(),
	}, targeted, true
}

// handle asks h. A panic is answered like any other failure: with a reference to
// the log.
func (b *Bot) handle(ctx context.Context, h chat.Handler, inv chat.Invocation) (resp chat.Response) {
	defer func() {
		if p := recover(); p != nil {
			resp = chat.Response{Message: b.failed(ctx, p)}
		}
	}()
	return h.Handle(ctx, inv)
}

// failed logs what went wrong and returns what to say about it.
func (b *Bot) failed(ctx context.Context, cause any) *chat.Message {
	ref := uuid.NewString()[:8]
	b.log.ErrorContext(ctx, "invocation failed", "ref", ref, "error", cause)
	return &chat.Message{
		Tone: chat.Danger, Title: chat.Plain("Something went wrong (ref " + ref + ")"),
		Note: chat.Plain("The details are in mdebot's log under that ref. Nothing is known to have changed; look before you try again."),
	}
}

package teamsbot

import (
	"context"
	"net/http"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

// invokeTime is how long an invoke may wait for its answer; Teams is told to wait
// two seconds for the whole of it.
const invokeTime = 1700 * time.Millisecond

// finalTime is how long a dialog waits for what came of it, within invokeTime.
const finalTime = 1500 * time.Millisecond

// Media types of answers to adaptiveCard/action.
const (
	answerCard    = "application/vnd.microsoft.card.adaptive"
	answerMessage = "application/vnd.microsoft.activity.message"
	answerError   = "application/vnd.microsoft.error"
)

// reply is the body of an invoke's response and the work that follows it.
type reply struct {
	body object // nil: an empty body
	then func(ctx context.Context)
	// final does the work before the response, until the given moment, for a better
	// one.
	final func(ctx context.Context, until time.Time) reply
	// late goes on when the response was too late and nobody saw it; nil delivers
	// the handler's answer from the beginning.
	late func(ctx context.Context)
}

// onInvoke answers in the response body.
func (b *Bot) onInvoke(w http.ResponseWriter, r *http.Request, h chat.Handler, a activity) {
	by, ok := a.by()
	if !ok {
		b.refuse(w, r, forbidden("sender without object ID"))
		return
	}
	var d cardData
	var automatic bool
	var err error
	answer, say := b.answerCard, cardNote
	switch a.Name {
	case "adaptiveCard/action":
		d, automatic, err = decodeExecute(a.Value)
	case "task/fetch", "task/submit":
		d, err = decodeTask(a.Value)
		answer, say = b.answerTask, taskNote
	case "application/search":
		b.onSearch(w, r, h, a, by)
		return
	case "composeExtension/queryLink":
		b.onLink(w, r, h, a, by)
		return
	case "composeExtension/query":
		b.onFind(w, r, h, a, by)
		return
	case "fileConsent/invoke":
		b.onFileConsent(w, r, a, by)
		return
	default:
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	switch {
	case err == nil && d.view && a.Name == "adaptiveCard/action":
		b.onView(w, r, h, a, d, by)
		return
	case automatic: // a client sends it by itself; nothing may come of that
		respond(w, say(""))
		return
	case err != nil:
		b.log.InfoContext(r.Context(), "card action not understood", "tenant_id", a.tenant, "conversation_id", a.Conversation.ID)
		respond(w, say("This card is of an older version; ask again to get a new one."))
		return
	// What comes from a dialog, which the bot has drawn, need not name a message; what asks
	// for one does.
	case a.Name != "task/submit" && !b.onOurs(r.Context(), a):
		respond(w, say(wordNotOurs))
		return
	}
	inv := a.invocation(d, by)
	inv.At = b.now()
	if !b.seen.first(inv.Delivery) {
		b.refused.Tell(r.Context(), by, chat.RefusedRepeated)
		respond(w, say("This was received already."))
		return
	}
	b.standings.saw(by, inv.In.ID)
	// What is pressed on a card that one person alone sees is answered to that person
	// alone, whatever the answer is.
	targeted := d.aside || a.Recipient.IsTargeted
	respond(w, b.withinTime(h, inv, targeted, say, func(ctx context.Context, resp chat.Response) reply {
		rep := answer(ctx, b.replies(inv, resp, targeted), inv, d.form, resp)
		if targeted {
			markAside(rep.body)
		}
		return rep
	}))
}

// withinTime asks h and returns its answer, or a word that it follows when h
// takes too long. Work after the answer begins when the answer is on its way.
func (b *Bot) withinTime(h chat.Handler, inv chat.Invocation, targeted bool, say func(string) object, answer func(context.Context, chat.Response) reply) object {
	answered, gone := make(chan object), make(chan struct{})
	until := time.Now().Add(finalTime)
	accepted := b.tasks.start(func(ctx context.Context) {
		resp := b.handle(ctx, h, inv)
		rep := answer(ctx, resp)
		if rep.final != nil && time.Now().Before(until) {
			rep = rep.final(ctx, until)
		}
		select {
		case answered <- rep.body:
			if rep.then != nil {
				rep.then(ctx)
			}
		case <-gone:
			if rep.late == nil {
				b.deliver(ctx, inv, resp, targeted)
				return
			}
			rep.late(ctx)
		}
	})
	if !accepted {
		b.seen.forget(inv.Delivery)
		return say("I am too busy right now; please try again in a moment.")
	}
	timer := time.NewTimer(invokeTime)
	defer timer.Stop()
	select {
	case body := <-answered:
		return body
	case <-timer.C:
		close(gone)
		return say(wordStill)
	}
}

// respond writes an invoke's answer.
func respond(w http.ResponseWriter, body object) { respondWith(w, http.StatusOK, body) }

func respondWith(w http.ResponseWriter, status int, body object) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(encode(body)) // the caller has gone; nobody is left to tell
}

// cardNote answers adaptiveCard/action with a line under the card.
func cardNote(text string) object {
	return object{"statusCode": http.StatusOK, "type": answerMessage, "value": text}
}

// cardError answers with a line drawn as an error.
func cardError(text string) object {
	return object{"statusCode": http.StatusBadRequest, "type": answerError, "value": object{"code": "BadRequest", "message": text}}
}

// cardReplacement answers with a card in place of the clicked one, for the one
// who clicked.
func cardReplacement(card object) object {
	return object{"statusCode": http.StatusOK, "type": answerCard, "value": card}
}

// taskNote answers a dialog with a line in its place.
func taskNote(text string) object {
	if text == "" {
		return nil
	}
	return object{"task": object{"type": "message", "value": text}}
}

// taskCard opens a dialog or keeps it open.
func taskCard(title string, card object) object {
	return object{"task": object{"type": "continue", "value": object{
		"title": title, "height": "medium", "width": "medium",
		"card": object{"contentType": cardContentType, "content": card},
	}}}
}

const (
	wordWorking  = "Working on it…"
	wordReceived = "Received."
	wordFollows  = "The answer follows as a message."
	wordEveryone = "Everyone here sees it now."
	wordStill    = "Still working on it; the answer follows as a message."
	wordPersonal = "The answer is in our personal chat."
)

// answerCard draws the answer to a button, a menu or a form on a card.
func (b *Bot) answerCard(ctx context.Context, rs *replies, inv chat.Invocation, form string, resp chat.Response) reply {
	switch {
	case len(resp.Errors) > 0:
		return reply{body: b.formAgain(form, inv.Fields, resp.Errors, false)}
	case resp.Form != nil:
		return reply{body: cardNote("Please fill in the form below."), then: func(ctx context.Context) {
			b.deliver(ctx, inv, resp, rs.targeted)
		}}
	case inv.Kind == chat.Submit:
		return b.answerForm(ctx, rs, inv, form, resp)
	case resp.Audience == chat.Everyone && resp.Otherwise != nil && rs.guarded(ctx):
		return reply{body: cardNote(words(*resp.Otherwise))}
	case resp.Audience == chat.Everyone && resp.Message != nil:
		return reply{body: cardNote(wordEveryone), then: rs.showThenLater(resp)}
	case resp.Replace != nil:
		return reply{body: cardReplacement(card(*resp.Replace)), then: rs.later(resp)}
	case resp.Message == nil && resp.Later == nil:
		return reply{body: cardNote(wordReceived)}
	case resp.Message == nil:
		return reply{body: cardNote(wordWorking), then: rs.later(resp)}
	case isShort(*resp.Message):
		return reply{body: cardNote(words(*resp.Message)), then: rs.later(resp)}
	}
	return reply{body: cardNote(rs.follows(ctx)), then: rs.showThenLater(resp)}
}

// answerForm replaces a submitted form card, for everybody, by what came of it.
// Which message that is must be known here: the client says where a form stood,
// and could name any other message of the bot's.
func (b *Bot) answerForm(ctx context.Context, rs *replies, inv chat.Invocation, form string, resp chat.Response) reply {
	aside, known := b.shownIn(ctx, form, inv.Source)
	if resp.Message == nil {
		resp.Message = resp.Replace
	}
	m := chat.Message{Title: chat.Plain(wordReceived)}
	private := (!known || !aside) && rs.private(ctx) // a form that nobody else sees may become the answer
	switch {
	case private:
		m.Title = chat.Plain(rs.follows(ctx))
	case resp.Message != nil:
		m = *resp.Message
	case resp.Later != nil:
		m.Title = chat.Plain(wordWorking)
	}
	drawn := card(m)
	then := rs.later(resp)
	switch {
	case private:
		then = rs.showThenLater(resp)
	case known:
		rs.ref, rs.isAside = inv.Source, aside
	}
	return reply{body: cardReplacement(drawn), then: func(ctx context.Context) {
		if known {
			if err := b.edit(ctx, inv.Source, aside, summary(m), drawn); err != nil {
				b.log.WarnContext(ctx, "submitted form not replaced", "conversation_id", inv.Source.Conversation.ID, "message_id", inv.Source.MessageID, "error", err)
			}
		}
		if then != nil {
			then(ctx)
		}
	}}
}

// answerTask draws the answer to a button that opens a dialog, and to a dialog.
func (b *Bot) answerTask(ctx context.Context, rs *replies, inv chat.Invocation, form string, resp chat.Response) reply {
	m := resp.Message
	if m == nil {
		m = resp.Replace // there is no card in a dialog to replace
	}
	switch {
	case len(resp.Errors) > 0:
		return reply{body: b.formAgain(form, inv.Fields, resp.Errors, true)}
	case resp.Form != nil:
		return reply{body: b.dialog(*resp.Form, nil, nil)}
	case inv.Kind == chat.Submit && resp.Later != nil:
		return reply{body: taskNote(wordStill), then: rs.later(resp), final: func(ctx context.Context, until time.Time) reply {
			return rs.lastWord(ctx, until, resp)
		}}
	case m == nil && resp.Later == nil:
		return reply{body: taskNote(wordReceived)}
	case m == nil:
		return reply{body: taskNote(wordWorking), then: rs.later(resp)}
	case isShort(*m):
		return reply{body: taskNote(words(*m)), then: rs.later(resp)}
	}
	resp.Message = m
	return reply{body: taskNote(rs.follows(ctx)), then: rs.showThenLater(resp)}
}

// dialog draws a form, and keeps it so that it can be drawn again with errors.
func (b *Bot) dialog(f chat.Form, values, errors map[string]string) object {
	return taskCard(f.Title, formCard{form: f, key: b.keepForm(&keptForm{form: f}), values: values, errors: errors, dialog: true}.card())
}

// keptForm is a form that was drawn.
type keptForm struct {
	form chat.Form
	// posted is closed when shown is known; nil in dialogs.
	posted chan struct{}
	shown  shownForm
}

// postedTime is how long a submission waits for the answer to the post of its form,
// which Teams may have shown already.
const postedTime = time.Second

// shownForm is the message that a form stands in.
type shownForm struct {
	ref   chat.Ref
	aside bool // it is targeted
}

func (b *Bot) keepForm(f *keptForm) string {
	key, _ := b.forms.put(f, 1)
	return key
}

// shownIn reports whether the form stands in that message, and whether others see
// it.
func (b *Bot) shownIn(ctx context.Context, key string, message chat.Ref) (aside, known bool) {
	kept, ok := b.forms.get(key)
	if !ok || kept.posted == nil {
		return false, false
	}
	ctx, cancel := context.WithTimeout(ctx, postedTime)
	defer cancel()
	select {
	case <-kept.posted:
	case <-ctx.Done():
		return false, false
	}
	at := kept.shown
	known = !at.ref.IsZero() && at.ref.MessageID == message.MessageID && at.ref.Conversation.ID == message.Conversation.ID
	return known && at.aside, known
}

// formAgain shows the submitted form with errors and with what was typed. A form
// that is not known any more, such as after a restart, leaves only the errors.
func (b *Bot) formAgain(key string, values, errors map[string]string, dialog bool) object {
	kept, ok := b.forms.get(key)
	switch {
	case ok && dialog:
		return b.dialog(kept.form, values, errors)
	case ok:
		return cardReplacement(formCard{form: kept.form, key: b.keepForm(kept), values: values, errors: errors}.card())
	case dialog:
		return taskNote(listed(errors))
	default:
		return cardError(listed(errors))
	}
}

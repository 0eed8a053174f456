package slackbot

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

const (
	// progressEvery spaces the edits that only show progress.
	progressEvery = 2 * time.Second
	// throttleWait is the longest wait that an answer in place is worth.
	throttleWait = 5 * time.Second
)

// place is where the answers to one delivery go.
type place struct {
	channel string
	thread  string
	user    string
	// direct chats are answered with plain messages; elsewhere answers are
	// ephemeral unless they are for everyone.
	direct bool
	// said is the message that asked, for answers to everyone in its thread.
	said string
	// response answers where it came from, also where the bot is no member. It may be
	// nil.
	response *response
	// clicked places belong to a button in the message source.
	clicked         bool
	source          string
	ephemeralSource bool
	// home places are a click in the Home tab, which is answered in the direct chat.
	home bool
	// replaceable says that nobody misses the message source once there is an
	// answer.
	replaceable bool
}

// responsePlace is the place of something that brought a response address.
func (b *Bot) responsePlace(address string, inv chat.Invocation) place {
	at := place{channel: inv.In.ID, thread: inv.In.Thread, user: inv.By.Account}
	if b.allowedResponse(address) {
		at.response = &response{address: address, until: b.now().Add(responseLife - time.Minute)}
	}
	return at
}

// placeOf is the place that a form was asked for in.
func (b *Bot) placeOf(from origin, inv chat.Invocation) place {
	at := place{
		channel: from.Channel, thread: from.Thread, user: inv.By.Account, direct: from.Direct,
		clicked: from.Clicked, source: from.Source,
		ephemeralSource: from.Ephemeral, replaceable: from.Replaceable,
	}
	if b.allowedResponse(from.ResponseURL) {
		at.response = &response{address: from.ResponseURL, until: time.Unix(from.Until, 0)}
		if from.Clicked && !from.Ephemeral {
			// The click may have come long before, or to another replica.
			at.response = b.clicks.remember(inv.Source, at.response)
		}
	}
	return at
}

// answer sends what the handler said.
func (b *Bot) answer(ctx context.Context, d delivery, resp chat.Response) {
	out := &replier{b: b, at: d.at, everyone: resp.Audience == chat.Everyone, otherwise: resp.Otherwise}
	if d.at.replaceable {
		out.takeOver()
	}
	switch {
	case resp.Form != nil && d.trigger == "":
		out.say(ctx, formOffer(d.inv.Text, *resp.Form))
	case resp.Form != nil:
		if err := b.openForm(ctx, d, *resp.Form); err != nil {
			b.logger.WarnContext(ctx, "form not opened", slog.Any("error", err))
			out.say(ctx, chat.Message{
				Tone: chat.Warning, Title: chat.Plain("The form did not open in time"),
				Sections: []chat.Section{{Lines: []chat.Text{chat.Plain("Slack allows three seconds for it. Please try again.")}}},
			})
		}
	case d.again && resp.Later != nil:
		out.say(ctx, chat.Message{
			Tone: chat.Warning, Title: chat.Plain("There is no form for this any more"),
			Note: chat.Plain("Nothing was done. Type the command again."),
		})
		return
	case resp.Replace != nil:
		out.replace(ctx, *resp.Replace)
	case resp.Message != nil && (resp.Later == nil || out.replaceable()):
		out.say(ctx, *resp.Message)
	}
	if resp.Later == nil {
		return
	}
	if !b.runLater(ctx, func(ctx context.Context) { resp.Later(ctx, out) }) {
		out.say(ctx, chat.Message{
			Tone: chat.Warning, Title: chat.Plain("There is too much to do right now"),
			Sections: []chat.Section{{Lines: []chat.Text{chat.Plain("Nothing was done. Please try again in a minute.")}}},
		})
	}
}

func (b *Bot) openForm(ctx context.Context, d delivery, f chat.Form) error {
	from := origin{
		Channel: d.inv.In.ID, Thread: d.inv.In.Thread, Source: d.inv.Source.MessageID, Direct: d.at.direct,
		Clicked: d.at.clicked, Ephemeral: d.again && d.at.ephemeralSource, Replaceable: d.again,
	}
	if r := d.at.response; r != nil {
		from.ResponseURL, from.Until = r.address, r.until.Unix()
	}
	view, err := modal(f, from)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := b.client.Load().OpenViewContext(ctx, d.trigger, view); err != nil {
		return refusal("open a form", err)
	}
	return nil
}

// formOffer stands in for a form that cannot open by itself: Slack opens one only
// after a click. The click asks for the form again in the words that asked for it
// first, with the rights of whoever clicks.
func formOffer(text string, f chat.Form) chat.Message {
	m := chat.Message{
		Title: chat.Plain(f.Title + ": something is missing"), Tone: chat.Notice,
		Note: chat.Plain("Slack opens a form only after a click. You can also type all of it in one message; help and the name of the command shows how."),
	}
	if text != "" && utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxFormText {
		m.Buttons = []chat.Button{{Label: "Open the form", Action: formAction, Value: text, Style: chat.StylePrimary, OpensForm: true}}
	}
	return m
}

// formAction is the button of formOffer. Its value is the text of the command.
const formAction = "form"

// maxFormText is what the value of a button holds.
const maxFormText = 2_000

// replier answers one delivery, as privately as was asked for. It implements
// [chat.Replier].
type replier struct {
	b         *Bot
	at        place
	everyone  bool
	otherwise *chat.Message // in place of an answer that not everyone may see

	mu       sync.Mutex
	used     bool      // the response address, by an answer
	replaces bool      // the response address edits the clicked message
	posted   chat.Ref  // an answer that can be edited
	shown    time.Time // the last time anything was sent
	answered bool
}

// Progress implements [chat.Replier].
func (r *replier) Progress(ctx context.Context, m chat.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered || r.b.now().Sub(r.shown) < progressEvery || !r.editable() {
		return
	}
	r.shown = r.b.now()
	if err := r.inPlace(ctx, m); err != nil {
		r.b.logger.DebugContext(ctx, "progress not shown", slog.Any("error", err))
	}
}

// replaceable reports whether the final answer takes the place of the first one.
// Beside a clicked card there would be two; Slack itself shows that the click is
// being worked on.
func (r *replier) replaceable() bool {
	return !r.at.clicked || r.at.direct || r.replaces
}

// editable reports whether progress can be shown without adding a message for
// each step, and with the last use of a response address kept for the answer.
func (r *replier) editable() bool {
	switch {
	case r.at.direct, !r.posted.IsZero():
		return true
	case r.at.response != nil:
		return r.at.response.left(r.b.now()) > 1 && (!r.at.clicked || r.replaces)
	}
	return r.everyone
}

// Answer implements [chat.Replier].
func (r *replier) Answer(ctx context.Context, m chat.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered {
		return errors.New("this was answered before")
	}
	r.answered = true
	return r.send(ctx, m)
}

// say sends a first answer.
func (r *replier) say(ctx context.Context, m chat.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.send(ctx, m); err != nil {
		r.b.logger.WarnContext(ctx, "answer not sent", slog.Any("error", err))
	}
}

// replace draws m over the clicked message where only the clicker sees it, and
// says it otherwise: nobody rewrites a card for everyone by clicking.
func (r *replier) replace(ctx context.Context, m chat.Message) {
	r.takeOver()
	r.say(ctx, m)
}

// takeOver lets answers take the place of the clicked message where only the
// clicker sees it.
func (r *replier) takeOver() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.at.direct && r.at.source != "":
		r.posted = chat.Ref{Conversation: r.conversation(), MessageID: r.at.source}
	case r.at.ephemeralSource:
		r.replaces = true
	}
}

// send shows m in place or, when that is impossible, in the direct chat, and
// uploads what it carries.
func (r *replier) send(ctx context.Context, m chat.Message) error {
	r.shown = r.b.now()
	err := r.inPlace(ctx, m)
	var throttled *chat.ThrottledError
	if errors.As(err, &throttled) && throttled.RetryAfter <= throttleWait {
		select {
		case <-time.After(throttled.RetryAfter):
			err = r.inPlace(ctx, m)
		case <-ctx.Done():
		}
	}
	if err != nil && !r.at.direct {
		if r.everyone && r.otherwise != nil {
			m = *r.otherwise
		}
		r.b.logger.InfoContext(ctx, "answer moved to the direct chat", slog.Any("error", err))
		if errors.Is(err, errNotInChannel) {
			m.Sections = slices.Concat(m.Sections, []chat.Section{{Lines: []chat.Text{
				chat.Plain("I am not in that channel. To have answers there, type this in it:"), chat.Plain("/invite @mdebot"),
			}}})
		}
		err = r.moveToDirect(ctx, m)
	}
	if err != nil {
		return err
	}
	return r.upload(ctx, m)
}

func (r *replier) conversation() chat.Conversation {
	return chat.Conversation{Platform: identity.Slack, ID: r.at.channel, Thread: r.at.thread, Direct: r.at.direct}
}

// inPlace makes one attempt to show m where it was asked for.
func (r *replier) inPlace(ctx context.Context, m chat.Message) error {
	switch {
	case !r.posted.IsZero():
		return r.b.Edit(ctx, r.posted, m)
	case r.at.direct:
		return r.post(ctx, r.at.channel, r.at.thread, m)
	case r.at.response != nil:
		return r.useResponse(ctx, m)
	case r.everyone:
		if err := r.b.checkPlace(ctx, r.at.channel, r.b.admitted(r.at.channel)); err != nil {
			return err
		}
		thread := r.at.thread
		if thread == "" {
			thread = r.at.said
		}
		return r.post(ctx, r.at.channel, thread, m)
	case r.at.channel == "":
		return errors.New("nowhere to answer but the direct chat")
	}
	return r.b.withFallback(m, func(d drawn) error {
		opts := messageOptions(d)
		if r.at.thread != "" {
			opts = append(opts, slack.MsgOptionTS(r.at.thread))
		}
		_, err := r.b.client.Load().PostEphemeralContext(ctx, r.at.channel, r.at.user, opts...)
		return wrapRefusal("answer in the channel", err)
	})
}

// post sends a message that later answers edit.
func (r *replier) post(ctx context.Context, channel, thread string, m chat.Message) error {
	ref, err := r.b.send(ctx, channel, thread, m)
	if err != nil {
		return err
	}
	r.posted = ref
	return nil
}

func (r *replier) useResponse(ctx context.Context, m chat.Message) error {
	if !r.at.response.take(r.b.now(), 0) {
		return errResponseUsed
	}
	everyone := r.everyone
	if everyone {
		everyone = r.b.checkPlace(ctx, r.at.channel, r.b.admitted(r.at.channel)) == nil
		if everyone {
			m = m.ForAll()
		} else if r.otherwise != nil {
			m = *r.otherwise
		}
	}
	body := responseBody{
		ResponseType: "ephemeral", ReplaceOriginal: r.replaces || !r.at.clicked && r.used,
	}
	if everyone {
		body.ResponseType = "in_channel"
	}
	if r.at.clicked && !r.replaces {
		body.ThreadTS = r.at.thread
	}
	r.used = true
	return r.b.withFallback(m, func(d drawn) error {
		body.Text, body.Blocks, body.Attachments = d.text, d.blocks, d.attachments
		_, err := r.b.postResponse(ctx, r.at.response.address, body)
		return err
	})
}

// moveToDirect sends this and all later answers to the asker's direct chat.
func (r *replier) moveToDirect(ctx context.Context, m chat.Message) error {
	channel, err := r.b.directChannel(ctx, r.at.user)
	if err != nil {
		return err
	}
	r.at = place{channel: channel, user: r.at.user, direct: true}
	r.posted = chat.Ref{}
	return r.post(ctx, channel, "", m)
}

// upload sends m's files to the asker's direct chat, where an ephemeral answer
// cannot hold them.
func (r *replier) upload(ctx context.Context, m chat.Message) error {
	if len(m.Files) == 0 && m.Picture == nil {
		return nil
	}
	channel, thread := r.at.channel, r.at.thread
	if !r.at.direct {
		var err error
		if channel, err = r.b.directChannel(ctx, r.at.user); err != nil {
			return err
		}
		thread = ""
	}
	sent, err := r.b.upload(ctx, channel, thread, m)
	for _, file := range sent {
		r.b.cfg.OnFile(ctx, file)
	}
	return err
}

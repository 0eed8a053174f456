package teamsbot

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/chat"
)

const (
	progressEvery = 2 * time.Second
	answerTries   = 4
	answerTime    = time.Minute
	maxNote       = 500
)

// deliver sends the answer to something that was acknowledged before: a message,
// or an invoke whose time was over.
func (b *Bot) deliver(ctx context.Context, inv chat.Invocation, resp chat.Response, targeted bool) {
	rs := b.replies(inv, resp, targeted)
	m := resp.Message
	if m == nil {
		m = resp.Replace
	}
	if m == nil && len(resp.Errors) > 0 {
		m = &chat.Message{Tone: chat.Warning, Title: chat.Plain("Something is missing"), Sections: []chat.Section{{Lines: []chat.Text{chat.Untrusted(listed(resp.Errors))}}}}
	}
	switch {
	case resp.Form != nil:
		kept := &keptForm{form: *resp.Form, posted: make(chan struct{})}
		key := b.keepForm(kept)
		rs.report(ctx, rs.show(ctx, kept.form.Title, func(aside bool) object {
			drawn := formCard{form: kept.form, key: key}.card()
			if aside {
				markAside(drawn)
			}
			return drawn
		}))
		kept.shown = shownForm{ref: rs.ref, aside: rs.isAside}
		close(kept.posted)
	case m != nil:
		rs.report(ctx, rs.say(ctx, *m))
	}
	rs.finish(ctx, resp)
}

// replies carries the answers to one invocation to where they belong.
type replies struct {
	bot      *Bot
	inv      chat.Invocation
	audience chat.Audience
	targeted bool // the question was visible to the asker alone
	// otherwise is said in private in place of an answer that not everyone may see.
	otherwise *chat.Message

	mu       sync.Mutex
	ref      chat.Ref // the first answer, when it is a message
	isAside  bool     // ref is a targeted message
	edited   time.Time
	answered bool
	pointed  bool // the thread has been told where a private answer is
}

var _ chat.Replier = (*replies)(nil)

func (b *Bot) replies(inv chat.Invocation, resp chat.Response, targeted bool) *replies {
	return &replies{bot: b, inv: inv, audience: resp.Audience, targeted: targeted, otherwise: resp.Otherwise}
}

// private tells that the answer must not be seen by others in the conversation. It
// may ask Teams who they are. Who asks unseen is answered unseen, unless the answer
// was asked for everybody.
func (r *replies) private(ctx context.Context) bool {
	unseen := r.targeted && r.audience != chat.Everyone
	return !r.inv.In.Direct && (r.audience == chat.Personal || unseen || r.guarded(ctx))
}

func (r *replies) follows(ctx context.Context) string {
	if r.private(ctx) && !r.bot.targeting.may(r.inv) {
		return wordPersonal
	}
	return wordFollows
}

// later is the work after the first answer, or nil.
func (r *replies) later(resp chat.Response) func(context.Context) {
	if resp.Later == nil {
		return nil
	}
	return func(ctx context.Context) { r.finish(ctx, resp) }
}

// showThenLater posts the message that was too large for the first answer.
func (r *replies) showThenLater(resp chat.Response) func(context.Context) {
	return func(ctx context.Context) {
		if resp.Message != nil {
			r.report(ctx, r.say(ctx, *resp.Message))
		}
		r.finish(ctx, resp)
	}
}

func (r *replies) finish(ctx context.Context, resp chat.Response) {
	if resp.Later != nil {
		r.work(ctx, resp, r)
	}
}

// work runs what follows the first answer, with a word to people if it panics.
func (r *replies) work(ctx context.Context, resp chat.Response, out chat.Replier) {
	defer func() {
		if p := recover(); p != nil {
			r.report(ctx, out.Answer(ctx, *r.bot.failed(ctx, p)))
		}
	}()
	resp.Later(ctx, out)
}

func (r *replies) report(ctx context.Context, err error) {
	if err != nil {
		r.bot.log.WarnContext(ctx, "answer not delivered", "tenant_id", r.inv.In.Workspace, "conversation_id", r.inv.In.ID, "error", err)
	}
}

// Progress implements [chat.Replier]. Updates that come too soon after the one
// before are dropped, and so are those that fail.
func (r *replies) Progress(ctx context.Context, m chat.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.bot.now()
	if r.answered || !r.edited.IsZero() && now.Sub(r.edited) < progressEvery {
		return
	}
	r.edited = now
	var err error
	if r.ref.IsZero() {
		r.ref, err = r.post(ctx, summary(m), r.drawnFor(ctx, m))
	} else {
		err = r.edit(ctx, summary(m), r.drawnFor(ctx, m))
	}
	if err != nil {
		r.bot.log.DebugContext(ctx, "progress not shown", "error", err)
	}
}

// Answer implements [chat.Replier].
func (r *replies) Answer(ctx context.Context, m chat.Message) error {
	r.mu.Lock()
	if r.answered {
		r.mu.Unlock()
		return errors.New("answered already")
	}
	r.answered = true
	r.mu.Unlock()
	return r.say(ctx, m)
}

// drawnFor draws m for all or, with aside, for the one person who sees it.
func (r *replies) drawnFor(ctx context.Context, m chat.Message, extra ...object) func(aside bool) object {
	return func(aside bool) object {
		if aside {
			return cardAside(m, extra...)
		}
		return r.bot.drawnIn(ctx, r.inv.In, m, extra...)
	}
}

// say shows a message with its files.
func (r *replies) say(ctx context.Context, m chat.Message) error {
	if r.audience == chat.Everyone && r.otherwise != nil && r.guarded(ctx) {
		m = *r.otherwise
	}
	if len(m.Files) == 0 {
		return r.show(ctx, summary(m), r.drawnFor(ctx, m))
	}
	if r.inv.In.Direct || r.private(ctx) && !r.bot.targeting.may(r.inv) {
		if err := r.show(ctx, summary(m), r.drawnFor(ctx, m, fileNotes(m.Files, "You can save %s from the message below.")...)); err != nil {
			return err
		}
		r.bot.offerFiles(ctx, r.inv.By, m.Files)
		return nil
	}
	// Files cannot be sent in channels, so the asker gets them alone; the card says
	// where they are, or that they could not be sent.
	where := "%s waits for you in our personal chat."
	if !r.bot.offerFiles(ctx, r.inv.By, m.Files) {
		where = "%s could not be sent: open a personal chat with me and ask there."
	}
	return r.show(ctx, summary(m), r.drawnFor(ctx, m, fileNotes(m.Files, where)...))
}

// show replaces the first answer, or posts it when there is none or it is gone.
func (r *replies) show(ctx context.Context, summary string, draw func(aside bool) object) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if !r.ref.IsZero() {
		err := patiently(ctx, func() error { return r.edit(ctx, summary, draw) })
		if err == nil || !errors.Is(err, chat.ErrGone) && !errors.Is(err, chat.ErrNotThere) {
			return err
		}
	}
	return patiently(ctx, func() (err error) {
		r.ref, err = r.post(ctx, summary, draw)
		return err
	})
}

func (r *replies) edit(ctx context.Context, summary string, draw func(aside bool) object) error {
	return r.bot.edit(ctx, r.ref, r.isAside, summary, draw(r.isAside))
}

// post puts a new message where the answer belongs: the thread of the question,
// where a private one is for the asker's eyes alone, or else the asker's personal
// chat with a pointer in the thread. A private answer is never posted in the open, a
// public one falls back to the personal chat. Who asked unseen is not pointed at.
func (r *replies) post(ctx context.Context, summary string, draw func(aside bool) object) (chat.Ref, error) {
	r.isAside = false
	if r.private(ctx) {
		ref, done, err := r.aside(ctx, summary, draw(true))
		if done {
			if r.isAside = err == nil; r.isAside {
				r.bot.keepOwn(ctx, ref)
			}
			return ref, err
		}
		ref, err = r.personally(ctx, summary, draw(false))
		if r.inv.Kind == chat.Command && !r.pointed && !r.targeted {
			r.point(ctx, err)
		}
		return ref, err
	}
	drawn := draw(false)
	ref, err := r.bot.send(ctx, r.inv.In, summary, drawn)
	if errors.Is(err, chat.ErrNotThere) && !r.inv.In.Direct {
		return r.personally(ctx, summary, drawn)
	}
	if err == nil {
		r.bot.keepOwn(ctx, ref)
	}
	return ref, err
}

func (r *replies) personally(ctx context.Context, summary string, drawn object) (chat.Ref, error) {
	to, err := r.bot.personalChat(ctx, r.inv.By)
	if err != nil {
		return chat.Ref{}, err
	}
	return r.bot.send(ctx, to, summary, drawn)
}

// point says in the thread where the private answer is, or why there is none.
func (r *replies) point(ctx context.Context, err error) {
	m := chat.Message{Title: chat.Plain(wordPersonal)}
	switch {
	case errors.Is(err, chat.ErrNotThere):
		m = chat.Message{Tone: chat.Warning, Title: chat.Plain("I cannot write to you in private: add me to your Teams apps, then ask again.")}
	case err != nil:
		return // it is tried again or reported by who asked for the post
	}
	r.pointed = true
	if _, err := r.bot.send(ctx, r.inv.In, summary(m), card(m)); err != nil {
		r.report(ctx, err)
	}
}

// patiently repeats what may pass, a few times. An answer that may have been
// posted is posted again: twice is better than never.
func patiently(ctx context.Context, try func() error) error {
	wait := time.Second
	for n := 1; ; n++ {
		err := try()
		if err == nil || n == answerTries || !mayPass(err) {
			return err
		}
		pause := wait
		if throttled := (*chat.ThrottledError)(nil); errors.As(err, &throttled) {
			pause = throttled.RetryAfter
		}
		wait *= 2
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

func mayPass(err error) bool {
	for _, final := range []error{chat.ErrNotThere, chat.ErrGone, chat.ErrTooBig, chat.ErrCredentials, errForeignHost, context.Canceled} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// isShort tells that a message fits in a line or two of text.
func isShort(m chat.Message) bool {
	if len(m.Facts) > 0 || m.Table != nil || m.Picture != nil || m.Menu != nil || len(m.Buttons) > 0 || len(m.Mentions) > 0 || len(m.Files) > 0 {
		return false
	}
	return utf8.RuneCountInString(words(m)) <= maxNote
}

// words is a short message as plain text.
func words(m chat.Message) string {
	var lines []string
	add := func(t chat.Text) {
		if s := note(t); s != "" {
			lines = append(lines, s)
		}
	}
	add(m.Title)
	for _, s := range m.Sections {
		add(chat.Plain(s.Heading))
		for _, t := range s.Lines {
			add(t)
		}
	}
	add(m.Note)
	return strings.Join(lines, "\n")
}

// listed is the errors of a form as text.
func listed(errors map[string]string) string {
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(errors)) {
		lines = append(lines, note(chat.Untrusted(errors[id])))
	}
	return strings.Join(lines, " ")
}

package teamsbot

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

// lastWord is a [chat.Replier] whose answer is the last word of a dialog, if it
// comes while the dialog waits and is a line or two. Any other is a message.
type lastWord struct {
	replies *replies

	mu     sync.Mutex
	closed bool          // the dialog no longer waits
	word   *chat.Message // what it ends with
	said   chan struct{} // closed with word
}

// lastWord does the work of a submitted dialog and ends the dialog with what came
// of it.
func (r *replies) lastWord(ctx context.Context, until time.Time, resp chat.Response) reply {
	l := &lastWord{replies: r, said: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.work(ctx, resp, l)
	}()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	note := wordStill
	select {
	case <-l.said:
	case <-done:
		note = r.follows(ctx)
	case <-timer.C:
	}
	word := l.close()
	if word != nil {
		note = words(*word)
	}
	return reply{
		body: taskNote(note),
		then: func(context.Context) { <-done },
		late: func(ctx context.Context) {
			<-done
			if word != nil {
				r.report(ctx, r.Answer(ctx, *word))
			}
		},
	}
}

// close ends the waiting and returns what was said until then, or nil.
func (l *lastWord) close() *chat.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.word
}

// Progress implements [chat.Replier]. A dialog that waits shows none.
func (l *lastWord) Progress(ctx context.Context, m chat.Message) {
	l.mu.Lock()
	waiting := !l.closed
	l.mu.Unlock()
	if !waiting {
		l.replies.Progress(ctx, m)
	}
}

// Answer implements [chat.Replier].
func (l *lastWord) Answer(ctx context.Context, m chat.Message) error {
	l.mu.Lock()
	switch {
	case l.word != nil:
		l.mu.Unlock()
		return errors.New("answered already")
	case !l.closed && isShort(m):
		defer l.mu.Unlock()
		l.word = &m
		close(l.said)
		return nil
	}
	l.mu.Unlock()
	return l.replies.Answer(ctx, m)
}

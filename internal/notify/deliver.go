package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/tenant"
)

const (
	// runTime ends a run, so that other destinations get a worker and a stop need
	// not wait for a long queue.
	runTime     = 5 * time.Second
	sendTimeout = 15 * time.Second
	// findAgo is how far before a try of unknown outcome the platform is searched.
	findAgo = time.Minute
	// unknownAfter is the number of failed tries after which a card whose readers
	// cannot be found out is shown elsewhere too: within seconds.
	unknownAfter = 3
	// reducedAfter is the number of failures of its own after which a message is
	// sent in its shortest form (reliability P-8). Those of an outage do not count:
	// a request without its buttons cannot be approved.
	reducedAfter = 3
	// arrivedAfter is how long an edit of unknown outcome may be under way and arrive
	// after a newer one.
	arrivedAfter = time.Minute
	// longestThrottle keeps an absurd Retry-After from silencing a channel.
	longestThrottle = 10 * time.Minute
)

// Deliver brings one destination up to date: posts and edits, most urgent first,
// at the platform's pace. It is a [durable.Worker]; a run that finds the
// destination taken or nothing due ends at once.
func (n *Notifier) Deliver(ctx context.Context, job durable.Job) error {
	d := chat.Destination(job.ID)
	l, err := n.lease(ctx, d)
	if err != nil || l == nil {
		return err
	}
	held, stop := l.keep(ctx)
	more, wait, err := n.drain(held, d, l)
	stop()
	if errors.Is(err, errLeaseLost) || lost(held) != nil {
		n.log.WarnContext(ctx, "destination was taken over by another replica", "destination", d)
		return nil
	}
	// The lease must not outlive the run, also when ctx has ended.
	err = errors.Join(err, n.release(context.WithoutCancel(ctx), d, l, wait))
	if err == nil && more {
		return durable.Snooze(time.Millisecond)
	}
	return err
}

// drain sends until nothing is due. It reports whether there is more to send, or how
// long the pace keeps everything back. That long no job may be kept snoozed: a post or
// a decision that comes meanwhile would find the job and wait with it.
func (n *Notifier) drain(ctx context.Context, d chat.Destination, l *lease) (more bool, wait time.Duration, err error) {
	end := n.now().Add(runTime)
	for {
		c, found, ready, wait, err := n.next(ctx, d, l)
		if err != nil || !found {
			return false, 0, err
		}
		switch {
		case ready:
			if err := n.send(ctx, c, l); err != nil {
				return false, 0, err
			}
		case wait > 3*time.Second, wait > 0 && !c.hurried():
			return false, wait, nil // the worker is for others
		default:
			if err := n.doze(ctx, d, wait); err != nil {
				return false, 0, err
			}
		}
		if !n.now().Before(end) {
			return true, 0, nil
		}
	}
}

// next takes the most urgent card of d that is due, or says how long its pace lasts.
// Slack paces edits apart from posts, and for all channels together: while one of
// them waits, the other goes out, and first what a click lets out in spite of the pace.
func (n *Notifier) next(ctx context.Context, d chat.Destination, l *lease) (c card, found, ready bool, wait time.Duration, err error) {
	c, found, err = n.nextDue(ctx, d, ``)
	if err != nil || !found {
		return card{}, false, false, 0, err
	}
	ready, wait, err = n.begin(ctx, &c, l)
	if err != nil || ready || wait == 0 {
		return c, true, ready, wait, err
	}
	if o, found, err := n.nextClicked(ctx, d); err != nil {
		return c, true, false, wait, err
	} else if found {
		if ready, _, err = n.begin(ctx, &o, l); err != nil || ready {
			return o, true, ready, 0, err
		}
	}
	other := `AND message = ''`
	if c.ref.IsZero() {
		other = `AND message <> ''`
	}
	o, found, err := n.nextDue(ctx, d, other)
	if err != nil || !found {
		return c, true, false, wait, err
	}
	ready, sooner, err := n.begin(ctx, &o, l)
	if err != nil || ready {
		return o, true, ready, 0, err
	}
	return c, true, false, min(wait, sooner), nil
}

// nextDue is the most urgent card of d that is due. What does not stand yet comes
// before what is to be redrawn: nobody can decide on a card that is not there.
func (n *Notifier) nextDue(ctx context.Context, d chat.Destination, also string) (card, bool, error) {
	due, err := n.due(ctx, d, also, `CASE WHEN message <> '' AND class >= 2 THEN 9 ELSE class END,
			CASE WHEN subject = 'page' THEN 1 ELSE 0 END,
			CASE WHEN message = '' THEN 0 WHEN shown < urgent THEN 1 ELSE 2 END, created_at, id LIMIT 1`)
	if err != nil || len(due) == 0 {
		return card{}, false, err
	}
	return due[0], true, nil
}

// due lists the cards of d that are due.
func (n *Notifier) due(ctx context.Context, d chat.Destination, also, order string) ([]card, error) {
	now := n.now()
	return queryCards(ctx, n.db.Read(), `
		SELECT `+cardColumns+` FROM cards
		WHERE destination = $1 AND wanted > shown AND (next_at <= $2 OR next_at > $3) AND held = '' `+also+`
		ORDER BY `+order, string(d), now.UnixMicro(), now.Add(longestAhead).UnixMicro())
}

// nextClicked is a card of d that is due and whose edit does not count, because
// somebody has just clicked on it here: the newest ones are looked at.
func (n *Notifier) nextClicked(ctx context.Context, d chat.Destination) (card, bool, error) {
	if _, ok := n.posters[d.Platform()].(chat.ClickEditor); !ok {
		return card{}, false, nil
	}
	due, err := n.due(ctx, d, `AND message <> ''`, `CASE WHEN shown < urgent THEN 0 ELSE 1 END, created_at DESC, id LIMIT 200`)
	for _, c := range due {
		if n.clicked(c) {
			return c, true, err
		}
	}
	return card{}, false, err
}

// clicked reports whether an edit of c goes by what came with a click.
func (n *Notifier) clicked(c card) bool {
	poster, ok := n.posters[c.destination.Platform()].(chat.ClickEditor)
	return ok && !c.ref.IsZero() && poster.Clicked(c.ref)
}

// begin takes the pace for one send and notes that it is being tried, so that a
// crash between the send and its record is noticed.
func (n *Notifier) begin(ctx context.Context, c *card, l *lease) (ready bool, wait time.Duration, err error) {
	c.clicked = n.clicked(*c)
	err = n.db.InTx(ctx, func(tx durable.Tx) error {
		ready, wait = false, 0
		now := n.now()
		if mine, err := n.extend(ctx, tx, c.destination, l); err != nil || !mine {
			return errors.Join(err, errLeaseLost)
		}
		page := c.subject == subjectPage && c.ref.IsZero()
		if off, err := n.putOff(ctx, tx, c, now); err != nil || off {
			return err
		}
		var ls []limit
		if !c.clicked {
			ls = limits(c.destination, !c.ref.IsZero(), c.hurried())
		}
		if page {
			ls = append(ls, pageLimit(c.destination))
		}
		w, err := reserve(ctx, tx, ls, now)
		if err == nil && w > 0 && page {
			// Nothing else waits for the pages of a storm.
			until := now.Add(w).UnixMicro()
			_, err = tx.Exec(ctx, `UPDATE cards SET next_at = $1 WHERE destination = $2 AND subject = 'page' AND message = '' AND wanted > shown AND next_at < $1`,
				until, string(c.destination))
			return err
		}
		if err != nil || w > 0 {
			wait = w
			return err
		}
		rows, err := tx.Exec(ctx, `
			UPDATE cards SET attempts = attempts + 1, tried_at = CASE WHEN tried_at = 0 THEN $1 ELSE tried_at END
			WHERE id = $2 AND wanted > shown`, now.UnixMicro(), c.id)
		ready = rows == 1
		return err
	})
	if err == nil {
		l.mark()
	}
	return ready, wait, err
}

// putOff puts a page of a storm, or an alert in a place that has one, off when the
// place has had its budget of posts. Everything else goes on.
func (n *Notifier) putOff(ctx context.Context, tx durable.Tx, c *card, now time.Time) (off bool, err error) {
	if !c.ref.IsZero() || c.subject != subjectPage && c.subject != SubjectAlert {
		return false, nil
	}
	if c.subject == SubjectAlert {
		var one int64
		err := tx.QueryRow(ctx, `SELECT 1 FROM storms WHERE destination = $1 AND ended_at = 0 LIMIT 1`, string(c.destination)).Scan(&one)
		if errors.Is(err, durable.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	wait, err := overBudget(ctx, tx, c.destination, now)
	if err != nil || wait <= 0 {
		return false, err
	}
	_, err = tx.Exec(ctx, `UPDATE cards SET next_at = $1 WHERE destination = $2 AND message = '' AND wanted > shown AND next_at < $1 AND (subject = 'page' OR id = $3)`,
		now.Add(wait).UnixMicro(), string(c.destination), c.id)
	return true, err
}

// send draws c and posts or edits it once, and records the outcome. Only errors
// of the database are returned; a platform's refusal is an outcome.
func (n *Notifier) send(ctx context.Context, c card, l *lease) error {
	if c.subject == subjectPaging {
		return n.sendPaging(ctx, c, l)
	}
	poster, ok := n.posters[c.destination.Platform()]
	if !ok {
		return n.failed(ctx, c, fmt.Errorf("%s is not configured: %w", c.destination.Platform(), chat.ErrNotThere))
	}
	drawn, err := n.draw(ctx, c)
	switch {
	case errors.Is(err, errNotYet):
		return n.later(ctx, c, time.Second)
	case err != nil:
		return n.failed(ctx, c, fmt.Errorf("%w: %w", errNotDrawn, err))
	case drawn.skip:
		return n.shown(ctx, c, c.ref)
	}
	if !l.valid() {
		return errLeaseLost // paused since begin: somebody else may be sending it
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	var ref chat.Ref
	err = failpoint.Around(failpoint.MessagePosted, func() (err error) {
		ref, err = n.put(ctx, poster, c, drawn)
		return err
	})
	// The outcome is recorded also when the process is being stopped.
	record := context.WithoutCancel(ctx)
	if err != nil && c.clicked {
		return n.unclicked(record, c, err)
	}
	n.metrics.Posted(c.destination.Platform(), err)
	if err != nil {
		return n.failed(record, c, err)
	}
	return n.shown(record, c, ref)
}

// put makes the platform show drawn and returns where.
func (n *Notifier) put(ctx context.Context, poster chat.Poster, c card, drawn drawing) (chat.Ref, error) {
	if editor, ok := poster.(chat.ClickEditor); ok && c.clicked {
		return c.ref, editor.EditClicked(ctx, c.ref, drawn.message)
	}
	if !c.ref.IsZero() {
		err := poster.Edit(ctx, c.ref, drawn.message)
		if !errors.Is(err, chat.ErrGone) {
			return c.ref, err
		}
		if drawn.editOnly {
			return c.ref, nil
		}
		// Somebody deleted it: the record is the truth, so it is posted again
		// (threat-model S-15).
		n.log.InfoContext(ctx, "posted message is gone, posting again", "card_id", c.id)
	}
	post := chat.Post{
		To: c.destination, Thread: drawn.thread, Broadcast: drawn.broadcast, Message: drawn.message, Delivery: c.id, Admits: n.admits(c),
	}
	if c.attempts > 0 && c.ref.IsZero() && !c.triedAt.IsZero() {
		since := c.triedAt
		if now := n.now(); now.Before(since) {
			since = now.Add(-longestAhead) // the clock has been set back since
		}
		ref, found, err := poster.Find(ctx, post, since.Add(-findAgo))
		if err == nil && !found && post.Thread != "" {
			// The try before may have gone out when the thread had not begun.
			alone := post
			alone.Thread = ""
			ref, found, err = poster.Find(ctx, alone, since.Add(-findAgo))
		}
		if err != nil {
			return chat.Ref{}, fmt.Errorf("look for an earlier post: %w", err)
		}
		if found {
			n.metrics.DuplicateAvoided()
			return ref, poster.Edit(ctx, ref, drawn.message)
		}
	}
	return poster.Post(ctx, post)
}

// shown records success. The version drawn was the one read with the card, so a
// change that came in between is sent next.
func (n *Notifier) shown(ctx context.Context, c card, ref chat.Ref) error {
	var created, posted, made int64
	now := n.now().UnixMicro()
	nextAt := spaced(c, n.now())
	err := n.db.InTx(failpoint.Step(ctx, failpoint.MessageRecorded), func(tx durable.Tx) error {
		if c.attempts > 0 {
			if err := recovered(ctx, tx, c.destination, now); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, `
			UPDATE cards SET shown = $1, platform = $2, workspace = $3, conversation = $4, thread = $5, message = $6,
				attempts = 0, tried_at = 0, next_at = $9, problem = '', strikes = 0,
				posted_at = CASE WHEN posted_at = 0 AND $6 <> '' THEN $7 ELSE posted_at END
			WHERE id = $8 AND shown < $1
			RETURNING created_at, posted_at,
				COALESCE((SELECT a.created_at FROM alerts a WHERE cards.subject = 'alert' AND a.tenant = cards.tenant AND a.id = cards.subject_id), 0)`,
			c.wanted, string(ref.Conversation.Platform), ref.Conversation.Workspace, ref.Conversation.ID, ref.Conversation.Thread, ref.MessageID, now, c.id, nextAt).
			Scan(&created, &posted, &made)
	})
	if errors.Is(err, durable.ErrNoRows) {
		return nil // another replica has shown this and more
	}
	if err == nil && c.subject == SubjectAlert && posted == now {
		n.metrics.AlertPosted(time.Duration(posted-created)*time.Microsecond, time.Duration(posted-made)*time.Microsecond)
	}
	return err
}

// recovered lets what waits for a destination go out now that it takes messages
// again, but for what failed by its own fault.
func recovered(ctx context.Context, tx durable.Tx, d chat.Destination, now int64) error {
	_, err := tx.Exec(ctx, `UPDATE cards SET next_at = $1 WHERE destination = $2 AND wanted > shown AND next_at > $1 AND attempts > 0 AND strikes = 0`, now, string(d))
	return err
}

// probes reports whether another card of the destination is tried before c would be,
// so that c can wait for long.
func probes(ctx context.Context, tx durable.Tx, c card, now time.Time) (bool, error) {
	var others int64
	err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM cards WHERE destination = $1 AND wanted > shown AND id <> $2 AND next_at <= $3`,
		string(c.destination), c.id, now.Add(mediumWait).UnixMicro()).Scan(&others)
	return others > 0, err
}

// later puts a card off without counting a try.
func (n *Notifier) later(ctx context.Context, c card, after time.Duration) error {
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE cards SET attempts = $1, tried_at = $2, next_at = $3 WHERE id = $4`,
			c.attempts, durable.Micros(c.triedAt), n.now().Add(after).UnixMicro(), c.id)
		return err
	})
}

// unclicked has c edited the usual way, at its pace, because the way of the click failed.
func (n *Notifier) unclicked(ctx context.Context, c card, cause error) error {
	n.log.InfoContext(ctx, "clicked message not edited through the click, editing as usual", "card_id", c.id, "error", cause)
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		if err := drawAgain(ctx, tx, c, cause, n.now()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE cards SET attempts = $1, tried_at = $2 WHERE id = $3`, c.attempts, durable.Micros(c.triedAt), c.id)
		return err
	})
}

// drawAgain has c drawn once more later when an edit of it may still be under way: what
// is shown until then may be overwritten by it.
func drawAgain(ctx context.Context, tx durable.Tx, c card, cause error, now time.Time) error {
	if c.ref.IsZero() || !errors.Is(cause, chat.ErrUnclear) && !errors.Is(cause, context.DeadlineExceeded) && !errors.Is(cause, context.Canceled) {
		return nil
	}
	_, err := tx.Exec(ctx, `UPDATE cards SET again_at = $1 WHERE id = $2`, now.Add(arrivedAfter).UnixMicro(), c.id)
	return err
}

// redrawUnsure plans the drawings of [drawAgain] whose time has come.
func (n *Notifier) redrawUnsure(ctx context.Context) error {
	now, ahead := n.now().UnixMicro(), n.now().Add(longestAhead).UnixMicro()
	var one int64
	err := n.db.Read().QueryRow(ctx, `SELECT 1 FROM cards WHERE again_at > 0 AND (again_at <= $1 OR again_at > $2) LIMIT 1`, now, ahead).Scan(&one)
	if errors.Is(err, durable.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find cards to draw again: %w", err)
	}
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE cards SET wanted = wanted + 1, again_at = 0 WHERE again_at > 0 AND (again_at <= $1 OR again_at > $2)`, now, ahead)
		return err
	})
}

// failed records why a send did not succeed and when to try again. Nothing is
// ever dropped: a card that cannot be posted stays, with its problem, and what
// it had to say goes to the fallback destination.
func (n *Notifier) failed(ctx context.Context, c card, cause error) error {
	now := n.now()
	n.log.WarnContext(ctx, "message not delivered", "card_id", c.id, "tenant_id", c.tenant, "subject", c.subject,
		"subject_id", c.subjectID, "destination", c.destination, "attempt", c.attempts+1, "error", cause)
	var throttled *chat.ThrottledError
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		triedAt, after := c.triedAt, backoff(c.attempts)
		switch {
		case errors.As(cause, &throttled):
			// Nothing was posted and nothing else would be: the whole destination waits,
			// and with an edit in Slack all of them, because it counts them together.
			l := limits(c.destination, !c.ref.IsZero(), true)[0]
			after = min(throttled.RetryAfter, longestThrottle)
			if err := throttle(ctx, tx, l, now.Add(after)); err != nil {
				return err
			}
		case errors.Is(cause, chat.ErrUnclear), errors.Is(cause, context.DeadlineExceeded), errors.Is(cause, context.Canceled):
			if triedAt.IsZero() {
				triedAt = now
			}
		case errors.Is(cause, chat.ErrNotThere), errors.Is(cause, chat.ErrForbiddenPlace):
			after = 10 * time.Minute
			if err := n.divert(ctx, tx, c, cause); err != nil {
				return err
			}
		case errors.Is(cause, chat.ErrReadersUnknown) && c.attempts+1 >= unknownAfter:
			if err := n.divert(ctx, tx, c, cause); err != nil {
				return err
			}
		}
		if err := drawAgain(ctx, tx, c, cause, now); err != nil {
			return err
		}
		strikes, err := n.strikes(ctx, tx, c, cause)
		if err != nil {
			return err
		}
		absent := errors.Is(cause, chat.ErrNotThere) || errors.Is(cause, chat.ErrForbiddenPlace)
		if after > mediumWait && strikes == 0 && !absent && !errors.As(cause, &throttled) {
			others, err := probes(ctx, tx, c, now)
			if err != nil {
				return err
			}
			if !others {
				after = backoff(mediumWaitFrom)
			}
		}
		if c.subject == subjectPaging {
			if err := n.alarmUnpaged(ctx, tx, c, cause); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `UPDATE cards SET attempts = $1, tried_at = $2, next_at = $3, problem = $4, strikes = $5 WHERE id = $6`,
			c.attempts+1, durable.Micros(triedAt), now.Add(after).UnixMicro(), cause.Error(), strikes, c.id)
		return err
	})
}

// errNotDrawn reports that what a card should show could not be made.
var errNotDrawn = errors.New("the message could not be drawn")

// strikes is how often c has failed by its own fault, cause included: it was refused
// for its form, or others were posted to the same place since the try before, or in
// the half minute before this one.
func (n *Notifier) strikes(ctx context.Context, tx durable.Tx, c card, cause error) (int64, error) {
	var throttled *chat.ThrottledError
	switch {
	case errors.Is(cause, chat.ErrTooBig):
		return reducedAfter, nil // it will not fit the next time either
	case errors.Is(cause, errNotDrawn):
		return c.strikes + 1, nil
	case c.attempts == 0, errors.As(cause, &throttled):
		return c.strikes, nil
	}
	var others int64
	err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM cards WHERE destination = $1 AND id <> $2 AND posted_at > 0 AND posted_at > $3`,
		string(c.destination), c.id, c.nextAt.Add(-min(longestWait(c.attempts-1), mediumWait)).UnixMicro()).Scan(&others)
	if err == nil && others > 0 {
		return c.strikes + 1, nil
	}
	return c.strikes, err
}

// backoff is longestWait with a fifth of it random, so that many cards do not
// return together.
func backoff(attempts int64) time.Duration {
	d := longestWait(attempts)
	return d - rand.N(d/5) //nolint:gosec // jitter needs no secret
}

const (
	// mediumWait is between tries for the first quarter of an hour or so, and always
	// for one card of a destination: it finds out that an outage is over, and what is
	// urgent is out within a minute after that (reliability P-10).
	mediumWait = 30 * time.Second
	// mediumWaitFrom is a number of tries after which the wait is that long.
	mediumWaitFrom = 9
)

// longestWait is 1 s, 2 s, 4 s … and mediumWait, then five minutes.
func longestWait(attempts int64) time.Duration {
	if attempts > 30 {
		return 5 * time.Minute
	}
	return min(time.Second<<min(attempts, mediumWaitFrom), mediumWait)
}

// Sweep wakes destinations that have something due and nobody at work, tells
// requesters whose request reached no approver, ends storms and mutes, wakes scheduled hunts, and
// wakes people when High alerts reach nobody. It is called every two seconds on every replica; doing
// it twice is harmless.
func (n *Notifier) Sweep(ctx context.Context) error {
	return errors.Join(n.redrawUnsure(ctx), n.wakeDue(ctx), n.tellUnreached(ctx), n.tellEnding(ctx), n.endStorms(ctx), n.endMutes(ctx), n.planHunts(ctx), n.pageForAlerts(ctx))
}

func (n *Notifier) wakeDue(ctx context.Context) error {
	now, ahead := n.now().UnixMicro(), n.now().Add(longestAhead).UnixMicro()
	rows, err := n.db.Read().Query(ctx, `
		SELECT DISTINCT c.destination FROM cards c LEFT JOIN pace p ON p.key = c.destination
		WHERE c.wanted > c.shown AND (c.next_at <= $1 OR c.next_at > $2) AND c.held = ''
			AND (COALESCE(p.lease_until, 0) < $1 OR p.lease_until > $2)
			AND (COALESCE(p.asleep_until, 0) <= $1 OR p.asleep_until > $2)`, now, ahead)
	if err != nil {
		return fmt.Errorf("find destinations with work: %w", err)
	}
	var due []chat.Destination
	for rows.Next() {
		var d string
		if err := rows.Scan(&d); err != nil {
			return errors.Join(err, rows.Close())
		}
		due = append(due, chat.Destination(d))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(due) == 0 {
		return err
	}
	return n.db.InTx(ctx, func(tx durable.Tx) error {
		for _, d := range due {
			if err := n.wake(ctx, tx, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// How often an alarm about one thing is posted at most, as the layout of its time.
const (
	hourly = "2006-01-02T15"
	daily  = time.DateOnly
)

// alarm posts a message about the bot itself to the ops channel, at most one per
// subject and time.
func (n *Notifier) alarm(ctx context.Context, tx durable.Tx, t tenant.ID, every, about string, m chat.Message) error {
	ops := chat.Destination(n.policy.Current().Ops())
	if ops == "" {
		return nil
	}
	return n.notice(ctx, tx, t, about+" "+n.now().UTC().Format(every), m, ops)
}

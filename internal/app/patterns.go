package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
)

const (
	// refusedPerHour bounds what strangers can write into the audit log, and
	// refusedEach what one of them can; what is beyond is counted. It takes as many to
	// make a pattern.
	refusedPerHour = 20
	refusedEach    = 3
	refusalKind    = "delivery.refused"

	// patternWindow is how far attempts may be apart to be one pattern.
	patternWindow = time.Hour
	patternEvery  = 10 * time.Second
	// patternStart is how many records are read again after a start.
	patternStart = 2_000
)

// refusals are deliveries that the bots did not take, on their way into the audit
// log (threat-model S-06, T-11).
type refusals struct {
	queue chan refusal
	now   func() time.Time

	mu      sync.Mutex
	since   time.Time
	kept    map[chat.Refused]int
	total   int
	dropped int
}

// refusal is one to be recorded, with how many were not since the one before.
type refusal struct {
	chat.Refused
	dropped int
}

func newRefusals(now func() time.Time) *refusals {
	return &refusals{queue: make(chan refusal, refusedPerHour), now: now, kept: map[chat.Refused]int{}}
}

// take never waits: the listener calls it.
func (r *refusals) take(_ context.Context, one chat.Refused) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); now.Sub(r.since) >= time.Hour {
		r.since, r.total = now, 0
		clear(r.kept)
	}
	one.By.Name, one.By.Address = "", "" // chosen by whoever sent it
	if r.kept[one] >= refusedEach || r.total >= refusedPerHour {
		r.dropped++
		return
	}
	select {
	case r.queue <- refusal{one, r.dropped}:
		r.kept[one]++
		r.total++
		r.dropped = 0
	default:
		r.dropped++
	}
}

// keepRefusals writes down what was refused, until ctx ends.
func (a *App) keepRefusals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-a.refusals.queue:
			if err := a.recordRefusal(ctx, one); err != nil {
				a.log.ErrorContext(ctx, "refused delivery not recorded", "platform", string(one.By.Platform), "error", err)
			}
		}
	}
}

func (a *App) recordRefusal(ctx context.Context, one refusal) error {
	detail, err := json.Marshal(struct {
		Reason  string `json:"reason"`
		Dropped int    `json:"not_recorded_before,omitempty"`
	}{string(one.Why), one.dropped})
	if err != nil {
		return err
	}
	return recorder{a.store, a.audit}.Record(ctx, audit.Event{
		Tenant: a.tenant, At: a.now(), Kind: refusalKind, Outcome: "refused", Account: one.By,
		PolicyHash: a.policy.Current().Hash(), Detail: detail,
	})
}

// pattern is what many attempts of one kind by one account or person amount to.
type pattern struct{ what, who string }

// patterns reads what the audit log gains and raises an alarm when somebody keeps
// trying what is refused (threat-model L-08). Every replica reads it; the alarm has
// one name, so it is posted once.
type patterns struct {
	app   *App
	next  int64 // record to go on with; 0 before the first look
	due   time.Time
	tries map[pattern][]time.Time
	read  map[string][]volume // by person
}

// volume is what one hunt read.
type volume struct {
	at   time.Time
	rows int64
}

const (
	// huntsPerDay and rowsPerDay are from when somebody's hunts are worth a look: many
	// small ones leak as much as a large one (threat-model H-06).
	huntsPerDay = 60
	rowsPerDay  = 100_000
	huntWindow  = 24 * time.Hour
)

func (p *patterns) look(ctx context.Context) error {
	now := p.app.now()
	if now.Before(p.due) {
		return nil
	}
	p.due = now.Add(patternEvery)
	if p.next == 0 {
		head, err := audit.ReadHead(ctx, p.app.store.Read(), p.app.tenant)
		if err != nil {
			return err
		}
		p.next, p.tries = max(1, head.Seq-patternStart), map[pattern][]time.Time{}
		p.read = map[string][]volume{}
	}
	for r, err := range audit.Records(ctx, p.app.store.Read(), p.app.tenant, p.next) {
		if err != nil {
			return err
		}
		if err := p.weigh(ctx, r, now); err != nil {
			return err
		}
		p.next = r.Seq + 1
	}
	return nil
}

// weigh adds one record to what is known and tells when that is enough.
func (p *patterns) weigh(ctx context.Context, r audit.Record, now time.Time) error {
	if r.Kind == "request.reported" {
		return p.tellReport(ctx, r, now)
	}
	if r.Kind == "hunt.ended" {
		return p.weighHunt(ctx, r, now)
	}
	what, most := attempt(r)
	if what == "" || now.Sub(r.At) > patternWindow {
		return nil
	}
	who := r.Account.Key()
	if !r.Person.IsZero() {
		who = r.PersonName + " " + r.Person.String()
	}
	one := pattern{what, who}
	tries := append(p.tries[one], r.At)
	for len(tries) > 0 && r.At.Sub(tries[0]) > patternWindow {
		tries = tries[1:]
	}
	p.tries[one] = tries
	if len(tries) < most {
		return nil
	}
	delete(p.tries, one)
	p.app.log.WarnContext(ctx, "somebody keeps trying what is refused", "what", what, "person_id", r.Person.String(), "platform", string(r.Account.Platform))
	return p.app.notify.Announce(ctx, p.app.tenant, fmt.Sprintf("pattern %s %s %d", what, who, r.Seq), cards.Notice(chat.Warning, "Somebody keeps trying what mdebot refuses",
		chat.Join(chat.Plain(fmt.Sprintf("%d times within an hour: %s. By ", len(tries), what)), chat.Untrusted(who), chat.Plain(".")),
		chat.Join(chat.Plain("Ask that person, by another way than this chat. Every attempt is in the audit log: "), chat.Code("mdebot audit export"))))
}

// tellReport tells of a request that an approver found wrong.
func (p *patterns) tellReport(ctx context.Context, r audit.Record, now time.Time) error {
	var detail struct {
		Request string `json:"request"`
	}
	if json.Unmarshal(r.Detail, &detail) != nil || now.Sub(r.At) > patternWindow {
		return nil
	}
	about, err := p.app.approvals.Request(ctx, p.app.tenant, detail.Request)
	if err != nil {
		return nil //nolint:nilerr // it is in the record, and this must not stop at it
	}
	return p.app.notify.Announce(ctx, p.app.tenant, fmt.Sprintf("reported %s %d", detail.Request, r.Seq), cards.Notice(chat.Warning, "A request was denied and reported",
		cards.RequestReply(about).Title,
		chat.Join(chat.Plain("Asked for by "), chat.Untrusted(about.RequesterName), chat.Plain("; reported by "), chat.Untrusted(r.PersonName), chat.Plain(". The card does not say so. Ask both of them, apart."))))
}

// weighHunt adds one hunt to what its person has read within a day.
func (p *patterns) weighHunt(ctx context.Context, r audit.Record, now time.Time) error {
	var detail struct {
		Rows string `json:"rows"`
	}
	if json.Unmarshal(r.Detail, &detail) != nil || now.Sub(r.At) > huntWindow {
		return nil
	}
	rows, err := strconv.ParseInt(detail.Rows, 10, 64)
	if err != nil {
		return nil
	}
	who := r.Person.String()
	all := append(p.read[who], volume{r.At, rows})
	for len(all) > 0 && r.At.Sub(all[0].at) > huntWindow {
		all = all[1:]
	}
	p.read[who] = all
	sum := int64(0)
	for _, v := range all {
		sum += v.rows
	}
	if len(all) < huntsPerDay && sum < rowsPerDay {
		return nil
	}
	delete(p.read, who)
	return p.app.notify.Announce(ctx, p.app.tenant, fmt.Sprintf("hunts %s %d", who, r.Seq), cards.Notice(chat.Warning, "Somebody has read a lot by hunting",
		chat.Join(chat.Untrusted(r.PersonName+" "+who), chat.Plain(fmt.Sprintf(": %d hunts and %d rows within a day.", len(all), sum))),
		chat.Join(chat.Plain("Every query is in the audit log: "), chat.Code("mdebot audit export"))))
}

// attempt names what a record is an attempt of, and how many within an hour are
// no mistake any more.
func attempt(r audit.Record) (what string, most int) {
	var detail struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(r.Detail, &detail) != nil {
		return "", 0
	}
	switch {
	case r.Kind == "vote.refused" && detail.Reason == approvals.ErrOwnRequest.Error():
		return "to decide a request of their own", 3
	case r.Kind == "vote.refused" && detail.Reason == approvals.ErrStaleDigest.Error():
		return "to vote on something else than what is stored", 3
	case r.Kind == refusalKind && detail.Reason == string(chat.RefusedForeign):
		return "deliveries for another app, workspace or tenant", 3
	case r.Kind == refusalKind && detail.Reason == string(chat.RefusedRepeated):
		return "deliveries that had come before, as a replay does", 3
	}
	return "", 0
}

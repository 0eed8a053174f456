package links

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/failpoint"
	"github.com/mdebot/mdebot/internal/fault"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/seal"
	"github.com/mdebot/mdebot/internal/tenant"
)

const (
	// CoolDown is how long approvals through a new link do not count. It is no
	// setting: the people around an account must get a working day to notice that
	// it was linked, and mdebot.yaml and a second person are the ways around.
	CoolDown = 24 * time.Hour
	// OfferFor is how long an address or code is good.
	OfferFor = 10 * time.Minute
	// maxWrong is how many wrong codes end an attempt.
	maxWrong = 5
)

// Announcer tells people about a change of a link, everywhere where they can be
// reached. It is called in the transaction of the change.
type Announcer interface {
	LinkChanged(ctx context.Context, tx durable.Tx, c Change) error
}

// What happened to a link.
type What string

// The changes.
const (
	Made      What = "made"
	Ended     What = "ended"
	Confirmed What = "confirmed"
)

// Change is one change of a link.
type Change struct {
	What What
	Link Stored
	// Before is the link that this one replaces.
	Before *Stored
	// Others are the person's other accounts that people linked themselves.
	Others []identity.Principal
}

// Stored is a link that somebody made.
type Stored struct {
	ID      string
	Tenant  tenant.ID
	Account identity.Principal
	Person  identity.PersonID
	Name    string // outside text, from the directory
	How     identity.How
	// By is the account that completed it.
	By          identity.Principal
	At          time.Time
	CountsFrom  time.Time // zero = always
	ConfirmedBy identity.PersonID
}

// Asked is where something came from, for the record.
type Asked struct {
	By           identity.Principal
	Conversation string
	Delivery     string
}

// Refusal is an ordinary no, with a sentence for people and the next step.
type Refusal struct{ Sentence, Next string }

func (r *Refusal) Error() string { return r.Sentence }

// Config is what a Service works with. Everything but SignIn is required.
type Config struct {
	Tenant    tenant.ID
	DB        durable.DB
	Audit     *audit.Log
	Policy    *policy.Source
	People    identity.People
	Announcer Announcer
	// SignIn is nil where no address for it is configured.
	SignIn *SignIn
	// Teams says that codes can be confirmed there.
	Teams bool
	// Keys encrypts what links say; see [SealedColumns].
	Keys   seal.Keys
	Now    func() time.Time
	Logger *slog.Logger
}

// Service keeps the links of one tenant. It is safe for concurrent use, also by
// several processes on one database.
type Service struct {
	cfg   Config
	pages *rate.Limiter
}

// New returns a Service.
func New(c Config) *Service {
	// Strangers can open the pages; each costs a read of the database.
	return &Service{cfg: c, pages: rate.NewLimiter(20, 40)}
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// Resolve tells who is behind an account. book comes first and alone gives roles.
// Errors are [identity.ErrUnlinked], [identity.ErrUnlisted] with the person's ID in
// the link, or what kept it from being found out.
func (s *Service) Resolve(ctx context.Context, db durable.DBTX, t tenant.ID, book *identity.Book, account identity.Principal) (identity.Link, error) {
	link, err := book.LinkOf(account)
	if !errors.Is(err, identity.ErrUnlinked) || account.Platform != identity.Slack {
		return link, err
	}
	stored, ok, err := s.live(ctx, db, t, account)
	switch {
	case err != nil:
		return identity.Link{}, fmt.Errorf("read the link of %s: %w", account, err)
	case !ok && fault.On(fault.Names):
		return byName(book, account)
	case !ok:
		return identity.Link{}, identity.ErrUnlinked
	}
	link = identity.Link{
		Person: identity.Person{ID: stored.Person}, How: stored.How, Since: stored.At,
		CountsFrom: stored.CountsFrom, ConfirmedBy: stored.ConfirmedBy,
	}
	person, listed := book.Person(stored.Person)
	if !listed {
		return link, identity.ErrUnlisted
	}
	link.Person = person
	return link, nil
}

// byName is the fault [fault.Names].
func byName(book *identity.Book, account identity.Principal) (identity.Link, error) {
	for _, person := range book.People() {
		if person.Name == account.Name {
			return identity.Link{Person: person}, nil
		}
	}
	return identity.Link{}, identity.ErrUnlinked
}

// Who is [Service.Resolve] by the file in force, outside a transaction.
func (s *Service) Who(ctx context.Context, account identity.Principal) (identity.Link, error) {
	return s.Resolve(ctx, s.cfg.DB.Read(), s.cfg.Tenant, s.cfg.Policy.Current().Book(), account)
}

// Unlink ends the link that somebody made for their account.
func (s *Service) Unlink(ctx context.Context, in Asked) (Stored, error) {
	var ended Stored
	err := s.change(ctx, in, func(tx durable.Tx) error {
		link, ok, err := s.live(ctx, tx, s.cfg.Tenant, in.By)
		if err != nil {
			return err
		}
		if !ok {
			return &Refusal{"This account has no link of its own.", "What mdebot.yaml says, an admin changes there; whoami shows it."}
		}
		ended = link
		if err := s.end(ctx, tx, link, "unlinked by its owner"); err != nil {
			return err
		}
		return s.announce(ctx, tx, in, identity.Person{ID: link.Person, Name: link.Name}, Change{What: Ended, Link: link})
	})
	return ended, err
}

// Confirm makes a link count before its cool-down is over. A second person does
// that, through an account whose own approvals count.
func (s *Service) Confirm(ctx context.Context, in Asked, id string) (Stored, error) {
	var link Stored
	err := s.change(ctx, in, func(tx durable.Tx) error {
		by, err := s.Resolve(ctx, tx, s.cfg.Tenant, s.cfg.Policy.Current().Book(), in.By)
		if err != nil {
			return err
		}
		now := s.now()
		var ok bool
		if link, ok, err = s.linkByID(ctx, tx, s.cfg.Tenant, id); err != nil {
			return err
		}
		switch {
		case !ok:
			return &Refusal{"That link has ended.", "A new one has a message and a button of its own."}
		case by.Person.ID == link.Person:
			return &Refusal{"Your own link is confirmed by somebody else.", "Ask another approver."}
		case !by.Person.Has(identity.Approver):
			return &Refusal{"A link is confirmed by somebody with the role approver.", "Ask one of them."}
		case by.CountsFrom.After(now):
			return &Refusal{"Your own link is too new to confirm another one.", "Ask another approver."}
		case !link.CountsFrom.After(now):
			return &Refusal{"That link counts already.", "There is nothing left to confirm."}
		}
		link.CountsFrom, link.ConfirmedBy = now, by.Person.ID
		n, err := tx.Exec(ctx, `UPDATE links SET counts_from = $1, confirmed_by = $2, confirmed_at = $1
			WHERE tenant = $3 AND id = $4 AND ended_at = 0 AND confirmed_by = ''`,
			durable.Micros(now), by.Person.ID.String(), string(s.cfg.Tenant), id)
		if err == nil && n == 0 {
			err = errMeanwhile
		}
		if err != nil {
			return err
		}
		return s.announce(ctx, tx, in, by.Person, Change{What: Confirmed, Link: link})
	})
	return link, err
}

// put stores a link and ends the one before it. The attempt has been used up.
func (s *Service) put(ctx context.Context, tx durable.Tx, in Asked, link Stored) (Stored, error) {
	before, had, err := s.live(ctx, tx, s.cfg.Tenant, link.Account)
	if err != nil {
		return Stored{}, err
	}
	if had && before.Person == link.Person {
		return Stored{}, &Refusal{"This account is linked to you already.", "whoami shows since when."}
	}
	link.At = s.now()
	link.CountsFrom = link.At.Add(CoolDown)
	change := Change{What: Made, Link: link}
	if had {
		change.Before = &before
		if err := s.end(ctx, tx, before, "linked to "+link.Person.String()); err != nil {
			return Stored{}, err
		}
	}
	if err := s.insert(ctx, tx, link); err != nil {
		return Stored{}, err
	}
	return link, s.announce(ctx, tx, in, identity.Person{ID: link.Person, Name: link.Name}, change)
}

func (s *Service) end(ctx context.Context, tx durable.Tx, link Stored, why string) error {
	n, err := tx.Exec(ctx, `UPDATE links SET ended_at = $1, ended_why = $2 WHERE tenant = $3 AND id = $4 AND ended_at = 0`,
		durable.Micros(s.now()), why, string(s.cfg.Tenant), link.ID)
	if err == nil && n == 0 {
		err = errMeanwhile
	}
	return err
}

// announce records a change and tells people.
func (s *Service) announce(ctx context.Context, tx durable.Tx, in Asked, by identity.Person, c Change) error {
	detail := detailOf(c.Link)
	if c.Before != nil {
		detail["replaces"], detail["person_before"] = c.Before.ID, c.Before.Person.String()
	}
	if err := s.record(ctx, tx, in, by, "link."+string(c.What), "ok", detail); err != nil {
		return err
	}
	others, err := s.accountsOf(ctx, tx, s.cfg.Tenant, c.Link.Person)
	if err != nil {
		return err
	}
	if c.Before != nil {
		theirs, err := s.accountsOf(ctx, tx, s.cfg.Tenant, c.Before.Person)
		if err != nil {
			return err
		}
		others = append(others, theirs...)
	}
	c.Others = others
	return s.cfg.Announcer.LinkChanged(ctx, tx, c)
}

// change runs fn in a transaction. A *Refusal undoes nothing that fn did before:
// it is recorded in the same transaction.
func (s *Service) change(ctx context.Context, in Asked, fn func(durable.Tx) error) error {
	var no *Refusal
	err := s.cfg.DB.InTx(failpoint.Step(ctx, failpoint.LinkSaved), func(tx durable.Tx) error {
		no = nil
		err := fn(tx)
		if errors.As(err, &no) {
			return s.record(ctx, tx, in, identity.Person{}, "link.refused", "refused", map[string]string{"why": no.Sentence})
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case no != nil:
		return no
	}
	return nil
}

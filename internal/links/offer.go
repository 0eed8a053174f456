package links

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
)

// Offer is how an account can be linked now. Both ways end with the first that is
// used.
type Offer struct {
	URL       string // where to sign in, or ""
	TeamsCode string // to type in the personal Teams chat, or ""
	Expires   time.Time
}

var errNoWay = &Refusal{"Linking by yourself is not set up here.", "An admin adds the account to mdebot.yaml; whoami shows the lines."}

// Offer begins to link the account that asks. What was offered to it before is
// worthless from then on.
func (s *Service) Offer(ctx context.Context, in Asked) (Offer, error) {
	var o Offer
	err := s.change(ctx, in, func(tx durable.Tx) error {
		o = Offer{Expires: s.now().Add(OfferFor)}
		if no, err := s.linkable(ctx, tx, in.By); err != nil || no != nil {
			return errors.Join(err, asError(no))
		}
		token := rand.Text() + rand.Text()
		teams := ""
		if s.cfg.SignIn != nil {
			o.URL = s.cfg.SignIn.address(token)
		}
		if s.cfg.Teams {
			o.TeamsCode = newCode()
			teams = hashOf(o.TeamsCode)
		}
		if o.URL == "" && teams == "" {
			return errNoWay
		}
		if _, err := tx.Exec(ctx, `DELETE FROM link_attempts WHERE tenant = $1 AND (account = $2 OR expires < $3)`,
			string(s.cfg.Tenant), in.By.String(), durable.Micros(s.now())); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO link_attempts (tenant, account, principal, stage, token, browser, state, teams_code, code,
				person, person_name, by_account, wrong, expires)
			VALUES ($1, $2, $3, 'offered', $4, '', '', $5, '', '', '', '', 0, $6)`,
			string(s.cfg.Tenant), in.By.String(), encoded(in.By), hashOf(token), teams, durable.Micros(o.Expires))
		if err != nil {
			return err
		}
		return s.record(ctx, tx, in, identity.Person{}, "link.offered", "ok", map[string]string{"account": in.By.String()})
	})
	if err != nil {
		return Offer{}, err
	}
	return o, nil
}

// linkable says why an account cannot be linked by its owner, or nil.
func (s *Service) linkable(ctx context.Context, tx durable.Tx, account identity.Principal) (*Refusal, error) {
	if account.Platform != identity.Slack {
		return &Refusal{"A Teams account needs no link: it is the directory identity itself.", "To link a Slack account, type link there."}, nil
	}
	link, err := s.Resolve(ctx, tx, s.cfg.Tenant, s.cfg.Policy.Current().Book(), account)
	switch {
	case err == nil && link.How == identity.ByFile:
		return &Refusal{"mdebot.yaml links this account, and that stands above everything else.", "An admin changes it there."}, nil
	case err != nil && !errors.Is(err, identity.ErrUnlinked):
		return nil, err
	}
	if _, err := identity.ParseSlackAccount(account.Key()); err != nil {
		return &Refusal{"This account has no ID that could be linked.", "Type link in your own workspace."}, nil
	}
	return nil, nil
}

func asError(no *Refusal) error {
	if no == nil {
		return nil
	}
	return no
}

// Complete ends a sign-in: the code that the browser showed is entered in the
// account that began.
func (s *Service) Complete(ctx context.Context, in Asked, code string) (Stored, error) {
	var link Stored
	err := s.change(ctx, in, func(tx durable.Tx) error {
		a, ok, err := s.attemptBy(ctx, tx, "account", in.By.String())
		if err != nil {
			return err
		}
		if !ok || a.Stage != signedIn {
			return &Refusal{"Nobody has signed in for this account in the last ten minutes.", "Type link for a new address."}
		}
		if !sameHash(a.Code, code) {
			return s.wrong(ctx, tx, a)
		}
		if no, err := s.linkable(ctx, tx, in.By); err != nil || no != nil {
			return errors.Join(err, asError(no))
		}
		if err := s.drop(ctx, tx, in.By); err != nil {
			return err
		}
		link, err = s.put(ctx, tx, in, s.linkOf(a, identity.BySignIn, in.By))
		return err
	})
	return link, err
}

// wrong counts a wrong code and ends the attempt after a few.
func (s *Service) wrong(ctx context.Context, tx durable.Tx, a attempt) error {
	if a.Wrong+1 >= maxWrong {
		if err := s.drop(ctx, tx, a.Account); err != nil {
			return err
		}
		return &Refusal{"That is not the code, and it was the last try.", "Type link for a new address."}
	}
	if _, err := tx.Exec(ctx, `UPDATE link_attempts SET wrong = wrong + 1 WHERE tenant = $1 AND account = $2`,
		string(s.cfg.Tenant), a.Account.String()); err != nil {
		return err
	}
	return &Refusal{"That is not the code that the browser shows.", "Check it; only a sign-in that you began from this account counts."}
}

// Proposal is a Slack account that asks to be linked to the person who typed its
// code in Teams.
type Proposal struct {
	Account identity.Principal
	Key     string // for Accept and Decline
}

// Propose takes the code that link showed in Slack, typed in Teams. Nothing is
// linked before the same account accepts.
func (s *Service) Propose(ctx context.Context, in Asked, code string) (Proposal, error) {
	var p Proposal
	err := s.change(ctx, in, func(tx durable.Tx) error {
		person, no := teamsPerson(in.By)
		if no != nil {
			return no
		}
		a, ok, err := s.attemptBy(ctx, tx, "teams_code", hashOf(code))
		if err != nil {
			return err
		}
		if !ok || a.Stage != offered {
			return &Refusal{"That code is not known, or it is more than ten minutes old.", "Type link in Slack for a new one."}
		}
		moved, err := s.advance(ctx, tx, a, proposed, `, person = $5, person_name = $6, by_account = $7`,
			person.String(), storable(in.By.Name), encoded(in.By))
		if err == nil && !moved {
			err = errMeanwhile
		}
		if err != nil {
			return err
		}
		p = Proposal{Account: a.Account, Key: a.Account.Key()}
		return s.record(ctx, tx, in, identity.Person{ID: person}, "link.proposed", "ok", map[string]string{"account": a.Account.String()})
	})
	return p, err
}

var errMeanwhile = errors.New("the link attempt has moved on meanwhile")

func teamsPerson(account identity.Principal) (identity.PersonID, *Refusal) {
	person, err := identity.ParsePersonID(account.Key())
	if account.Platform != identity.Teams || err != nil {
		return identity.PersonID{}, &Refusal{"This code is typed in the personal Teams chat with mdebot.", "Open that chat and type it there."}
	}
	return person, nil
}

// Accept links the account of a proposal to the Teams account that typed its code.
func (s *Service) Accept(ctx context.Context, in Asked, key string) (Stored, error) {
	standing, err := s.standing(ctx, in.By)
	if err != nil {
		return Stored{}, err
	}
	var link Stored
	err = s.change(ctx, in, func(tx durable.Tx) error {
		a, err := s.proposal(ctx, tx, in, key)
		if err != nil {
			return err
		}
		if standing != identity.Member {
			return errNotActive
		}
		if no, err := s.linkable(ctx, tx, a.Account); err != nil || no != nil {
			return errors.Join(err, asError(no))
		}
		if err := s.drop(ctx, tx, a.Account); err != nil {
			return err
		}
		link, err = s.put(ctx, tx, in, s.linkOf(a, identity.ByTeamsCode, in.By))
		return err
	})
	return link, err
}

var errNotActive = &Refusal{"The directory does not know you as an active member of the organisation.", "Nothing was linked: guests and disabled accounts cannot be."}

func (s *Service) standing(ctx context.Context, account identity.Principal) (identity.Standing, error) {
	person, no := teamsPerson(account)
	if no != nil {
		return identity.Unknown, no
	}
	return s.cfg.People.Standing(ctx, person)
}

// Decline ends a proposal.
func (s *Service) Decline(ctx context.Context, in Asked, key string) error {
	return s.change(ctx, in, func(tx durable.Tx) error {
		a, err := s.proposal(ctx, tx, in, key)
		if err != nil {
			return err
		}
		if err := s.drop(ctx, tx, a.Account); err != nil {
			return err
		}
		return s.record(ctx, tx, in, identity.Person{ID: a.Person}, "link.declined", "refused", map[string]string{"account": a.Account.String()})
	})
}

// proposal is the one that the asking account itself brought about.
func (s *Service) proposal(ctx context.Context, tx durable.Tx, in Asked, key string) (attempt, error) {
	account, err := identity.ParseSlackAccount(key)
	if err != nil {
		return attempt{}, errOver
	}
	a, ok, err := s.attemptBy(ctx, tx, "account", account.String())
	if err != nil {
		return attempt{}, err
	}
	if !ok || a.Stage != proposed || a.By.Platform != in.By.Platform || a.By.Key() != in.By.Key() {
		return attempt{}, errOver
	}
	return a, nil
}

var errOver = &Refusal{"This is no longer open.", "Type link in Slack for a new code."}

func (s *Service) linkOf(a attempt, how identity.How, by identity.Principal) Stored {
	return Stored{
		ID: uuid.NewString(), Tenant: s.cfg.Tenant, Account: a.Account, Person: a.Person, Name: a.Name, How: how, By: by,
	}
}

// codeLetters leaves out what is easily confused.
const codeLetters = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"

// newCode is a code for people to type, such as K7QM-2XHD: 39 bits.
func newCode() string {
	var b strings.Builder
	for b.Len() < 9 {
		if b.Len() == 4 {
			b.WriteByte('-')
		}
		var one [1]byte
		_, _ = rand.Read(one[:]) // never fails
		// 248 is the largest multiple of the 31 letters: above it some would come
		// more often.
		if n := int(one[0]); n < len(codeLetters)*(256/len(codeLetters)) {
			b.WriteByte(codeLetters[n%len(codeLetters)])
		}
	}
	return b.String()
}

// hashOf is how secrets are stored. Codes count without regard to case, dashes
// and spaces around them.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(secret), "-", ""))))
	return hex.EncodeToString(sum[:])
}

func sameHash(stored, secret string) bool {
	return stored != "" && subtle.ConstantTimeCompare([]byte(stored), []byte(hashOf(secret))) == 1
}

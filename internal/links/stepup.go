package links

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// StepUpFor is how old the sign-in of somebody who approves a tier 0 request may
// be.
const StepUpFor = 10 * time.Minute

// stepUp is a fresh sign-in for one request: whoever has taken over a chat account
// has not taken over the person (threat-model I-13).
type stepUp struct {
	ID      string
	Person  identity.PersonID
	Account identity.Principal
	Request string
	Digest  string
	Subject string
	Stage   stage
	Browser string // hash
	Expires time.Time
}

// StepUp asks for a fresh sign-in of the person behind an account, for one
// request as it was shown. What was offered to the person for it before is
// worthless from then on.
func (s *Service) StepUp(ctx context.Context, in Asked, request, digest, subject string) (Offer, error) {
	if s.cfg.SignIn == nil {
		return Offer{}, &Refusal{"Signing in is not set up here.", "An admin sets MDEBOT_PUBLIC_URL and the MDEBOT_OIDC settings."}
	}
	o := Offer{Expires: s.now().Add(OfferFor)}
	err := s.change(ctx, in, func(tx durable.Tx) error {
		link, err := s.Resolve(ctx, tx, s.cfg.Tenant, s.cfg.Policy.Current().Book(), in.By)
		if err != nil {
			return err
		}
		token := rand.Text() + rand.Text()
		o.URL = s.cfg.SignIn.at("/link/approve?t=" + token)
		if _, err := tx.Exec(ctx, `DELETE FROM step_ups WHERE tenant = $1 AND (expires < $2 OR person = $3 AND digest = $4 AND stage <> 'done')`,
			string(s.cfg.Tenant), durable.Micros(s.now().Add(-24*time.Hour)), link.Person.ID.String(), digest); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO step_ups (tenant, id, person, principal, request, digest, subject, stage, token, browser, state, signed_at, expires)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 'offered', $8, '', '', 0, $9)`,
			string(s.cfg.Tenant), uuid.NewString(), link.Person.ID.String(), encoded(in.By), request, digest, storable(subject), hashOf(token), durable.Micros(o.Expires)); err != nil {
			return err
		}
		return s.record(ctx, tx, in, link.Person, "stepup.offered", "ok", map[string]string{"request": request, "digest": digest})
	})
	if err != nil {
		return Offer{}, err
	}
	return o, nil
}

// SteppedUp reports whether person had signed in for the request with digest at a
// time, not long before it. It reads with db alone.
func (s *Service) SteppedUp(ctx context.Context, db durable.DBTX, t tenant.ID, person identity.PersonID, digest string, at time.Time) (bool, error) {
	var n int64
	err := db.QueryRow(ctx, `SELECT COUNT(*) FROM step_ups WHERE tenant = $1 AND person = $2 AND digest = $3 AND stage = 'done'
		AND signed_at > $4 AND signed_at <= $5`,
		string(t), person.String(), digest, durable.Micros(at.Add(-StepUpFor)), durable.Micros(at.Add(clockSkew))).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("read the sign-ins of %s: %w", person, err)
	}
	return n > 0, nil
}

// clockSkew is how far the directory's clock may be ahead.
const clockSkew = time.Minute

func (s *Service) stepUpBy(ctx context.Context, column, secret string) (stepUp, bool, error) {
	var u stepUp
	var person, account string
	var expires int64
	err := s.cfg.DB.Read().QueryRow(ctx, `SELECT id, person, principal, request, digest, subject, stage, browser, expires
		FROM step_ups WHERE tenant = $1 AND `+column+` = $2`, string(s.cfg.Tenant), hashOf(secret)).
		Scan(&u.ID, &person, &account, &u.Request, &u.Digest, &u.Subject, (*string)(&u.Stage), &u.Browser, &expires)
	if errors.Is(err, durable.ErrNoRows) {
		return stepUp{}, false, nil
	}
	if err == nil {
		u.Person, err = identity.ParsePersonID(person)
	}
	if err == nil {
		u.Account, err = decoded(account)
	}
	if err != nil {
		return stepUp{}, false, fmt.Errorf("read sign-in for an approval: %w", err)
	}
	return u, s.now().Before(durable.Time(expires)), nil
}

var (
	errOldApproval = &Refusal{"This address is not good any more", "It is good once and for ten minutes. Press Approve again for a new one."}
	errNotYou      = &Refusal{"You are not who wanted to approve this", "Nothing was approved. Only the person who pressed Approve can sign in for it; if that was not you, tell your security team that somebody may be using the account named above."}
	errNotFresh    = &Refusal{"The directory did not say that you have just signed in", "Nothing was approved. Press Approve again and sign in with your password or key; an admin checks that the ID token has auth_time."}
)

func (s *Service) offeredStepUp(ctx context.Context, token string) (stepUp, error) {
	if !secretForm.MatchString(token) {
		return stepUp{}, errOldApproval
	}
	u, ok, err := s.stepUpBy(ctx, "token", token)
	if err == nil && (!ok || u.Stage != offered) {
		err = errOldApproval
	}
	return u, err
}

// askApproval names what the sign-in is for. It changes nothing.
func (s *Service) askApproval(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("t")
	u, err := s.offeredStepUp(r.Context(), token)
	if err != nil {
		return err
	}
	show(w, http.StatusOK, view{
		Title: "Sign in to approve this?", Subject: chat.Visible(u.Subject, 300), Account: accountName(u.Account), Token: token, Action: "/link/approve",
		Text: "This proves that it is you who approves, and not somebody who uses your chat account. Go on only if you pressed Approve for this yourself, a moment ago. Nothing is approved by signing in: you press Approve once more.",
	})
	return nil
}

func (s *Service) startApproval(w http.ResponseWriter, r *http.Request) error {
	token, err := tokenOf(w, r)
	if err != nil {
		return errOldApproval
	}
	u, err := s.offeredStepUp(r.Context(), token)
	if err != nil {
		return err
	}
	return s.leave(w, r, true, func(tx durable.Tx, verifier, state string) error {
		n, err := tx.Exec(r.Context(), `UPDATE step_ups SET stage = 'signing-in', browser = $1, state = $2 WHERE tenant = $3 AND id = $4 AND stage = 'offered'`,
			hashOf(verifier), hashOf(state), string(s.cfg.Tenant), u.ID)
		if err == nil && n == 0 {
			err = errOldApproval
		}
		return err
	})
}

// approvalBack takes the browser back after a sign-in for an approval. The state
// is used up before the code is redeemed.
func (s *Service) approvalBack(w http.ResponseWriter, r *http.Request, u stepUp, held, code string) error {
	ctx := r.Context()
	switch {
	case !sameHash(u.Browser, held):
		return s.endStepUp(ctx, u, errOtherWay)
	case code == "":
		return s.endStepUp(ctx, u, &Refusal{"You did not sign in", "Nothing was approved. Press Approve to try again."})
	}
	err := s.cfg.DB.InTx(ctx, func(tx durable.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE step_ups SET state = '', browser = '' WHERE tenant = $1 AND id = $2 AND stage = 'signing-in' AND browser = $3`,
			string(s.cfg.Tenant), u.ID, u.Browser)
		if err == nil && n == 0 {
			err = errOldApproval
		}
		return err
	})
	if err != nil {
		return err
	}
	who, err := s.cfg.SignIn.finish(ctx, code, held)
	if errors.Is(err, errNotOurs) {
		return s.endStepUp(ctx, u, errNotYou)
	}
	if err != nil {
		return err
	}
	switch age := s.now().Sub(who.At); {
	case who.Person != u.Person:
		return s.endStepUp(ctx, u, errNotYou)
	case who.At.IsZero() || age > StepUpFor || age < -clockSkew:
		return s.endStepUp(ctx, u, errNotFresh)
	}
	err = s.cfg.DB.InTx(ctx, func(tx durable.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE step_ups SET stage = 'done', signed_at = $1 WHERE tenant = $2 AND id = $3 AND stage = 'signing-in'`,
			durable.Micros(who.At), string(s.cfg.Tenant), u.ID)
		if err == nil && n == 0 {
			err = errOldApproval
		}
		if err != nil {
			return err
		}
		return s.record(ctx, tx, Asked{By: u.Account}, identity.Person{ID: u.Person, Name: storable(who.Name)}, "stepup.done", "ok",
			map[string]string{"request": u.Request, "digest": u.Digest, "signed_in": who.At.UTC().Format(time.RFC3339)})
	})
	if err != nil {
		return err
	}
	show(w, http.StatusOK, view{
		Title: "Signed in", Subject: chat.Visible(u.Subject, 300), Account: accountName(u.Account), Person: chat.Visible(who.Name, 80) + " (" + u.Person.Object + ")",
		Text: "Not approved yet. Go back to the chat and press Approve once more, within ten minutes.",
	})
	return nil
}

// endStepUp ends a sign-in for good and records why.
func (s *Service) endStepUp(ctx context.Context, u stepUp, no *Refusal) error {
	var refused error
	err := s.cfg.DB.InTx(ctx, func(tx durable.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM step_ups WHERE tenant = $1 AND id = $2 AND stage <> 'done'`, string(s.cfg.Tenant), u.ID); err != nil {
			return err
		}
		refused = no
		return s.record(ctx, tx, Asked{By: u.Account}, identity.Person{ID: u.Person}, "stepup.refused", "refused",
			map[string]string{"request": u.Request, "digest": u.Digest, "why": no.Sentence})
	})
	return errors.Join(err, refused)
}

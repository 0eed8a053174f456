package links

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
)

// cookie keeps what proves that the browser that comes back is the one that began.
const cookie = "mdebot_link"

// secretForm is what addresses, states and cookies look like: two of rand.Text.
var secretForm = regexp.MustCompile(`^[A-Z2-7]{52}$`)

// Routes are the pages: GET and POST /link and /link/approve, GET /link/callback.
// They need SignIn.
func (s *Service) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /link", s.page(s.ask))
	mux.HandleFunc("POST /link", s.page(s.start))
	mux.HandleFunc("GET /link/approve", s.page(s.askApproval))
	mux.HandleFunc("POST /link/approve", s.page(s.startApproval))
	mux.HandleFunc("GET /link/callback", s.page(s.callback))
	return mux
}

// page wraps what all pages have in common. Whatever goes wrong, strangers read
// the same few words.
func (s *Service) page(next func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		// Browsers apply form-action to where a form's answer redirects, too.
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' "+s.cfg.SignIn.origin+"; frame-ancestors 'none'; base-uri 'none'")
		if !s.pages.Allow() {
			show(w, http.StatusTooManyRequests, view{Title: "One moment", Text: "mdebot is busy. Load this page again in a few seconds."})
			return
		}
		err := next(w, r)
		var no *Refusal
		switch {
		case err == nil:
		case errors.As(err, &no):
			show(w, http.StatusForbidden, view{Title: no.Sentence, Text: no.Next})
		default:
			s.cfg.Logger.WarnContext(r.Context(), "linking an account failed", slog.Any("error", err))
			show(w, http.StatusBadGateway, view{Title: "That did not work", Text: "Nothing was linked. Type /mde link in Slack for a new address; mdebot's log tells more."})
		}
	}
}

var (
	errOldAddress = &Refusal{"This address is not good any more", "It is good once and for ten minutes. Type /mde link in Slack for a new one."}
	errOtherWay   = &Refusal{"This sign-in did not begin in this browser", "Nothing was linked. If you did not begin it yourself, somebody may have wanted you to sign in for them. Otherwise type /mde link in Slack for a new address."}
)

// ask names the account that would be linked. It changes nothing: chat platforms
// and mail scanners open addresses, too.
func (s *Service) ask(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("t")
	a, err := s.offer(r.Context(), token)
	if err != nil {
		return err
	}
	show(w, http.StatusOK, view{
		Title: "Link this Slack account to you?", Account: accountOf(a), Token: token, Action: "/link",
		Text: "Whoever uses this Slack account will be taken for you, and their approvals for yours. Go on only if you typed link there yourself, a moment ago.",
	})
	return nil
}

func (s *Service) offer(ctx context.Context, token string) (attempt, error) {
	if !secretForm.MatchString(token) {
		return attempt{}, errOldAddress
	}
	a, ok, err := s.attemptBy(ctx, s.cfg.DB.Read(), "token", hashOf(token))
	if err == nil && (!ok || a.Stage != offered) {
		err = errOldAddress
	}
	return a, err
}

// start uses the address up and sends the browser to sign in.
func (s *Service) start(w http.ResponseWriter, r *http.Request) error {
	token, err := tokenOf(w, r)
	if err != nil {
		return errOldAddress
	}
	a, err := s.offer(r.Context(), token)
	if err != nil {
		return err
	}
	return s.leave(w, r, false, func(tx durable.Tx, verifier, state string) error {
		moved, err := s.advance(r.Context(), tx, a, signingIn, `, browser = $5, state = $6`, hashOf(verifier), hashOf(state))
		if err == nil && !moved {
			err = errOldAddress
		}
		return err
	})
}

// tokenOf is the token in a submitted form.
func tokenOf(w http.ResponseWriter, r *http.Request) (string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if err := r.ParseForm(); err != nil {
		return "", err
	}
	return r.PostForm.Get("t"), nil
}

// leave sends the browser to sign in, once keep has stored what proves that it is
// the one that comes back.
func (s *Service) leave(w http.ResponseWriter, r *http.Request, fresh bool, keep func(tx durable.Tx, verifier, state string) error) error {
	verifier, state := rand.Text()+rand.Text(), rand.Text()+rand.Text()
	to, err := s.cfg.SignIn.begin(r.Context(), state, verifier, fresh)
	if err != nil {
		return err
	}
	if err := s.cfg.DB.InTx(r.Context(), func(tx durable.Tx) error { return keep(tx, verifier, state) }); err != nil {
		return err
	}
	http.SetCookie(w, s.cookie(verifier, int(OfferFor/time.Second)))
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// cookie is sent back on the top-level redirect from the authority, hence Lax.
func (s *Service) cookie(value string, age int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // not Secure only where the public address is a loopback one
		Name: cookie, Value: value, Path: "/link", MaxAge: age,
		HttpOnly: true, Secure: s.cfg.SignIn.secure(), SameSite: http.SameSiteLaxMode,
	}
}

// callback takes the browser back after the sign-in. The state is used up before
// the code is redeemed, so that a repeated one finds nothing.
func (s *Service) callback(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	state, code := q.Get("state"), q.Get("code")
	held, err := r.Cookie(cookie)
	if err != nil || !secretForm.MatchString(held.Value) || !secretForm.MatchString(state) {
		return errOtherWay
	}
	http.SetCookie(w, s.cookie("", -1))
	ctx := r.Context()
	if u, ok, err := s.stepUpBy(ctx, "state", state); err != nil || ok && u.Stage == signingIn {
		if err != nil {
			return err
		}
		return s.approvalBack(w, r, u, held.Value, code)
	}
	a, ok, err := s.attemptBy(ctx, s.cfg.DB.Read(), "state", hashOf(state))
	switch {
	case err != nil:
		return err
	case !ok || a.Stage != signingIn:
		return errOldAddress
	case !sameHash(a.Browser, held.Value):
		return s.refuse(ctx, a, errOtherWay)
	case code == "":
		return s.refuse(ctx, a, &Refusal{"You did not sign in", "Nothing was linked. Type /mde link in Slack to try again."})
	}
	if err := s.useState(ctx, a); err != nil {
		return err
	}
	who, err := s.cfg.SignIn.finish(ctx, code, held.Value)
	if errors.Is(err, errNotOurs) {
		return s.refuse(ctx, a, errNotActive)
	}
	if err != nil {
		return errors.Join(err, s.cfg.DB.InTx(ctx, func(tx durable.Tx) error { return s.drop(ctx, tx, a.Account) }))
	}
	standing, err := s.cfg.People.Standing(ctx, who.Person)
	if err != nil {
		return err
	}
	if standing != identity.Member {
		return s.refuse(ctx, a, errNotActive)
	}
	return s.showCode(w, r, a, who.Person, who.Name)
}

// useState makes the state worthless.
func (s *Service) useState(ctx context.Context, a attempt) error {
	return s.cfg.DB.InTx(ctx, func(tx durable.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE link_attempts SET state = '', browser = '' WHERE tenant = $1 AND account = $2 AND stage = $3 AND browser = $4`,
			string(s.cfg.Tenant), a.Account.String(), string(signingIn), a.Browser)
		if err == nil && n == 0 {
			err = errOldAddress
		}
		return err
	})
}

// showCode keeps who signed in, and shows the code that only the account that
// began can use.
func (s *Service) showCode(w http.ResponseWriter, r *http.Request, a attempt, person identity.PersonID, name string) error {
	ctx, code := r.Context(), newCode()
	err := s.cfg.DB.InTx(ctx, func(tx durable.Tx) error {
		moved, err := s.advance(ctx, tx, a, signedIn, `, code = $5, person = $6, person_name = $7`, hashOf(code), person.String(), storable(name))
		if err == nil && !moved {
			err = errOldAddress
		}
		if err != nil {
			return err
		}
		return s.record(ctx, tx, Asked{By: a.Account}, identity.Person{ID: person, Name: storable(name)}, "link.signed-in", "ok",
			map[string]string{"account": a.Account.String()})
	})
	if err != nil {
		return err
	}
	show(w, http.StatusOK, view{
		Title: "Signed in", Account: accountOf(a), Person: chat.Visible(name, 80) + " (" + person.Object + ")", Code: code,
		Text: "Not linked yet. Type this in Slack, in the account above, within ten minutes of the first step. Give the code to nobody: mdebot never asks for it elsewhere.",
	})
	return nil
}

// refuse ends an attempt for good and records why.
func (s *Service) refuse(ctx context.Context, a attempt, no *Refusal) error {
	return s.change(ctx, Asked{By: a.Account}, func(tx durable.Tx) error {
		return errors.Join(s.drop(ctx, tx, a.Account), no)
	})
}

func accountOf(a attempt) string { return accountName(a.Account) }

func accountName(p identity.Principal) string { return chat.Visible(p.Name, 80) + " (" + p.Key() + ")" }

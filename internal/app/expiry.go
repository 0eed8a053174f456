package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/entra"
	"github.com/mdebot/mdebot/internal/tenant"
)

// expiryEvery is how often the ends of secrets and certificates are looked up.
const expiryEvery = 6 * time.Hour

// warnAhead is how long before its end a credential is announced, the longest
// first (threat-model C-01).
var warnAhead = []time.Duration{30 * 24 * time.Hour, 7 * 24 * time.Hour, 24 * time.Hour}

// watchedCredential is an application of the bot and how it signs in.
type watchedCredential struct {
	name       string // "the application that reads"
	credential entra.Credential
}

// credentialEnd is when a credential ends, as far as that can be known.
type credentialEnd struct {
	watchedCredential
	ends    time.Time
	problem string // why it is not known, or ""
}

// endOf looks up when a credential ends: in the certificate file, or for a secret
// at Graph.
func endOf(ctx context.Context, client *defender.Client, w watchedCredential) credentialEnd {
	e := credentialEnd{watchedCredential: w}
	switch w.credential.Effective() {
	case entra.Certificate:
		var err error
		if e.ends, err = w.credential.CertificateEnd(); err != nil {
			e.problem = err.Error()
		}
	case entra.Secret:
		e.ends, e.problem = secretEnd(ctx, client, w.credential)
	case entra.ManagedIdentity, entra.WorkloadIdentity: // neither ends
	}
	return e
}

func secretEnd(ctx context.Context, client *defender.Client, c entra.Credential) (time.Time, string) {
	granted, err := client.Permissions(ctx)
	if err != nil {
		return time.Time{}, defender.Reason(err)
	}
	if !granted.Has(defender.PermissionApplicationRead) {
		return time.Time{}, "its end is not known: that needs " + defender.PermissionApplicationRead + " on " + defender.ResourceOf(defender.PermissionApplicationRead)
	}
	all, err := client.AppCredentials(ctx, c.ClientID)
	switch {
	case errors.Is(err, defender.ErrNotFound):
		return time.Time{}, "its end is not known: the app registration is in another tenant"
	case err != nil:
		return time.Time{}, "its end is not known: " + defender.Reason(err)
	}
	return endOfSecret(all, c.Secret), ""
}

// endOfSecret finds the secret in use by its hint, its first characters. Where
// that does not tell, the one that ends last is meant: an operator who renews a
// secret makes the new one live longer.
func endOfSecret(all []defender.AppCredential, secret string) time.Time {
	var byHint, any time.Time
	for _, s := range all {
		if s.Certificate {
			continue
		}
		if s.Ends.After(any) {
			any = s.Ends
		}
		if s.Hint != "" && strings.HasPrefix(secret, s.Hint) && s.Ends.After(byHint) {
			byHint = s.Ends
		}
	}
	if !byHint.IsZero() {
		return byHint
	}
	return any
}

// expiry watches the credentials of one tenant and announces their ends.
type expiry struct {
	tenant      tenant.ID
	client      *defender.Client
	credentials []watchedCredential
	announce    func(ctx context.Context, about string, m chat.Message) error
	now         func() time.Time
	log         interface {
		WarnContext(ctx context.Context, msg string, args ...any)
	}

	mu   sync.Mutex
	ends []credentialEnd
}

func (x *expiry) run(ctx context.Context) {
	for {
		x.look(ctx)
		wait := expiryEvery
		for _, e := range x.known() {
			if e.problem != "" {
				wait = time.Minute // the reason may pass, such as an outage
			}
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// look reads the ends and says what is due.
func (x *expiry) look(ctx context.Context) {
	ends := make([]credentialEnd, len(x.credentials))
	for i, c := range x.credentials {
		ends[i] = endOf(ctx, x.client, c)
	}
	x.mu.Lock()
	x.ends = ends
	x.mu.Unlock()
	for _, e := range ends {
		step := e.due(x.now())
		if step == 0 {
			continue
		}
		about := fmt.Sprintf("credential %s of %s ends %d, %d days ahead", e.credential.ClientID, x.tenant, e.ends.Unix(), int(step.Hours()/24))
		if err := x.announce(ctx, about, cards.CredentialEnds(x.tenant, e.name, kindOf(e.credential), e.ends, x.now())); err != nil {
			x.log.WarnContext(ctx, "end of a credential not announced", "tenant_id", string(x.tenant), "error", err)
		}
	}
}

// due is the closest warning that has come, or 0. Each is told once, because it
// is about the same.
func (e credentialEnd) due(now time.Time) time.Duration {
	var due time.Duration
	for _, ahead := range warnAhead {
		if !e.ends.IsZero() && e.ends.Sub(now) <= ahead {
			due = ahead
		}
	}
	return due
}

func kindOf(c entra.Credential) string {
	if c.Effective() == entra.Certificate {
		return "certificate"
	}
	return "client secret"
}

func (x *expiry) known() []credentialEnd {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ends
}

// lines are for status.
func (x *expiry) lines() []cards.StatusLine {
	var lines []cards.StatusLine
	for _, e := range x.known() {
		l := cards.StatusLine{Part: "Credential of " + e.name, Good: true, Detail: string(e.credential.Effective())}
		switch left := e.ends.Sub(x.now()); {
		case e.problem != "":
			l.Detail += ", " + e.problem
		case e.ends.IsZero():
		case left <= 0:
			l.Good, l.Detail = false, l.Detail+" ended on "+e.ends.UTC().Format("2 January 2006")
		default:
			l.Good, l.Detail = left > warnAhead[1], fmt.Sprintf("%s ends on %s, in %d days", l.Detail, e.ends.UTC().Format("2 January 2006"), int(left.Hours()/24))
		}
		lines = append(lines, l)
	}
	return lines
}

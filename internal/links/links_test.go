package links

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/seal"
	"github.com/mdebot/mdebot/internal/store/storetest"
	"github.com/mdebot/mdebot/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	home               = "4f6c2a1e-0000-4000-8000-0000000000aa"
	defended tenant.ID = "4f6c2a1e-0000-4000-8000-000000000001"
)

const people = `
approvals:
  rules: [{ name: all }]
people:
  - { person: 00000000-0000-4000-8000-000000000001, name: Riley, roles: [responder] }
  - { person: 00000000-0000-4000-8000-000000000002, name: Avery, slack: [T0SOC/U0AVERY], roles: [approver] }
  - { person: 00000000-0000-4000-8000-000000000003, name: Sam, roles: [approver] }
`

func slack(name string) identity.Principal {
	return identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0" + name, Name: name}
}

func teams(n int) identity.Principal {
	return identity.Principal{Platform: identity.Teams, Workspace: home, Account: fmt.Sprintf("00000000-0000-4000-8000-%012d", n)}
}

// world is a service with a database, and whom it told what.
type world struct {
	*Service
	db       durable.DB
	now      time.Time
	standing identity.Standing
	told     []string
}

func (w *world) Standing(context.Context, identity.PersonID) (identity.Standing, error) {
	return w.standing, nil
}

func (w *world) LinkChanged(_ context.Context, _ durable.Tx, c Change) error {
	w.told = append(w.told, string(c.What)+" "+c.Link.Account.Key())
	return nil
}

func newWorld(t *testing.T, open storetest.Opener) *world {
	t.Helper()
	p, err := policy.Parse("mdebot.yaml", []byte(people), policy.Options{HomeTenant: home})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{db: open(t), now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), standing: identity.Member}
	now := func() time.Time { return w.now }
	w.Service = New(Config{
		Tenant: defended, DB: w.db, Audit: audit.NewLog(now), Policy: policy.NewSource(p), People: w, Announcer: w,
		Teams: true, Now: now, Logger: slog.New(slog.DiscardHandler),
	})
	return w
}

func asked(by identity.Principal) Asked { return Asked{By: by, Delivery: "d"} }

// link links a Slack account to a Teams account's person.
func (w *world) link(t *testing.T, account, person identity.Principal) Stored {
	t.Helper()
	o, err := w.Offer(t.Context(), asked(account))
	if err != nil {
		t.Fatalf("Offer: %v", err)
	}
	p, err := w.Propose(t.Context(), asked(person), o.TeamsCode)
	if err != nil {
		t.Fatalf("Propose: %v", err)
	}
	link, err := w.Accept(t.Context(), asked(person), p.Key)
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	return link
}

func wantRefusal(t *testing.T, what string, err error, words string) {
	t.Helper()
	var no *Refusal
	if !errors.As(err, &no) || !strings.Contains(no.Sentence, words) {
		t.Errorf("%s = %v, want a refusal that says %q", what, err, words)
	}
}

func TestLink_lifeOnBothEngines(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		w := newWorld(t, open)
		noor := slack("NOOR")
		if _, err := w.Who(t.Context(), noor); !errors.Is(err, identity.ErrUnlinked) {
			t.Fatalf("Who before = %v, want ErrUnlinked", err)
		}
		link := w.link(t, noor, teams(3))
		who, err := w.Who(t.Context(), noor)
		if err != nil || who.Person.Name != "Sam" || who.How != identity.ByTeamsCode || !who.Since.Equal(w.now) || !who.CountsFrom.Equal(w.now.Add(CoolDown)) {
			t.Errorf("Who = %+v, %v, want Sam since now", who, err)
		}
		wantRefusal(t, "Confirm by its owner", second(w.Confirm(t.Context(), asked(teams(3)), link.ID)), "Your own link")
		wantRefusal(t, "Confirm by a responder", second(w.Confirm(t.Context(), asked(teams(1)), link.ID)), "role approver")
		if _, err := w.Confirm(t.Context(), asked(slack("AVERY")), link.ID); err != nil {
			t.Fatalf("Confirm: %v", err)
		}
		if who, _ := w.Who(t.Context(), noor); who.CountsFrom.After(w.now) || who.ConfirmedBy.Object != teams(2).Account {
			t.Errorf("Who = %+v after Avery confirmed", who)
		}
		wantRefusal(t, "Confirm again", second(w.Confirm(t.Context(), asked(slack("AVERY")), link.ID)), "counts already")

		// Somebody else's sign-in replaces it, and everything starts again.
		w.now = w.now.Add(48 * time.Hour)
		other := w.link(t, noor, teams(1))
		if who, _ := w.Who(t.Context(), noor); who.Person.Name != "Riley" || !who.CountsFrom.Equal(w.now.Add(CoolDown)) {
			t.Errorf("Who = %+v after it was replaced, want Riley with a cool-down", who)
		}
		wantRefusal(t, "Confirm of the old one", second(w.Confirm(t.Context(), asked(slack("AVERY")), link.ID)), "has ended")
		if ended, err := w.Unlink(t.Context(), asked(noor)); err != nil || ended.ID != other.ID {
			t.Errorf("Unlink = %+v, %v", ended, err)
		}
		if _, err := w.Who(t.Context(), noor); !errors.Is(err, identity.ErrUnlinked) {
			t.Errorf("Who after = %v, want ErrUnlinked", err)
		}
		want := "made T0SOC/U0NOOR,confirmed T0SOC/U0NOOR,made T0SOC/U0NOOR,ended T0SOC/U0NOOR"
		if got := strings.Join(w.told, ","); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
		if _, err := audit.Verify(t.Context(), w.db.Read(), defended); err != nil {
			t.Errorf("audit.Verify: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func sqlite(t testing.TB) storetest.Opener { t.Helper(); return storetest.New }

func TestLink_refuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t))
	wantRefusal(t, "Offer to an account of mdebot.yaml", second(w.Offer(t.Context(), asked(slack("AVERY")))), "mdebot.yaml links this account")
	wantRefusal(t, "Offer in Teams", second(w.Offer(t.Context(), asked(teams(1)))), "needs no link")
	wantRefusal(t, "Unlink without a link", second(w.Unlink(t.Context(), asked(slack("AVERY")))), "no link of its own")
	wantRefusal(t, "Complete without a sign-in", second(w.Complete(t.Context(), asked(slack("NOOR")), "AAAA-AAAA")), "Nobody has signed in")

	old, err := w.Offer(t.Context(), asked(slack("NOOR")))
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.Offer(t.Context(), asked(slack("NOOR")))
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "Propose an older code", second(w.Propose(t.Context(), asked(teams(1)), old.TeamsCode)), "not known")
	wantRefusal(t, "Propose in Slack", second(w.Propose(t.Context(), asked(slack("GALE")), o.TeamsCode)), "personal Teams chat")
	if _, err := w.Propose(t.Context(), asked(teams(1)), strings.ToLower(o.TeamsCode)); err != nil {
		t.Fatalf("Propose in lower case: %v", err)
	}
	wantRefusal(t, "Propose twice", second(w.Propose(t.Context(), asked(teams(3)), o.TeamsCode)), "not known")
	wantRefusal(t, "Accept by somebody else", second(w.Accept(t.Context(), asked(teams(3)), "T0SOC/U0NOOR")), "no longer open")
	w.standing = identity.Guest
	wantRefusal(t, "Accept by a guest", second(w.Accept(t.Context(), asked(teams(1)), "T0SOC/U0NOOR")), "active member")
	w.standing = identity.Member
	w.now = w.now.Add(OfferFor)
	wantRefusal(t, "Accept too late", second(w.Accept(t.Context(), asked(teams(1)), "T0SOC/U0NOOR")), "no longer open")
	if len(w.told) > 0 {
		t.Errorf("told %v, want nothing", w.told)
	}
}

func TestLink_toAPersonTheFileDoesNotName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t))
	w.link(t, slack("NOOR"), teams(9))
	who, err := w.Who(t.Context(), slack("NOOR"))
	if !errors.Is(err, identity.ErrUnlisted) || !errors.Is(err, identity.ErrUnlinked) || len(who.Person.Roles) > 0 || who.Person.ID.Object != teams(9).Account {
		t.Errorf("Who = %+v, %v, want the ID without roles", who, err)
	}
}

func TestAttempts_keepNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqlite(t))
	o, err := w.Offer(t.Context(), asked(slack("NOOR")))
	if err != nil {
		t.Fatal(err)
	}
	var stored string
	if err := w.db.Read().QueryRow(t.Context(), `SELECT teams_code || token || state || browser || code FROM link_attempts`).Scan(&stored); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{o.TeamsCode, strings.ReplaceAll(o.TeamsCode, "-", "")} {
		if strings.Contains(strings.ToUpper(stored), secret) {
			t.Errorf("the database holds %q", secret)
		}
	}
}

func TestSignInConfig_Validate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config SignInConfig
		fault  string
	}{
		"nothing":               {SignInConfig{}, ""},
		"all":                   {SignInConfig{"https://mdebot.example.com", "id", "secret"}, ""},
		"the address alone":     {SignInConfig{"https://mdebot.example.com", "", ""}, ""},
		"a bad address alone":   {SignInConfig{"https://mdebot.example.com/app", "", ""}, "bare https address"},
		"loopback":              {SignInConfig{"http://127.0.0.1:8080", "id", "secret"}, ""},
		"no secret":             {SignInConfig{"https://mdebot.example.com", "id", ""}, "MDEBOT_OIDC_CLIENT_SECRET is missing"},
		"no address":            {SignInConfig{"", "id", "secret"}, "MDEBOT_PUBLIC_URL is missing"},
		"http":                  {SignInConfig{"http://mdebot.example.com", "id", "secret"}, "bare https address"},
		"an address with query": {SignInConfig{"https://mdebot.example.com/?a=b", "id", "secret"}, "bare https address"},
	} {
		err := c.config.Validate()
		if (c.fault == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: Validate() = %v, want %q", name, err, c.fault)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", c.config, c.config, c.config), "secret") {
			t.Errorf("%s: the secret is printed", name)
		}
	}
}

// With a data key a link says nothing to whoever reads the database, and whoever
// writes it cannot make somebody another person (threat-model C-05).
func TestLink_rowsAreSealed(t *testing.T) {
	t.Parallel()
	keys, err := seal.ParseKeys(base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, sqlite(t))
	w.cfg.Keys = keys
	noor, kim := slack("NOOR"), slack("KIM")
	first, other := w.link(t, noor, teams(1)), w.link(t, kim, teams(3))
	change := func(query string, args ...any) {
		t.Helper()
		if err := w.db.InTx(t.Context(), func(tx durable.Tx) error { return second(tx.Exec(t.Context(), query, args...)) }); err != nil {
			t.Fatal(err)
		}
	}
	value := func(column, id string) (text string) {
		t.Helper()
		if err := w.db.Read().QueryRow(t.Context(), `SELECT `+column+` FROM links WHERE id = $1`, id).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, column := range []string{"principal", "person_name", "by_account"} {
		if text := value(column, first.ID); text == "" || strings.Contains(text, "NOOR") || strings.Contains(text, "Riley") || strings.Contains(text, "workspace") {
			t.Errorf("%s holds %q", column, text)
		}
	}
	if who, err := w.Who(t.Context(), noor); err != nil || who.Person.Name != "Riley" {
		t.Fatalf("Who = %+v, %v, want Riley", who, err)
	}

	person := value("person", first.ID)
	change(`UPDATE links SET person = $1 WHERE id = $2`, value("person", other.ID), first.ID)
	if who, err := w.Who(t.Context(), noor); err == nil || errors.Is(err, identity.ErrUnlinked) {
		t.Errorf("Who = %+v, %v after the row was pointed at Sam, want a fault", who, err)
	}
	change(`UPDATE links SET person = $1 WHERE id = $2`, person, first.ID)

	change(`UPDATE links SET principal = $1 WHERE id = $2`, value("principal", other.ID), first.ID)
	if who, err := w.Who(t.Context(), noor); err == nil || errors.Is(err, identity.ErrUnlinked) {
		t.Errorf("Who = %+v, %v with the account of another row, want a fault", who, err)
	}
	change(`UPDATE links SET account = $1 WHERE id = $2`, slack("EVE").Key(), other.ID)
	if who, err := w.Who(t.Context(), slack("EVE")); err == nil || errors.Is(err, identity.ErrUnlinked) {
		t.Errorf("Who = %+v, %v for an account that took a row over, want a fault", who, err)
	}
}

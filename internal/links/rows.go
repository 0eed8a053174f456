package links

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/seal"
	"github.com/mdebot/mdebot/internal/tenant"
)

const linkColumns = `id, tenant, principal, person, person_name, how, by_account, linked_at, counts_from, confirmed_by`

// What links say beside the keys they are found by.
var (
	linkAccount = seal.Column{Table: "links", Name: "principal", Row: "id"}
	linkName    = seal.Column{Table: "links", Name: "person_name", Row: "id"}
	linkBy      = seal.Column{Table: "links", Name: "by_account", Row: "id"}
)

// SealedColumns are those that [Config.Keys] encrypts.
func SealedColumns() []seal.Column { return []seal.Column{linkAccount, linkName, linkBy} }

// bound is what the column principal holds: the account together with the person.
// Where it is sealed, a row that was pointed at somebody else is noticed.
type bound struct {
	identity.Principal
	Person string `json:"person"`
}

// live is the link of an account that is in force.
func (s *Service) live(ctx context.Context, db durable.DBTX, t tenant.ID, account identity.Principal) (Stored, bool, error) {
	link, ok, err := s.found(db.QueryRow(ctx, `SELECT `+linkColumns+` FROM links
		WHERE tenant = $1 AND platform = $2 AND account = $3 AND ended_at = 0`, string(t), string(account.Platform), account.Key()))
	if ok && link.Account.Key() != account.Key() {
		return Stored{}, false, link.altered()
	}
	return link, ok, err
}

func (l Stored) altered() error {
	return fmt.Errorf("link %s: its row is not what was written; restore the database, or delete the row and link the account again", l.ID)
}

func (s *Service) linkByID(ctx context.Context, db durable.DBTX, t tenant.ID, id string) (Stored, bool, error) {
	return s.found(db.QueryRow(ctx, `SELECT `+linkColumns+` FROM links WHERE tenant = $1 AND id = $2 AND ended_at = 0`, string(t), id))
}

func (s *Service) found(row durable.Row) (Stored, bool, error) {
	link, err := s.scanLink(row)
	if errors.Is(err, durable.ErrNoRows) {
		return Stored{}, false, nil
	}
	return link, err == nil, err
}

func (s *Service) scanLink(row durable.Row) (Stored, error) {
	var l Stored
	var account, person, by, confirmed string
	var at, from int64
	err := row.Scan(&l.ID, (*string)(&l.Tenant), &account, &person, &l.Name, (*string)(&l.How), &by, &at, &from, &confirmed)
	if err != nil {
		return Stored{}, err
	}
	l.At, l.CountsFrom = durable.Time(at), durable.Time(from)
	if l.Person, err = identity.ParsePersonID(person); err != nil {
		return Stored{}, fmt.Errorf("link %s: %w", l.ID, err)
	}
	if confirmed != "" {
		if l.ConfirmedBy, err = identity.ParsePersonID(confirmed); err != nil {
			return Stored{}, fmt.Errorf("link %s: %w", l.ID, err)
		}
	}
	for column, text := range map[seal.Column]*string{linkAccount: &account, linkName: &l.Name, linkBy: &by} {
		if *text, err = s.cfg.Keys.Open(column.Place(string(l.Tenant), l.ID), *text); err != nil {
			return Stored{}, fmt.Errorf("link %s: %w", l.ID, err)
		}
	}
	var whose bound
	if err := errors.Join(json.Unmarshal([]byte(account), &whose), json.Unmarshal([]byte(by), &l.By)); err != nil {
		return Stored{}, fmt.Errorf("link %s: %w", l.ID, err)
	}
	if whose.Person != "" && whose.Person != person {
		return Stored{}, l.altered()
	}
	l.Account = whose.Principal
	return l, nil
}

// accountsOf are the accounts linked to a person by themselves.
func (s *Service) accountsOf(ctx context.Context, db durable.DBTX, t tenant.ID, p identity.PersonID) ([]identity.Principal, error) {
	rows, err := db.Query(ctx, `SELECT `+linkColumns+` FROM links WHERE tenant = $1 AND person = $2 AND ended_at = 0 ORDER BY id`, string(t), p.String())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var accounts []identity.Principal
	for rows.Next() {
		l, err := s.scanLink(rows)
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, l.Account)
	}
	return accounts, rows.Err()
}

func (s *Service) insert(ctx context.Context, tx durable.Tx, l Stored) error {
	account, err := json.Marshal(bound{Principal: cleaned(l.Account), Person: l.Person.String()})
	if err != nil {
		return err
	}
	sealed := map[seal.Column]string{linkAccount: string(account), linkName: storable(l.Name), linkBy: encoded(l.By)}
	for column, text := range sealed {
		if sealed[column], err = s.cfg.Keys.Seal(column.Place(string(l.Tenant), l.ID), text); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO links (tenant, id, platform, account, principal, person, person_name, how, by_account,
			linked_at, counts_from, confirmed_by, confirmed_at, ended_at, ended_why)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', 0, 0, '')`,
		string(l.Tenant), l.ID, string(l.Account.Platform), l.Account.Key(), sealed[linkAccount], l.Person.String(), sealed[linkName],
		string(l.How), sealed[linkBy], durable.Micros(l.At), durable.Micros(l.CountsFrom))
	return err
}

// stage is how far an attempt has come.
type stage string

const (
	offered   stage = "offered"
	signingIn stage = "signing-in"
	signedIn  stage = "signed-in"
	proposed  stage = "proposed"
)

// attempt is a link that somebody is about to make.
type attempt struct {
	Account identity.Principal
	Stage   stage
	Browser string // hash
	Code    string // hash
	Person  identity.PersonID
	Name    string
	By      identity.Principal
	Wrong   int64
	Expires time.Time
}

// attemptBy reads the attempt that a column's hash names.
func (s *Service) attemptBy(ctx context.Context, db durable.DBTX, column, value string) (attempt, bool, error) {
	var a attempt
	var account, person, by string
	var expires int64
	err := db.QueryRow(ctx, `SELECT principal, stage, browser, code, person, person_name, by_account, wrong, expires
		FROM link_attempts WHERE tenant = $1 AND `+column+` = $2`, string(s.cfg.Tenant), value).
		Scan(&account, (*string)(&a.Stage), &a.Browser, &a.Code, &person, &a.Name, &by, &a.Wrong, &expires)
	if errors.Is(err, durable.ErrNoRows) {
		return attempt{}, false, nil
	}
	if err != nil {
		return attempt{}, false, fmt.Errorf("read link attempt: %w", err)
	}
	a.Expires = durable.Time(expires)
	if person != "" {
		if a.Person, err = identity.ParsePersonID(person); err != nil {
			return attempt{}, false, err
		}
	}
	if by != "" {
		err = json.Unmarshal([]byte(by), &a.By)
	}
	if err = errors.Join(err, json.Unmarshal([]byte(account), &a.Account)); err != nil {
		return attempt{}, false, fmt.Errorf("read link attempt: %w", err)
	}
	return a, s.now().Before(a.Expires), nil
}

// advance moves an attempt on if it is still in its stage; what was found by the
// earlier stage's secret is good for one such move.
func (s *Service) advance(ctx context.Context, tx durable.Tx, a attempt, to stage, set string, args ...any) (bool, error) {
	args = append([]any{string(to), string(s.cfg.Tenant), a.Account.String(), string(a.Stage)}, args...)
	n, err := tx.Exec(ctx, `UPDATE link_attempts SET stage = $1`+set+` WHERE tenant = $2 AND account = $3 AND stage = $4`, args...)
	return n == 1, err
}

func (s *Service) drop(ctx context.Context, tx durable.Tx, account identity.Principal) error {
	_, err := tx.Exec(ctx, `DELETE FROM link_attempts WHERE tenant = $1 AND account = $2`, string(s.cfg.Tenant), account.String())
	return err
}

// record appends to the audit log. by is the person as far as it is proven.
func (s *Service) record(ctx context.Context, tx durable.Tx, in Asked, by identity.Person, kind, outcome string, detail map[string]string) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = s.cfg.Audit.Append(ctx, tx, audit.Event{
		Tenant: s.cfg.Tenant, At: s.now(), Kind: kind, Outcome: outcome, Person: by.ID, PersonName: by.Name,
		Account: in.By, Conversation: in.Conversation, Delivery: in.Delivery,
		PolicyHash: s.cfg.Policy.Current().Hash(), Detail: text,
	})
	return err
}

func detailOf(l Stored) map[string]string {
	d := map[string]string{
		"link": l.ID, "account": l.Account.String(), "person": l.Person.String(), "how": string(l.How), "by": l.By.String(),
		"counts_from": l.CountsFrom.UTC().Format(time.RFC3339),
	}
	if !l.ConfirmedBy.IsZero() {
		d["confirmed_by"] = l.ConfirmedBy.String()
	}
	return d
}

func encoded(p identity.Principal) string {
	text, err := json.Marshal(cleaned(p))
	if err != nil {
		panic(fmt.Sprintf("links: encode principal: %v", err)) // strings always encode
	}
	return string(text)
}

func cleaned(p identity.Principal) identity.Principal {
	p.Name, p.Address = storable(p.Name), storable(p.Address)
	return p
}

func decoded(principal string) (p identity.Principal, err error) {
	err = json.Unmarshal([]byte(principal), &p)
	return p, err
}

// storable replaces what a database cannot hold.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

package approvals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// DecisionRecord is everything the audit log says about one request, to be read
// without the people, the rules and the program of the day.
type DecisionRecord struct {
	Tenant     tenant.ID         `json:"tenant"`
	Number     int64             `json:"number"`
	Request    string            `json:"request"`
	Digest     string            `json:"digest"`
	Action     string            `json:"action"`
	Params     map[string]string `json:"params,omitempty"`
	AskedBy    Party             `json:"asked_by"`
	Reason     string            `json:"reason"`
	Opened     time.Time         `json:"opened"`
	Expires    time.Time         `json:"expires"`
	Rule       policy.Applied    `json:"rule"`
	PolicyHash string            `json:"policy_hash"`
	Nonce      string            `json:"nonce"`
	Targets    []RecordedTarget  `json:"targets"`
	Votes      []RecordedEvent   `json:"votes"`
	// Claims were recorded before each call to Defender.
	Claims []RecordedEvent `json:"claims"`
	// Course is everything else, in order: approval, machine actions and their
	// outcomes, denial of leftovers, expiry, refused attempts.
	Course []RecordedEvent `json:"course"`
}

// Party is a person with the account they used.
type Party struct {
	Person       string `json:"person"` // Entra tenant and object ID
	Name         string `json:"name"`
	Account      string `json:"account"` // platform, workspace and account
	Conversation string `json:"conversation,omitempty"`
	Delivery     string `json:"delivery,omitempty"`
}

// RecordedTarget is what the request was about, with the facts as shown.
type RecordedTarget struct {
	Kind  TargetKind      `json:"kind"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Facts json.RawMessage `json:"facts,omitempty"`
}

// RecordedEvent is one audit record; Seq and Hash find it in the chain.
type RecordedEvent struct {
	Seq        int64           `json:"seq"`
	Hash       string          `json:"hash"`
	At         time.Time       `json:"at"`
	Kind       string          `json:"kind"`
	Outcome    string          `json:"outcome"`
	By         *Party          `json:"by,omitempty"` // nil: mdebot itself
	Digest     string          `json:"digest,omitempty"`
	PolicyHash string          `json:"policy_hash"`
	Detail     json.RawMessage `json:"detail,omitempty"`
}

// ErrNoRecord reports that the audit log has no such request.
var ErrNoRecord = errors.New("the audit log does not hold the opening of this request")

// RequestID is the ID of the request with the number people use.
func RequestID(ctx context.Context, db durable.DBTX, id tenant.ID, number int64) (string, error) {
	var request string
	err := db.QueryRow(ctx, `SELECT id FROM requests WHERE tenant = $1 AND number = $2`, string(id), number).Scan(&request)
	if errors.Is(err, durable.ErrNoRows) {
		return "", fmt.Errorf("there is no request #%d", number)
	}
	if err != nil {
		return "", fmt.Errorf("find request #%d: %w", number, err)
	}
	return request, nil
}

// ReadDecision makes the record of a request from the audit log alone.
func ReadDecision(ctx context.Context, db durable.DBTX, id tenant.ID, request string) (DecisionRecord, error) {
	d := DecisionRecord{Votes: []RecordedEvent{}, Claims: []RecordedEvent{}, Course: []RecordedEvent{}}
	for r, err := range audit.OfRequest(ctx, db, id, request) {
		if err != nil {
			return DecisionRecord{}, err
		}
		switch {
		case r.Kind == "request.opened":
			if err := d.open(r); err != nil {
				return DecisionRecord{}, err
			}
		case strings.HasPrefix(r.Kind, "vote."):
			d.Votes = append(d.Votes, eventOf(r))
		case r.Kind == "action.intent":
			d.Claims = append(d.Claims, eventOf(r))
		default:
			d.Course = append(d.Course, eventOf(r))
		}
	}
	if d.Request == "" {
		return DecisionRecord{}, fmt.Errorf("request %s: %w", request, ErrNoRecord)
	}
	return d, nil
}

func (d *DecisionRecord) open(r audit.Record) error {
	var o openedDetail
	if err := json.Unmarshal(r.Detail, &o); err != nil {
		return fmt.Errorf("audit record %d: %w", r.Seq, err)
	}
	d.Tenant, d.Number, d.Request, d.Digest = r.Tenant, o.Number, r.Request, r.Digest
	d.Action, d.Params, d.Reason, d.Rule = o.Action, o.Params, o.Reason, o.Rule
	d.AskedBy, d.Opened, d.Expires = partyOf(r), r.At, o.Expires
	d.PolicyHash, d.Nonce = r.PolicyHash, o.Nonce
	for _, t := range o.Targets {
		d.Targets = append(d.Targets, RecordedTarget(t))
	}
	return nil
}

func partyOf(r audit.Record) Party {
	p := Party{Person: r.Person.String(), Name: r.PersonName, Conversation: r.Conversation, Delivery: r.Delivery}
	if r.Account.Platform != "" {
		p.Account = r.Account.String()
	}
	return p
}

func eventOf(r audit.Record) RecordedEvent {
	e := RecordedEvent{
		Seq: r.Seq, Hash: r.Hash, At: r.At, Kind: r.Kind, Outcome: r.Outcome,
		Digest: r.Digest, PolicyHash: r.PolicyHash, Detail: r.Detail,
	}
	if by := partyOf(r); by != (Party{}) {
		e.By = &by
	}
	return e
}

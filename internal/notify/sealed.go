package notify

import (
	"encoding/json"

	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/seal"
)

// The columns that hold what alerts, notices and mutes say.
var (
	alertBody  = seal.Column{Table: "alerts", Name: "body", Row: "id"}
	noticeBody = seal.Column{Table: "notices", Name: "body", Row: "id"}
	muteBody   = seal.Column{Table: "mutes", Name: "body", Row: "id"}
)

// SealedColumns are those that [Config.Keys] encrypts.
func SealedColumns() []seal.Column { return []seal.Column{alertBody, noticeBody, muteBody} }

// sealJSON is v as stored in a column of a row.
func (n *Notifier) sealJSON(c seal.Column, t tenantID, id string, v any) (string, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return n.keys.Seal(c.Place(string(t), id), string(body))
}

// openJSON reads what sealJSON made of the same row.
func (n *Notifier) openJSON(c seal.Column, t tenantID, id, stored string, v any) error {
	body, err := n.keys.Open(c.Place(string(t), id), stored)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(body), v)
}

// scanAlerts reads stored alerts from rows of id and body.
func (n *Notifier) scanAlerts(rows durable.Rows, t tenantID) ([]defender.Alert, error) {
	var out []defender.Alert
	for rows.Next() {
		var id, body string
		if err := rows.Scan(&id, &body); err != nil {
			return nil, err
		}
		var a defender.Alert
		if err := n.openJSON(alertBody, t, id, body, &a); err != nil {
			// One that cannot be read is named all the same, and hides no other.
			a = defender.Alert{ID: id, Title: "This alert cannot be shown"}
		}
		a.Tenant = t
		out = append(out, a)
	}
	return out, rows.Err()
}

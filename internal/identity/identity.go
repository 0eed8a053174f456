// Package identity turns chat accounts into people and people into roles.
//
// A person is a directory object: (Entra tenant ID, object ID). One human with a
// Slack and a Teams account is one person, and everything that counts people
// (votes, self-approval, limits) counts PersonIDs. Display names, e-mail
// addresses and user principal names are shown and never compared: whoever
// administers a chat workspace can change them (threat-model I-01 to I-04).
package identity

import (
	"context"
	"errors"
	"strings"
)

// Platform is a chat platform.
type Platform string

// The platforms.
const (
	Slack Platform = "slack"
	Teams Platform = "teams"
)

// Principal is a chat account as its adapter authenticated it. Rows and records
// keep it as JSON.
type Principal struct {
	Platform Platform `json:"platform"`
	// Workspace is the account's own home: the Slack workspace ID (T…) or, on
	// Teams, the Entra tenant ID.
	Workspace string `json:"workspace"`
	// Account is the Slack user ID (U…, W…) or, on Teams, the Entra object ID.
	Account string `json:"account"`
	// Address reaches the account in chat: the Slack user ID, or the Teams MRI
	// ("29:…"). It identifies nobody.
	Address string `json:"address,omitempty"`
	// Name is for display only.
	Name string `json:"name,omitempty"`
}

// Key is the account's canonical text, as people write it in mdebot.yaml:
// "T0SOC/U0RILEY" for Slack, "tenant/object" for Teams. Two principals are the
// same account exactly when Platform and Key are equal.
func (p Principal) Key() string { return p.Workspace + "/" + p.Account }

// String is Platform and Key, for records.
func (p Principal) String() string { return string(p.Platform) + ":" + p.Key() }

// PersonID is a directory object. The zero value is nobody.
type PersonID struct {
	Tenant string // Entra tenant ID in lower case; the person's home, not the Defender tenant
	Object string // Entra object ID in lower case
}

// IsZero reports whether p names nobody.
func (p PersonID) IsZero() bool { return p == PersonID{} }

// String is "tenant/object", the form stored in rows and records.
func (p PersonID) String() string {
	if p.IsZero() {
		return ""
	}
	return p.Tenant + "/" + p.Object
}

// ParsePersonID reads the form String writes. It accepts exactly two canonical
// lower-case GUIDs and rejects everything else (threat-model I-11).
func ParsePersonID(s string) (PersonID, error) {
	tenant, object, ok := strings.Cut(s, "/")
	if !ok || !isGUID(tenant) || !isGUID(object) {
		return PersonID{}, errors.New("person ID must be <tenant GUID>/<object GUID> in lower case")
	}
	return PersonID{Tenant: tenant, Object: object}, nil
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// Role is what a person may do.
type Role string

// The roles. Responder and Hunter include Viewer. Nobody has Hunter or Admin by
// default, and no role lets anybody decide their own request (threat-model I-12).
const (
	Viewer    Role = "viewer"
	Responder Role = "responder"
	Hunter    Role = "hunter"
	Approver  Role = "approver"
	Admin     Role = "admin"
)

// Person is a human known to mdebot.
type Person struct {
	ID    PersonID
	Name  string // from mdebot.yaml; shown, never used to decide
	Roles []Role
	// Accounts are the linked chat accounts, through which the person can be
	// reached. Teams needs no link: its activities carry the object ID.
	Accounts []Principal
}

// Has reports whether the person holds role, directly or because a held role
// includes it.
func (p Person) Has(role Role) bool {
	for _, r := range p.Roles {
		if r == role {
			return true
		}
		if role == Viewer && (r == Responder || r == Hunter || r == Approver || r == Admin) {
			return true
		}
	}
	return false
}

// Standing is what a platform says about an account at this moment.
type Standing string

// The standings. Only a Member may do anything privileged; whatever could not be
// looked up is Unknown and treated as the worst (threat-model S-13, T-14, INV-11).
const (
	Member    Standing = "member"
	Guest     Standing = "guest"     // guests, also single-channel ones
	Outsider  Standing = "outsider"  // Slack Connect, federated, anonymous
	Inactive  Standing = "inactive"  // deactivated or deleted
	Automaton Standing = "automaton" // bots, workflows, connectors
	Unknown   Standing = "unknown"
)

// Directory tells the standing of chat accounts. The bots answer it from their
// platforms; answers are at most five minutes old, and a failed look-up is an
// error, never a Member.
type Directory interface {
	Standing(ctx context.Context, p Principal) (Standing, error)
}

// Why an account is not a person.
var (
	// ErrUnlinked reports an account that stands for nobody in mdebot.yaml.
	ErrUnlinked = errors.New("this chat account is not linked to a person")
	// ErrAmbiguous reports an account that more than one person claims.
	ErrAmbiguous = errors.New("this chat account is linked to more than one person")
)

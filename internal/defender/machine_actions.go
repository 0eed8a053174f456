package defender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ActionFilter selects machine actions. The zero value selects all of them.
type ActionFilter struct {
	MachineID    string
	Types        []MachineActionType
	Statuses     []MachineActionStatus
	CreatedSince time.Time // inclusive
	// Limit ends the iteration after that many actions; 0 means no limit.
	Limit int
}

func (f ActionFilter) expr() expr {
	var es []expr
	if f.MachineID != "" {
		es = append(es, eq(actionMachine, textLiteral(f.MachineID)))
	}
	es = append(es, oneOf(actionType, f.Types), oneOf(actionStatus, f.Statuses))
	if !f.CreatedSince.IsZero() {
		es = append(es, atOrAfter(actionCreated, f.CreatedSince))
	}
	return allOf(es...)
}

// MachineActions lists machine actions, the newest first. An action may be
// missing for about two minutes after it was accepted. Errors are as with
// [Client.Alerts].
func (c *Client) MachineActions(ctx context.Context, f ActionFilter) iter.Seq2[MachineAction, error] {
	return list(ctx, c, listCall{
		op: "list machine actions", family: familyMachineActions, path: "/api/machineactions",
		filter: f.expr(), order: string(actionCreated) + " desc", limit: f.Limit,
	}, c.machineAction)
}

// MachineAction reads one machine action. ErrNotFound within about two minutes
// of its creation only means "not yet".
func (c *Client) MachineAction(ctx context.Context, id string) (MachineAction, error) {
	const op = "get machine action"
	if err := checkActionID(op, id); err != nil {
		return MachineAction{}, err
	}
	return get(ctx, c, call{op: op, family: familyMachineActions, path: "/api/machineactions/" + id, id: id}, c.machineAction)
}

// PackageLink is where an investigation package can be downloaded. Its address is
// a key to it: it must reach one person, is good for a short time and never shows
// itself in logs.
type PackageLink struct{ address string }

// Reveal is the address, for the answer to the person it is for.
func (l PackageLink) Reveal() string { return l.address }

func (PackageLink) String() string { return "[download address]" }

// LogValue implements [slog.LogValuer].
func (l PackageLink) LogValue() slog.Value { return slog.StringValue(l.String()) }

// MarshalText keeps the address out of whatever is encoded.
func (l PackageLink) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// downloadHosts are the ends of the host names that Microsoft serves packages from.
var downloadHosts = []string{
	".securitycenter.windows.com", ".security.microsoft.com", ".blob.core.windows.net",
	".securitycenter.microsoft.us", ".security.microsoft.us", ".blob.core.usgovcloudapi.net",
}

// PackageLink asks where the package of a machine action can be downloaded. It is
// never answered from memory. ErrNotFound means that there is none yet, or none
// any more.
func (c *Client) PackageLink(ctx context.Context, actionID string) (PackageLink, error) {
	const op = "get package link"
	if err := checkActionID(op, actionID); err != nil {
		return PackageLink{}, err
	}
	body, err := c.fetch(ctx, call{op: op, family: familyPackages, path: "/api/machineactions/" + actionID + "/getPackageUri"})
	if err != nil {
		return PackageLink{}, err
	}
	var w struct {
		Value text `json:"value"`
	}
	if err := decode(body, &w); err != nil {
		return PackageLink{}, fmt.Errorf("%s: %w: %w", op, ErrUnavailable, err)
	}
	address := string(w.Value)
	var inner string // the value has been seen in a second pair of quotes
	if json.Unmarshal([]byte(address), &inner) == nil {
		address = inner
	}
	link, err := ParsePackageLink(address)
	if err != nil {
		return PackageLink{}, fmt.Errorf("%s: %w: %w", op, ErrUnavailable, err)
	}
	return link, nil
}

// ParsePackageLink takes an https address of a host that Microsoft serves packages
// from, and no other. Its error does not hold the address.
func ParsePackageLink(address string) (PackageLink, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || !slices.ContainsFunc(downloadHosts, func(end string) bool {
		return strings.HasSuffix(strings.ToLower(u.Hostname()), end)
	}) {
		return PackageLink{}, errors.New("not a download address of Microsoft's")
	}
	return PackageLink{address: u.String()}, nil
}

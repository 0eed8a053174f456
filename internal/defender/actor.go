package defender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// IsolationType is how much an isolated machine may still reach.
type IsolationType string

// The isolation types.
const (
	FullIsolation      IsolationType = "Full"
	SelectiveIsolation IsolationType = "Selective" // lets Outlook, Teams and configured programs through
	// UnmanagedIsolation contains a device that is not onboarded: the onboarded ones
	// around it refuse to talk to it.
	UnmanagedIsolation IsolationType = "UnManagedDevice"
)

// IsolateInput is what an isolation says besides the machine.
type IsolateInput struct {
	// Comment is all that Defender will know about the people behind the action,
	// and what it is found by again: at most 1,000 characters.
	Comment string
	Type    IsolationType
}

const maxComment = 1000

// Actor starts machine actions, with the acting application's credential where
// there is one. It is safe for concurrent use.
//
// Every method sends one POST, never a second one, on a connection of its own.
// ErrUnclear means that it may have taken effect. All other errors are refusals
// without effect; ErrAlreadyActive means that an action of this kind is under
// way, possibly one sent earlier by the same caller.
//
// Defender may answer with an older action that was still pending instead of
// starting one: compare the comment of what is returned.
type Actor struct {
	client *Client
	tokens *tokens
	http   *http.Client
}

// NewActor returns an Actor for the tenant of client, whose quota and
// connection settings it shares. It uses the acting application of cfg.
func NewActor(cfg Config, client *Client) (*Actor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	endpoints, err := cfg.Endpoints()
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(string(cfg.TenantID), string(client.tenant)) || endpoints.Base != client.endpoints.Base {
		return nil, errors.New("the acting application must belong to the tenant and address that are read")
	}
	transport := client.transport.Clone()
	// Without idle connections a request is written only to a connection that has
	// just been made, so every failure before that is known to have no effect, and
	// net/http finds no reason to send a second time.
	transport.DisableKeepAlives = true
	// HTTP/2 sends again by itself when a server refuses a stream.
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	transport.ForceAttemptHTTP2 = false
	transport.TLSNextProto = nil
	transport.TLSClientConfig.NextProtos = nil
	return &Actor{
		client: client.For(LaneAction),
		tokens: newTokens(cfg.ActionCredential(), client.core, endpoints.Audience),
		http:   &http.Client{Transport: client.around(transport), CheckRedirect: refuseRedirect},
	}, nil
}

// Rotate replaces the secret of the acting application, from the next token on.
func (a *Actor) Rotate(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	a.tokens.rotate(cfg.ActionCredential())
	return nil
}

// Permissions reads what the actor's token permits.
func (a *Actor) Permissions(ctx context.Context) (Permissions, error) {
	t, err := a.tokens.get(ctx)
	if err != nil {
		return Permissions{}, err
	}
	return Permissions{
		Defender: t.claims.Roles, tokens: map[api]token{apiDefender: t}, renew: func(_ api, t token) { a.tokens.age(t) },
	}, nil
}

// IsolateMachine cuts a machine off the network.
func (a *Actor) IsolateMachine(ctx context.Context, machineID string, in IsolateInput) (MachineAction, error) {
	const op = "isolate machine"
	if in.Type != FullIsolation && in.Type != SelectiveIsolation && in.Type != UnmanagedIsolation {
		return MachineAction{}, fmt.Errorf("%s: %w: the isolation type is Full, Selective or UnManagedDevice", op, ErrInvalid)
	}
	return a.act(ctx, action{
		op: op, machineID: machineID, verb: "isolate", kind: Isolate, permission: PermissionIsolate, scope: string(in.Type), comment: in.Comment,
		body: isolateBody{Comment: in.Comment, IsolationType: string(in.Type)},
	})
}

// ReleaseMachine lets an isolated machine back on the network.
func (a *Actor) ReleaseMachine(ctx context.Context, machineID, comment string) (MachineAction, error) {
	return a.act(ctx, action{
		op: "release machine", machineID: machineID, verb: "unisolate", kind: Unisolate, permission: PermissionIsolate, comment: comment,
		body: commentBody{Comment: comment},
	})
}

// RestrictMachine lets a machine run only programs that Microsoft has signed.
func (a *Actor) RestrictMachine(ctx context.Context, machineID, comment string) (MachineAction, error) {
	return a.act(ctx, action{
		op: "restrict machine", machineID: machineID, verb: "restrictCodeExecution", kind: Restrict, permission: PermissionRestrict,
		comment: comment, body: commentBody{Comment: comment},
	})
}

// UnrestrictMachine lets a restricted machine run every program again.
func (a *Actor) UnrestrictMachine(ctx context.Context, machineID, comment string) (MachineAction, error) {
	return a.act(ctx, action{
		op: "unrestrict machine", machineID: machineID, verb: "unrestrictCodeExecution", kind: Unrestrict, permission: PermissionRestrict,
		comment: comment, body: commentBody{Comment: comment},
	})
}

// ScanType is how thorough an antivirus scan is.
type ScanType string

// The scan types.
const (
	QuickScan ScanType = "Quick"
	FullScan  ScanType = "Full"
)

// ScanMachine has a machine scanned by Defender Antivirus.
func (a *Actor) ScanMachine(ctx context.Context, machineID string, scan ScanType, comment string) (MachineAction, error) {
	const op = "scan machine"
	if scan != QuickScan && scan != FullScan {
		return MachineAction{}, fmt.Errorf("%s: %w: the scan type is Quick or Full", op, ErrInvalid)
	}
	return a.act(ctx, action{
		op: op, machineID: machineID, verb: "runAntiVirusScan", kind: Scan, permission: PermissionScan, scope: string(scan),
		comment: comment, body: scanBody{Comment: comment, ScanType: string(scan)},
	})
}

// QuarantineFile stops a file on a machine and puts it into quarantine. Defender
// takes its SHA-1 alone.
func (a *Actor) QuarantineFile(ctx context.Context, machineID, sha1, comment string) (MachineAction, error) {
	const op = "quarantine file"
	if !sha1Pattern.MatchString(sha1) {
		return MachineAction{}, fmt.Errorf("%s: %w: a SHA-1 has 40 hexadecimal digits", op, ErrInvalid)
	}
	return a.act(ctx, action{
		op: op, machineID: machineID, verb: "StopAndQuarantineFile", kind: Quarantine, permission: PermissionQuarantine, file: sha1,
		comment: comment, body: quarantineBody{Comment: comment, SHA1: sha1},
	})
}

// CollectPackage has a machine collect an investigation package.
func (a *Actor) CollectPackage(ctx context.Context, machineID, comment string) (MachineAction, error) {
	return a.act(ctx, action{
		op: "collect package", machineID: machineID, verb: "collectInvestigationPackage", kind: CollectPackage, permission: PermissionPackage,
		comment: comment, body: commentBody{Comment: comment},
	})
}

// Defender compares body names with regard to case.
type (
	isolateBody struct {
		Comment       string `json:"Comment"`
		IsolationType string `json:"IsolationType"`
	}
	scanBody struct {
		Comment  string `json:"Comment"`
		ScanType string `json:"ScanType"`
	}
	quarantineBody struct {
		Comment string `json:"Comment"`
		SHA1    string `json:"Sha1"`
	}
	commentBody struct {
		Comment string `json:"Comment"`
	}
)

// CancelAction cancels a machine action that has not ended, with the permission of
// its type.
func (a *Actor) CancelAction(ctx context.Context, id string, kind MachineActionType, comment string) (MachineAction, error) {
	const op = "cancel machine action"
	permission, ok := PermissionFor(kind)
	if !ok {
		return MachineAction{}, fmt.Errorf("%s: %w: %s is left to the portal", op, ErrInvalid, cut(string(kind), maxCode))
	}
	if err := checkActionID(op, id); err != nil {
		return MachineAction{}, err
	}
	return a.act(ctx, action{op: op, actionID: id, kind: kind, permission: permission, comment: comment, body: commentBody{Comment: comment}})
}

// PermissionFor is what starting and cancelling a machine action of a type needs.
// ok is false for those that are left to the portal.
func PermissionFor(kind MachineActionType) (permission string, ok bool) {
	permission, ok = permissionFor[kind]
	return permission, ok
}

var permissionFor = map[MachineActionType]string{
	Isolate: PermissionIsolate, Unisolate: PermissionIsolate, Restrict: PermissionRestrict, Unrestrict: PermissionRestrict,
	Scan: PermissionScan, Quarantine: PermissionQuarantine, CollectPackage: PermissionPackage,
}

// action is one order: a new one for a machine, or the end of one that is there.
type action struct {
	op, machineID, verb string
	actionID            string // "" for a new one
	kind                MachineActionType
	permission          string
	scope, file         string
	comment             string
	body                any
}

func (a *Actor) act(ctx context.Context, in action) (MachineAction, error) {
	path := "/api/machineactions/" + in.actionID + "/cancel"
	if in.actionID == "" {
		if err := checkMachineID(in.op, in.machineID); err != nil {
			return MachineAction{}, err
		}
		path = "/api/machines/" + in.machineID + "/" + in.verb
	}
	if strings.TrimSpace(in.comment) == "" || utf8.RuneCountInString(in.comment) > maxComment {
		return MachineAction{}, fmt.Errorf("%s: %w: a comment of at most %d characters is required", in.op, ErrInvalid, maxComment)
	}
	body, err := a.order(ctx, call{op: in.op, family: familyActions, method: http.MethodPost, path: path, body: in.body}, in.permission)
	if err != nil {
		return MachineAction{}, err
	}
	var w wireAction
	if err := decode(body, &w); err != nil {
		return MachineAction{}, fmt.Errorf("%s: %w: %w", in.op, ErrUnclear, err)
	}
	_, got := a.client.machineAction(w)
	if err := in.check(got); err != nil {
		a.client.logger.ErrorContext(ctx, "defender answered with another machine action than was asked for",
			slog.String("op", in.op), slog.String("tenant_id", string(a.client.tenant)),
			slog.String("machine_id", in.machineID), slog.Any("error", err))
		return got, err
	}
	return got, nil
}

// post sends the request once. An error before the connection was ready, and a
// refusal, had no effect; everything else is unclear.
func (a *Actor) post(ctx context.Context, c call, req *http.Request, token token) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req = req.WithContext(ctx)
	req.GetBody = nil // what cannot be rewound cannot be sent twice
	token.authorize(req)
	resp, err := a.http.Do(req)
	if err != nil {
		a.client.observe(c.op, 0)
		if !connected.Load() {
			return nil, fmt.Errorf("%s: %w: %w", c.op, ErrUnavailable, withoutURL(err))
		}
		return nil, fmt.Errorf("%s: %w: %w", c.op, ErrUnclear, withoutURL(err))
	}
	defer resp.Body.Close()
	body, err := readBody(resp.Body, maxErrorBody)
	a.client.observe(c.op, resp.StatusCode)
	a.client.logCall(ctx, c, resp)
	if resp.StatusCode/100 == 2 {
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", c.op, ErrUnclear, withoutURL(err))
		}
		return body, nil
	}
	refusal := a.client.refusal(c, resp, body)
	if resp.StatusCode == http.StatusUnauthorized {
		a.tokens.drop(token)
	}
	if resp.StatusCode == http.StatusForbidden {
		a.tokens.age(token)
	}
	var api *APIError
	if errors.As(refusal, &api) && !refusedForSure(resp.StatusCode) {
		api.kind = ErrUnclear
	}
	return nil, refusal
}

// refusedForSure reports whether a status means that nothing was done. A 408
// comes from a gateway that gave up waiting; a redirect says nothing.
func refusedForSure(status int) bool {
	return status/100 == 4 && status != http.StatusRequestTimeout
}

// check compares what Defender says it did with what it was asked to do.
func (in action) check(got MachineAction) error {
	for _, f := range []struct {
		name, want, got string
		optional        bool
	}{
		{name: "machine action ID", want: cmp.Or(in.actionID, got.ID), got: got.ID},
		{name: "machine ID", want: in.machineID, got: got.MachineID, optional: in.actionID != ""},
		{name: "type", want: string(in.kind), got: string(got.Type)},
		{name: "scope", want: in.scope, got: got.Scope, optional: got.Scope == "" || in.scope == ""},
		{name: "file", want: in.file, got: got.File, optional: got.File == "" || in.file == ""},
	} {
		if !f.optional && (f.got == "" || !strings.EqualFold(f.want, f.got)) {
			return &MismatchError{Op: in.op, Field: f.name, Want: f.want, Got: f.got, kind: ErrUnclear}
		}
	}
	return nil
}

package defender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// HuntQuery is one advanced-hunting query. KQL is sent as it is: bound it with
// "limit" to bound Defender's work; MaxRows and MaxBytes bound ours.
type HuntQuery struct {
	KQL string
	// MaxRows ends the reading after that many rows; 0 means 10,000, and 100,000
	// is the most.
	MaxRows int
	// MaxBytes ends it after that many bytes of the answer; 0 means 10 MiB, and
	// 128 MiB is the most.
	MaxBytes int64
	// Timeout ends the whole hunt; 0 means 210 s, a little more than Defender
	// itself allows a query, and is also the most.
	Timeout time.Duration
}

// Column is a column of a hunt's result.
type Column struct {
	Name string
	Type string // as the service names it: String, DateTime, Int64, …; "" = not said
}

// HuntSink receives a result while it arrives. An error of a sink ends the hunt
// and is returned by it.
type HuntSink interface {
	// Columns is called once, before any row, with the columns in their order.
	Columns(columns []Column) error
	// Row is called with one cell per column. Numbers keep all their digits,
	// booleans are true or false, null and missing cells are "", and dynamic
	// values are JSON text. The slice is reused for the next row; its strings may
	// be kept.
	Row(cells []string) error
}

// Truncation is why a result is not complete.
type Truncation string

// The reasons.
const (
	Complete         Truncation = ""
	TruncatedByRows  Truncation = "rows"
	TruncatedByBytes Truncation = "bytes"
)

// HuntEndpoint is where a hunt ran.
type HuntEndpoint string

// The endpoints.
const (
	HuntOnGraph    HuntEndpoint = "Graph"
	HuntOnDefender HuntEndpoint = "Defender"
)

// HuntStats describes a hunt; it is also filled in as far as the hunt got when
// there is an error.
type HuntStats struct {
	Endpoint  HuntEndpoint
	Rows      int
	Bytes     int64
	Duration  time.Duration
	Truncated Truncation
	// RetiresAt is when the endpoint stops answering, for Defender's own one; the
	// application then needs ThreatHunting.Read.All. Zero on Graph.
	RetiresAt time.Time
}

// Kinds of hunt failures, beside those every call has. They wrap the *APIError
// or *ThrottledError that tells more.
var (
	// ErrQuerySyntax: the query was refused; the APIError's Message says where.
	ErrQuerySyntax = errors.New("the query was refused")
	// ErrResultTooLarge: more than the service is willing to return.
	ErrResultTooLarge = errors.New("the result is too large")
	// ErrQueryTimedOut: the query ran too long.
	ErrQueryTimedOut = errors.New("the query timed out")
	// ErrQueryQuota: the tenant's calls or run time for hunting are used up.
	ErrQueryQuota = errors.New("the hunting quota is used up")
)

const (
	defaultHuntRows  = 10_000
	maxHuntRows      = 100_000
	defaultHuntBytes = 10 << 20
	maxHuntBytes     = 128 << 20
)

// defenderHuntingRetires is when Defender's own hunting endpoint stops returning
// data (message centre MC1220762).
var defenderHuntingRetires = time.Date(2027, time.February, 1, 0, 0, 0, 0, time.UTC)

// Hunt runs a query on Graph, or on Defender's own endpoint when the application
// has only the older permission, and hands the rows to sink as they arrive. Rows
// already handed over are not taken back by an error.
func (c *Client) Hunt(ctx context.Context, q HuntQuery, sink HuntSink) (HuntStats, error) {
	const op = "run hunting query"
	started := c.now()
	perms, err := c.Permissions(ctx)
	if err != nil {
		return HuntStats{}, fmt.Errorf("%s: %w", op, err)
	}
	h, err := c.huntCall(op, perms, q.KQL)
	if err != nil {
		return HuntStats{}, err
	}
	h.timeout = huntTimeout
	if q.Timeout > 0 && q.Timeout < huntTimeout {
		h.timeout = q.Timeout
	}
	stats := HuntStats{Endpoint: HuntOnGraph}
	if h.api == apiDefender {
		stats = HuntStats{Endpoint: HuntOnDefender, RetiresAt: defenderHuntingRetires}
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	resp, err := c.send(ctx, h)
	if err == nil {
		defer resp.Body.Close()
		body := &countingReader{r: resp.Body, max: bounded(q.MaxBytes, defaultHuntBytes, maxHuntBytes)}
		rows := rowReader{sink: sink, max: bounded(q.MaxRows, defaultHuntRows, maxHuntRows)}
		stats.Truncated, err = rows.read(body)
		stats.Rows, stats.Bytes = rows.rows, body.n
		if err != nil {
			err = fmt.Errorf("%s: %w", op, err)
		}
	}
	stats.Duration = c.now().Sub(started)
	return stats, huntError(err)
}

// huntCall chooses the endpoint by what the tokens permit.
func (c *Client) huntCall(op string, p Permissions, kql string) (call, error) {
	switch {
	case p.Has(PermissionHuntGraph):
		return call{
			op: op, api: apiGraph, family: familyHunting, method: http.MethodPost, repeatable: true,
			path: "/v1.0/security/runHuntingQuery", body: huntBody{Query: kql},
		}, nil
	case p.Has(PermissionHuntDefender):
		return call{
			op: op, api: apiDefender, family: familyHunting, method: http.MethodPost, repeatable: true,
			path: "/api/advancedqueries/run", body: huntBody{Query: kql},
		}, nil
	}
	return call{}, missingPermission(op, PermissionHuntGraph)
}

// bounded is n within its limits, or the default when n is not set.
func bounded[N int | int64](n, standard, most N) N {
	if n <= 0 {
		return standard
	}
	return min(n, most)
}

type huntBody struct {
	Query string `json:"Query"`
}

// countingReader counts and ends the body at max with errTooLong.
type countingReader struct {
	r      io.Reader
	n, max int64
}

var errTooLong = errors.New("the answer is longer than wanted")

func (r *countingReader) Read(p []byte) (int, error) {
	if r.n >= r.max {
		return 0, errTooLong
	}
	if room := r.max - r.n; int64(len(p)) > room {
		p = p[:room]
	}
	n, err := r.r.Read(p)
	r.n += int64(n)
	return n, err
}

package approvals

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/mdebot/mdebot/internal/durable"
)

// domain separates these hashes from every other use of SHA-256 in mdebot, and
// names the version of the encoding.
const domain = "mdebot/request/v1"

// digestOf is the hex SHA-256 over everything that is frozen when r is opened:
// what voters are shown and what is executed. Two requests that differ in any of
// it have different encodings.
func digestOf(r Request) string {
	h := sha256.Sum256(canonical(r))
	return hex.EncodeToString(h[:])
}

// canonical writes every text behind its length and every list behind its count,
// so that no field can be read as part of another (threat-model A-01). Changing
// it makes every open request void; the golden test holds it still.
func canonical(r Request) []byte {
	var e encoder
	e.text(domain, r.ID, string(r.Tenant), r.Action)
	e.number(r.Number)
	e.count(len(r.Params))
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		e.text(name, r.Params[name])
	}
	e.count(len(r.Targets))
	for _, t := range r.Targets {
		e.number(int64(t.Index))
		e.text(string(t.Kind), t.ID, t.Name, string(t.Facts))
	}
	e.text(r.Requester.Tenant, r.Requester.Object, r.RequesterName)
	as := r.RequesterAs
	e.text(string(as.Platform), as.Workspace, as.Account, as.Address, as.Name)
	e.text(r.Origin, r.OriginThread, r.Reason)
	e.text(r.Rule.Name, r.Rule.Text, r.Rule.Why, r.Rule.OverLimit)
	e.number(int64(r.Rule.Approvers))
	e.count(len(r.Rule.From))
	e.text(r.Rule.From...)
	e.flags(r.Rule.TierZero, r.Rule.Alone)
	e.text(r.PolicyHash, r.Nonce)
	e.number(durable.Micros(r.Opened))
	e.number(durable.Micros(r.Expires))
	// These came later and are after everything else, so that other requests keep
	// their digest.
	if len(r.Rule.Each)+len(r.Rule.Then) > 0 {
		e.count(len(r.Rule.Each))
		for _, d := range r.Rule.Each {
			e.number(int64(d.Approvers))
			e.count(len(d.From))
			e.text(d.From...)
		}
	}
	if len(r.Rule.Then) > 0 {
		e.count(len(r.Rule.Then))
		for _, s := range r.Rule.Then {
			e.text(s.Group, s.For)
			e.number(int64(s.Step))
		}
	}
	return e.b
}

type encoder struct{ b []byte }

func (e *encoder) text(fields ...string) {
	for _, f := range fields {
		e.count(len(f))
		e.b = append(e.b, f...)
	}
}

func (e *encoder) count(n int) { e.number(int64(n)) }

func (e *encoder) number(n int64) { e.b = binary.BigEndian.AppendUint64(e.b, uint64(n)) }

// flags writes up to eight of them as one byte.
func (e *encoder) flags(set ...bool) {
	var b byte
	for i, on := range set {
		if on {
			b |= 1 << i
		}
	}
	e.b = append(e.b, b)
}

package audit

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// chainOf is a good chain with these texts.
func chainOf(texts ...string) []row {
	var chain []row
	prev := ""
	for i, text := range texts {
		r := row{
			tenant: "t", seq: int64(i + 1), at: int64(i), kind: "vote.approve", person: text, personName: text, account: text,
			conversation: text, delivery: text, request: text, digest: text, policyHash: text, outcome: "ok", detail: text, prev: prev,
		}
		r.hash = r.sum()
		prev = r.hash
		chain = append(chain, r)
	}
	return chain
}

func walkOver(chain []row) error {
	w := walk{at: Head{Tenant: "t"}}
	for _, r := range chain {
		if err := w.step(r); err != nil {
			return err
		}
	}
	return w.end([]Head{{Tenant: "t", Seq: int64(len(chain)), Hash: chain[len(chain)-1].hash}})
}

// FuzzWalk changes one text of one record in any way, and the walk stops there.
func FuzzWalk(f *testing.F) {
	f.Add("a", uint8(1), uint8(0), "b")
	f.Add("", uint8(0), uint8(11), "\x00")
	f.Add("audit.checkpoint", uint8(2), uint8(0), "audit.checkpoint")
	f.Fuzz(func(t *testing.T, text string, at, column uint8, changed string) {
		chain := chainOf("first", text, "last")
		if err := walkOver(chain); err != nil {
			t.Fatalf("a good chain is broken: %v", err)
		}
		i := int(at) % len(chain)
		r := &chain[i]
		fields := []*string{
			&r.kind, &r.person, &r.personName, &r.account, &r.conversation, &r.delivery, &r.request, &r.digest, &r.policyHash,
			&r.outcome, &r.detail, &r.prev, &r.hash, &r.tenant,
		}
		field := fields[int(column)%len(fields)]
		if *field == changed {
			return
		}
		*field = changed
		var broken *BrokenError
		if err := walkOver(chain); !errors.As(err, &broken) || broken.Seq != int64(i+1) {
			t.Errorf("record %d with %q in column %d: %v", i+1, changed, int(column)%len(fields), err)
		}
		// Whoever also writes the hash is found by the next record, or by the head.
		if field != &r.hash {
			r.hash = r.sum()
			if err := walkOver(slices.Clone(chain)); i < 2 && !errors.As(err, &broken) {
				t.Errorf("record %d with %q in column %d and its hash: %v", i+1, changed, int(column)%len(fields), err)
			}
		}
	})
}

// FuzzEncode: two rows with different texts have different encodings, however the
// texts run into each other.
func FuzzEncode(f *testing.F) {
	f.Add("a", "b", "ab", "")
	f.Add("", "\x00", "\x00", "")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		one, other := row{tenant: "t", request: a, digest: b}, row{tenant: "t", request: c, digest: d}
		if same := a == c && b == d; (one.sum() == other.sum()) != same {
			t.Errorf("%q, %q and %q, %q: equal %t, equal sums %t", a, b, c, d, same, !same)
		}
	})
}

// FuzzRecord reads back anything that a row may hold.
func FuzzRecord(f *testing.F) {
	f.Add("4f6c2a1e-0000-4000-8000-0000000000aa/4f6c2a1e-0000-4000-8000-0000000000bb", `{"platform":"slack"}`, `{"a":1}`)
	f.Add("x", "{", "[")
	f.Fuzz(func(t *testing.T, person, account, detail string) {
		r := row{tenant: "t", seq: 1, person: person, account: account, detail: detail, kind: KindCheckpoint}
		record, err := r.record()
		if err == nil && person != "" && record.Person.String() != person {
			t.Errorf("person %q reads as %q", person, record.Person)
		}
		if err == nil && record.Columns().Detail != detail {
			t.Errorf("detail %q is kept as %q", detail, record.Columns().Detail)
		}
		if c, err := checkpointOf(r); err == nil && !strings.HasPrefix(strings.TrimLeft(detail, " \t\r\n"), "{") && detail != "null" && c != (checkpoint{}) {
			t.Errorf("%q is a checkpoint: %+v", detail, c)
		}
	})
}

package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/store/storetest"
	"github.com/mdebot/mdebot/internal/tenant"
)

const contoso tenant.ID = "4f6c2a1e-0000-4000-8000-000000000001"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123000, time.UTC)

func someEvent(n int) audit.Event {
	return audit.Event{
		Tenant: contoso, Kind: "vote.approve", Outcome: "ok",
		Person: identity.PersonID{
			Tenant: "4f6c2a1e-0000-4000-8000-0000000000aa", Object: "4f6c2a1e-0000-4000-8000-0000000000bb",
		},
		PersonName:   "Avery Kim",
		Account:      identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0AVERY", Address: "U0AVERY", Name: "avery"},
		Conversation: "slack:C0SOC", Delivery: fmt.Sprintf("delivery-%d", n), Request: "request", Digest: "digest",
		PolicyHash: "hash", Detail: json.RawMessage(fmt.Sprintf(`{"n": %d}`, n)),
	}
}

func appendEvents(t testing.TB, db durable.DB, events ...audit.Event) []audit.Record {
	t.Helper()
	log := audit.NewLog(func() time.Time { return noon })
	var records []audit.Record
	for _, e := range events {
		err := db.InTx(t.Context(), func(tx durable.Tx) error {
			r, err := log.Append(t.Context(), tx, e)
			if err == nil {
				records = append(records, r)
			}
			return err
		})
		if err != nil {
			t.Fatalf("Append: %v", err)
		}
	}
	return records
}

func exec(t testing.TB, db durable.DB, query string, args ...any) {
	t.Helper()
	err := db.InTx(t.Context(), func(tx durable.Tx) error {
		_, err := tx.Exec(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func TestAppend_readsBackAsWritten(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		db := open(t)
		written := appendEvents(t, db, someEvent(1), someEvent(2))

		var read []audit.Record
		for r, err := range audit.Records(t.Context(), db.Read(), contoso, 1) {
			if err != nil {
				t.Fatalf("Records: %v", err)
			}
			read = append(read, r)
		}
		if diff := cmp.Diff(written, read, cmpopts.IgnoreUnexported(audit.Record{})); diff != "" {
			t.Errorf("Records differ from what Append returned (-append +read):\n%s", diff)
		}
		want := someEvent(2)
		want.At = noon
		if diff := cmp.Diff(want, read[1].Event); diff != "" {
			t.Errorf("event changed on its way (-want +got):\n%s", diff)
		}
		head, err := audit.Verify(t.Context(), db.Read(), contoso)
		if want := (audit.Head{Tenant: contoso, Seq: 2, Hash: read[1].Hash}); err != nil || head != want {
			t.Errorf("Verify() = %+v, %v, want %+v", head, err, want)
		}
	})
}

func TestAppend_undoneWithItsTransaction(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	log := audit.NewLog(func() time.Time { return noon })
	stop := errors.New("stop")
	err := db.InTx(t.Context(), func(tx durable.Tx) error {
		if _, err := log.Append(t.Context(), tx, someEvent(1)); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatalf("InTx() = %v, want %v", err, stop)
	}
	if r := appendEvents(t, db, someEvent(2))[0]; r.Seq != 1 {
		t.Errorf("Seq = %d after an undone append, want 1", r.Seq)
	}
}

func TestAppend_keepsTenantsApart(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	other := someEvent(2)
	other.Tenant = "fabrikam"
	records := appendEvents(t, db, someEvent(1), other, someEvent(3))
	if records[1].Seq != 1 || records[1].Prev != "" || records[2].Seq != 2 || records[2].Prev != records[0].Hash {
		t.Errorf("chains are mixed: %+v", records)
	}
}

func TestAppend_replacesWhatADatabaseCannotHold(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		db := open(t)
		e := someEvent(1)
		e.PersonName = "a\x00b\xff"
		if r := appendEvents(t, db, e)[0]; r.PersonName != "a\ufffdb\ufffd" {
			t.Errorf("PersonName = %q, want replacement characters", r.PersonName)
		}
		if _, err := audit.Verify(t.Context(), db.Read(), contoso); err != nil {
			t.Errorf("Verify: %v", err)
		}
	})
}

func TestAppend_refusesIncompleteEvents(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	log := audit.NewLog(func() time.Time { return noon })
	for name, spoil := range map[string]func(*audit.Event){
		"no tenant":             func(e *audit.Event) { e.Tenant = "" },
		"no kind":               func(e *audit.Event) { e.Kind = "" },
		"detail that is a mess": func(e *audit.Event) { e.Detail = json.RawMessage("{") },
	} {
		e := someEvent(1)
		spoil(&e)
		err := db.InTx(t.Context(), func(tx durable.Tx) error {
			_, err := log.Append(t.Context(), tx, e)
			return err
		})
		if err == nil {
			t.Errorf("%s: Append accepted it", name)
		}
	}
}

func TestVerify_emptyChain(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	head, err := audit.Verify(t.Context(), db.Read(), contoso)
	if want := (audit.Head{Tenant: contoso}); err != nil || head != want {
		t.Errorf("Verify() = %+v, %v, want %+v", head, err, want)
	}
}

func TestVerify_longChain(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	log := audit.NewLog(func() time.Time { return noon })
	const n = 1203 // more than two pages
	err := db.InTx(t.Context(), func(tx durable.Tx) error {
		for i := range n {
			if _, err := log.Append(t.Context(), tx, someEvent(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if head, err := audit.Verify(t.Context(), db.Read(), contoso); err != nil || head.Seq != n {
		t.Errorf("Verify() = %d, %v, want %d records", head.Seq, err, n)
	}
	seen := 0
	for r, err := range audit.Records(t.Context(), db.Read(), contoso, 1000) {
		if err != nil || r.Seq != int64(1000+seen) {
			t.Fatalf("record %d: %v", r.Seq, err)
		}
		seen++
	}
	if seen != n-999 {
		t.Errorf("Records(from 1000) yielded %d records, want %d", seen, n-999)
	}
}

var textColumns = []string{
	"kind", "person", "person_name", "account", "conversation", "delivery", "request", "digest",
	"policy_hash", "outcome", "detail", "prev", "hash",
}

// TestVerify_findsEverySingleMutation damages a chain in one place, in every way
// that one statement can, and expects the first bad sequence number.
func TestVerify_findsEverySingleMutation(t *testing.T) {
	t.Parallel()
	const length = 6
	db := storetest.New(t)
	rapid.Check(t, func(rt *rapid.T) {
		exec(t, db, `DELETE FROM audit`)
		exec(t, db, `DELETE FROM audit_heads`)
		for i := range length {
			appendEvents(t, db, someEvent(i))
		}
		seq := rapid.Int64Range(1, length).Draw(rt, "seq")
		want := seq
		switch how := rapid.SampledFrom([]string{"edit", "time", "delete", "insert", "swap", "cut"}).Draw(rt, "how"); how {
		case "edit":
			column := rapid.SampledFrom(textColumns).Draw(rt, "column")
			suffix := rapid.SampledFrom([]string{" ", "x", "\n"}).Draw(rt, "suffix")
			exec(t, db, `UPDATE audit SET `+column+` = `+column+` || $1 WHERE seq = $2`, suffix, seq)
		case "time":
			exec(t, db, `UPDATE audit SET at = at + $1 WHERE seq = $2`, rapid.Int64Range(1, 1<<40).Draw(rt, "later"), seq)
		case "delete":
			exec(t, db, `DELETE FROM audit WHERE seq = $1`, seq)
		case "insert":
			exec(t, db, `UPDATE audit SET seq = -seq WHERE seq > $1`, seq)
			exec(t, db, `UPDATE audit SET seq = 1 - seq WHERE seq < 0`)
			exec(t, db, `INSERT INTO audit SELECT tenant, seq + 1, at, kind, person, person_name, account, conversation, delivery,
				request, digest, policy_hash, outcome, detail, hash, hash FROM audit WHERE seq = $1`, seq)
			want = seq + 1
		case "swap":
			other := rapid.Int64Range(1, length).Filter(func(n int64) bool { return n != seq }).Draw(rt, "other")
			exec(t, db, `UPDATE audit SET seq = -1 WHERE seq = $1`, seq)
			exec(t, db, `UPDATE audit SET seq = $1 WHERE seq = $2`, seq, other)
			exec(t, db, `UPDATE audit SET seq = $1 WHERE seq = -1`, other)
			want = min(seq, other)
		case "cut":
			exec(t, db, `DELETE FROM audit WHERE seq >= $1`, seq)
		}
		_, err := audit.Verify(t.Context(), db.Read(), contoso)
		var broken *audit.BrokenError
		if !errors.As(err, &broken) {
			rt.Fatalf("Verify() = %v, want the damage at %d", err, want)
		}
		if broken.Seq != want {
			rt.Fatalf("Verify() names sequence %d (%s), want %d", broken.Seq, broken.Problem, want)
		}
	})
}

// A forged record with correct hashes after the last one is found by the head.
func TestVerify_findsForgedTail(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	appendEvents(t, db, someEvent(1), someEvent(2))
	exec(t, db, `UPDATE audit_heads SET seq = 1, hash = (SELECT hash FROM audit WHERE seq = 1)`)
	var broken *audit.BrokenError
	if _, err := audit.Verify(t.Context(), db.Read(), contoso); !errors.As(err, &broken) || broken.Seq != 2 {
		t.Errorf("Verify() = %v, want sequence 2 named", err)
	}
}

// Verify may run while records are added.
func TestVerify_whileAppending(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		log := audit.NewLog(func() time.Time { return noon })
		for i := 0; ctx.Err() == nil; i++ {
			err := db.InTx(t.Context(), func(tx durable.Tx) error {
				_, err := log.Append(t.Context(), tx, someEvent(i))
				return err
			})
			if err != nil {
				t.Errorf("Append: %v", err)
				return
			}
		}
	}()
	for range 30 {
		if _, err := audit.Verify(t.Context(), db.Read(), contoso); err != nil {
			t.Errorf("Verify: %v", err)
		}
	}
	stop()
	<-done
}

// The encoding must not change: old chains would no longer verify.
func TestAppend_hashIsStable(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	const want = "cd4318f52e8f3fa4fe64cca5a9c9bc9a5320ac5eb3699c42f9561d96e77bf6d1"
	if r := appendEvents(t, db, someEvent(1))[0]; r.Hash != want {
		t.Errorf("Hash = %s, want %s", r.Hash, want)
	}
}

// A chain that was cut and continued with correct hashes is only found by a head
// that was kept elsewhere.
func TestVerify_findsRewrittenTailByKnownHead(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	written := appendEvents(t, db, someEvent(1), someEvent(2), someEvent(3))
	known := audit.Head{Tenant: contoso, Seq: 3, Hash: written[2].Hash}
	if _, err := audit.Verify(t.Context(), db.Read(), contoso, known); err != nil {
		t.Fatalf("Verify() = %v for an untouched chain", err)
	}
	cut := func() {
		exec(t, db, `DELETE FROM audit WHERE seq >= 2`)
		exec(t, db, `UPDATE audit_heads SET seq = 1, hash = (SELECT hash FROM audit WHERE seq = 1)`)
	}
	finds := func(what string, seq int64) {
		t.Helper()
		if _, err := audit.Verify(t.Context(), db.Read(), contoso); err != nil {
			t.Errorf("%s: Verify() = %v without the head, but the chain is consistent", what, err)
		}
		var broken *audit.BrokenError
		if _, err := audit.Verify(t.Context(), db.Read(), contoso, known); !errors.As(err, &broken) || broken.Seq != seq {
			t.Errorf("%s: Verify() = %v, want sequence %d", what, err, seq)
		}
		if err := audit.Check(t.Context(), db.Read(), known); !errors.As(err, &broken) || broken.Seq != seq {
			t.Errorf("%s: Check() = %v, want sequence %d", what, err, seq)
		}
	}
	cut()
	finds("cut", 2)
	appendEvents(t, db, someEvent(12), someEvent(13), someEvent(14))
	finds("cut and rewritten", 3)
}

func TestCheck_verifiesWhatFollowsTheHead(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	written := appendEvents(t, db, someEvent(1), someEvent(2), someEvent(3))
	known := audit.Head{Tenant: contoso, Seq: 2, Hash: written[1].Hash}
	if err := audit.Check(t.Context(), db.Read(), known); err != nil {
		t.Fatalf("Check() = %v for an untouched chain", err)
	}
	if err := audit.Check(t.Context(), db.Read(), audit.Head{Tenant: "unheard-of"}); err != nil {
		t.Errorf("Check() = %v for an empty head", err)
	}
	exec(t, db, `UPDATE audit SET outcome = 'refused' WHERE seq = 3`)
	var broken *audit.BrokenError
	if err := audit.Check(t.Context(), db.Read(), known); !errors.As(err, &broken) || broken.Seq != 3 {
		t.Errorf("Check() = %v, want sequence 3", err)
	}
}

func purge(t testing.TB, db durable.DB, now time.Time, keep time.Duration, key *audit.Key) int64 {
	t.Helper()
	var n int64
	log := audit.NewLog(func() time.Time { return now })
	err := db.InTx(t.Context(), func(tx durable.Tx) (err error) {
		n, err = log.Purge(t.Context(), tx, contoso, keep, key)
		return err
	})
	if err != nil {
		t.Fatalf("Purge: %v", err)
	}
	return n
}

func TestPurge_leavesAChainThatVerifies(t *testing.T) {
	t.Parallel()
	storetest.Engines(t, func(t *testing.T, open storetest.Opener) {
		db := open(t)
		key := testKey(t)
		var events []audit.Event
		for i := range 6 {
			e := someEvent(i)
			e.At = noon.Add(time.Duration(i) * 24 * time.Hour)
			events = append(events, e)
		}
		written := appendEvents(t, db, events...)
		today := noon.Add(6 * 24 * time.Hour)
		if n := purge(t, db, today, 10*24*time.Hour, key); n != 0 {
			t.Errorf("Purge removed %d records, none is old enough", n)
		}
		if n := purge(t, db, today, 3*24*time.Hour, key); n != 3 {
			t.Errorf("Purge removed %d records, want 3", n)
		}
		if n := purge(t, db, today.Add(24*time.Hour), 3*24*time.Hour, key); n != 1 {
			t.Errorf("the second Purge removed %d records, want 1", n)
		}
		head, err := audit.Verify(t.Context(), db.Read(), contoso)
		if err != nil || head.Seq != 8 {
			t.Errorf("Verify() = %+v, %v, want the two checkpoints at the end", head, err)
		}
		// An anchor from before is too old to compare, and no reason for alarm.
		if err := audit.Check(t.Context(), db.Read(), audit.Head{Tenant: contoso, Seq: 2, Hash: written[1].Hash}); err != nil {
			t.Errorf("Check() = %v for a head that retention has removed", err)
		}
		var broken *audit.BrokenError
		exec(t, db, `DELETE FROM audit WHERE seq = 5`)
		if _, err := audit.Verify(t.Context(), db.Read(), contoso); !errors.As(err, &broken) || broken.Seq != 1 {
			t.Errorf("Verify() = %v after one record more was removed, want sequence 1", err)
		}
	})
}

func TestPurge_takesLongChainsInSteps(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	log := audit.NewLog(func() time.Time { return noon })
	if err := db.InTx(t.Context(), func(tx durable.Tx) error {
		for i := range 5100 {
			if _, err := log.Append(t.Context(), tx, someEvent(i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	later := noon.Add(48 * time.Hour)
	if n := purge(t, db, later, time.Hour, nil); n != 5000 {
		t.Errorf("Purge removed %d records, want 5000", n)
	}
	if n := purge(t, db, later, time.Hour, nil); n != 100 {
		t.Errorf("Purge removed %d records, want the other 100", n)
	}
	if n := purge(t, db, later, time.Hour, nil); n != 0 {
		t.Errorf("Purge removed %d records, but only checkpoints of today are left", n)
	}
	if head, err := audit.Verify(t.Context(), db.Read(), contoso); err != nil || head.Seq != 5102 {
		t.Errorf("Verify() = %+v, %v", head, err)
	}
}

func testKey(t testing.TB) *audit.Key {
	t.Helper()
	key, err := audit.ParseKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAnchor_signature(t *testing.T) {
	t.Parallel()
	key := testKey(t)
	a := key.Sign(audit.Anchor{Head: audit.Head{Tenant: contoso, Seq: 7, Hash: "abc"}, At: noon.Add(time.Nanosecond), Replaces: &audit.Head{Tenant: contoso, Seq: 9, Hash: "def"}})
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back audit.Anchor
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if err := back.SignedBy(key.Public()); err != nil {
		t.Errorf("SignedBy() = %v for a signed anchor", err)
	}
	for name, spoil := range map[string]func(*audit.Anchor){
		"another sequence": func(a *audit.Anchor) { a.Seq++ },
		"another hash":     func(a *audit.Anchor) { a.Hash = "abd" },
		"another tenant":   func(a *audit.Anchor) { a.Tenant = "fabrikam" },
		"another time":     func(a *audit.Anchor) { a.At = a.At.Add(time.Microsecond) },
		"nothing replaced": func(a *audit.Anchor) { a.Replaces = nil },
		"no signature":     func(a *audit.Anchor) { a.Signature = "" },
	} {
		changed := back
		spoil(&changed)
		if err := changed.SignedBy(key.Public()); !errors.Is(err, audit.ErrSignature) {
			t.Errorf("%s: SignedBy() = %v, want %v", name, err, audit.ErrSignature)
		}
	}
	if got := fmt.Sprint(key); got != "hidden" {
		t.Errorf("the key prints as %s", got)
	}
	if _, err := audit.ParseKey("c2hvcnQ="); err == nil {
		t.Error("ParseKey accepted five bytes")
	}
}

// An export can be verified by a program that has none of this code: the hash is
// over domain, tenant, seq, at and the texts, each text behind its length.
func TestColumns_sufficeToVerifyElsewhere(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	appendEvents(t, db, someEvent(1), audit.Event{Tenant: contoso, Kind: "started"})
	for r, err := range audit.Records(t.Context(), db.Read(), contoso, 1) {
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(r.Columns())
		if err != nil {
			t.Fatal(err)
		}
		var c map[string]any
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		if err := dec.Decode(&c); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		number := func(n int64) { _ = binary.Write(&b, binary.BigEndian, n) }
		text := func(s string) { number(int64(len(s))); b.WriteString(s) }
		text("mdebot/audit/v1")
		text(c["tenant"].(string))
		for _, name := range []string{"seq", "at"} {
			n, err := c[name].(json.Number).Int64()
			if err != nil {
				t.Fatal(err)
			}
			number(n)
		}
		for _, name := range []string{"kind", "person", "person_name", "account", "conversation", "delivery", "request", "digest", "policy_hash", "outcome", "detail", "prev"} {
			text(c[name].(string))
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(b.Bytes())); got != c["hash"] {
			t.Errorf("record %d: the hash is %s elsewhere, %s here", r.Seq, got, c["hash"])
		}
	}
}

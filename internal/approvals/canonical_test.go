package approvals

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// frozen is everything of a request that the digest covers, as comparable data.
type frozen struct {
	ID, Tenant, Action           string
	Number                       int64
	Params                       map[string]string
	Targets                      []frozenTarget
	Requester                    identity.PersonID
	RequesterName                string
	RequesterAs                  identity.Principal
	Origin, OriginThread, Reason string
	Rule                         policy.Applied
	PolicyHash, Nonce            string
	Opened, Expires              int64
}

type frozenTarget struct{ Kind, ID, Name, Facts string }

func (f frozen) request() Request {
	r := Request{
		ID: f.ID, Number: f.Number, Tenant: "t", Action: f.Action, Params: f.Params,
		Requester: f.Requester, RequesterName: f.RequesterName, RequesterAs: f.RequesterAs,
		Origin: f.Origin, OriginThread: f.OriginThread, Reason: f.Reason, Rule: f.Rule,
		PolicyHash: f.PolicyHash, Nonce: f.Nonce,
		Opened: time.UnixMicro(f.Opened), Expires: time.UnixMicro(f.Expires),
	}
	for i, t := range f.Targets {
		r.Targets = append(r.Targets, Target{Index: i, Kind: TargetKind(t.Kind), ID: t.ID, Name: t.Name, Facts: []byte(t.Facts)})
	}
	return r
}

// drawFrozen draws from few and short texts, so that two draws are often close to
// each other: equal but for a field, or but for where one field ends.
func drawFrozen(t *rapid.T, label string) frozen {
	text := rapid.SampledFrom([]string{"", "a", "aa", "b", "ab", "\x00"})
	word := func(field string) string { return text.Draw(t, label+field) }
	f := frozen{
		ID: word("id"), Action: word("action"), RequesterName: word("name"),
		Number: rapid.Int64Range(0, 1).Draw(t, label+"number"),
		Params: map[string]string{},
		Reason: word("reason"), Origin: word("origin"), OriginThread: word("thread"),
		PolicyHash: word("hash"), Nonce: word("nonce"),
		Requester:   identity.PersonID{Tenant: word("tenant"), Object: word("object")},
		RequesterAs: identity.Principal{Workspace: word("workspace"), Account: word("account"), Name: word("display")},
		Rule: policy.Applied{
			Name: word("rule"), Text: word("text"), Why: word("why"), OverLimit: word("limit"),
			Approvers: rapid.IntRange(0, 1).Draw(t, label+"approvers"), TierZero: rapid.Bool().Draw(t, label+"tier"),
		},
		Opened: rapid.Int64Range(0, 1).Draw(t, label+"opened"), Expires: rapid.Int64Range(0, 1).Draw(t, label+"expires"),
	}
	for range rapid.IntRange(0, 2).Draw(t, label+"params") {
		f.Params[word("key")] = word("value")
	}
	for range rapid.IntRange(0, 2).Draw(t, label+"from") {
		f.Rule.From = append(f.Rule.From, word("group"))
	}
	for range rapid.IntRange(0, 2).Draw(t, label+"each") {
		d := policy.Demand{Approvers: rapid.IntRange(0, 1).Draw(t, label+"of")}
		for range rapid.IntRange(0, 2).Draw(t, label+"groups") {
			d.From = append(d.From, word("group"))
		}
		f.Rule.Each = append(f.Rule.Each, d)
	}
	for range rapid.IntRange(0, 2).Draw(t, label+"then") {
		f.Rule.Then = append(f.Rule.Then, policy.StandIn{Group: word("group"), For: word("for"), Step: rapid.IntRange(0, 1).Draw(t, label+"step")})
	}
	for range rapid.IntRange(0, 2).Draw(t, label+"targets") {
		f.Targets = append(f.Targets, frozenTarget{word("kind"), word("target"), word("machine"), word("facts")})
	}
	return f
}

func TestCanonical_isInjective(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := drawFrozen(t, "a.")
		b := a
		switch rapid.IntRange(0, 2).Draw(t, "how far") {
		case 0:
			b = drawFrozen(t, "b.")
		case 1: // one group moved from the list into the text before it
			b.Rule.From = append([]string{b.Rule.Text}, a.Rule.From...)
		case 2:
			b.Reason, b.OriginThread = a.OriginThread, a.Reason
		}
		same := reflect.DeepEqual(a, b)
		if got := string(canonical(a.request())) == string(canonical(b.request())); got != same {
			t.Fatalf("equal requests: %t, equal encodings: %t\n%+v\n%+v", same, got, a, b)
		}
	})
}

func example() Request {
	return frozen{
		ID: "0193512e-0000-7000-8000-000000000001", Number: 142, Action: Isolate,
		Params: map[string]string{"scope": "full"},
		Targets: []frozenTarget{
			{"machine", "1e5bc9d7e413ddd7902c2932e418702b84d0cc07", "web-01.contoso.com", `{"os":"WindowsServer2022"}`},
			{"machine", "7969aafc46a4b8d8d9fb27b1b1b5e5d8ff9c3b0a", "web-02.contoso.com", ""},
		},
		Requester:     identity.PersonID{Tenant: "4f6c2a1e-0000-4000-8000-0000000000aa", Object: "4f6c2a1e-0000-4000-8000-0000000000bb"},
		RequesterName: "Riley Chen",
		RequesterAs:   identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: "U0RILEY", Address: "U0RILEY", Name: "riley"},
		Origin:        "slack:C0SOC", OriginThread: "1700000000.000100", Reason: "beaconing to a known server",
		Rule:       policy.Applied{Name: "servers", Text: "from: [soc-leads]", Approvers: 1, From: []string{"soc-leads"}},
		PolicyHash: "hash", Nonce: "nonce", Opened: 1_795_262_400_000_000, Expires: 1_795_264_200_000_000,
	}.request()
}

// combined is example under two rules that draw on different groups.
func combined() Request {
	r := example()
	r.Rule.Each = []policy.Demand{{Approvers: 1, From: []string{"soc-leads"}}, {Approvers: 2, From: []string{"soc"}}}
	return r
}

// fallingBack is combined under a rule that falls back to others.
func fallingBack() Request {
	r := combined()
	r.Rule.Then = []policy.StandIn{{Group: "managers", For: "soc", Step: 1}}
	return r
}

// A changed encoding would make every open request void: give it a new domain
// tag instead.
func TestDigest_isStable(t *testing.T) {
	t.Parallel()
	const want = "bb105a4a2096ae34bb3c8252edae1c873dfd3ec5be3c1605e55dd820bdff3b09"
	if got := digestOf(example()); got != want {
		t.Errorf("digestOf(example) = %s, want %s", got, want)
	}
	const wantCombined = "689aca388ae437f18e6ba35613a5c44615ece3340886df4eded05d7c16e677a1"
	if got := digestOf(combined()); got != wantCombined {
		t.Errorf("digestOf(combined) = %s, want %s", got, wantCombined)
	}
}

// Every field of a request is either covered by the digest or listed here as
// something that moves.
func TestDigest_coversEveryFrozenField(t *testing.T) {
	t.Parallel()
	moving := map[string]bool{
		"Digest": true, "State": true, "Version": true, "DecidedAt": true, "ExecuteBy": true,
		"Closed": true, "Why": true, "Votes": true, "Reminders": true,
		"Targets.State": true, "Targets.Generation": true, "Targets.LeaseOwner": true, "Targets.LeaseUntil": true,
		"Targets.IntentAt": true, "Targets.UnclearAt": true, "Targets.Due": true, "Targets.Attempts": true,
		"Targets.Settled": true, "Targets.MachineAction": true, "Targets.ActionStatus": true, "Targets.Why": true, "Targets.Updated": true,
	}
	want := digestOf(fallingBack())
	var walk func(path string, change func(*Request) reflect.Value)
	walk = func(path string, change func(*Request) reflect.Value) {
		if moving[path] {
			return
		}
		r := fallingBack()
		v := change(&r)
		switch v.Kind() {
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() {
				v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(time.Hour)))
				break
			}
			for i := range v.NumField() {
				name := v.Type().Field(i).Name
				if path != "" {
					name = path + "." + name
				}
				walk(name, func(r *Request) reflect.Value { return change(r).Field(i) })
			}
			return
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.Struct {
				walk(path, func(r *Request) reflect.Value { return change(r).Index(0) })
				return
			}
			v.Set(reflect.Append(v, reflect.New(v.Type().Elem()).Elem()))
		case reflect.Map:
			v.SetMapIndex(reflect.ValueOf("more"), reflect.ValueOf("x"))
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Bool:
			v.SetBool(!v.Bool())
		default:
			t.Fatalf("%s: unexpected kind %s", path, v.Kind())
		}
		if digestOf(r) == want {
			t.Errorf("changing %s does not change the digest", path)
		}
	}
	walk("", func(r *Request) reflect.Value { return reflect.ValueOf(r).Elem() })
}

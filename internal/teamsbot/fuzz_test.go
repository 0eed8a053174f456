package teamsbot

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/wire"
)

// FuzzToken looks for tokens that pass without the key. The verifier holds one
// published key whose private half the fuzzer does not have.
func FuzzToken(f *testing.F) {
	published, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	claims := jwt.MapClaims{"iss": "https://api.botframework.com", "aud": appID, "exp": now.Add(time.Hour).Unix(), "serviceurl": "https://smba.trafficmanager.net/emea/"}
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodRS512, jwt.SigningMethodPS256} {
		token := jwt.NewWithClaims(method, claims)
		token.Header["kid"] = "k"
		signed, err := token.SignedString(own)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("Bearer " + signed)
	}
	f.Add("Bearer ")
	f.Add("Bearer a.b.c")
	f.Add("Bearer " + strings.Repeat(".", 9000))
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")

	keys := &keySet{
		now: func() time.Time { return now }, http: http.DefaultClient,
		keys:    map[string]*signingKey{"k": {id: "k", public: &published.PublicKey, endorsements: []string{teamsChannel}}},
		fetched: now, tried: now,
	}
	v := newVerifier(goodConfig(), "https://api.botframework.com", keys, func() time.Time { return now })
	f.Fuzz(func(t *testing.T, header string) {
		if _, err := v.token(header); err == nil {
			t.Errorf("accepted %q", header)
		}
	})
}

// FuzzActivity holds decoding to: no panic, and what comes out is usable.
func FuzzActivity(f *testing.F) {
	f.Add([]byte(`{"type":"message","id":"1","text":"<at>mdebot</at> alert&nbsp;x","conversation":{"id":"19:a@thread.tacv2;messageid=1"},` +
		`"from":{"id":"29:1","aadObjectId":"` + riley + `"},"channelData":{"tenant":{"id":"` + home + `"}},` +
		`"entities":[{"type":"mention","text":"<at>mdebot</at>","mentioned":{"id":"28:` + appID + `"}},7,null]}`))
	f.Add([]byte(`{"type":"invoke","id":"f:1","conversation":{"id":"a:1"},"value":["odd"],"channelData":"odd"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if wire.StrictJSON(body) != nil {
			return
		}
		a, err := decodeActivity(body)
		if err != nil {
			return
		}
		tenantErr := a.checkTenant([]string{home})
		text, _ := a.command("28:" + appID)
		if !utf8.ValidString(text) {
			t.Errorf("command text %q is not UTF-8", text)
		}
		if by, ok := a.by(); ok && !isGUID(by.Account) {
			t.Errorf("person %q has no object ID", by.Account)
		}
		if tenantErr == nil && a.tenant != home {
			t.Errorf("tenant %q was accepted", a.tenant)
		}
		if _, err := a.skeleton(); err != nil {
			t.Errorf("skeleton() = %v", err)
		}
		a.references()
	})
}

// FuzzCardAction holds the data of cards to what it may become.
func FuzzCardAction(f *testing.F) {
	f.Add([]byte(`{"action":{"type":"Action.Execute","verb":"a","data":{"action":"a","value":"v"}},"trigger":"manual"}`))
	f.Add([]byte(`{"action":{"type":"Action.Execute","verb":"a","data":{"action":"a","menu":"menu.0","menu.0":"v"}}}`))
	f.Add([]byte(`{"data":{"action":"a","value":"v","form":"k","field.reason":"x"}}`))
	f.Add([]byte(`{"queryText":"ws","queryOptions":{"skip":0,"top":15},"dataset":"machine.search v"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		check := func(d cardData, err error) {
			if err != nil {
				return
			}
			if d.action == "" || len(d.action) > maxCardValue || len(d.value) > maxCardValue {
				t.Errorf("decoded %+v", d)
			}
			inv := activity{ReplyToID: "1", tenant: home}.invocation(d, rileyAs())
			if (inv.Kind == chat.Submit) != (d.form != "") {
				t.Errorf("kind %s for form %q", inv.Kind, d.form)
			}
		}
		d, automatic, err := decodeExecute(json.RawMessage(value))
		if automatic && d.action != "" {
			t.Errorf("a refresh carries the action %q", d.action)
		}
		if !automatic {
			check(d, err)
		}
		check(decodeTask(json.RawMessage(value)))
		if q, err := decodeSearch(json.RawMessage(value)); err == nil && (q.Dataset == "" || len(q.Dataset) > maxCardValue) {
			t.Errorf("decoded the dataset %q", q.Dataset)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "30", "-1", "9223372036854775807", "1e3", "Sat, 21 Nov 2026 12:00:45 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if got := retryAfter(value, now); got < 0 || got > maxBackOff {
			t.Errorf("retryAfter(%q) = %s", value, got)
		}
	})
}

// FuzzRender: whatever machines, alerts and people are called, a card has the parts
// that it has for a harmless name, and Teams takes it. How much of a long name fits
// depends on the name; then every part is one that cards of harmless names have.
func FuzzRender(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Add(strings.Repeat("\u202e", 900))
	f.Add(strings.Repeat("&<>\"", 3_000))
	shape := func(t *testing.T, outside string) any { return structure(t, card(full(outside))) }
	harmless := map[string]bool{}
	for n := 1; n < 10_000; n += 1 + n/6 {
		for _, letter := range []string{"x", "é", "漢", "\""} { // they weigh differently
			ownWords(shape(&testing.T{}, strings.Repeat(letter, n)), harmless)
		}
	}
	f.Fuzz(func(t *testing.T, outside string) {
		if outside == "" {
			return // mdebot says that a value is missing
		}
		if data := encode(card(full(outside))); !utf8.Valid(data) || len(data) > maxCard {
			t.Errorf("the card of %q has %d bytes, valid %t", outside, len(data), utf8.Valid(data))
		}
		got := shape(t, outside)
		if len(outside) <= 60 {
			if !reflect.DeepEqual(got, shape(t, "web-01")) {
				t.Errorf("%q changes the parts of a card", outside)
			}
			return
		}
		found := map[string]bool{}
		ownWords(got, found)
		for w := range found {
			if !harmless[w] {
				t.Errorf("%q puts %q into a card", outside, w)
			}
		}
	})
}

// ownWords are the keys and texts of a card that do not draw outside text. Numbers
// count what is left out.
func ownWords(v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			into[key] = true
			ownWords(e, into)
		}
	case []any:
		for _, e := range v {
			ownWords(e, into)
		}
	case string:
		into[digits.ReplaceAllString(v, "n")] = true
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

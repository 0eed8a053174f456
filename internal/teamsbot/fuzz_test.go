package teamsbot

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
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
	})
}

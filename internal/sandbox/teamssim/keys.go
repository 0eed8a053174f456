package teamssim

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Issuer is Bot Connector's issuer in the public cloud.
const Issuer = "https://api.botframework.com"

type signingKey struct {
	id           string
	private      *rsa.PrivateKey
	endorsements []string
}

// keyring holds the published keys. The current one signs.
type keyring struct {
	mu         sync.Mutex
	count      int
	current    *signingKey
	unendorsed *signingKey
	fetches    int
}

// firstKey is shared by all simulators of a process: making one takes long, and
// they all publish it.
var firstKey = sync.OnceValue(newKey)

// rotate begins with the shared key and makes new ones after that.
func (k *keyring) rotate() {
	generate := newKey
	if k.signing() == nil {
		generate = firstKey
	}
	key := generate()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count++
	k.current = &signingKey{id: fmt.Sprintf("key-%d", k.count), private: key, endorsements: []string{"msteams", "webchat"}}
}

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system has no randomness
	}
	return key
}

// foreign is the one key that is published but not endorsed for Teams.
func (k *keyring) foreign() *signingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.unendorsed == nil {
		k.unendorsed = &signingKey{id: "webchat-only", private: newKey(), endorsements: []string{"webchat"}}
	}
	return k.unendorsed
}

func (k *keyring) signing() *signingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// RotateKeys replaces the signing key. The old one is published no longer.
func (s *Server) RotateKeys() { s.keyring.rotate() }

// KeyFetches counts how often the keys were asked for.
func (s *Server) KeyFetches() int {
	s.keyring.mu.Lock()
	defer s.keyring.mu.Unlock()
	return s.keyring.fetches
}

func (s *Server) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	base := s.base
	s.mu.Unlock()
	respond(w, http.StatusOK, object{
		"issuer":                                Issuer,
		"authorization_endpoint":                "https://invalid.botframework.com",
		"jwks_uri":                              base + "/v1/.well-known/keys",
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"private_key_jwt"},
	})
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	k := &s.keyring
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fetches++
	var keys []any
	for _, key := range []*signingKey{k.current, k.unendorsed} {
		if key == nil {
			continue
		}
		public := key.private.PublicKey
		keys = append(keys, object{
			"kty": "RSA", "use": "sig", "kid": key.id, "x5t": key.id,
			"n":            encode(public.N.Bytes()),
			"e":            encode(big.NewInt(int64(public.E)).Bytes()),
			"endorsements": key.endorsements,
		})
	}
	respond(w, http.StatusOK, object{"keys": keys})
}

// claims of a good token for activities that carry serviceURL.
func (s *Server) claims(serviceURL string) object {
	now := s.cfg.Now()
	return object{
		"serviceurl": serviceURL,
		"iss":        Issuer,
		"aud":        s.cfg.AppID,
		"nbf":        now.Add(-5 * time.Minute).Unix(),
		"exp":        now.Add(time.Hour).Unix(),
	}
}

// Token is a good token for activities that carry serviceURL.
func (s *Server) Token(serviceURL string) string {
	key := s.keyring.signing()
	return sign(object{"typ": "JWT", "alg": "RS256", "kid": key.id, "x5t": key.id}, s.claims(serviceURL), key.private)
}

// BadToken is one way in which an Authorization header must not pass.
type BadToken struct {
	Name          string
	Authorization []string // values of the header, one line each
}

// BadTokens returns tokens that differ from a good one for serviceURL in one
// respect each. Signatures are genuine unless the name says otherwise.
func (s *Server) BadTokens(serviceURL string) []BadToken {
	key, foreign := s.keyring.signing(), s.keyring.foreign()
	stranger := newKey()
	now := s.cfg.Now()
	header := func(change object) object {
		return merge(object{"typ": "JWT", "alg": "RS256", "kid": key.id}, change)
	}
	claims := func(change object) object { return merge(s.claims(serviceURL), change) }
	good := s.Token(serviceURL)
	var out []BadToken
	add := func(name string, authorization ...string) {
		out = append(out, BadToken{Name: name, Authorization: authorization})
	}
	signed := func(name string, h, c object) { add(name, "Bearer "+sign(h, c, key.private)) }

	add("no header")
	add("empty header", "")
	add("two headers", "Bearer "+good, "Bearer "+good)
	add("no scheme", good)
	add("scheme Basic", "Basic "+good)
	add("two tokens in one header", "Bearer "+good+" "+good)
	add("not a token", "Bearer abc")
	add("thousands of dots", "Bearer "+strings.Repeat(".", 9000))
	add("no signature", "Bearer "+good[:strings.LastIndexByte(good, '.')+1])
	add("signature of another key", "Bearer "+sign(header(nil), claims(nil), stranger))
	add("one bit of the claims changed", "Bearer "+flip(good))
	add("algorithm none", "Bearer "+segment(header(object{"alg": "none"}))+"."+segment(claims(nil))+".")
	add("HMAC over the public key", "Bearer "+signHMAC(header(object{"alg": "HS256"}), claims(nil), key.private.N.Bytes()))
	add("algorithm RS512", "Bearer "+sign(header(object{"alg": "RS512"}), claims(nil), key.private))
	add("algorithm PS256", "Bearer "+sign(header(object{"alg": "PS256"}), claims(nil), key.private))
	add("key inside the header", "Bearer "+sign(merge(header(object{"kid": "mine"}), object{"jwk": object{
		"kty": "RSA", "kid": "mine", "n": encode(stranger.N.Bytes()), "e": "AQAB",
	}}), claims(nil), stranger))
	signed("no key ID", header(object{"kid": nil}), claims(nil))
	signed("key ID that is a number", header(object{"kid": 7}), claims(nil))
	signed("unknown critical header", header(object{"crit": []string{"x"}, "x": 1}), claims(nil))
	signed("issuer of the emulator", header(nil), claims(object{"iss": "https://sts.windows.net/d6d49420-f39b-4df7-a1dc-d59a935871db/"}))
	signed("issuer with a slash more", header(nil), claims(object{"iss": Issuer + "/"}))
	signed("no issuer", header(nil), claims(object{"iss": nil}))
	signed("audience of another bot", header(nil), claims(object{"aud": "99999999-9999-4999-8999-999999999999"}))
	signed("audience among others", header(nil), claims(object{"aud": []string{s.cfg.AppID, "other"}}))
	signed("no audience", header(nil), claims(object{"aud": nil}))
	signed("expired", header(nil), claims(object{"exp": now.Add(-time.Hour).Unix()}))
	signed("no expiry", header(nil), claims(object{"exp": nil}))
	signed("expiry that is text", header(nil), claims(object{"exp": "tomorrow"}))
	signed("not yet valid", header(nil), claims(object{"nbf": now.Add(time.Hour).Unix()}))
	signed("no service URL", header(nil), claims(object{"serviceurl": nil}))
	signed("service URL that is a number", header(nil), claims(object{"serviceurl": 1}))
	signed("another service URL", header(nil), claims(object{"serviceurl": "https://smba.trafficmanager.net/amer/"}))
	add("expired and forged", "Bearer "+sign(header(nil), claims(object{"exp": now.Add(-time.Hour).Unix()}), stranger))
	add("key not endorsed for Teams", "Bearer "+sign(header(object{"kid": foreign.id}), claims(nil), foreign.private))
	return out
}

// sign makes a token with the algorithm that header names; algorithms it cannot
// do are signed with RS256, which no honest verifier takes for them.
func sign(header, claims object, key *rsa.PrivateKey) string {
	input := segment(header) + "." + segment(claims)
	var sig []byte
	var err error
	switch header["alg"] {
	case "RS512":
		sum := sha512.Sum512([]byte(input))
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA512, sum[:])
	case "PS256":
		sum := sha256.Sum256([]byte(input))
		sig, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], nil)
	default:
		sum := sha256.Sum256([]byte(input))
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}
	if err != nil {
		panic(err) // only a broken key
	}
	return input + "." + encode(sig)
}

func signHMAC(header, claims object, secret []byte) string {
	input := segment(header) + "." + segment(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func segment(o object) string {
	data, err := json.Marshal(o)
	if err != nil {
		panic(err) // only values made here
	}
	return encode(data)
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// merge returns a copy of o with changes; a nil value removes a key.
func merge(o, changes object) object {
	out := object{}
	for k, v := range o {
		out[k] = v
	}
	for k, v := range changes {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = v
		}
	}
	return out
}

// flip changes one character in the middle of the claims.
func flip(token string) string {
	b := []byte(token)
	i := strings.LastIndexByte(token, '.') - 20
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

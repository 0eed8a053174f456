package teamsbot

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"
)

const (
	keyTimeout   = 2 * time.Second
	keyMaxBytes  = 1 << 20
	keyMaxAge    = 24 * time.Hour  // Microsoft asks for a daily refresh
	keyFloor     = 5 * time.Minute // between fetches, however many unknown key IDs come
	keyFirstWait = 10 * time.Second
)

// signingKey is a key of Bot Connector and the channels it may speak for, or one of
// Entra, which has none.
type signingKey struct {
	id           string
	public       *rsa.PublicKey
	endorsements []string
}

// keySet caches the published keys. It fetches again for a key ID it does not
// know, because keys are rotated without notice, and keeps serving the keys it
// has when that fails.
type keySet struct {
	metadataURL string
	http        *http.Client
	now         func() time.Time
	flight      singleflight.Group

	mu       sync.Mutex
	keys     map[string]*signingKey
	fetched  time.Time // last success
	tried    time.Time // last attempt
	fetching bool      // that attempt has not ended
}

// of returns the key that t says it is signed with.
func (k *keySet) of(t *jwt.Token) (*signingKey, error) {
	// Extensions that change the meaning of a token are not understood here.
	for _, name := range []string{"crit", "b64", "zip", "enc", "cty"} {
		if _, ok := t.Header[name]; ok {
			return nil, errors.New("unknown kind of token")
		}
	}
	id, ok := t.Header["kid"].(string)
	if !ok || id == "" {
		return nil, errors.New("no key ID")
	}
	key := k.lookup(id)
	if key == nil {
		return nil, errors.New("unknown key ID")
	}
	return key, nil
}

// lookup returns the key with id, or nil. It waits for at most one fetch.
func (k *keySet) lookup(id string) *signingKey {
	key, known, due := k.cached(id)
	switch {
	case !due:
		return key
	case known: // only old: refresh behind the back of this request
		k.flight.DoChan("", k.refresh)
		return key
	}
	<-k.flight.DoChan("", k.refresh)
	key, _, _ = k.cached(id)
	return key
}

// cached tells whether a fetch is due for id and allowed by the rate floor, or under
// way: whoever comes with the first one after a start waits for the same keys.
func (k *keySet) cached(id string) (key *signingKey, known, due bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, known = k.keys[id]
	stale := !known || k.now().Sub(k.fetched) >= keyMaxAge
	return key, known, stale && (k.fetching || k.allowed())
}

// allowed keeps fetches apart. The caller holds the lock.
func (k *keySet) allowed() bool {
	floor := keyFloor
	if k.keys == nil { // not one fetch has succeeded yet; nobody can be served
		floor = keyFirstWait
	}
	return k.now().Sub(k.tried) >= floor
}

// refresh runs on its own time: a request that goes away must not leave the next
// one without keys.
func (k *keySet) refresh() (any, error) {
	k.mu.Lock()
	if !k.allowed() { // the one that was waited for has just ended
		k.mu.Unlock()
		return nil, nil
	}
	k.tried, k.fetching = k.now(), true
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.fetching = false
	}()
	ctx, cancel := context.WithTimeout(context.Background(), keyTimeout)
	defer cancel()
	keys, err := k.fetch(ctx)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.fetched = keys, k.now()
	return nil, nil
}

func (k *keySet) fetch(ctx context.Context) (map[string]*signingKey, error) {
	var metadata struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if err := k.get(ctx, k.metadataURL, &metadata); err != nil {
		return nil, fmt.Errorf("fetch OpenID metadata: %w", err)
	}
	if err := k.checkJWKS(metadata.JWKSURI); err != nil {
		return nil, err
	}
	var set struct {
		Keys []publishedKey `json:"keys"`
	}
	if err := k.get(ctx, metadata.JWKSURI, &set); err != nil {
		return nil, fmt.Errorf("fetch signing keys: %w", err)
	}
	keys := map[string]*signingKey{}
	for _, p := range set.Keys {
		key, err := p.parse()
		if err != nil {
			continue // keys for other purposes stand in the same document
		}
		if keys[key.id] != nil {
			return nil, fmt.Errorf("fetch signing keys: key ID %q occurs twice", key.id)
		}
		keys[key.id] = key
	}
	if len(keys) == 0 {
		return nil, errors.New("fetch signing keys: no usable key in the document")
	}
	return keys, nil
}

// checkJWKS keeps the keys on the host that publishes the metadata.
func (k *keySet) checkJWKS(address string) error {
	meta, err := url.Parse(k.metadataURL)
	if err != nil {
		return fmt.Errorf("metadata address: %w", err)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != meta.Scheme || u.Host != meta.Host || u.User != nil {
		return errors.New("OpenID metadata points to keys on another host")
	}
	return nil
}

func (k *keySet) get(ctx context.Context, address string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := k.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, keyMaxBytes+1))
	if err != nil {
		return err
	}
	if len(body) > keyMaxBytes {
		return fmt.Errorf("answer is larger than %d bytes", keyMaxBytes)
	}
	return json.Unmarshal(body, out)
}

type publishedKey struct {
	Type         string   `json:"kty"`
	Use          string   `json:"use"`
	Alg          string   `json:"alg"`
	ID           string   `json:"kid"`
	Modulus      string   `json:"n"`
	Exponent     string   `json:"e"`
	Endorsements []string `json:"endorsements"`
}

func (p publishedKey) parse() (*signingKey, error) {
	if p.Type != "RSA" || p.ID == "" || p.Use != "" && p.Use != "sig" || p.Alg != "" && p.Alg != "RS256" {
		return nil, errors.New("not an RSA signing key")
	}
	n, err := base64.RawURLEncoding.DecodeString(p.Modulus)
	if err != nil {
		return nil, fmt.Errorf("modulus: %w", err)
	}
	e, err := base64.RawURLEncoding.DecodeString(p.Exponent)
	if err != nil {
		return nil, fmt.Errorf("exponent: %w", err)
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if modulus.BitLen() < 2048 || modulus.BitLen() > 8192 || !exponent.IsInt64() || exponent.Int64() < 3 || exponent.Int64() > 1<<31-1 {
		return nil, errors.New("key size out of range")
	}
	return &signingKey{
		id: p.ID, endorsements: p.Endorsements,
		public: &rsa.PublicKey{N: modulus, E: int(exponent.Int64())},
	}, nil
}

package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
)

// Anchor is a head as it is sent outside.
type Anchor struct {
	Head
	At time.Time `json:"at"`
	// Replaces is the anchor that the chain no longer contains since people
	// accepted a database that had been restored.
	Replaces *Head `json:"replaces,omitempty"`
	// Key is the public key that verifies Signature, both base64; empty when no
	// key is configured.
	Key       string `json:"key,omitempty"`
	Signature string `json:"signature,omitempty"`
}

// anchorDomain separates these signatures from every other use of the key.
const anchorDomain = "mdebot/anchor/v1"

func (a Anchor) encode() []byte {
	var replaces Head
	if a.Replaces != nil {
		replaces = *a.Replaces
	}
	b := appendField(nil, anchorDomain)
	for _, h := range []Head{a.Head, replaces} {
		b = appendField(b, string(h.Tenant))
		b = binary.BigEndian.AppendUint64(b, uint64(h.Seq))
		b = appendField(b, h.Hash)
	}
	return binary.BigEndian.AppendUint64(b, uint64(durable.Micros(a.At)))
}

// Key signs anchors. It is kept outside the database and prints as nothing.
type Key struct{ private ed25519.PrivateKey }

// ParseKey reads 32 random bytes in base64, as `openssl rand -base64 32` writes
// them.
func ParseKey(text string) (*Key, error) {
	seed, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, errors.New("an audit key is 32 random bytes in base64: openssl rand -base64 32")
	}
	return &Key{ed25519.NewKeyFromSeed(seed)}, nil
}

// LogValue hides the key.
func (k *Key) LogValue() slog.Value { return slog.StringValue("hidden") }

// String hides the key.
func (k *Key) String() string { return "hidden" }

// Public is what verifies the signatures, in base64. It is no secret.
func (k *Key) Public() string {
	return base64.StdEncoding.EncodeToString(k.private.Public().(ed25519.PublicKey))
}

// Sign returns a with the signature. Its time is cut to microseconds.
func (k *Key) Sign(a Anchor) Anchor {
	a.At = a.At.UTC().Truncate(time.Microsecond)
	a.Key = k.Public()
	a.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, a.encode()))
	return a
}

// ErrSignature reports an anchor that the expected key did not sign.
var ErrSignature = errors.New("the anchor is not signed by the audit key")

// SignedBy returns [ErrSignature] unless the key whose public half is given, in
// base64, signed a.
func (a Anchor) SignedBy(public string) error {
	key, err := base64.StdEncoding.DecodeString(public)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return errors.New("a public audit key is 32 bytes in base64")
	}
	signature, err := base64.StdEncoding.DecodeString(a.Signature)
	if err != nil || !ed25519.Verify(key, a.encode(), signature) {
		return fmt.Errorf("%w (sequence %d)", ErrSignature, a.Seq)
	}
	return nil
}

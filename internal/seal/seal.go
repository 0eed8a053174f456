// Package seal encrypts single columns with a key that is not in the database.
//
// Each text is bound to the tenant, the column and the row it was written for:
// moved elsewhere it does not open. That hides what alerts and chat addresses say
// from whoever reads a backup, and keeps whoever writes the database from pointing
// one row at the content of another. It is no substitute for the audit log, which
// has to be readable in years and stays plain.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Keys encrypts and decrypts. The zero value has no key and leaves texts as they
// are. It is safe for concurrent use and prints as nothing.
type Keys struct {
	write string // the ID of the key that encrypts
	byID  map[string]cipher.AEAD
}

// Place is where a text is stored.
type Place struct {
	Column string // "table.column"
	Tenant string
	Row    string
}

// ParseKeys reads keys of 32 random bytes in base64, with commas between them.
// The first encrypts; all decrypt. Empty text is no key.
func ParseKeys(text string) (Keys, error) {
	if text == "" {
		return Keys{}, nil
	}
	k := Keys{byID: map[string]cipher.AEAD{}}
	for one := range strings.SplitSeq(text, ",") {
		secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(one))
		if err != nil || len(secret) != 32 {
			return Keys{}, errors.New("a data key is 32 random bytes in base64: openssl rand -base64 32")
		}
		block, err := aes.NewCipher(secret)
		if err != nil {
			return Keys{}, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return Keys{}, err
		}
		id := keyID(secret)
		if k.write == "" {
			k.write = id
		}
		k.byID[id] = aead
	}
	return k, nil
}

// keyID names a key without telling anything about it.
func keyID(secret []byte) string {
	sum := sha256.Sum256(append([]byte("mdebot/data-key/v1"), secret...))
	return hex.EncodeToString(sum[:6])
}

// On reports whether there is a key.
func (k Keys) On() bool { return k.write != "" }

// LogValue hides the keys.
func (k Keys) LogValue() slog.Value { return slog.BoolValue(k.On()) }

// String hides the keys.
func (k Keys) String() string { return "hidden" }

const prefix = "sealed:v1:"

// ErrSealed reports a text that is not what was written at its place.
var ErrSealed = errors.New("the stored text was not written here with this key")

// Seal encrypts text for place. Without a key it returns text.
func (k Keys) Seal(place Place, text string) (string, error) {
	if !k.On() {
		return text, nil
	}
	aead := k.byID[k.write]
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(text)+aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", err
	}
	sealed := aead.Seal(nonce, nonce, []byte(text), place.bound(k.write))
	return prefix + k.write + ":" + base64.StdEncoding.EncodeToString(sealed), nil
}

// Open decrypts what Seal wrote for the same place. With a key, a text that is not
// encrypted is refused: [Prepare] has encrypted everything that was there before.
func (k Keys) Open(place Place, stored string) (string, error) {
	id, body, sealed := parse(stored)
	switch {
	case !sealed && !k.On():
		return stored, nil
	case !sealed:
		return "", fmt.Errorf("%s: %w", place.Column, ErrSealed)
	}
	aead, ok := k.byID[id]
	if !ok {
		return "", &MissingKeyError{ID: id}
	}
	data, err := base64.StdEncoding.DecodeString(body)
	if err != nil || len(data) < aead.NonceSize() {
		return "", fmt.Errorf("%s: %w", place.Column, ErrSealed)
	}
	nonce, data := data[:aead.NonceSize()], data[aead.NonceSize():]
	text, err := aead.Open(nil, nonce, data, place.bound(id))
	if err != nil {
		return "", fmt.Errorf("%s: %w", place.Column, ErrSealed)
	}
	return string(text), nil
}

// MissingKeyError reports data that was written with a key that is not given now.
type MissingKeyError struct{ ID string }

func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("data in the database was written with the data key %s, which is not given: set MDEBOT_DATA_KEY to it, or to the new key and it, with a comma", e.ID)
}

func parse(stored string) (id, body string, sealed bool) {
	rest, ok := strings.CutPrefix(stored, prefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// bound is what a ciphertext is bound to: every part behind its length.
func (p Place) bound(id string) []byte {
	var b []byte
	for _, part := range []string{"mdebot/seal/v1", id, p.Column, p.Tenant, p.Row} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

package slackbot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// maxSkew is how old, or how far ahead, a signed request may be, in seconds.
const maxSkew = 300

// errUnauthentic is the one answer to every failed verification. It says neither
// what was wrong nor, as slack-go's verifier does, what would have been right.
var errUnauthentic = errors.New("the request is not signed by Slack")

// verify reports whether Slack signed body with secret within the last five
// minutes.
func verify(header http.Header, body []byte, secret string, now time.Time) error {
	stamps, signatures := header.Values("X-Slack-Request-Timestamp"), header.Values("X-Slack-Signature")
	if len(stamps) != 1 || len(signatures) != 1 {
		return errUnauthentic
	}
	sent, err := strconv.ParseInt(stamps[0], 10, 64)
	if err != nil || sent < 0 || strconv.FormatInt(sent, 10) != stamps[0] {
		return errUnauthentic
	}
	// Both are positive, so the difference cannot overflow; a duration could.
	if skew := now.Unix() - sent; skew > maxSkew || skew < -maxSkew {
		return errUnauthentic
	}
	const form = "v0="
	if len(signatures[0]) != len(form)+2*sha256.Size || signatures[0][:len(form)] != form {
		return errUnauthentic
	}
	given, err := hex.DecodeString(signatures[0][len(form):])
	if err != nil {
		return errUnauthentic
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + stamps[0] + ":"))
	mac.Write(body)
	if !hmac.Equal(given, mac.Sum(nil)) {
		return errUnauthentic
	}
	return nil
}

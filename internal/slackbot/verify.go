package slackbot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxSkew is how old, or how far ahead, a signed request may be, in seconds.
const maxSkew = 300

// errUnauthentic is the one answer to every failed verification. It says neither
// what was wrong nor, as slack-go's verifier does, what would have been right.
var errUnauthentic = errors.New("the request is not signed by Slack")

// signingSecret authenticates requests until its end; zero means for good.
type signingSecret struct {
	value string
	until time.Time
}

// maxSigning is how many signing secrets there may be: the one in force and the
// one before it.
const maxSigning = 2

// parseSigning reads "new,old@2026-08-01T00:00:00Z". The one that ends is good for
// what Slack signed before it was replaced (threat-model S-05).
func parseSigning(list string) ([]signingSecret, error) {
	if list == "" {
		return nil, nil // Socket Mode
	}
	var secrets []signingSecret
	for one := range strings.SplitSeq(list, ",") {
		value, end, ends := strings.Cut(one, "@")
		s := signingSecret{value: value}
		if err := checkSecret(value, ""); err != nil {
			return nil, err
		}
		if ends {
			until, err := time.Parse(time.RFC3339, end)
			if err != nil {
				return nil, errors.New("has an end that is no time such as 2026-08-01T00:00:00Z")
			}
			s.until = until
		}
		if len(secrets) > 0 && !ends {
			return nil, errors.New("holds a second secret without an end; write it as secret@2026-08-01T00:00:00Z")
		}
		secrets = append(secrets, s)
	}
	if len(secrets) > maxSigning {
		return nil, errors.New("holds more than two secrets")
	}
	return secrets, nil
}

// verifyAny is verify with every secret that has not ended. All of them are tried,
// so that the time taken does not tell which one fits.
func verifyAny(header http.Header, body []byte, secrets []signingSecret, now time.Time) error {
	result := errUnauthentic
	for _, s := range secrets {
		if !s.until.IsZero() && !now.Before(s.until) {
			continue
		}
		if verify(header, body, s.value, now) == nil {
			result = nil
		}
	}
	return result
}

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

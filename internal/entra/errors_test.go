package entra

import (
	"net/http"
	"testing"
)

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "30", "-1", "10000000000", "9223372036854775807", "Sat, 21 Nov 2026 12:00:45 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if got := retryAfter(http.Header{"Retry-After": {value}}); got < 0 || got > longestWait {
			t.Errorf("retryAfter(%q) = %s", value, got)
		}
	})
}

func TestRetryAfter_absurd(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"10000000000", "9223372036854775807"} {
		if got := retryAfter(http.Header{"Retry-After": {value}}); got != longestWait {
			t.Errorf("retryAfter(%q) = %s, want %s", value, got, longestWait)
		}
	}
}

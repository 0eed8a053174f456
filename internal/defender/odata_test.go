package defender

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// unquote reads one OData string literal and returns what follows it. It shares
// nothing with the encoder.
func unquote(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, "'") {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), s[i+1:], true
	}
	return "", s, false
}

func TestTextLiteral_isOneTokenOfEqualValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.OneOf(rapid.String(), rapid.StringMatching(`['() a-z]{0,12}`)).Draw(t, "text")
		filter := string(allOf(nameStartsWith(want), eq(machineOS, textLiteral(want))))
		rest, _ := strings.CutPrefix(filter, "startswith(computerDnsName,")
		first, rest, ok := unquote(rest)
		if !ok || first != want {
			t.Fatalf("first literal of %q = %q, want %q", filter, first, want)
		}
		rest, found := strings.CutPrefix(rest, ") and osPlatform eq ")
		second, rest, ok := unquote(rest)
		if !found || !ok || second != want || rest != "" {
			t.Fatalf("second literal of %q = %q, then %q", filter, second, rest)
		}
	})
}

func TestCallURL_hostAndPathAreFixed(t *testing.T) {
	t.Parallel()
	base := &url.URL{Scheme: "https", Host: "api.security.microsoft.com"}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		l := listCall{path: "/api/machines", filter: eq(machineName, textLiteral(text))}
		got, err := url.Parse((call{path: l.path, query: l.query()}).url(base).String())
		if err != nil || got.Host != base.Host || got.Path != "/api/machines" || got.Fragment != "" {
			t.Fatalf("url with %q = %v, %v", text, got, err)
		}
		if filter := got.Query().Get("$filter"); filter != string(l.filter) {
			t.Fatalf("$filter = %q, want %q", filter, l.filter)
		}
	})
}

func TestTimeLiteral_keepsSevenDigits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "seconds"), 100*rapid.Int64Range(0, 9_999_999).Draw(t, "ticks")).UTC()
		if got := parseTime(string(timeLiteral(want))); !got.Equal(want) {
			t.Fatalf("parseTime(timeLiteral(%s)) = %s", want, got)
		}
	})
}

package defender

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzRefusal(f *testing.F) {
	f.Add(400, `{"error":{"code":"ActiveRequestAlreadyExists","message":"Action is already in progress","target":"t"}}`)
	f.Add(429, `{"error":{"code":429,"message":"maximum allowed 45 per 00:01:00"}}`)
	f.Add(403, `{"error":"x"}`)
	f.Add(504, "<html>\xff")
	f.Add(200, ``)
	f.Fuzz(func(t *testing.T, status int, body string) {
		c := &core{quota: newQuota(), now: time.Now}
		err := c.refusal(call{op: "x", family: familyActions}, &http.Response{StatusCode: status, Header: http.Header{}}, []byte(body))
		if err == nil || !utf8.ValidString(err.Error()) || len(err.Error()) > 200 {
			t.Errorf("refusal(%d, %q) = %v", status, body, err)
		}
	})
}

func FuzzNextLink(f *testing.F) {
	for _, link := range []string{
		"https://api.security.microsoft.com/api/alerts?$skip=1", "https://evil.example/api/alerts", "//evil.example/api/alerts",
		"https://api.security.microsoft.com@evil.example/api/alerts", "https://api.security.microsoft.com/api/alerts/../machines",
		"https:api.security.microsoft.com", "https://api.security.microsoft.com\\@evil.example/api/alerts", "",
	} {
		f.Add(link)
	}
	base := &url.URL{Scheme: "https", Host: "api.security.microsoft.com"}
	c := &core{base: base, endpoints: Endpoints{hosts: clouds[0].hosts}}
	first := (call{path: "/api/alerts"}).url(base)
	f.Fuzz(func(t *testing.T, link string) {
		u, err := c.nextLink(first, link)
		if err != nil {
			return
		}
		sent, err := url.Parse(u.String())
		if err != nil || sent.Scheme != "https" || sent.User != nil || !strings.HasSuffix(sent.Host, ".microsoft.com") ||
			!strings.EqualFold(sent.Path[strings.LastIndexByte(sent.Path, '/'):], "/alerts") || strings.Contains(sent.Path, "..") {
			t.Errorf("nextLink(%q) leads to %v, %v", link, sent, err)
		}
	})
}

func FuzzTextLiteral(f *testing.F) {
	for _, s := range []string{"", "'", "''", "x' or 1 eq 1", "\x00", "é'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, rest, ok := unquote(string(textLiteral(s))); !ok || got != s || rest != "" {
			t.Errorf("textLiteral(%q) reads back as %q, then %q", s, got, rest)
		}
	})
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"", "2026-11-21T10:00:00.1234567Z", "2026-11-21", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999+14:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := parseTime(s); !got.IsZero() && got.Location() != time.UTC {
			t.Errorf("parseTime(%q) = %s, not UTC", s, got)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "30", "-1", "1e309", "NaN", "Inf", "Sat, 21 Nov 2026 12:00:45 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"} {
		f.Add(s, "maximum allowed 45 per 00:01:00")
		f.Add(s, "99-minute cycle, 99 per 99:99:99")
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, header, message string) {
		h := http.Header{"Retry-After": {header}}
		if got := retryAfter(h, message, now); got < 0 || got > maxBlock {
			t.Errorf("retryAfter(%q, %q) = %s", header, message, got)
		}
		if got := newQuota().block(now, familyAlerts, retryAfter(h, message, now)); got < minBlock || got > maxBlock {
			t.Errorf("block after (%q, %q) = %s", header, message, got)
		}
	})
}

func FuzzHuntRows(f *testing.F) {
	f.Add(`{"schema":[{"name":"A","type":"String"}],"results":[{"A":"x\u00e9"},{"A":{"b":[1,"}"]}},{}]}`)
	f.Add(`{"Results":[{"\u0041":1, "B" :null}],"Schema":null}`)
	f.Add(`{"results":[{"A":"x"`)
	f.Add(`{"results":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		var got table
		r := rowReader{sink: &got, max: 100}
		_, err := r.read(strings.NewReader(body))
		for _, row := range got.rows {
			if len(row) != len(got.columns) {
				t.Errorf("a row of %d cells under %d columns", len(row), len(got.columns))
			}
			for _, cell := range row {
				if !utf8.ValidString(cell) {
					t.Errorf("cell %q is not UTF-8", cell)
				}
			}
		}
		if err == nil && !json.Valid([]byte(body)) && len(got.rows) == 0 && got.columns == nil && !strings.Contains(body, "{") {
			t.Errorf("read(%q) accepted no JSON", body)
		}
	})
}

// Splitting a row must agree with the standard decoder.
func FuzzEachField(f *testing.F) {
	f.Add(`{"a":1,"b":"x\"y","c":{"d":[1,2,"}"]},"e":[],"f":null,"g":true}`)
	f.Add(" { \"a\" :\n-1.5e3 , \"b\"\t: \"\\\\\" } ")
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, object string) {
		var want map[string]json.RawMessage
		if json.Unmarshal([]byte(object), &want) != nil || want == nil {
			return
		}
		got := make(map[string]string)
		err := eachField([]byte(object), func(name, value []byte) error {
			var key string
			if err := json.Unmarshal(name, &key); err != nil {
				return err
			}
			got[key] = string(value)
			return nil
		})
		if err != nil || len(got) != len(want) {
			t.Fatalf("eachField(%q) = %v, %v, want %d fields", object, got, err, len(want))
		}
		for key, value := range want {
			if got[key] != string(value) {
				t.Errorf("eachField(%q)[%q] = %q, want %q", object, key, got[key], value)
			}
		}
	})
}

func FuzzDecoders(f *testing.F) {
	f.Add([]byte(`{"id":"a","evidence":[{}],"comments":[null],"relatedUser":[]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &core{}
		var alert wireAlert
		if json.Unmarshal(body, &alert) == nil {
			c.alert(alert)
		}
		var machine wireMachine
		if json.Unmarshal(body, &machine) == nil {
			c.machine(machine)
		}
		var action wireAction
		if json.Unmarshal(body, &action) == nil {
			c.machineAction(action)
		}
		readClaims("e30." + string(body) + ".x")
	})
}

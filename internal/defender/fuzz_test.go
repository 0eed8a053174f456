package defender

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// sent keeps what leaves for Defender and Graph, and answers that it is not known.
type sent struct {
	mu   sync.Mutex
	urls []*url.URL
}

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusNotFound, `{"error":{"code":"NotFound","message":"no"}}`
	if strings.Contains(r.URL.Path, "/oauth2/") {
		asked, err := io.ReadAll(r.Body)
		form, formErr := url.ParseQuery(string(asked))
		if err != nil || formErr != nil {
			return nil, errors.Join(err, formErr)
		}
		status, body = http.StatusOK, `{"token_type":"Bearer","expires_in":3599,"access_token":"`+
			jwt(map[string]any{"tid": testTenant, "aud": strings.TrimSuffix(form.Get("scope"), "/.default"), "roles": slices.Collect(maps.Values(permissionFor))})+`"}`
	} else {
		s.mu.Lock()
		s.urls = append(s.urls, r.URL)
		s.mu.Unlock()
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

// FuzzPaths: what is put into a path stays one segment of the path that was meant,
// or nothing is sent.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{
		testMachine, testAction, "da637472900382838869_1364969609", "CVE-2026-0001", "203.0.113.9", "2001:db8::1", "evil.example", "sam", "ws-042",
		"..", ".", "a/b", "a%2fb", "a?b", "a#b", "a\\b", "é", "", " ", "\x00", "a;b", "a'b", "a,b", "(a)", "a..b", "%2e%2e", "//evil.example", "fe80::1%25eth0",
	} {
		f.Add(s)
	}
	s := &sent{}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	cfg := Config{TenantID: testTenant, ClientID: testApp, ClientSecret: testSecret}
	c, err := New(cfg, WithNow(func() time.Time { return now }), WithCacheFor(0), Around(func(http.RoundTripper) http.RoundTripper { return s }))
	if err != nil {
		f.Fatal(err)
	}
	actor, err := NewActor(cfg, c)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := c.Machine(f.Context(), testMachine); !errors.Is(err, ErrNotFound) || len(s.urls) != 1 {
		f.Fatalf("Machine() = %v after %v, want one call", err, s.urls)
	}
	if _, err := actor.ReleaseMachine(f.Context(), testMachine, "x"); !errors.Is(err, ErrNotFound) || len(s.urls) != 2 {
		f.Fatalf("ReleaseMachine() = %v after %v, want a second call", err, s.urls)
	}
	f.Fuzz(func(t *testing.T, id string) {
		ctx := context.Background()
		for prefix, asks := range map[string]map[string]func() error{
			"/api/machines/": {
				"":            func() error { _, err := c.Machine(ctx, id); return err },
				"/logonusers": func() error { _, err := c.MachineUsers(ctx, id); return err },
				"/alerts":     func() error { _, err := c.MachineAlerts(ctx, id); return err },
				"/isolate": func() error {
					_, err := actor.IsolateMachine(ctx, id, IsolateInput{Comment: "x", Type: FullIsolation})
					return err
				},
				"/unisolate":             func() error { _, err := actor.ReleaseMachine(ctx, id, "x"); return err },
				"/restrictCodeExecution": func() error { _, err := actor.RestrictMachine(ctx, id, "x"); return err },
				"/runAntiVirusScan":      func() error { _, err := actor.ScanMachine(ctx, id, QuickScan, "x"); return err },
				"/tags":                  func() error { _, err := c.TagMachine(ctx, id, "x", true); return err },
			},
			"/api/alerts/": {"": func() error { _, err := c.Alert(ctx, id); return err }},
			"/api/machineactions/": {
				"":               func() error { _, err := c.MachineAction(ctx, id); return err },
				"/cancel":        func() error { _, err := actor.CancelAction(ctx, id, Scan, "x"); return err },
				"/getPackageUri": func() error { _, err := c.PackageLink(ctx, id); return err },
			},
			"/api/indicators/":      {"": func() error { return actor.DeleteIndicator(ctx, id) }},
			"/api/files/":           {"": func() error { _, err := c.File(ctx, id); return err }, "/stats": func() error { _, err := c.FileSightings(ctx, id); return err }},
			"/api/ips/":             {"/stats": func() error { _, err := c.IPSightings(ctx, id); return err }, "/alerts": func() error { _, err := c.RelatedAlerts(ctx, Observable{ObservableIP, id}); return err }},
			"/api/domains/":         {"/stats": func() error { _, err := c.DomainSightings(ctx, id); return err }, "/machines": func() error { _, err := c.RelatedMachines(ctx, Observable{ObservableDomain, id}); return err }},
			"/api/users/":           {"/machines": func() error { _, err := c.UserMachines(ctx, id); return err }, "/alerts": func() error { _, err := c.UserAlerts(ctx, id); return err }},
			"/api/vulnerabilities/": {"": func() error { _, err := c.Vulnerability(ctx, id); return err }, "/machineReferences": func() error { _, err := c.ExposedMachines(ctx, id); return err }},
			"/v1.0/users/":          {"": func() error { _, err := c.DirectoryUser(ctx, id); return err }},
			"/v1.0/groups/":         {"/transitiveMembers": func() error { _, err := c.GroupMembers(ctx, id); return err }},
		} {
			for suffix, ask := range asks {
				now = now.Add(time.Hour) // quotas are another matter
				s.urls = nil
				if err := ask(); err == nil || errors.Is(err, context.DeadlineExceeded) {
					if suffix == "" {
						t.Errorf("%s%q%s = %v", prefix, id, suffix, err)
					}
				}
				for _, u := range s.urls {
					middle, rooted := strings.CutPrefix(u.EscapedPath(), prefix)
					segment, whole := strings.CutSuffix(middle, suffix)
					plain, err := url.PathUnescape(segment)
					if !rooted || !whole || err != nil || !strings.EqualFold(plain, id) && !sameAddress(plain, id) || strings.ContainsAny(segment, "/\\?#") ||
						plain == "." || plain == ".." || plain == "" || u.Scheme != "https" || !strings.HasSuffix(u.Host, ".microsoft.com") || u.User != nil {
						t.Errorf("%s%s of %q leads to %s", prefix, suffix, id, u)
					}
				}
			}
		}
	})
}

func sameAddress(a, b string) bool {
	one, err := netip.ParseAddr(a)
	other, otherErr := netip.ParseAddr(b)
	return err == nil && otherErr == nil && one == other
}

// FuzzFindMachines: a name that is looked for stays a literal of the filter, also where
// it becomes part of a path.
func FuzzFindMachines(f *testing.F) {
	for _, s := range []string{"ws-042", "x' or 1 eq 1", "..", "10.0.0.1", "::1", "fe80::1%eth0'", "a/b", "%27", "é", "[::1]", "a..b", testMachine} {
		f.Add(s)
	}
	s := &sent{}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	c, err := New(Config{TenantID: testTenant, ClientID: testApp, ClientSecret: testSecret},
		WithNow(func() time.Time { return now }), WithCacheFor(0), Around(func(http.RoundTripper) http.RoundTripper { return s }))
	if err != nil {
		f.Fatal(err)
	}
	if found, err := c.FindMachines(f.Context(), "ws-042"); err != nil || len(found.Machines) > 0 || len(s.urls) != 3 {
		f.Fatalf("FindMachines() = %v, %v after %v, want three calls and nothing found", found, err, s.urls)
	}
	f.Fuzz(func(t *testing.T, query string) {
		now = now.Add(time.Hour)
		s.urls = nil
		_, _ = c.FindMachines(context.Background(), query) // what is sent counts
		for _, u := range s.urls {
			rest, ok := strings.CutPrefix(u.EscapedPath(), "/api/machines")
			segment := strings.TrimPrefix(rest, "/")
			if !ok || u.Host != "api.security.microsoft.com" || strings.ContainsAny(segment, "/\\?#") || segment == ".." || segment == "." ||
				strings.Count(segment, "'")%2 != 0 {
				t.Errorf("FindMachines(%q) leads to %s", query, u)
			}
			// Outside its literals a filter holds nothing but its own words.
			filter := u.Query().Get("$filter")
			outside := ""
			for filter != "" {
				i := strings.IndexByte(filter, '\'')
				if i < 0 {
					outside += filter
					break
				}
				outside += filter[:i] + strconv.Quote("")
				_, rest, ok := unquote(filter[i:])
				if !ok {
					t.Fatalf("FindMachines(%q) leaves a literal open: %s", query, u.Query().Get("$filter"))
				}
				filter = rest
			}
			for _, own := range []string{"startswith(computerDnsName,", "computerDnsName eq ", "lastIpAddress eq ", `""`, " or ", "(", ")"} {
				outside = strings.ReplaceAll(outside, own, "")
			}
			if strings.TrimSpace(outside) != "" {
				t.Errorf("FindMachines(%q) filters by %q besides its literals", query, outside)
			}
		}
	})
}

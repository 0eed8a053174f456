package defender

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestPackageLink(t *testing.T) {
	t.Parallel()
	const good = "https://userrequests-us.securitycenter.windows.com:443/safedownload/WDATP_Investigation_Package.zip?token=CANARY%2f%2b%3d"
	for name, tc := range map[string]struct {
		value string
		ok    bool
	}{
		"as it is":                   {good, true},
		"in a second pair of quotes": {`"` + good + `"`, true},
		"from blob storage":          {"https://x.blob.core.windows.net/p/a.zip?sig=CANARY", true},
		"another host":               {"https://evil.example/a.zip?token=CANARY", false},
		"a host that ends alike":     {"https://evilsecuritycenter.windows.com/a?token=CANARY", false},
		"plain http":                 {"http://a.securitycenter.windows.com/a?token=CANARY", false},
		"with a name before it":      {"https://a.securitycenter.windows.com@evil.example/a?token=CANARY", false},
		"user information":           {"https://u:p@a.securitycenter.windows.com/a?token=CANARY", false},
		"nothing":                    {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			var logs strings.Builder
			body, err := json.Marshal(map[string]string{"value": tc.value})
			if err != nil {
				t.Fatal(err)
			}
			f.mux.Handle("GET /api/machineactions/{id}/getPackageUri", answer(http.StatusOK, string(body)))
			log := slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
			c, _ := f.client(t, WithLogger(log))
			got, err := c.PackageLink(t.Context(), testAction)
			if (err == nil) != tc.ok || tc.ok && got.Reveal() != good && !strings.Contains(got.Reveal(), "blob.core") {
				t.Fatalf("PackageLink() = %q, %v", got.Reveal(), err)
			}
			log.Info("shown", "link", got, "err", err)
			encoded, _ := json.Marshal(struct{ L PackageLink }{got})
			for where, text := range map[string]string{"log": logs.String(), "error": fmt.Sprint(err), "text": fmt.Sprint(got), "JSON": string(encoded)} {
				if strings.Contains(text, "CANARY") {
					t.Errorf("the %s holds the address: %s", where, text)
				}
			}
		})
	}
}

func TestPackageLink_isAskedForEveryTime(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.Handle("GET /api/machineactions/{id}/getPackageUri", answer(http.StatusOK, `{"value":"https://a.securitycenter.windows.com/x"}`))
	c, _ := f.client(t)
	for range 2 {
		if _, err := c.For(LaneInteractive).PackageLink(t.Context(), testAction); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
	if _, err := c.PackageLink(t.Context(), "../x"); !errors.Is(err, ErrInvalid) {
		t.Errorf("with a path for an ID: %v", err)
	}
}

package defendersim_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
)

func TestIndicators(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.roles("Ti.ReadWrite.All")
	body := func(kind, value, action, more string) string {
		return `{"indicatorType":"` + kind + `","indicatorValue":"` + value + `","action":"` + action + `","title":"t","description":"d"` + more + `}`
	}
	for name, c := range map[string]struct{ body, code string }{
		"no title":           {`{"indicatorType":"DomainName","indicatorValue":"evil.example","action":"Block","description":"d"}`, "MissingRequiredParameter"},
		"a value of another": {body("FileSha1", "evil.example", "Block", ""), "InvalidInput"},
		"a range":            {body("IpAddress", "203.0.113.0/24", "Block", ""), "InvalidInput"},
		"an unknown action":  {body("DomainName", "evil.example", "Destroy", ""), "InvalidInput"},
		"audit without":      {body("DomainName", "evil.example", "Audit", ""), "InvalidInput"},
		"expired":            {body("DomainName", "evil.example", "Block", `,"expirationTime":"2020-01-01T00:00:00Z"`), "InvalidInput"},
		"another casing":     {strings.Replace(body("DomainName", "evil.example", "Block", ""), "action", "Action", 1), "InvalidRequestBody"},
	} {
		if got := b.do(http.MethodPost, "/api/indicators", c.body, http.StatusBadRequest).code(t); got != c.code {
			t.Errorf("%s: %s, want %s", name, got, c.code)
		}
	}
	var first, again defendersim.Indicator
	b.do(http.MethodPost, "/api/indicators", body("DomainName", "evil.example", "Audit", `,"generateAlert":true`), http.StatusOK).decode(t, &first)
	b.do(http.MethodPost, "/api/indicators", body("DomainName", "EVIL.example", "Block", `,"expirationTime":"2026-11-21T00:00:00Z"`), http.StatusOK).decode(t, &again)
	if first.ID != again.ID || again.Action != "Block" {
		t.Errorf("the same value again is %+v, want a change of %s", again, first.ID)
	}
	b.tenant.FillIndicators(15_000)
	if r := b.do(http.MethodPost, "/api/indicators", body("DomainName", "more.example", "Block", ""), http.StatusBadRequest); !strings.Contains(string(r.body), "15000") {
		t.Errorf("beyond the limit: %s", r.body)
	}
	b.do(http.MethodDelete, "/api/indicators/nothing", "", http.StatusNotFound)
	b.clock.advance(20 * time.Hour)
	if left := b.tenant.Indicators(); len(left) != 0 {
		t.Errorf("after the expiry there are %+v", left)
	}
	b.roles("Machine.Isolate")
	b.do(http.MethodGet, "/api/indicators", "", http.StatusForbidden)
}

package app

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// collector takes traces as an OpenTelemetry collector does.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	spans   []otlpSpan
	raw     strings.Builder
	faults  []string
	service string
	down    bool
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var in otlpRequest
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err == nil {
		err = dec.Decode(&in)
	}
	switch {
	case err != nil:
		c.faults = append(c.faults, err.Error())
	case r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Api-Key") != "a b":
		c.faults = append(c.faults, r.URL.Path+" "+r.Header.Get("Content-Type")+" "+r.Header.Get("Api-Key"))
	}
	for _, res := range in.ResourceSpans {
		for _, a := range res.Resource.Attributes {
			if a.Key == "service.name" {
				c.service = *a.Value.String
			}
		}
		for _, s := range res.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
	c.raw.Write(body)
}

func (s otlpSpan) has(key, value string) bool {
	return slices.ContainsFunc(s.Attributes, func(a otlpAttribute) bool {
		return a.Key == key && (a.Value.String != nil && *a.Value.String == value || a.Value.Int != nil && *a.Value.Int == value)
	})
}

// One isolation is traced from the delivery to the call, and nothing in it names
// anybody or anything.
func TestStory_traces(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	s := newStory(t, sandbox.Options{}, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL+"/", "OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20b", "OTEL_SERVICE_NAME=soc bot")
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-033", "traced beaconing")
	s.teams().click(sandbox.Avery, card, "Approve")
	s.becomes("ws-033", "isolated")
	s.halt() // sends what waits
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) > 0 || c.service != "soc bot" {
		t.Errorf("the collector refuses %v of %q", c.faults, c.service)
	}
	for what, is := range map[string]func(otlpSpan) bool{
		"a delivery of Slack": func(s otlpSpan) bool {
			return s.Name == "delivery" && s.Kind == 2 && s.has("platform", "slack") && s.has("http.response.status_code", "200")
		},
		"a delivery of Teams": func(s otlpSpan) bool { return s.Name == "delivery" && s.has("platform", "teams") },
		"the command": func(s otlpSpan) bool {
			return s.Name == "command" && s.Parent != "" && s.has("command", "isolate") && s.has("outcome", "answered")
		},
		"the call to Defender": func(s otlpSpan) bool {
			return s.Name == "call" && s.Kind == 3 && s.Parent != "" && s.has("part", "Defender") && s.has("http.request.method", "POST") && s.has("http.response.status_code", "201")
		},
		"a call to Slack":    func(s otlpSpan) bool { return s.Name == "call" && s.has("part", "Slack") },
		"the job that acts":  func(s otlpSpan) bool { return s.Name == "job" && s.has("kind", "execute") },
		"the job that tells": func(s otlpSpan) bool { return s.Name == "job" && s.has("kind", "deliver") },
	} {
		if !slices.ContainsFunc(c.spans, is) {
			t.Errorf("no span of %s", what)
		}
	}
	keys := []string{"platform", "part", "http.request.method", "http.response.status_code", "kind", "command", "outcome"}
	for _, span := range c.spans {
		if len(span.TraceID) != 32 || len(span.SpanID) != 16 || span.End < span.Start {
			t.Errorf("span %+v", span)
		}
		for _, a := range span.Attributes {
			if !slices.Contains(keys, a.Key) {
				t.Errorf("%s has the attribute %s", span.Name, a.Key)
			}
		}
	}
	sent := c.raw.String()
	private := []string{"Riley", "Avery", sandbox.Riley.Object, sandbox.Riley.Slack, "ws-033", "beaconing", sandbox.TenantID, "C0SOC", "isolate ws", "127.0.0.1"}
	for _, name := range []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "MDE_CLIENT_SECRET", "TEAMS_APP_SECRET"} {
		if v, ok := setting(s.env, name); ok {
			private = append(private, v)
		}
	}
	for _, p := range private {
		if strings.Contains(sent, p) {
			t.Errorf("the traces tell %q", p)
		}
	}
}

func TestStory_collectorThatIsAwayHoldsNothingUp(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	c.down = true
	s := newStory(t, sandbox.Options{}, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	s.ask(s.slack(), sandbox.Riley, "machine ws-033", "Machine ws-033")
	s.halt()
}

func TestTraces_offCostsNothing(t *testing.T) {
	t.Parallel()
	off, err := newTraces(TraceConfig{Service: "mdebot"}, http.DefaultTransport, slog.New(slog.DiscardHandler))
	if err != nil || off != nil {
		t.Fatalf("newTraces() = %v, %v, want none", off, err)
	}
	if got := off.call(http.DefaultTransport, named(partSlack)); got != http.DefaultTransport {
		t.Errorf("calls go through %T", got)
	}
	off.ran(t.Context(), "isolate", "answered")
	off.stop(t.Context())
	for _, c := range []TraceConfig{{Endpoint: "collector:4318"}, {Endpoint: "ftp://collector"}, {Headers: "api-key"}} {
		if err := c.Validate(); err == nil || strings.Contains(err.Error(), "collector:4318") {
			t.Errorf("Validate(%+v) = %v, want a fault that names the setting alone", c, err)
		}
	}
}

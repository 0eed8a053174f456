package app

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mdebot/mdebot/internal/sandbox"
)

func (s *story) scrape() string {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.bot.AdminAddr().String()+"/metrics", nil)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.Fatalf("GET /metrics = %s, %v: %s", resp.Status, err, body)
	}
	return string(body)
}

var metricName = regexp.MustCompile(`mdebot_[a-z_]+`)

// One isolation and one alert fill the metrics; they name nobody, and everything
// that the dashboard and the alert rules ask for is there.
func TestStory_metrics(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.watching()
	card := s.request(s.slack(), s.teams(), sandbox.Riley, sandbox.Avery, "ws-030", "counted")
	s.pressed(s.teams(), sandbox.Riley, card, "Approve", "You asked for this yourself")
	s.teams().click(sandbox.Avery, card, "Approve")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "isolate ws-030.corp.contoso.com – isolated")
	s.raise("ws-031", "High", "Counted alert")
	s.sees(s.slack(), sandbox.Riley, sandbox.SlackSOC, "Counted alert")
	resp, err := http.Post("http://"+s.bot.Addr().String()+"/slack/commands", "application/x-www-form-urlencoded", strings.NewReader("a=b"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	s.eventually("everything is counted", func() string {
		text := s.scrape()
		for _, want := range []string{
			`mdebot_ack_seconds_count{platform="slack"}`, `mdebot_ack_seconds_count{platform="teams"}`,
			`mdebot_deliveries_refused_total{platform="slack",status="401"} 1`,
			`mdebot_commands_total{command="isolate",outcome="answered"} 1`, `mdebot_commands_total{command="approve",outcome="refused"} 1`,
			`mdebot_requests{state="succeeded"} 1`, `mdebot_votes{vote="approve"} 1`, `mdebot_effects{state="succeeded"} 1`,
			`mdebot_request_stage_seconds_count{stage="approval"} 1`, `mdebot_request_stage_seconds_count{stage="execution"} 1`,
			`mdebot_defender_calls_total{op="isolate machine",status="201"} 1`, `mdebot_defender_quota_left{lane="action"}`,
			`mdebot_alert_age_seconds_count`, `mdebot_requests_oldest_seconds{state="pending"} 0`, `mdebot_posts_total{outcome="done",platform="teams"}`,
			`mdebot_pages_open 0`, `mdebot_replicas 1`, `mdebot_part_working{part="Slack"} 1`, `mdebot_messages_oldest_seconds{class="alert"} `,
			`mdebot_blind_seconds 0`, `mdebot_database_readable 1`, `mdebot_messages_waiting{class="alert"}`,
		} {
			if !strings.Contains(text, want) {
				return "no " + want + " in\n" + text
			}
		}
		if strings.Contains(text, "mdebot_alert_post_seconds_count 0\n") {
			return "no alert was counted"
		}
		return ""
	})
	text := s.scrape()
	for _, secret := range []string{"ws-03", sandbox.TenantID, "Riley", "Avery", "C0SOC", "Counted"} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics name %q", secret)
		}
	}
	known := s.bot.metrics.known(t)
	for _, name := range metricName.FindAllString(text, -1) {
		if known[family(name)] == nil {
			t.Errorf("%s is scraped and not described", name)
		}
	}
	for _, file := range []string{"manifests/monitoring/grafana.json", "manifests/monitoring/rules.yaml", "docs/running/monitoring.md"} {
		content, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		asked := metricName.FindAllString(string(content), -1)
		if len(asked) < 10 {
			t.Errorf("%s asks for %d metrics", file, len(asked))
		}
		for _, name := range asked {
			if known[family(name)] == nil {
				t.Errorf("%s asks for %s, which mdebot does not have", file, name)
			}
		}
		for _, m := range selector.FindAllStringSubmatch(string(content), -1) {
			for _, l := range labelName.FindAllStringSubmatch(strings.ReplaceAll(m[2], `\"`, `"`), -1) {
				if !slices.Contains(known[family(m[1])], l[1]) {
					t.Errorf("%s asks for the label %s of %s, which has %v", file, l[1], m[1], known[family(m[1])])
				}
			}
		}
		// Nothing is measured that nobody looks at.
		if strings.HasSuffix(file, ".md") {
			for name := range known {
				if !strings.Contains(string(content), name) {
					t.Errorf("%s does not explain %s", file, name)
				}
			}
		}
	}
}

var (
	selector  = regexp.MustCompile(`(mdebot_[a-z_]+)\{([^}]*)\}`)
	labelName = regexp.MustCompile(`([a-z_]+)(?:=~|!=|!~|=)`)
	described = regexp.MustCompile(`^Desc\{fqName: "(mdebot_[a-z_]+)".*variableLabels: \{([a-z_,]*)\}\}$`)
)

// family is the name of a metric without what a histogram adds to it.
func family(name string) string {
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

// known lists the metrics that can be scraped, with their labels.
func (m *metrics) known(t *testing.T) map[string][]string {
	t.Helper()
	ch := make(chan *prometheus.Desc)
	go func() {
		m.registry.Describe(ch)
		close(ch)
	}()
	all := map[string][]string{}
	for d := range ch {
		if parts := described.FindStringSubmatch(d.String()); parts != nil {
			all[parts[1]] = append([]string{}, strings.Split(parts[2], ",")...)
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d metrics are described: %v", len(all), all)
	}
	return all
}

func TestMonitoring_isWellFormed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(root, "manifests", "monitoring")
	board, err := os.ReadFile(filepath.Join(dir, "grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(board, &dashboard); err != nil || dashboard.Title == "" {
		t.Errorf("grafana.json: %v", err)
	}
	for _, p := range dashboard.Panels {
		if p.Title == "" || len(p.Targets) == 0 || p.Targets[0].Expr == "" {
			t.Errorf("panel %+v asks nothing", p)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.UnmarshalWithOptions(text, &rules, yaml.Strict()); err != nil {
		t.Fatalf("rules.yaml: %v", err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Expr == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("rule %+v is incomplete", r)
			}
		}
	}
}

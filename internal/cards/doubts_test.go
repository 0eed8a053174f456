package cards

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
)

// withFacts is a pending request for n machines with these facts.
func withFacts(t *testing.T, action, scope string, n int, f TargetFacts) approvals.Request {
	t.Helper()
	r := sampleRequest(t, approvals.Pending, n)
	r.Action, r.Params = action, nil
	if scope != "" {
		r.Params = map[string]string{"scope": scope}
	}
	f.ReadAt = noon
	facts, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Targets {
		r.Targets[i].Facts = facts
	}
	return r
}

func TestRequest_saysWhatSpeaksAgainstIt(t *testing.T) {
	t.Parallel()
	seen, long := noon.Add(-time.Hour), noon.Add(-72*time.Hour)
	for name, tc := range map[string]struct {
		action, scope string
		facts         TargetFacts
		want          string // "" = no doubt
	}{
		"a healthy machine":             {"isolate", "full", TargetFacts{OS: "Windows11", Health: "Active", LastSeen: seen}, ""},
		"an unknown system":             {"isolate", "full", TargetFacts{OS: "Windows2031", Health: "Active", LastSeen: seen}, ""},
		"an old server":                 {"isolate", "full", TargetFacts{OS: "WindowsServer2008R2", Health: "Active", LastSeen: seen}, "does not list its OS"},
		"a server that is old enough":   {"isolate", "full", TargetFacts{OS: "WindowsServer2012R2", Health: "Active", LastSeen: seen}, ""},
		"a phone":                       {"isolate", "full", TargetFacts{OS: "iOS", Health: "Active", LastSeen: seen}, "does not list its OS"},
		"the release of a phone":        {"release", "", TargetFacts{OS: "iOS", Health: "Active", LastSeen: seen}, ""},
		"Linux":                         {"isolate", "full", TargetFacts{OS: "Ubuntu", Health: "Active", LastSeen: seen}, ""},
		"selective isolation of Linux":  {"isolate", "selective", TargetFacts{OS: "RedHatEnterpriseLinux", Health: "Active", LastSeen: seen}, "Full isolation works there."},
		"long offline":                  {"isolate", "full", TargetFacts{OS: "Windows11", Health: "Active", LastSeen: long}, "probably offline"},
		"never seen":                    {"release", "", TargetFacts{OS: "Windows11", Health: "Active"}, "probably offline"},
		"inactive":                      {"isolate", "full", TargetFacts{OS: "Windows11", Health: "Inactive", LastSeen: seen}, "sensor is inactive"},
		"impaired":                      {"isolate", "full", TargetFacts{OS: "Windows11", Health: "ImpairedCommunication", LastSeen: seen}, "sensor is impaired"},
		"without sensor data":           {"isolate", "full", TargetFacts{OS: "Windows11", Health: "NoSensorDataImpairedCommunication", LastSeen: seen}, "sends no data"},
		"on a VPN":                      {"isolate", "full", TargetFacts{OS: "Windows11", Health: "Active", LastSeen: seen, VPN: true}, "seems to be on a VPN"},
		"the release of one on a VPN":   {"release", "", TargetFacts{OS: "Windows11", Health: "Active", LastSeen: seen, VPN: true}, ""},
		"an action that mdebot records": {"settle", "", TargetFacts{OS: "iOS", LastSeen: long}, ""},
	} {
		r := withFacts(t, tc.action, tc.scope, 1, tc.facts)
		var shown []string
		for _, line := range Request(RequestView{Request: r}).Sections[0].Lines {
			if s := line.String(); strings.HasPrefix(s, "Beware: ") {
				shown = append(shown, s)
			}
		}
		if got := strings.Join(shown, "\n"); got != "" != (tc.want != "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: the card warns %q, want %q", name, got, tc.want)
		}
	}
}

func TestRequest_doubtsAmongManyMachines(t *testing.T) {
	t.Parallel()
	r := withFacts(t, "isolate", "full", approvals.MaxTargets, TargetFacts{OS: "iOS", Health: "Inactive"})
	for _, line := range Request(RequestView{Request: r}).Sections[0].Lines {
		if !strings.Contains(line.String(), "beware: OS without isolation, offline, sensor inactive") {
			t.Errorf("line %q does not warn", line)
		}
	}
}

func TestRequest_doubtsEndWithTheRequest(t *testing.T) {
	t.Parallel()
	r := withFacts(t, "isolate", "full", 1, TargetFacts{OS: "iOS"})
	r.State, r.Targets[0].State = approvals.Failed, approvals.Failed
	if s := textOfLines(Request(RequestView{Request: r})); strings.Contains(s, "Beware") {
		t.Errorf("a failed request still warns: %s", s)
	}
}

func textOfLines(m chat.Message) string {
	var all []string
	for _, s := range m.Sections {
		for _, line := range s.Lines {
			all = append(all, line.String())
		}
	}
	return strings.Join(all, "\n")
}

package app

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

// command runs mdebot with the sandbox's mdebot.yaml and returns what it prints.
func command(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mdebot.yaml")
	if err := os.WriteFile(file, []byte(sandbox.PolicyYAML()), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code = Main(t.Context(), args, append([]string{"MDEBOT_CONFIG=" + file}, environ...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestPolicyExplain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"a domain controller by its tag": {
			args: []string{"--machine", "ws-001", "--os", "Windows11", "--tag", "tier0"},
			want: []string{`"domain controllers"`, "matches", "rule:       domain controllers", "2 people", "tier 0:     true; approving takes no fresh sign-in, because MDEBOT_OIDC_CLIENT_ID is not set", "Jordan Reyes", "soc-leads, identity-team"},
		},
		"a requester is no approver": {
			args: []string{"--machine", "ws-001", "--os", "Windows11", "--by", "T0SOC/U0RILEY"},
			want: []string{"rule:       workstations", "Avery Stone"},
		},
		"a protected machine": {
			args: []string{"--machine", "ws-001", "--os", "Windows11", "--tag", "never-isolate"},
			want: []string{"refused:    mdebot.yaml protects it"},
		},
		"nothing known of the machine": {
			args: []string{"--machine", "ws-001"},
			want: []string{"rule:       domain controllers", "cannot be known", "because:    facts", "tier 0:     true", "Defender is not configured"},
		},
		"somebody unknown":     {args: []string{"--tag", "x", "--by", "nobody"}, code: exitFailed, want: []string{`nobody under people is "nobody"`}},
		"an action unknown":    {args: []string{"--tag", "x", "--action", "offboard"}, code: exitFailed, want: []string{`no action on machines is called "offboard"`}},
		"a scope that is none": {args: []string{"--tag", "x", "--scope", "half"}, code: exitFailed, want: []string{`isolate has no scope "half"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, nil, append([]string{"policy", "explain"}, tc.args...)...)
			if code != tc.code || !containsAll(out+errs, tc.want) {
				t.Errorf("mdebot policy explain %s = %d\n%s%s\nwant %d and %q", tc.args, code, out, errs, tc.code, tc.want)
			}
			if strings.Contains(out, "approvers:  Riley Chen") && name == "a requester is no approver" {
				t.Errorf("the requester is listed as an approver:\n%s", out)
			}
		})
	}
}

func TestPolicyExplain_readsTheMachineFromDefender(t *testing.T) {
	t.Parallel()
	world, err := sandbox.New(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close() })
	code, out, errs := command(t, world.Environment(), "policy", "explain", "--machine", "dc-01", "--json")
	if code != exitOK {
		t.Fatalf("mdebot policy explain = %d: %s", code, errs)
	}
	var got answer
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, out)
	}
	if got.Machine == nil || !strings.HasPrefix(got.Machine.Name, "dc-01") || got.Rule.Name != "domain controllers" || got.Rule.Why != "" {
		t.Errorf("explained %+v under %+v, want dc-01 as Defender knows it", got.Machine, got.Rule)
	}
	if code, _, errs := command(t, world.Environment(), "policy", "explain", "--machine", "lt-007"); code != exitFailed || !strings.Contains(errs, "give an ID") {
		t.Errorf("an ambiguous name = %d: %s", code, errs)
	}
}

func TestPolicyWho(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	s.slack().write(sandbox.Riley, sandbox.SlackSOC, "isolate ws-011 so that there is a record")
	s.sees(s.slack(), sandbox.Avery, sandbox.SlackApprovals, "isolate ws-011", "waits for approval")
	db, _ := setting(s.env, "MDEBOT_DATABASE_URL")
	environ := []string{"MDE_TENANT_ID=" + sandbox.TenantID, "MDEBOT_DATABASE_URL=" + db}
	for at, want := range map[string]string{
		"2001-01-01":           "no audit record is that old",
		"2101-01-01T00:00:00Z": "this file was in force then",
	} {
		code, out, errs := command(t, environ, "policy", "who", "--os", "Windows11", "--machine", "ws-011", "--at", at)
		if code != exitOK || !containsAll(out, []string{"rule:       workstations", "Avery Stone", want}) {
			t.Errorf("mdebot policy who --at %s = %d\n%s%s\nwant %q", at, code, out, errs, want)
		}
	}
	if code, _, errs := command(t, environ, "policy", "who", "--os", "Windows11", "--at", "yesterday"); code != exitFailed || !strings.Contains(errs, "write 2026-11-21") {
		t.Errorf("--at yesterday = %d: %s", code, errs)
	}
}

const passingCases = `
cases:
  - name: a domain controller needs a lead and the identity team
    machine: { name: dc-01, os: WindowsServer2022, tags: [tier0] }
    want: { rule: domain controllers, approvers: 2, from: [identity-team, soc-leads], tier0: true, can_approve: [Avery Stone, Sam Okafor, Jordan Reyes] }
  - name: a workstation needs one of the team, not the requester
    by: T0SOC/U0RILEY
    machine: { name: ws-001, os: Windows11 }
    want: { rule: workstations, approvers: 1, tier0: false, can_approve: [Avery Stone, Sam Okafor, Jordan Reyes] }
  - name: facts that cannot be read
    want: { rule: domain controllers, tier0: true, refused: protected }
  - name: never from chat
    machine: { name: ws-001, os: Windows11, tags: [never-isolate] }
    want: { refused: protected }
  - name: somebody of another company
    by: T0EVIL/U0RILEY
    machine: { name: ws-001, os: Windows11 }
    want: { refused: person }
`

func TestPolicyTest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cases string
		code  int
		want  []string
	}{
		"cases that hold": {cases: passingCases, want: []string{"ok   a domain controller", "ok   somebody of another company"}},
		"another rule": {
			cases: strings.Replace(passingCases, "rule: workstations", "rule: servers", 1), code: exitFailed,
			want: []string{"FAIL a workstation", `rule: want "servers", got "workstations"`, "1 of 5 cases differ"},
		},
		"other people": {
			cases: strings.Replace(passingCases, "tier0: false, can_approve: [Avery Stone, Sam Okafor, Jordan Reyes]", "can_approve: [Riley Chen, Sam Okafor, Jordan Reyes]", 1), code: exitFailed,
			want: []string{"can_approve: Riley Chen cannot", "can_approve: Avery Stone can, too"},
		},
		"a refusal that is gone":      {cases: strings.Replace(passingCases, "tags: [never-isolate]", "tags: []", 1), code: exitFailed, want: []string{"refused: want protected, got not refused"}},
		"a refusal nobody expects":    {cases: strings.Replace(passingCases, "{ refused: protected }", "{ rule: workstations }", 1), code: exitFailed, want: []string{"refused: want not refused, got protected"}},
		"a misspelt key":              {cases: strings.Replace(passingCases, "machine:", "machien:", 1), code: exitConfig, want: []string{"machien"}},
		"a case that expects nothing": {cases: "cases: [{ name: idle }]", code: exitConfig, want: []string{"expects nothing"}},
		"no cases":                    {cases: "", code: exitConfig, want: []string{"cases is empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "cases.yaml")
			if err := os.WriteFile(file, []byte(tc.cases), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errs := command(t, nil, "policy", "test", file)
			if code != tc.code || !containsAll(out+errs, tc.want) {
				t.Errorf("mdebot policy test = %d\n%s%s\nwant %d and %q", code, out, errs, tc.code, tc.want)
			}
		})
	}
}

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/tenant"
)

// policyCommand answers what a mdebot.yaml would decide. Its commands change
// nothing and need neither Slack nor Teams.
func policyCommand(p *process) *cobra.Command {
	var explained, asked policyQuestion
	explain := leaf("explain [flags]", "Say which rule governs an action on a machine, why, and whether it could be approved.", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return explained.explain(ctx, p) })
	explained.flags(explain.Flags())

	var at string
	who := leaf("who [flags]", "Say who could approve an action on a machine.", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return asked.who(ctx, p, at) })
	asked.flags(who.Flags())
	who.Flags().StringVar(&at, "at", "", "At that `DATE` (2026-11-21) or time (2026-11-21T14:00:00Z).")

	var file string
	var asJSON bool
	test := leaf("test CASES [flags]", "Hold mdebot.yaml to a table of cases, as docs/configuration.md describes it; exit code 1 when one differs.", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error { return testPolicy(ctx, p, args[0], file, asJSON) })
	test.Flags().StringVar(&file, "file", "", "Another `FILE` than MDEBOT_CONFIG.")
	test.Flags().BoolVar(&asJSON, "json", false, "Print JSON.")

	return group("policy", "Say what mdebot.yaml decides, and test it.", explain, test, who)
}

// policyQuestion is what explain and who ask about.
type policyQuestion struct {
	action, scope, machine, by, file         string
	os, group, risk, exposure, value, health string
	tags                                     []string
	json                                     bool
}

func (f *policyQuestion) flags(set *pflag.FlagSet) {
	set.StringVar(&f.action, "action", "isolate", "Action, such as isolate or release.")
	set.StringVar(&f.scope, "scope", "", "Scope of an isolation: full or selective.")
	set.StringVar(&f.machine, "machine", "", "Name, ID or address. Its facts are read from Defender unless they are given by flags.")
	set.StringVar(&f.os, "os", "", "Fact: operating system as Defender writes it, such as WindowsServer2022.")
	set.StringArrayVar(&f.tags, "tag", nil, "Fact: a `TAG`; repeat for several.")
	set.StringVar(&f.group, "group", "", "Fact: device group.")
	set.StringVar(&f.risk, "risk", "", "Fact: risk score.")
	set.StringVar(&f.exposure, "exposure", "", "Fact: exposure level.")
	set.StringVar(&f.value, "value", "", "Fact: device value.")
	set.StringVar(&f.health, "health", "", "Fact: health status.")
	set.StringVar(&f.by, "by", "", "`PERSON` who asks: object ID, Slack account (T…/U…) or name.")
	set.StringVar(&f.file, "file", "", "Another `FILE` than MDEBOT_CONFIG.")
	set.BoolVar(&f.json, "json", false, "Print JSON.")
}

// loadPolicy reads the policy that file, or the environment, names.
func loadPolicy(p *process, file string) (*policy.Policy, error) {
	if file == "" {
		file = settingOr(p.environ, "MDEBOT_CONFIG", "mdebot.yaml")
	}
	home, _, _ := strings.Cut(settingOr(p.environ, "TEAMS_TENANT_ID", settingOr(p.environ, "MDE_TENANT_ID", uuid.Nil.String())), ",")
	pol, err := policy.Load(file, policy.Options{HomeTenant: strings.TrimSpace(home), SignIn: settingOr(p.environ, "MDEBOT_OIDC_CLIENT_ID", "") != ""})
	if err != nil {
		return nil, &ConfigError{Faults: appendFault(nil, err)}
	}
	return pol, nil
}

// answer is an explanation with what was asked.
type answer struct {
	Action  policy.Action   `json:"action"`
	Machine *policy.Machine `json:"machine"`
	By      string          `json:"by,omitempty"`
	policy.Explanation
	// Caveats say what the answer does not take into account.
	Caveats []string `json:"caveats,omitempty"`
}

func (f *policyQuestion) ask(ctx context.Context, p *process, pol *policy.Policy) (answer, error) {
	action, role, err := actionNamed(f.action, f.scope)
	if err != nil {
		return answer{}, err
	}
	q := policy.Question{Action: action, Role: role}
	if f.by != "" {
		person, err := pol.FindPerson(f.by)
		if err != nil {
			return answer{}, err
		}
		q.By = person.ID
	}
	var caveats []string
	if q.Machine, err = f.facts(ctx, p); err != nil {
		return answer{}, err
	}
	if q.Machine == nil {
		caveats = append(caveats, "no facts were given and Defender is not configured, so this is the answer for a machine that cannot be read")
	}
	caveats = append(caveats, "limits are not counted: above one, a request needs one more approver")
	x := answer{Action: action, Machine: q.Machine, Explanation: pol.Explain(ctx, nil, q), Caveats: caveats}
	if !q.By.IsZero() {
		x.By = q.By.String()
	}
	return x, nil
}

// actionNamed is an action as rules see it, and the role that asking for it
// needs.
func actionNamed(kind, scope string) (policy.Action, identity.Role, error) {
	a, ok := approvals.Actions()[kind]
	if !ok || a.Target != approvals.TargetMachine {
		return policy.Action{}, "", fmt.Errorf("no action on machines is called %q", kind)
	}
	scopes := a.Params["scope"].Values
	if scope == "" && len(scopes) > 0 {
		scope = scopes[0]
	}
	if scope != "" && !slices.Contains(scopes, scope) {
		return policy.Action{}, "", fmt.Errorf("%s has no scope %q", kind, scope)
	}
	return a.AsRuled(map[string]string{"scope": scope}), a.Role, nil
}

// facts are the machine's: those of the flags, or what Defender says when none is
// given, or nil when nothing is known.
func (f *policyQuestion) facts(ctx context.Context, p *process) (*policy.Machine, error) {
	given := policy.Machine{
		Name: strings.ToLower(f.machine), OS: f.os, Tags: f.tags, Group: f.group,
		Risk: f.risk, Exposure: f.exposure, Value: f.value, Health: f.health,
	}
	if f.os+f.group+f.risk+f.exposure+f.value+f.health != "" || len(f.tags) > 0 {
		return &given, nil
	}
	var cfg defender.Config
	env, err := newEnvironment(p.environ)
	if err == nil {
		err = envconfig.ProcessWith(ctx, &envconfig.Config{Target: &cfg, Lookuper: env})
	}
	if err != nil {
		return nil, &ConfigError{Faults: appendFault(nil, err)}
	}
	if f.machine == "" || cfg.ClientID == "" {
		return nil, nil
	}
	client, err := defender.New(cfg)
	if err != nil {
		return nil, &ConfigError{Faults: appendFault(nil, err)}
	}
	defer client.Close()
	found, err := client.FindMachines(ctx, f.machine)
	if err != nil {
		return nil, err
	}
	if len(found.Machines) != 1 {
		return nil, fmt.Errorf("Defender knows %d machines that are or begin with %s; give an ID, or the facts by flags", len(found.Machines), f.machine) //nolint:staticcheck // a product's name
	}
	return cards.PolicyMachine(found.Machines[0]), nil
}

// stepUpWord says whether approving takes a fresh sign-in.
func stepUpWord(environ []string, pol *policy.Policy, rule policy.Applied) string {
	switch {
	case !rule.TierZero:
		return ""
	case pol.StepUp():
		return "; approving takes a fresh sign-in"
	case settingOr(environ, "MDEBOT_OIDC_CLIENT_ID", "") == "":
		return "; approving takes no fresh sign-in, because MDEBOT_OIDC_CLIENT_ID is not set"
	}
	return "; approving takes no fresh sign-in, because step_up is never"
}

func (f *policyQuestion) explain(ctx context.Context, p *process) error {
	pol, err := loadPolicy(p, f.file)
	if err != nil {
		return err
	}
	x, err := f.ask(ctx, p, pol)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(p, x)
	}
	var b strings.Builder
	for _, r := range x.Rules {
		fmt.Fprintf(&b, "line %-4d %-32q %s\n", r.Line, r.Name, r.Verdict)
	}
	fmt.Fprintf(&b, "\nrule:       %s\n", x.Rule.Name)
	if x.Rule.Why != "" {
		fmt.Fprintf(&b, "because:    %s\n", x.Rule.Why)
	}
	fmt.Fprintf(&b, "needs:      %s\n", x.Rule.Need())
	fmt.Fprintf(&b, "tier 0:     %t%s\n", x.Rule.TierZero, stepUpWord(p.environ, pol, x.Rule))
	if x.Refused != "" {
		fmt.Fprintf(&b, "refused:    %s\n", x.Why)
	}
	writeApprovers(&b, x)
	_, err = fmt.Fprint(p.stdout, b.String())
	return err
}

func writeApprovers(b *strings.Builder, x answer) {
	for i, a := range x.Approvers {
		label := "            "
		if i == 0 {
			label = "approvers:  "
		}
		fmt.Fprintf(b, "%s%s (%s), for %s\n", label, a.Name, a.Person, strings.Join(a.For, ", "))
	}
	if len(x.Approvers) == 0 {
		b.WriteString("approvers:  nobody\n")
	}
	for _, l := range x.Later {
		fmt.Fprintf(b, "later:      %s (%s), for %s, after %d minutes without a decision\n", l.Name, l.Person, strings.Join(l.For, ", "), l.AfterMinutes)
	}
	if x.Short {
		b.WriteString("            these cannot complete the approvals\n")
	}
	for _, note := range slices.Concat(x.Unread, x.Caveats) {
		fmt.Fprintf(b, "note:       %s\n", note)
	}
	fmt.Fprintf(b, "policy:     %s\n", x.PolicyHash)
}

func (f *policyQuestion) who(ctx context.Context, p *process, at string) error {
	pol, err := loadPolicy(p, f.file)
	if err != nil {
		return err
	}
	x, err := f.ask(ctx, p, pol)
	if err != nil {
		return err
	}
	if at != "" {
		note, err := policyAt(ctx, p, at, x.PolicyHash)
		if err != nil {
			return err
		}
		x.Caveats = append(x.Caveats, note)
	}
	if f.json {
		return printJSON(p, x)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rule:       %s, which needs %s\n", x.Rule.Name, x.Rule.Need())
	writeApprovers(&b, x)
	_, err = fmt.Fprint(p.stdout, b.String())
	return err
}

// policyAt says whether the policy with this hash was in force at a time, as far
// as the audit records tell. They hold the hash and not the file.
func policyAt(ctx context.Context, p *process, at, hash string) (string, error) {
	until, err := time.Parse(time.RFC3339, at)
	if err != nil {
		day, err := time.Parse(time.DateOnly, at)
		if err != nil {
			return "", fmt.Errorf("--at %s: write 2026-11-21 or 2026-11-21T14:00:00Z", at)
		}
		until = day.Add(24 * time.Hour)
	}
	id := tenant.ID(settingOr(p.environ, "MDE_TENANT_ID", ""))
	if id == "" {
		return "", errors.New("--at needs MDE_TENANT_ID, to find the tenant's audit records")
	}
	then := ""
	err = withView(ctx, p, func(v *store.View) error {
		for r, err := range audit.Between(ctx, v.Read(), id, time.Time{}, until) {
			if err != nil {
				return err
			}
			if r.PolicyHash != "" {
				then = r.PolicyHash
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("read the audit records: %w", err)
	case then == "":
		return "no audit record is that old, so this is judged with today's file", nil
	case then == hash:
		return "the audit records show that this file was in force then; tags, directory groups and links are those of now", nil
	}
	return fmt.Sprintf("another file was in force then (hash %.12s), so this is judged with today's; the records keep each request's rule, not the file", then), nil
}

// caseResult is one case and what differed.
type caseResult struct {
	Case        string   `json:"case"`
	Passed      bool     `json:"passed"`
	Differences []string `json:"differences,omitempty"`
}

func testPolicy(ctx context.Context, p *process, table, file string, asJSON bool) error {
	pol, err := loadPolicy(p, file)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	cases, err := policy.ParseCases(table, text)
	if err != nil {
		return &ConfigError{Faults: appendFault(nil, err)}
	}
	results := make([]caseResult, len(cases))
	failed := 0
	for i, one := range cases {
		diff := runCase(ctx, pol, one)
		results[i] = caseResult{Case: one.Name, Passed: len(diff) == 0, Differences: diff}
		if len(diff) > 0 {
			failed++
		}
	}
	if asJSON {
		err = printJSON(p, results)
	} else {
		err = printResults(p, results)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d cases differ", failed, len(cases))
	}
	return err
}

func runCase(ctx context.Context, pol *policy.Policy, c policy.Case) []string {
	action, role, err := actionNamed(c.Action, c.Scope)
	if err != nil {
		return []string{err.Error()}
	}
	q, err := c.Question(pol, action, role)
	if err != nil {
		return []string{err.Error()}
	}
	return c.Differences(ctx, pol, nil, q)
}

func printResults(p *process, results []caseResult) error {
	var b strings.Builder
	for _, r := range results {
		word := "ok  "
		if !r.Passed {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "%s %s\n", word, r.Case)
		for _, d := range r.Differences {
			fmt.Fprintf(&b, "       %s\n", d)
		}
	}
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}

func printJSON(p *process, v any) error {
	enc := json.NewEncoder(p.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

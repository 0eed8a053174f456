package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/slackbot"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/teamsbot"
)

// outcome is how a check went.
type outcome string

const (
	fine    outcome = "ok"
	missing outcome = "not permitted" // left out, maybe on purpose
	skipped outcome = "not looked at"
	doubt   outcome = "look at this"
	broken  outcome = "broken"
)

// check is one thing that doctor looked at: what is wrong, why, and what to do.
type check struct {
	Name    string  `json:"name"`
	Outcome outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"`
	Next    string  `json:"next,omitempty"`
}

// commandRow is what a command needs and whether the tenant's tokens permit it.
type commandRow struct {
	Command string `json:"command"`
	Needs   string `json:"needs"`
	Granted bool   `json:"granted"`
}

type tenantReport struct {
	Tenant   string       `json:"tenant"`
	Name     string       `json:"name,omitempty"`
	Checks   []check      `json:"checks"`
	Commands []commandRow `json:"commands,omitempty"`
}

type doctorReport struct {
	Checks  []check        `json:"checks"`
	Tenants []tenantReport `json:"tenants,omitempty"`
}

func (r doctorReport) worst() outcome {
	worst := fine
	for _, t := range append(slices.Clone(r.Tenants), tenantReport{Checks: r.Checks}) {
		for _, c := range t.Checks {
			if c.Outcome == broken || (c.Outcome == doubt && worst == fine) {
				worst = c.Outcome
			}
		}
	}
	return worst
}

func doctorCommand(p *process) *cobra.Command {
	var asJSON bool
	var only, slackToken string
	cmd := leaf("doctor [flags]", "Check everything the bot needs and say what is missing, why, and what to do. It changes nothing.", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return runDoctor(ctx, p, asJSON, only, slackToken) })
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON.")
	cmd.Flags().StringVar(&only, "tenant", "", "Check this tenant `ID` or name alone.")
	cmd.Flags().StringVar(&slackToken, "slack-config-token-file", "", "`FILE` with a Slack app configuration token: compares the installed app with the manifest.")
	return cmd
}

// errUnwell ends doctor with exit code 1; the report has said the rest.
var errUnwell = errors.New("something is broken; see above")

func runDoctor(ctx context.Context, p *process, asJSON bool, only, slackToken string) error {
	cfg, err := LoadConfig(ctx, p.environ)
	var config *ConfigError
	if errors.As(err, &config) {
		// Nothing can be tried with settings that are wrong; all faults are said.
		return config
	}
	progress := p.stderr
	report := examine(ctx, cfg, only, slackToken, func(what string) { fmt.Fprintln(progress, "…", what) })
	if asJSON {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	} else if err := report.print(p.stdout); err != nil {
		return err
	}
	if report.worst() == broken {
		return errUnwell
	}
	return nil
}

// doctorParallel is how many tenants are examined at a time.
const doctorParallel = 16

// examine looks at everything. What it is looking at is told as it goes.
func examine(ctx context.Context, cfg Config, only, slackToken string, looking func(string)) doctorReport {
	var mu sync.Mutex
	say := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		looking(what)
	}
	report := doctorReport{Checks: []check{{Name: "settings", Outcome: fine, Detail: "no faults"}}}
	pol, policyCheck := examinePolicy(cfg)
	report.Checks = append(report.Checks, policyCheck)
	transport, err := outbound(cfg, newParts())
	if err != nil {
		report.Checks = append(report.Checks, failed("network", err))
		return report
	}
	tenants := cfg.tenants(pol, only)
	results := make([]tenantReport, len(tenants))
	general := make([][]check, 4)
	var group errgroup.Group
	group.SetLimit(doctorParallel)
	for _, looks := range []func(){
		func() { say("network and clock"); general[0] = examineNetwork(ctx, cfg, transport) },
		func() { say("Slack"); general[1] = examineSlack(ctx, cfg, slackToken, transport) },
		func() { say("Teams"); general[2] = examineTeams(ctx, cfg, transport) },
		func() { say("database"); general[3] = examineDatabase(ctx, cfg) },
	} {
		group.Go(func() error { looks(); return nil })
	}
	for i, t := range tenants {
		group.Go(func() error {
			say("tenant " + t.title())
			results[i] = examineTenant(ctx, t, transport)
			return nil
		})
	}
	_ = group.Wait() // every look keeps its own result
	for _, checks := range general {
		report.Checks = append(report.Checks, checks...)
	}
	report.Tenants = results
	return report
}

func failed(name string, err error) check {
	c := check{Name: name, Outcome: broken, Detail: err.Error()}
	if sentence, next, ok := defender.Explain(err); ok {
		c.Detail, c.Next = sentence, next
	}
	return c
}

func examinePolicy(cfg Config) (*policy.Policy, check) {
	pol, err := cfg.loadPolicy()
	if err != nil {
		return nil, check{Name: cfg.File, Outcome: broken, Detail: err.Error(), Next: "mdebot config check lists every fault."}
	}
	c := check{Name: cfg.File, Outcome: fine, Detail: fmt.Sprintf("%d people", len(pol.Book().People()))}
	if w := pol.Warnings(); len(w) > 0 {
		c.Outcome, c.Detail, c.Next = doubt, strings.Join(w, "\n"), "They are allowed, and probably not meant."
	}
	return pol, c
}

// clockTolerance is from when a wrong clock breaks signing in.
const clockTolerance = 2 * time.Minute

// examineNetwork reaches every address once. Any answer will do, also a refusal.
func examineNetwork(ctx context.Context, cfg Config, transport http.RoundTripper) []check {
	type address struct{ name, url string }
	var addresses []address
	if e, err := cfg.Defender.Endpoints(); err == nil && cfg.Defender.TenantID != "" {
		addresses = append(addresses, address{"Entra", e.Authority}, address{"Defender", e.Base}, address{"Defender XDR", e.XDR}, address{"Microsoft Graph", e.Graph})
	}
	if cfg.Slack.Enabled() {
		addresses = append(addresses, address{"Slack", cmp.Or(cfg.Slack.APIURL, "https://slack.com/api/")})
	}
	if cfg.Teams.Enabled() {
		addresses = append(addresses, address{"Bot Connector's keys", cfg.Teams.MetadataURL})
	}
	client := &http.Client{Transport: transport, Timeout: 15 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	checks := make([]check, len(addresses))
	dates := make([]time.Duration, len(addresses))
	var group errgroup.Group
	for i, a := range addresses {
		group.Go(func() error {
			checks[i] = check{Name: "reach " + a.name, Outcome: fine, Detail: a.url}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, nil)
			if err != nil {
				checks[i] = failed("reach "+a.name, err)
				return nil
			}
			resp, err := client.Do(req)
			if err != nil {
				checks[i] = failed("reach "+a.name, err)
				if checks[i].Next == "" {
					checks[i].Next = "Open the way to " + req.URL.Host + ", or set HTTPS_PROXY."
				}
				return nil
			}
			defer resp.Body.Close()
			if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
				dates[i] = time.Since(date)
			}
			return nil
		})
	}
	_ = group.Wait()
	clock := check{Name: "clock", Outcome: fine, Detail: "agrees with those reached"}
	if worst := slices.MaxFunc(append(dates, 0), func(a, b time.Duration) int { return int(a.Abs() - b.Abs()) }); worst.Abs() > clockTolerance {
		clock.Outcome, clock.Detail = broken, fmt.Sprintf("this machine differs by %s from those it reached", worst.Round(time.Second))
		clock.Next = "Correct the clock: signatures and tokens are refused by a wrong one."
	}
	return append(checks, clock)
}

func examineSlack(ctx context.Context, cfg Config, tokenFile string, transport *http.Transport) []check {
	if !cfg.Slack.Enabled() {
		return []check{{Name: "Slack", Outcome: missing, Detail: "not configured"}}
	}
	c := cfg.Slack
	c.Transport = transport
	bot, err := slackbot.New(c, &lateHandler{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return []check{failed("Slack", err)}
	}
	workspace, scopes, err := bot.Installed(ctx)
	if err != nil {
		out := failed("Slack token", err)
		out.Next = "Copy SLACK_BOT_TOKEN again from OAuth & Permissions, or install the app again."
		return []check{out}
	}
	checks := []check{{Name: "Slack token", Outcome: fine, Detail: "workspace " + workspace}}
	return append(checks, scopesCheck(scopes), examineManifest(ctx, cfg, bot, tokenFile))
}

// scopesCheck holds the scopes that Slack granted against those of the manifest.
func scopesCheck(scopes []string) check {
	wanted := slackScopes()
	var lacks, more []string
	for _, s := range wanted {
		if !slices.Contains(scopes, s) {
			lacks = append(lacks, s)
		}
	}
	for _, s := range scopes {
		if !slices.Contains(wanted, s) {
			more = append(more, s)
		}
	}
	out := check{Name: "Slack scopes", Outcome: fine, Detail: fmt.Sprintf("all %d of the manifest", len(wanted))}
	switch {
	case len(scopes) == 0:
		out.Outcome, out.Detail = doubt, "Slack did not say which it granted"
	case len(lacks) > 0:
		out.Outcome, out.Detail = broken, "missing: "+strings.Join(lacks, ", ")
		out.Next = "Put the output of mdebot manifest slack into the app's manifest and install it to the workspace again."
		if !slices.ContainsFunc(lacks, func(s string) bool { return !slices.Contains(slackConveniences, s) }) {
			out.Outcome, out.Detail = doubt, out.Detail+"; without them addresses of the Defender portal have no preview"
		}
	case len(more) > 0:
		out.Outcome, out.Detail = doubt, "more than the manifest asks for: "+strings.Join(more, ", ")
		out.Next = "Take them away: a stolen token could use them."
	}
	return out
}

func examineTeams(ctx context.Context, cfg Config, transport *http.Transport) []check {
	if !cfg.Teams.Enabled() {
		return []check{{Name: "Teams", Outcome: missing, Detail: "not configured"}}
	}
	bot, err := teamsbot.New(cfg.Teams, teamsbot.Options{Transport: transport, Logger: slog.New(slog.DiscardHandler), References: references{}})
	if err != nil {
		return []check{failed("Teams", err)}
	}
	if err := bot.SignIn(ctx); err != nil {
		out := failed("Teams token", err)
		out.Next = "Check TEAMS_APP_ID, its secret or certificate, and TEAMS_TENANT_ID."
		return []check{out}
	}
	checks := []check{{Name: "Teams token", Outcome: fine, Detail: string(cfg.Teams.Credential().Effective())}}
	if cfg.SignIn.PublicURL != "" {
		checks = append(checks, examineTab(ctx, cfg, transport))
	}
	return checks
}

// examineTab holds the bot's app registration against what Teams needs to tell who
// looks at the tab. An address without a tab is no fault: it is for linking accounts too.
func examineTab(ctx context.Context, cfg Config, transport *http.Transport) check {
	out := check{Name: "Teams tab", Outcome: missing}
	client, err := defender.New(cfg.Defender, defender.WithTransport(transport), defender.WithCacheFor(0))
	if err != nil {
		return failed(out.Name, err)
	}
	defer client.Close()
	exposed, err := client.ExposedAPI(ctx, cfg.Teams.AppID)
	if err != nil {
		out.Detail = "what the bot's app registration exposes is not known: " + defender.Reason(err)
		return out
	}
	u, _ := url.Parse(cfg.SignIn.PublicURL) // it has been validated
	want := teamsbot.TabResource(u.Host, cfg.Teams.AppID)
	clients, scope := exposed.Clients[teamsbot.TabScope]
	var lacks []string
	if !slices.Contains(exposed.URIs, want) {
		lacks = append(lacks, "the application ID URI "+want)
	}
	if !scope {
		lacks = append(lacks, "the scope "+teamsbot.TabScope)
	}
	for _, id := range teamsbot.TabClients() {
		if !slices.Contains(clients, id) {
			lacks = append(lacks, "the client application "+id)
		}
	}
	if exposed.TokenVersion != 2 {
		lacks = append(lacks, "requestedAccessTokenVersion 2")
	}
	out.Outcome, out.Detail = fine, "the app registration exposes "+want
	if len(lacks) > 0 {
		out.Outcome, out.Detail = doubt, "the app registration lacks "+strings.Join(lacks, ", ")
		out.Next = "Set them as the README says for the tab, or install an app package without one."
	}
	return out
}

func examineDatabase(ctx context.Context, cfg Config) []check {
	v, err := store.OpenView(ctx, cfg.DatabaseURL)
	if err != nil {
		return []check{{Name: "database", Outcome: doubt, Detail: err.Error(), Next: "A new installation has none: the first mdebot serve makes it."}}
	}
	defer func() { _ = v.Close() }() // it was only read
	st, err := v.Status(ctx)
	if err != nil {
		return []check{failed("database", err)}
	}
	out := check{Name: "database", Outcome: fine, Detail: st.Engine}
	if len(st.Missing) > 0 {
		out.Outcome, out.Detail, out.Next = doubt, "it has an older schema", "mdebot serve brings it up to date at start."
		return []check{out}
	}
	checks := []check{out}
	if cfg.Teams.Enabled() {
		var known int
		c := check{Name: "Teams conversation references", Outcome: fine}
		if err := v.Read().QueryRow(ctx, `SELECT COUNT(*) FROM conversation_references`).Scan(&known); err != nil {
			return append(checks, failed(c.Name, err))
		}
		c.Detail = fmt.Sprintf("%d", known)
		if known == 0 {
			c.Outcome, c.Next = doubt, "Add the app to the teams it posts in and write to it once: Teams tells it where then."
		}
		checks = append(checks, c)
	}
	return checks
}

// doctorTenant is one tenant to examine.
type doctorTenant struct {
	name string
	cfg  defender.Config
	// problem is why its credential cannot be read.
	problem error
	// elsewhere is the application's own tenant, to tell a missing consent from a
	// wrong ID.
	elsewhere *defender.Config
}

func (t doctorTenant) title() string {
	if t.name != "" {
		return t.name
	}
	return string(t.cfg.TenantID)
}

// tenants are those to examine: of the file, or the one of the settings.
func (c Config) tenants(p *policy.Policy, only string) []doctorTenant {
	var all []doctorTenant
	if p != nil {
		for _, t := range p.Tenants() {
			cfg, err := c.tenantConfig(t)
			one := doctorTenant{name: t.Name, cfg: cfg, problem: err}
			if t.ID != c.Defender.TenantID && strings.EqualFold(cfg.ClientID, c.Defender.ClientID) {
				one.elsewhere = &c.Defender
			}
			all = append(all, one)
		}
	}
	if len(all) == 0 && c.Defender.TenantID != "" {
		all = []doctorTenant{{cfg: c.Defender}}
	}
	return slices.DeleteFunc(all, func(t doctorTenant) bool {
		return only != "" && !strings.EqualFold(only, t.name) && !strings.EqualFold(only, string(t.cfg.TenantID))
	})
}

func examineTenant(ctx context.Context, t doctorTenant, transport *http.Transport) tenantReport {
	r := tenantReport{Tenant: string(t.cfg.TenantID), Name: t.name}
	if t.problem != nil {
		r.Checks = append(r.Checks, failed("credential", t.problem))
		return r
	}
	client, err := defender.New(t.cfg, defender.WithTransport(transport), defender.WithCacheFor(0))
	if err != nil {
		r.Checks = append(r.Checks, failed("settings", err))
		return r
	}
	defer client.Close()
	granted, err := client.Permissions(ctx)
	if err != nil {
		r.Checks = append(r.Checks, t.signInFailed(ctx, err, transport))
		return r
	}
	r.Checks = append(r.Checks, tokenCheck("token for WindowsDefenderATP", granted.Defender, nil),
		tokenCheck("token for Microsoft Threat Protection", granted.XDR, granted.XDRError),
		tokenCheck("token for Microsoft Graph", granted.Graph, granted.GraphError))
	credentials := []watchedCredential{{"the application that reads", t.cfg.Credential()}}
	if t.cfg.ActsApart() {
		actor, err := defender.NewActor(t.cfg, client)
		if err != nil {
			r.Checks = append(r.Checks, failed("acting application", err))
			return r
		}
		acting, err := actor.Permissions(ctx)
		if err != nil {
			r.Checks = append(r.Checks, failed("token of the acting application", err))
		}
		granted = granted.ActedBy(acting, err)
		credentials = append(credentials, watchedCredential{"the application that acts", t.cfg.ActionCredential()})
	}
	live := liveCalls(client.Fresh(), granted)
	results := make([]check, len(live)+len(credentials))
	var group errgroup.Group
	for i, l := range live {
		group.Go(func() error { results[i] = l.try(ctx); return nil })
	}
	for i, c := range credentials {
		group.Go(func() error { results[len(live)+i] = credentialCheck(endOf(ctx, client, c)); return nil })
	}
	_ = group.Wait()
	r.Checks = append(r.Checks, results...)
	if !granted.Has(defender.PermissionHuntGraph) && granted.Has(defender.PermissionHuntDefender) {
		r.Checks = append(r.Checks, check{
			Name: "hunting after 1 February 2027", Outcome: doubt, Detail: "Microsoft stops the endpoint that AdvancedQuery.Read.All opens",
			Next: "Grant ThreatHunting.Read.All on Microsoft Graph before then.",
		})
	}
	for _, n := range commands.Needs(granted) {
		r.Commands = append(r.Commands, commandRow{Command: n.Command, Needs: n.Permissions, Granted: n.Granted})
	}
	return r
}

// signInFailed says why there is no token. An application that Entra knows in
// another tenant has the right ID, so here nobody has consented.
func (t doctorTenant) signInFailed(ctx context.Context, err error, transport *http.Transport) check {
	out := failed("sign-in", err)
	var signIn *defender.SignInError
	if !errors.As(err, &signIn) || !signIn.NotHere || t.elsewhere == nil {
		return out
	}
	home, newErr := defender.New(*t.elsewhere, defender.WithTransport(transport))
	if newErr != nil {
		return out
	}
	defer home.Close()
	var there *defender.SignInError
	if _, err := home.Permissions(ctx); err == nil || (errors.As(err, &there) && !there.NotHere) {
		out.Detail = "Nobody in this tenant has consented to the application; its ID is right, because Entra knows it in another tenant."
		out.Next = "Send an administrator of this tenant the link that mdebot consent --tenant " + t.title() + " prints."
	}
	return out
}

func tokenCheck(name string, roles []string, err error) check {
	c := check{Name: name, Outcome: fine, Detail: strings.Join(slices.Sorted(slices.Values(roles)), ", ")}
	switch {
	case err != nil:
		c = failed(name, err)
		c.Outcome = missing
	case len(roles) == 0:
		c.Outcome, c.Detail = missing, "no permission is granted there"
	}
	return c
}

func credentialCheck(e credentialEnd) check {
	c := check{Name: "credential of " + e.name, Outcome: fine, Detail: string(e.credential.Effective())}
	left := time.Until(e.ends)
	switch {
	case e.problem != "":
		c.Outcome, c.Detail = missing, c.Detail+": "+e.problem
	case e.ends.IsZero():
	case left <= warnAhead[0]:
		c.Outcome, c.Detail = doubt, fmt.Sprintf("%s ends on %s", c.Detail, e.ends.UTC().Format("2 January 2006"))
		c.Next = "Make a new one under Certificates & secrets of the app registration."
		if left <= 0 {
			c.Outcome = broken
		}
	default:
		c.Detail += " ends on " + e.ends.UTC().Format("2 January 2006")
	}
	return c
}

// liveCall is a harmless read of one family of the API.
type liveCall struct {
	name       string
	permission string
	granted    bool
	call       func(ctx context.Context) error
}

func liveCalls(c *defender.Client, granted defender.Permissions) []liveCall {
	hunting := defender.PermissionHuntGraph
	if !granted.Has(hunting) && granted.Has(defender.PermissionHuntDefender) {
		hunting = defender.PermissionHuntDefender
	}
	all := []liveCall{
		{name: "alerts", permission: defender.PermissionAlertRead, call: func(ctx context.Context) error {
			return firstOf(c.Alerts(ctx, defender.AlertFilter{Limit: 1}))
		}},
		{name: "machines", permission: defender.PermissionMachineRead, call: func(ctx context.Context) error {
			return firstOf(c.Machines(ctx, defender.MachineFilter{Limit: 1}))
		}},
		{name: "machine actions", permission: defender.PermissionMachineRead, call: func(ctx context.Context) error {
			return firstOf(c.MachineActions(ctx, defender.ActionFilter{Limit: 1}))
		}},
		{name: "addresses", permission: defender.PermissionIPRead, call: func(ctx context.Context) error {
			_, err := c.IPSightings(ctx, "192.0.2.1")
			return err
		}},
		{name: "files", permission: defender.PermissionFileRead, call: func(ctx context.Context) error {
			_, err := c.File(ctx, strings.Repeat("0", 40))
			return err
		}},
		{name: "hosts", permission: defender.PermissionURLRead, call: func(ctx context.Context) error {
			_, err := c.DomainSightings(ctx, "example.com")
			return err
		}},
		{name: "scores", permission: defender.PermissionScoreRead, call: func(ctx context.Context) error {
			_, err := c.ExposureScore(ctx)
			return err
		}},
		{name: "vulnerabilities", permission: defender.PermissionVulnerabilityRead, call: func(ctx context.Context) error {
			_, err := c.Vulnerability(ctx, "CVE-2021-44228")
			return err
		}},
		{name: "incidents", permission: defender.PermissionIncidentRead, call: func(ctx context.Context) error {
			return firstOf(c.Incidents(ctx, time.Now().Add(-time.Hour)))
		}},
		{name: "hunting", permission: hunting, call: func(ctx context.Context) error {
			_, err := c.For(defender.LaneHunt).Hunt(ctx, defender.HuntQuery{KQL: "DeviceInfo | take 1"}, nowhere{})
			return err
		}},
	}
	for i := range all {
		all[i].granted = granted.Has(all[i].permission)
	}
	return all
}

func firstOf[T any](rows func(func(T, error) bool)) error {
	for _, err := range rows {
		return err
	}
	return nil
}

// nowhere takes the rows of a hunt and keeps none.
type nowhere struct{}

func (nowhere) Columns([]defender.Column) error { return nil }
func (nowhere) Row([]string) error              { return nil }

func (l liveCall) try(ctx context.Context) check {
	c := check{Name: "read " + l.name, Outcome: fine}
	if !l.granted {
		c.Outcome, c.Detail = missing, "needs "+l.permission+" on "+defender.ResourceOf(l.permission)
		return c
	}
	err := l.call(ctx)
	switch {
	case err == nil, errors.Is(err, defender.ErrNotFound):
		return c
	case errors.Is(err, defender.ErrForbidden):
		return check{
			Name: c.Name, Outcome: broken, Detail: "Defender refuses it although the token carries " + l.permission,
			Next: "The audience of the token is probably wrong: leave MDE_AUDIENCE and its relatives out.",
		}
	}
	return failed(c.Name, err)
}

// print writes the report for people.
func (r doctorReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	write := func(checks []check) {
		for _, c := range checks {
			lines := strings.Split(c.Detail, "\n")
			fmt.Fprintf(w, "%s\t%s\t%s\n", c.Outcome, c.Name, lines[0])
			for _, more := range lines[1:] {
				fmt.Fprintf(w, "\t\t%s\n", more)
			}
			if c.Next != "" {
				fmt.Fprintf(w, "\t\t→ %s\n", c.Next)
			}
		}
	}
	write(r.Checks)
	for _, t := range r.Tenants {
		fmt.Fprintf(w, "\nTenant %s\n", strings.TrimSpace(t.Name+" "+t.Tenant))
		write(t.Checks)
		if len(t.Commands) == 0 {
			continue
		}
		fmt.Fprint(w, "\nCommand\tPermitted\tNeeds\n")
		for _, c := range t.Commands {
			fmt.Fprintf(w, "%s\t%s\t%s\n", c.Command, map[bool]string{true: "yes", false: "no"}[c.Granted], c.Needs)
		}
	}
	return w.Flush()
}

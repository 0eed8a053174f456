package sandbox

import (
	"cmp"
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/pagersim"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// The identifiers of the simulated company.
const (
	TenantID   = "6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f001"
	CustomerID = "6f0d2c51-7a3e-4b7c-9d14-0c5a3be1f002" // see Options.Customer

	defenderAppID     = "0d9c1f6e-55a1-4f0b-8a7d-3e2b6c4d1a01"
	defenderAppSecret = "sandbox-defender-secret-7Qk2"
	signInAppID       = "4c8f5ba1-2d4e-4f60-8b7c-8d9e0f1a2b03"
	signInAppSecret   = "sandbox-sign-in-secret-5Lp1"
	actingAppID       = "0d9c1f6e-55a1-4f0b-8a7d-3e2b6c4d1a03"
	actingAppSecret   = "sandbox-acting-secret-4Lm8"
	teamsAppID        = "2b7e4a90-1c3d-4e5f-9a6b-7c8d9e0f1a02"
	teamsAppSecret    = "sandbox-teams-secret-9Xw4"
	slackBotToken     = "xoxb-sandbox-1111-2222"
	slackAppToken     = "xapp-sandbox-3333-4444"
	pageKey           = "sandbox-routing-key-8Zr6-32-chars"
	slackSecret       = "5a1e0c7b9d2f4e6a8c0b1d3f5e7a9c2b"

	slackWorkspace = "T0SOC"
	teamID         = "19:general@thread.tacv2"
)

// SlackShortcut is the shortcut on messages in Slack, as people see it.
const SlackShortcut = "Look up in Defender"

// TeamsSearch is the search of the app at a message that somebody writes in Teams, by
// the ID of its command.
const TeamsSearch = "machine"

// Conversations of the simulated company, by what they are for.
const (
	SlackSOC       = "C0SOC"
	SlackApprovals = "C0APPROVE"
	SlackFinance   = "C0FIN"
	SlackOps       = "C0OPS"
	SlackPartner   = "C0PARTNER"  // shared with another workspace
	SlackLobby     = "C0LOBBY"    // where guests are
	SlackFabrikam  = "C0FABRIKAM" // about the customer
	TeamsSOC       = "19:soc@thread.tacv2"
	TeamsApprovals = "19:approvals@thread.tacv2"
	TeamsOps       = "19:ops@thread.tacv2"
	TeamsLobby     = "19:lobby@thread.tacv2" // of a team with guests
)

// Person is somebody with an account on both platforms.
type Person struct {
	Key    string // how the page and the tests name the person
	Name   string
	Part   string // what the person is for
	Object string // Entra object ID, which Teams sends
	Slack  string // Slack user ID
	Guest  bool
}

// The people.
var (
	Riley  = Person{Key: "riley", Name: "Riley Chen", Part: "responder", Object: "8a1f0000-0000-4000-8000-000000000001", Slack: "U0RILEY"}
	Avery  = Person{Key: "avery", Name: "Avery Stone", Part: "approver", Object: "8a1f0000-0000-4000-8000-000000000002", Slack: "U0AVERY"}
	Sam    = Person{Key: "sam", Name: "Sam Okafor", Part: "second approver", Object: "8a1f0000-0000-4000-8000-000000000003", Slack: "U0SAM"}
	Jordan = Person{Key: "jordan", Name: "Jordan Reyes", Part: "team lead", Object: "8a1f0000-0000-4000-8000-000000000006", Slack: "U0JORDAN"}
	Noor   = Person{Key: "noor", Name: "Noor Haddad", Part: "not linked", Object: "8a1f0000-0000-4000-8000-000000000004", Slack: "U0NOOR"}
	Gale   = Person{Key: "gale", Name: "Gale Visitor", Part: "guest", Object: "8a1f0000-0000-4000-8000-000000000005", Slack: "U0GALE", Guest: true}
)

// People lists everybody, in the order of the page's switch.
func People() []Person { return []Person{Riley, Avery, Sam, Jordan, Noor, Gale} }

// slackGroups are the user groups of the Slack workspace.
var slackGroups = []slacksim.UserGroup{
	{ID: "S0ONCALL", Handle: "oncall", Members: []string{Riley.Slack}},
	{ID: "S0LEADS", Handle: "soc-leads", Members: []string{Sam.Slack, Jordan.Slack}},
}

//go:embed mdebot.yaml
var policyYAML string

//go:embed tenants.yaml
var tenantsYAML string

// PolicyYAML is a mdebot.yaml for the company.
func PolicyYAML() string { return policyYAML }

// PolicyYAML is [PolicyYAML], with both tenants where there are two.
func (w *World) PolicyYAML() string {
	if w.Fabrikam == nil {
		return policyYAML
	}
	return policyYAML + tenantsYAML
}

// Options configures a World.
type Options struct {
	// SocketMode lets the bot fetch Slack's deliveries instead of being called.
	SocketMode bool
	// TLS puts Entra and Defender behind TLS; a bot trusts them with CAFile. Some
	// ways to sign in need it.
	TLS bool
	// Cloud is the one that the company's tenant is in: entrasim.Public or
	// entrasim.USGovernment.
	Cloud string
	// Pace keeps the rate limits of Slack and Teams.
	Pace bool
	// AckWithin is how long Slack waits for the bot; zero means Slack's three seconds.
	AckWithin time.Duration
	// Timing of machine actions; zero means a few seconds.
	Timing defendersim.Timing
	// Customer adds a second Defender tenant, of a customer that has consented to the
	// company's applications, and a channel for it.
	Customer bool
	// Playground adds the relay of StartPlayground.
	Playground bool
	// AttackInterval is the time between the steps of the page's attack; zero means
	// some seconds.
	AttackInterval time.Duration
	// Limits replaces quotas of the simulated Defender.
	Limits map[defendersim.Family]defendersim.Limit
}

// World is the running simulators. Its fields are for tests and the page.
type World struct {
	Entra    *entrasim.Server
	Defender *defendersim.Server
	Tenant   *defendersim.Tenant
	Slack    *slacksim.Server
	Teams    *teamssim.Server
	Pager    *pagersim.Server
	Estate   *estate.Estate
	// Fabrikam is the tenant of Options.Customer, or nil.
	Fabrikam *defendersim.Tenant
	// CAFile is the content of a PEM file with the CA of Options.TLS.
	CAFile []byte

	certificate *tls.Certificate
	raised      atomic.Int64             // alerts, by the page
	tab         atomic.Pointer[teamsTab] // of InstallTab, or nil
	playground  *playground              // of Options.Playground, or nil
	socketMode  bool
	// attackInterval is Options.AttackInterval.
	attackInterval time.Duration
	addresses      map[string]string
	servers        []*http.Server
	done           []chan struct{}
}

// New starts the simulators on loopback ports of their own.
func New(ctx context.Context, o Options) (*World, error) {
	w := &World{socketMode: o.SocketMode, attackInterval: cmp.Or(o.AttackInterval, attackInterval), addresses: map[string]string{}}
	if o.TLS {
		certificate, ca, err := loopbackCertificate()
		if err != nil {
			return nil, err
		}
		w.certificate, w.CAFile = &certificate, ca
	}
	w.Entra = entrasim.New(entrasim.Options{Cloud: o.Cloud})
	w.Estate = estate.Generate(estate.Options{Seed: 1, Now: time.Now(), Tenant: TenantID})
	w.Defender = defendersim.New(defendersim.Options{Entra: w.Entra, Timing: o.Timing, Limits: o.Limits})
	w.Tenant = w.Defender.AddTenant(w.Estate)
	if o.Customer {
		w.Fabrikam = w.AddCustomer(estate.Generate(estate.Options{Seed: 2, Now: time.Now(), Tenant: CustomerID, Company: "fabrikam"}))
	}
	w.Slack = slacksim.New(slacksim.Options{
		Workspace: slackWorkspace, BotToken: slackBotToken, AppToken: slackAppToken, SigningSecret: slackSecret,
		SocketMode: o.SocketMode, Pace: o.Pace, AckWithin: o.AckWithin, Shortcuts: map[string]string{SlackShortcut: "message.lookup"},
		Domains: []string{"security.microsoft.com"},
	})
	w.Teams = teamssim.New(teamssim.Config{
		AppID: teamsAppID, BotName: "mdebot", Throttle: o.Pace, Domains: []string{"security.microsoft.com"},
		Verify: func(token string) error {
			_, err := w.Entra.Verify(token, entrasim.BotFramework)
			return err
		},
	})
	w.Pager = pagersim.New(pageKey)
	w.populate()
	for name, h := range map[string]http.Handler{"entra": w.Entra, "defender": w.Defender, "slack": w.Slack, "teams": w.Teams, "pager": w.Pager} {
		if err := w.serve(ctx, name, h); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	if o.Playground {
		w.playground = newPlayground(w.Teams, w.Entra)
		if err := w.serve(ctx, "playground", w.playground); err != nil {
			return nil, errors.Join(err, w.Close())
		}
		w.playground.base = w.addresses["playground"]
	}
	w.Slack.SetBaseURL(w.addresses["slack"])
	w.Teams.SetBaseURL(w.addresses["teams"])
	return w, nil
}

func (w *World) serve(ctx context.Context, name string, h http.Handler) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("simulate %s: %w", name, err)
	}
	w.addresses[name] = "http://" + l.Addr().String()
	if w.certificate != nil && (name == "entra" || name == "defender") {
		w.addresses[name] = "https://" + l.Addr().String()
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*w.certificate}, MinVersion: tls.VersionTLS12})
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	w.servers, w.done = append(w.servers, srv), append(w.done, done)
	go func() {
		defer close(done)
		_ = srv.Serve(l) // always returns an error, ErrServerClosed after Close
	}()
	return nil
}

// register makes the applications that read and act known to a tenant: those of
// another tenant by its consent.
func (w *World) register(tenant string, foreign bool) {
	w.Entra.Register(tenant, entrasim.App{
		ID: defenderAppID, Name: "mdebot", Secret: defenderAppSecret, Foreign: foreign,
		Roles: map[string][]string{
			entrasim.Defender: {
				"Alert.Read.All", "Alert.ReadWrite.All", "Machine.Read.All", "Machine.ReadWrite.All", "User.Read.All", "AdvancedQuery.Read.All",
				"File.Read.All", "Ip.Read.All", "Url.Read.All", "Score.Read.All", "Software.Read.All", "Vulnerability.Read.All",
			},
			entrasim.XDR:   {"Incident.Read.All", "Incident.ReadWrite.All"},
			entrasim.Graph: {"ThreatHunting.Read.All", "GroupMember.Read.All", "User.Read.All", "Application.Read.All", "Device.Read.All"},
		},
	})
	w.Entra.Register(tenant, entrasim.App{
		ID: actingAppID, Name: "mdebot actions", Secret: actingAppSecret, Foreign: foreign,
		Roles: map[string][]string{entrasim.Defender: {
			"Machine.Isolate", "Machine.RestrictExecution", "Machine.Scan", "Machine.StopAndQuarantine", "Machine.CollectForensics", "Ti.ReadWrite.All",
			"Machine.ReadWrite.All", // for tags that a rule reads
		}},
	})
}

// AddCustomer adds the Defender tenant of a customer that has consented to the bot's
// applications.
func (w *World) AddCustomer(e *estate.Estate) *defendersim.Tenant {
	w.register(e.Tenant, true)
	return w.Defender.AddTenant(e)
}

// populate puts people, conversations and app registrations where the bot will
// find them.
func (w *World) populate() {
	w.register(TenantID, false)
	w.Entra.Register(TenantID, entrasim.App{
		ID: signInAppID, Name: "mdebot sign-in", Secret: signInAppSecret,
		Redirects: []string{"http://127.0.0.1/link/callback", "https://127.0.0.1/link/callback"},
	})
	w.Entra.Register(TenantID, entrasim.App{
		ID: teamsAppID, Name: "mdebot for Teams", Secret: teamsAppSecret,
		Roles: map[string][]string{entrasim.BotFramework: {}},
	})
	// Guests are in the lobby alone: elsewhere nothing would be posted.
	var slackMembers, objects, slackAll, objectsAll []string
	for _, p := range People() {
		w.Entra.AddUser(TenantID, entrasim.User{Object: p.Object, Name: p.Name, Guest: p.Guest})
		w.Slack.AddUser(slacksim.User{ID: p.Slack, Name: strings.ToLower(p.Key), RealName: p.Name, Guest: p.Guest})
		role := teamssim.RoleUser
		if p.Guest {
			role = teamssim.RoleGuest
		}
		w.Teams.AddUser(teamssim.User{Tenant: TenantID, Object: p.Object, Name: p.Name, Email: p.Key + "@contoso.example", Role: role, Installed: !p.Guest})
		slackAll, objectsAll = append(slackAll, p.Slack), append(objectsAll, p.Object)
		if !p.Guest {
			slackMembers, objects = append(slackMembers, p.Slack), append(objects, p.Object)
		}
	}
	for _, g := range slackGroups {
		w.Slack.AddUserGroup(g)
	}
	for _, c := range []slacksim.Channel{
		{ID: SlackSOC, Name: "soc"},
		{ID: SlackApprovals, Name: "soc-approvals"},
		{ID: SlackFinance, Name: "finance-security"},
		{ID: SlackOps, Name: "mdebot-ops"},
		{ID: SlackPartner, Name: "ext-partner", Shared: true},
		{ID: SlackLobby, Name: "lobby", Members: slackAll},
		{ID: SlackFabrikam, Name: "fabrikam"},
	} {
		if c.ID == SlackFabrikam && w.Fabrikam == nil {
			continue
		}
		c.BotIn = true
		if c.Members == nil {
			c.Members = slackMembers
		}
		w.Slack.AddChannel(c)
	}
	w.Teams.AddTeam(teamssim.Team{Tenant: TenantID, ID: teamID, Name: "Contoso SOC", Members: objects})
	for _, c := range []teamssim.Channel{{ID: TeamsSOC, Name: "SOC"}, {ID: TeamsApprovals, Name: "Approvals"}, {ID: TeamsOps, Name: "mdebot ops"}} {
		c.Team = teamID
		w.Teams.AddChannel(c)
	}
	w.Teams.AddTeam(teamssim.Team{Tenant: TenantID, ID: TeamsLobby, Name: "Contoso lobby", Members: objectsAll})
}

// Join lets somebody into a Slack channel or, on Teams, into the team that has the
// channel.
func (w *World) Join(p Person, place string) {
	if strings.HasPrefix(place, "C") {
		w.Slack.Join(p.Slack, place)
	} else {
		w.Teams.Join(p.Object, teamID)
	}
}

// Leave undoes Join.
func (w *World) Leave(p Person, place string) {
	if strings.HasPrefix(place, "C") {
		w.Slack.Leave(p.Slack, place)
	} else {
		w.Teams.Leave(p.Object, teamID)
	}
}

// Connect tells Slack and Teams where the bot is and installs it in the team.
// The bot at base must be running.
func (w *World) Connect(ctx context.Context, base string) error {
	w.Slack.SetBotURL(base)
	w.Teams.SetEndpoint(base + "/api/messages")
	return errors.Join(w.Teams.Install(ctx, teamID), w.Teams.Install(ctx, TeamsLobby))
}

// Environment is a complete set of settings for a bot in this world, apart from
// the addresses it listens on, its database and its configuration file.
func (w *World) Environment() []string {
	services := w.Teams.Host()
	if w.playground != nil {
		services += "," + strings.TrimPrefix(w.playground.base, "http://")
	}
	env := []string{
		"MDE_TENANT_ID=" + TenantID,
		"MDE_CLIENT_ID=" + defenderAppID,
		"MDE_CLIENT_SECRET=" + defenderAppSecret,
		"MDE_ACTION_CLIENT_ID=" + actingAppID,
		"MDE_ACTION_CLIENT_SECRET=" + actingAppSecret,
		"MDE_BASE_URL=" + w.addresses["defender"],
		"MDE_XDR_URL=" + w.addresses["defender"],
		"MDE_GRAPH_URL=" + w.addresses["defender"],
		"MDE_AUTHORITY_URL=" + w.addresses["entra"],
		"SLACK_BOT_TOKEN=" + slackBotToken,
		"SLACK_API_URL=" + w.addresses["slack"] + "/api/",
		"TEAMS_APP_ID=" + teamsAppID,
		"TEAMS_APP_SECRET=" + teamsAppSecret,
		"TEAMS_TENANT_ID=" + TenantID,
		"TEAMS_AUTHORITY_URL=" + w.addresses["entra"],
		"TEAMS_METADATA_URL=" + w.Teams.MetadataURL(),
		"TEAMS_SERVICE_HOSTS=" + services,
		"MDEBOT_PAGE_KEY=" + pageKey,
	}
	if w.socketMode {
		return append(env, "SLACK_APP_TOKEN="+slackAppToken)
	}
	return append(env, "SLACK_SIGNING_SECRET="+slackSecret)
}

// SignInEnvironment are the settings that let people link their Slack account by
// signing in to a bot that browsers reach at publicURL, a loopback address.
func SignInEnvironment(publicURL string) []string {
	return []string{
		"MDEBOT_PUBLIC_URL=" + publicURL,
		"MDEBOT_OIDC_CLIENT_ID=" + signInAppID,
		"MDEBOT_OIDC_CLIENT_SECRET=" + signInAppSecret,
	}
}

// TeamsAppID is the bot's application, which its manifest names.
func (w *World) TeamsAppID() string { return teamsAppID }

// TabEnvironment are the settings that let a bot serve its tab in Teams to browsers
// that reach it at publicURL, a loopback address.
func TabEnvironment(publicURL string) []string { return []string{"MDEBOT_PUBLIC_URL=" + publicURL} }

// PageAddress is for notify.page.
func (w *World) PageAddress() string { return w.addresses["pager"] + pagersim.Path }

// Addresses names where the simulators listen.
func (w *World) Addresses() map[string]string { return w.addresses }

// Close stops the simulators.
func (w *World) Close() error {
	w.Slack.Close()
	w.Teams.Close()
	var errs []error
	for i, srv := range w.servers {
		errs = append(errs, srv.Close())
		<-w.done[i]
	}
	return errors.Join(errs...)
}

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
)

// examined runs doctor in a world of a set-up, without the bot.
func (u setup) examined(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	world, err := sandbox.New(t.Context(), u.options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close() })
	s := &story{T: t, world: world, dir: t.TempDir()}
	s.writePolicy(sandbox.PolicyYAML())
	env := slices.Concat(world.Environment(), []string{"MDEBOT_CONFIG=" + filepath.Join(s.dir, "mdebot.yaml"), "MDEBOT_DATABASE_URL=sqlite:" + filepath.Join(s.dir, "none.db")}, u.environment(s))
	var out, progress bytes.Buffer
	code = Main(context.Background(), append([]string{"doctor"}, args...), env, &out, &progress)
	return code, out.String(), progress.String()
}

var (
	addresses = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	dates     = regexp.MustCompile(`\d{1,2} (January|February|March|April|May|June|July|August|September|October|November|December) 20\d\d`)
	padding   = regexp.MustCompile(` {2,}`)
	tempDirs  = regexp.MustCompile(`/tmp/[^ \n]*/`)
)

func settled(s string) string {
	s = addresses.ReplaceAllString(s, "HOST")
	s = strings.ReplaceAll(s, "1 February 2027", "1 FEB 2027")
	s = dates.ReplaceAllString(s, "DATE")
	s = tempDirs.ReplaceAllString(s, "DIR/")
	return padding.ReplaceAllString(s, "  ")
}

// partnerOfTwo is set-up 3 with two customers, one of whom has consented to less.
var partnerOfTwo = setup{
	app: func(*testing.T, *entrasim.App) {},
	env: func(s *story) []string {
		s.addCustomer(0, true)
		s.addCustomer(1, true)
		s.world.Entra.Register(customerID(1), entrasim.App{ID: setupAppID, Name: "partner", Secret: setupSecret, Foreign: true, Roles: map[string][]string{
			entrasim.Defender: {"Alert.Read.All"},
		}})
		s.writePolicy(sandbox.PolicyYAML() + fmt.Sprintf("\ntenants:\n  - { id: %s, name: customer-0, people: [soc] }\n  - { id: %s, name: customer-1, people: [soc] }\n", customerID(0), customerID(1)))
		return nil
	},
}

func TestDoctor_goldenPerSetup(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]setup{"connector": connector, "enrichment": enrichment, "partner": partnerOfTwo, "platform": platform, "classic": classic} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, progress := u.examined(t)
			if code != exitOK {
				t.Errorf("exit code %d, want 0: nothing is broken\n%s", code, out)
			}
			if !strings.Contains(progress, "… tenant") {
				t.Errorf("no progress is shown: %s", progress)
			}
			if strings.Contains(out+progress, setupSecret) || strings.Contains(out+progress, "pass word") {
				t.Error("a secret is printed")
			}
			path := filepath.Join("testdata", "doctor_"+name+".txt")
			got := settled(out)
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("doctor (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDoctor_saysWhatIsBroken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(t *testing.T, a *entrasim.App)
		env    []string
		want   []string
	}{
		"a wrong secret":     {nil, []string{"MDE_CLIENT_SECRET=another-secret-canary"}, []string{"broken sign-in Entra says that the client secret is wrong.", "→ Put the secret's value"}},
		"an expired secret":  {func(_ *testing.T, a *entrasim.App) { a.SecretExpires = time.Now().Add(-time.Hour) }, nil, []string{"broken sign-in The client secret has expired."}},
		"the wrong tenant":   {nil, []string{"MDE_TENANT_ID=11111111-7a3e-4b7c-9d14-0c5a3be1f001"}, []string{"broken sign-in Entra knows no such tenant."}},
		"the wrong cloud":    {nil, []string{"MDE_CLOUD=gcc-high"}, []string{"broken sign-in The tenant has no such service.", "MDE_CLOUD"}},
		"the wrong audience": {func(_ *testing.T, a *entrasim.App) { a.Roles[entrasim.XDR] = []string{"Alert.Read.All"} }, []string{"MDE_AUDIENCE=" + entrasim.XDR}, []string{"broken read alerts Defender refuses it although the token carries Alert.Read.All", "→ The audience"}},
		"Entra out of reach": {nil, []string{"MDE_AUTHORITY_URL=http://127.0.0.1:1"}, []string{"broken reach Entra", "→ Open the way to"}},
		"a Slack token":      {nil, []string{"SLACK_BOT_TOKEN=xoxb-wrong-0000-1111"}, []string{"broken Slack token", "SLACK_BOT_TOKEN"}},
		"a Teams secret":     {nil, []string{"TEAMS_APP_SECRET=wrong-teams-secret-canary"}, []string{"broken Teams token", "TEAMS_APP_ID"}},
		"nothing is granted": {func(_ *testing.T, a *entrasim.App) { a.Roles = nil }, nil, []string{"not permitted token for WindowsDefenderATP no permission is granted there"}},
		"faults of settings": {nil, []string{"MDE_CLIENT_ID=nonsense", "MDE_CLOUD=mars"}, []string{"MDE_CLIENT_ID", "MDE_CLOUD"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := connector
			u.app = func(t *testing.T, a *entrasim.App) {
				connector.app(t, a)
				if tt.change != nil {
					tt.change(t, a)
				}
			}
			u.env = func(s *story) []string { return append(connector.env(s), tt.env...) }
			code, out, progress := u.examined(t)
			if name != "nothing is granted" && code == exitOK {
				t.Errorf("exit code 0, want another")
			}
			plain := regexp.MustCompile(`\s+`).ReplaceAllString(out+progress, " ")
			for _, want := range tt.want {
				if !strings.Contains(plain, want) {
					t.Errorf("doctor does not say %q:\n%s", want, out+progress)
				}
			}
			if strings.Contains(plain, "canary") || strings.Contains(plain, setupSecret) {
				t.Errorf("a secret is printed:\n%s", out)
			}
		})
	}
}

func TestDoctor_json(t *testing.T) {
	t.Parallel()
	code, out, _ := connector.examined(t, "--json")
	var r doctorReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK {
		t.Fatalf("exit code %d, %v:\n%s", code, err, out)
	}
	if len(r.Tenants) != 1 || r.Tenants[0].Tenant != sandbox.TenantID || len(r.Tenants[0].Commands) < 15 {
		t.Errorf("the report is %+v", r)
	}
}

// Forty customers behind a slow network are examined in a third of a minute, and
// one that has not consented is told apart from a wrong ID.
func TestDoctor_fortyTenantsOverASlowNetwork(t *testing.T) {
	t.Parallel()
	const n = 40
	world, err := sandbox.New(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close() })
	s := &story{T: t, world: world, dir: t.TempDir()}
	var file strings.Builder
	file.WriteString(sandbox.PolicyYAML() + "\ntenants:\n")
	for i := range n {
		s.addCustomer(i, i != 7)
		fmt.Fprintf(&file, "  - { id: %s, name: customer-%d, people: [soc] }\n", customerID(i), i)
	}
	s.writePolicy(file.String())
	world.Entra.Register(sandbox.TenantID, entrasim.App{ID: setupAppID, Name: "partner", Secret: setupSecret})
	world.Entra.Faults.Add(fault.Fault{Kind: fault.Delay, Wait: 300 * time.Millisecond})
	world.Defender.Faults.Add(fault.Fault{Kind: fault.Delay, Wait: 300 * time.Millisecond})
	env := append(world.Environment(), "MDEBOT_CONFIG="+filepath.Join(s.dir, "mdebot.yaml"), "MDEBOT_DATABASE_URL=sqlite:"+filepath.Join(s.dir, "none.db"),
		"MDE_CLIENT_ID="+setupAppID, "MDE_CLIENT_SECRET="+setupSecret, "MDE_ACTION_CLIENT_ID=", "MDE_ACTION_CLIENT_SECRET=")
	var out, progress bytes.Buffer
	began := time.Now()
	code := Main(context.Background(), []string{"doctor"}, env, &out, &progress)
	// One after the other they would take minutes, on any machine.
	if took := time.Since(began); took > patience {
		t.Errorf("doctor took %s: the tenants were not asked side by side", took)
	}
	if code != exitFailed || strings.Count(out.String(), "\nTenant customer-") != n || strings.Count(out.String(), "broken") != 1 {
		t.Errorf("exit code %d, want one broken tenant of %d:\n%s", code, n, out.String())
	}
	if !strings.Contains(out.String(), "Nobody in this tenant has consented to the application") || !strings.Contains(out.String(), "mdebot consent --tenant customer-7") {
		t.Errorf("the missing consent is not told:\n%s", out.String())
	}
	out.Reset()
	if code := Main(context.Background(), []string{"consent", "--tenant", "customer-7"}, env, &out, &progress); code != exitOK ||
		!strings.Contains(out.String(), "/"+customerID(7)+"/adminconsent?client_id="+setupAppID) {
		t.Errorf("consent: exit code %d:\n%s", code, out.String())
	}
}

// The app that Slack has is held against the manifest: as it is, edited by hand,
// and with a token that does not show it.
func TestDoctor_installedSlackManifest(t *testing.T) {
	t.Parallel()
	const token = "xoxe.xoxp-sandbox"
	for name, tt := range map[string]struct {
		change func(m object)
		token  string
		code   int
		want   []string
	}{
		"as printed":           {nil, token, exitOK, []string{"ok Slack app manifest as this version prints it"}},
		"renamed by its owner": {func(m object) { m["display_information"].(object)["name"] = "Defender" }, token, exitOK, []string{"ok Slack app manifest as this version prints it"}},
		"edited by hand": {func(m object) {
			m["features"].(object)["slash_commands"].([]object)[0]["should_escape"] = true
			m["oauth_config"].(object)["scopes"].(object)["bot"] = append(slackScopes()[1:], "files:read")
			m["settings"].(object)["event_subscriptions"].(object)["bot_events"] = []string{"app_mention"}
			m["settings"].(object)["interactivity"].(object)["message_menu_options_url"] = "https://elsewhere.example/slack/interactions"
		}, token, exitOK, []string{
			"look at this Slack app manifest", "should_escape is true; the manifest has false", "bot: " + slackScopes()[0] + " is missing", "bot: files:read is more than the manifest has",
			"bot_events: message.im is missing", "message_menu_options_url is https://elsewhere.example/slack/interactions; the manifest has https://mdebot.example.com/slack/interactions", "mdebot manifest slack",
		}},
		"from before the Home tab": {func(m object) {
			m["features"].(object)["app_home"].(object)["home_tab_enabled"] = false
			delete(m["features"].(object), "unfurl_domains")
			m["settings"].(object)["event_subscriptions"].(object)["bot_events"] = []string{"app_mention", "message.im"}
		}, token, exitOK, []string{
			"home_tab_enabled is false; the manifest has true", "bot_events: app_home_opened is missing", "bot_events: link_shared is missing", "unfurl_domains: security.microsoft.com is missing",
		}},
		"from before the shortcut": {func(m object) { delete(m["features"].(object), "shortcuts") }, token, exitOK, []string{"look at this Slack app manifest", "features.shortcuts: message.lookup is missing"}},
		"another token":            {nil, "xoxe.xoxp-ended", exitFailed, []string{"broken Slack app manifest", "invalid_auth", "twelve hours"}},
		"the bot token":            {nil, "xoxb-sandbox", exitFailed, []string{"broken Slack app manifest"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte(tt.token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			u := connector
			u.env = func(s *story) []string {
				m, err := slackManifest("https://mdebot.example.com")
				if err != nil {
					t.Fatal(err)
				}
				if tt.change != nil {
					tt.change(m)
				}
				if err := s.world.Slack.InstallManifest(m); err != nil {
					t.Fatal(err)
				}
				return connector.env(s)
			}
			code, out, progress := u.examined(t, "--slack-config-token-file", file)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			plain := regexp.MustCompile(`\s+`).ReplaceAllString(out, " ")
			for _, want := range tt.want {
				if !strings.Contains(plain, want) {
					t.Errorf("doctor does not say %q:\n%s", want, out)
				}
			}
			if strings.Contains(out+progress, tt.token) {
				t.Error("the token is printed")
			}
		})
	}
}

// An app from before a convenience is not broken by lacking it.
func TestDoctor_scopes(t *testing.T) {
	t.Parallel()
	without := func(names ...string) []string {
		return slices.DeleteFunc(slackScopes(), func(s string) bool { return slices.Contains(names, s) })
	}
	for name, tt := range map[string]struct {
		scopes []string
		want   outcome
		says   string
	}{
		"all":                   {slackScopes(), fine, "all"},
		"nothing told":          {nil, doubt, "did not say"},
		"from before previews":  {without("links:read", "links:write"), doubt, "missing: links:read, links:write; without them addresses"},
		"without one that acts": {without("chat:write"), broken, "missing: chat:write"},
		"without both":          {without("chat:write", "links:read"), broken, "missing: chat:write, links:read"},
		"more than needed":      {append(slackScopes(), "files:read"), doubt, "more than the manifest asks for: files:read"},
	} {
		if got := scopesCheck(tt.scopes); got.Outcome != tt.want || !strings.Contains(got.Detail, tt.says) {
			t.Errorf("%s: %+v, want %v and %q", name, got, tt.want, tt.says)
		}
	}
}

// What Entra needs for the tab is many settings in three places.
func TestDoctor_tab(t *testing.T) {
	t.Parallel()
	const resource = "api://mdebot.example.com/botid-"
	whole := func(id string) *entrasim.API {
		return &entrasim.API{URI: resource + id, Scopes: []string{"access_as_user"}, Clients: []string{sandbox.TeamsDesktop, sandbox.TeamsWeb}, TokenVersion: 2}
	}
	for name, tt := range map[string]struct {
		change func(*entrasim.API) *entrasim.API
		roles  []string
		want   string
	}{
		"all is there":      {func(a *entrasim.API) *entrasim.API { return a }, []string{"Application.Read.All"}, "ok Teams tab the app registration exposes " + resource},
		"nothing is":        {func(*entrasim.API) *entrasim.API { return nil }, []string{"Application.Read.All"}, "look at this Teams tab the app registration lacks the application ID URI " + resource},
		"another host":      {func(a *entrasim.API) *entrasim.API { a.URI = "api://example.com/x"; return a }, []string{"Application.Read.All"}, "lacks the application ID URI " + resource},
		"no browser":        {func(a *entrasim.API) *entrasim.API { a.Clients = a.Clients[:1]; return a }, []string{"Application.Read.All"}, "lacks the client application " + sandbox.TeamsWeb + " "},
		"the other scope":   {func(a *entrasim.API) *entrasim.API { a.Scopes = []string{"user_impersonation"}; return a }, []string{"Application.Read.All"}, "lacks the scope access_as_user, the client application " + sandbox.TeamsDesktop},
		"no version":        {func(a *entrasim.API) *entrasim.API { a.TokenVersion = 0; return a }, []string{"Application.Read.All"}, "lacks requestedAccessTokenVersion 2 "},
		"it cannot be read": {func(a *entrasim.API) *entrasim.API { return a }, nil, "not permitted Teams tab what the bot's app registration exposes is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := connector
			u.env = func(s *story) []string {
				id := s.world.TeamsAppID()
				s.world.Entra.Change(sandbox.TenantID, id, func(a *entrasim.App) { a.API = tt.change(whole(id)) })
				return append(connector.env(s), "MDEBOT_PUBLIC_URL=https://MDEBOT.example.com")
			}
			u.app = func(t *testing.T, a *entrasim.App) {
				connector.app(t, a)
				a.Roles[entrasim.Graph] = tt.roles
			}
			_, out, progress := u.examined(t)
			if plain := regexp.MustCompile(`\s+`).ReplaceAllString(out, " "); !strings.Contains(plain, tt.want) {
				t.Errorf("doctor does not say %q:\n%s", tt.want, out+progress)
			}
		})
	}
}

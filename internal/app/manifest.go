package app

import (
	"archive/zip"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/links"
	"github.com/mdebot/mdebot/internal/teamsbot"
)

func manifestCommand(p *process) *cobra.Command {
	var base string
	slack := leaf("slack [flags]", "Print the Slack app manifest (JSON).", cobra.NoArgs, func(context.Context, []string) error {
		m, err := slackManifest(base)
		if err != nil {
			return err
		}
		return writeJSON(p, m)
	})
	slack.Flags().StringVar(&base, "url", "", "Public `URL` of the bot, such as https://mdebot.example.com. Leave it out for Socket Mode.")

	var appID, address, file string
	var older bool
	teams := leaf("teams --app-id ID [flags]", "Print the Teams app manifest, or write the app package.", cobra.NoArgs,
		func(context.Context, []string) error { return printTeamsManifest(p, appID, address, file, older) })
	teams.Flags().StringVar(&appID, "app-id", "", "Microsoft App `ID` of the bot.")
	teams.Flags().StringVar(&address, "url", "", "MDEBOT_PUBLIC_URL, such as https://mdebot.example.com: the `URL` of the tab Requests. Leave it out to have no tab.")
	teams.Flags().StringVar(&file, "zip", "", "Write the app package for upload to this `FILE` instead.")
	teams.Flags().BoolVar(&older, "older", false, "For a Teams that refuses the package: an older version of the manifest, without slash commands.")
	required(teams, "app-id")

	return group("manifest", "Print the app manifest to create the bot in Slack or Teams.", slack, teams)
}

func printTeamsManifest(p *process, appID, address, file string, older bool) error {
	if _, err := uuid.Parse(appID); err != nil {
		return fmt.Errorf("--app-id: %q is not a GUID", appID)
	}
	if err := (links.SignInConfig{PublicURL: address}).Validate(); err != nil || address != "" && !strings.HasPrefix(address, "https://") {
		return errors.New("--url: give a bare https address such as https://mdebot.example.com")
	}
	m := teamsManifest(appID)
	if older {
		m = olderTeamsManifest(appID)
	}
	if address != "" {
		withTab(m, appID, address)
	}
	if file == "" {
		return writeJSON(p, m)
	}
	b, err := teamsPackage(m)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, b, 0o644); err != nil { //nolint:gosec // the package holds no secret
		return err
	}
	_, err = fmt.Fprintln(p.stdout, "wrote", file)
	return err
}

func writeJSON(p *process, v any) error {
	b, err := manifestJSON(v)
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(b)
	return err
}

func manifestJSON(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

type object = map[string]any

// slackManifest is the app as Slack needs to know it. Without base, Slack speaks
// to the bot through Socket Mode and no address is needed. Each scope has its
// reason in the README.
func slackManifest(base string) (object, error) {
	base = strings.TrimRight(base, "/")
	if base != "" && !strings.HasPrefix(base, "https://") {
		return nil, errors.New("--url: write an https address")
	}
	command := object{
		"command": "/mde", "description": "Ask Microsoft Defender for Endpoint",
		"usage_hint": slackUsage(), "should_escape": false,
	}
	interactivity := object{"is_enabled": true}
	events := object{"bot_events": []string{"app_home_opened", "app_mention", "link_shared", "message.im"}}
	if base != "" {
		command["url"] = base + "/slack/commands"
		interactivity["request_url"] = base + "/slack/interactions"
		interactivity["message_menu_options_url"] = base + "/slack/interactions"
		events["request_url"] = base + "/slack/events"
	}
	return object{
		"_metadata":           object{"major_version": 1},
		"display_information": object{"name": "mdebot", "description": "Microsoft Defender for Endpoint, with two-person approval", "background_color": "#1b2a4a"},
		"features": object{
			"bot_user":       object{"display_name": "mdebot", "always_online": true},
			"app_home":       object{"home_tab_enabled": true, "messages_tab_enabled": true, "messages_tab_read_only_enabled": false},
			"slash_commands": []object{command},
			"unfurl_domains": defender.PortalHosts(),
			"shortcuts": []object{{
				"name": "Look up in Defender", "type": "message", "callback_id": cards.ActionMessageLookup,
				"description": "Machines, hashes, addresses and hosts in this message; only you see the answer",
			}},
		},
		"oauth_config": object{"scopes": object{"bot": slackScopes()}},
		"settings": object{
			"interactivity":          interactivity,
			"event_subscriptions":    events,
			"socket_mode_enabled":    base == "",
			"org_deploy_enabled":     false,
			"token_rotation_enabled": false,
		},
	}, nil
}

// slackScopes are what the bot token needs.
func slackScopes() []string {
	return []string{
		"app_mentions:read", "channels:history", "channels:read", "chat:write", "commands", "files:write",
		"groups:history", "groups:read", "im:history", "im:write", "links:read", "links:write", "users:read",
	}
}

// slackConveniences are those among them without which only a convenience is missing,
// as in an app from before it.
var slackConveniences = []string{"links:read", "links:write"}

// menu is the commands shown where a platform has room for few, in the order
// people need them.
var menu = []string{"alerts", "alert", "machine", "isolate", "release", "hunt", "requests", "isolated", "status", "help"}

func menuSpecs() []commands.Spec {
	var out []commands.Spec
	specs := commands.Specs()
	for _, name := range menu {
		if i := slices.IndexFunc(specs, func(s commands.Spec) bool { return s.Name == name }); i >= 0 {
			out = append(out, specs[i])
		}
	}
	return out
}

func slackUsage() string {
	names := make([]string, 0, len(menu))
	for _, s := range menuSpecs() {
		names = append(names, s.Name)
	}
	return strings.Join(names, " | ")
}

// teamsManifest is the app as Teams needs to know it.
func teamsManifest(appID string) object {
	list := make([]object, 0, len(menu))
	for _, s := range menuSpecs() {
		list = append(list, object{"title": s.Name, "description": clip(s.Summary, 128)})
	}
	return object{
		"$schema":         teamsSchema(teamsManifestVersion),
		"manifestVersion": teamsManifestVersion,
		"version":         "1.3.0",
		"id":              appID,
		"developer": object{
			"name": "mdebot", "websiteUrl": "https://github.com/mdebot/mdebot",
			"privacyUrl": "https://github.com/mdebot/mdebot#security", "termsOfUseUrl": "https://github.com/mdebot/mdebot#security",
		},
		"name": object{"short": "mdebot", "full": "mdebot: Microsoft Defender for Endpoint"},
		"description": object{
			"short": "Ask Microsoft Defender; isolate machines with a second person.",
			"full":  "Alerts post themselves. Ask for alerts, machines and hunts in chat. Isolation and release happen only after a second person approves.",
		},
		"icons":       object{"color": "color.png", "outline": "outline.png"},
		"accentColor": "#1B2A4A",
		"bots": []object{{
			"botId": appID, "scopes": []string{"personal", "team", "groupChat"}, "supportsFiles": true, "isNotificationOnly": false,
			"supportsTargetedMessages": true,
			// In a personal chat nobody else reads along, and Teams has no slash commands.
			"commandLists": []object{
				{"scopes": []string{"personal"}, "commands": list},
				{"scopes": []string{"team", "groupChat"}, "commands": list, "triggers": []string{"mention", "slash"}},
			},
		}},
		"composeExtensions": []object{{
			"botId":           appID,
			"messageHandlers": []object{{"type": "link", "value": object{"domains": defender.PortalHosts()}}},
			"commands": []object{{
				"id": commands.FindMachine, "type": "query", "context": []string{"compose"}, "initialRun": true,
				"title": "Look up a machine", "description": "Put a machine as Defender knows it into the message you write.",
				"parameters": []object{{
					"name": "machine", "title": "Machine", "inputType": "text", "description": "Name, ID or IP address",
				}},
			}},
		}},
		"permissions": []string{"identity", "messageTeamMembers"},
		// Teams wants the domains of previews here too.
		"validDomains": defender.PortalHosts(),
	}
}

// withTab puts the tab Requests into a manifest, beside the chat, which stays what opens
// first. With it Teams asks Entra who looks at it, for the bot's own application
// (learn.microsoft.com/microsoftteams/platform/tabs/how-to/authentication/tab-sso-manifest).
func withTab(m object, appID, address string) {
	at := strings.ToLower(strings.TrimRight(address, "/")) // Android takes no other
	_, host, _ := strings.Cut(at, "://")
	m["version"] = "1.4.0" // Teams takes a package only with a higher one than it has
	m["staticTabs"] = []object{
		{"entityId": "conversations", "scopes": []string{"personal"}},
		{"entityId": "requests", "name": "Requests", "contentUrl": at + teamsbot.TabPath, "scopes": []string{"personal"}},
		{"entityId": "about", "scopes": []string{"personal"}},
	}
	m["validDomains"] = append(slices.Clone(defender.PortalHosts()), host)
	m["webApplicationInfo"] = object{"id": appID, "resource": teamsbot.TabResource(host, appID)}
}

// Targeted messages and slash commands are in the schema since version 1.29.
const (
	teamsManifestVersion      = "1.30"
	olderTeamsManifestVersion = "1.25"
)

func teamsSchema(version string) string {
	return "https://developer.microsoft.com/en-us/json-schemas/teams/v" + version + "/MicrosoftTeams.schema.json"
}

// olderTeamsManifest is teamsManifest for a Teams that does not know its schema yet, as
// in some clouds: everything works but the slash.
func olderTeamsManifest(appID string) object {
	m := teamsManifest(appID)
	m["$schema"], m["manifestVersion"] = teamsSchema(olderTeamsManifestVersion), olderTeamsManifestVersion
	bot := m["bots"].([]object)[0]
	delete(bot, "supportsTargetedMessages")
	for _, l := range bot["commandLists"].([]object) {
		delete(l, "triggers")
	}
	return m
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:strings.LastIndexByte(s[:most-2], ' ')] + " …"
}

//go:embed icons/color.png
var colorIcon []byte

//go:embed icons/outline.png
var outlineIcon []byte

// teamsPackage is the zip that administrators upload.
func teamsPackage(manifest object) ([]byte, error) {
	b, err := manifestJSON(manifest)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range []struct {
		name    string
		content []byte
	}{{"manifest.json", b}, {"color.png", colorIcon}, {"outline.png", outlineIcon}} {
		w, err := z.Create(f.name)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), z.Close()
}

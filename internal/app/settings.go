package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/sethvargo/go-envconfig"
)

// Setting documents one environment variable. The table in the README and the
// check for misspelt names are made from the list; a test holds it to the env
// tags that are really read.
type Setting struct {
	Name    string
	Default string
	Meaning string
	Secret  bool
}

// Settings lists every environment variable, in the order of the README. Each
// can also be given as NAME_FILE, a file that holds the value.
func Settings() []Setting {
	return []Setting{
		{Name: "MDE_TENANT_ID", Meaning: "Entra tenant ID of the Defender tenant."},
		{Name: "MDE_CLOUD", Default: "commercial", Meaning: "`commercial`, `gcc`, `gcc-high` or `dod`: addresses, authority and audiences in one; each can be set by itself below. Without it, `MDE_BASE_URL` tells."},
		{Name: "MDE_AUTH", Meaning: "How the application that reads signs in: `secret`, `certificate`, `managed-identity` or `workload-identity`. Without it: a certificate when there is one, otherwise a secret."},
		{Name: "MDE_CLIENT_ID", Meaning: "Application (client) ID of the app registration that reads, and acts unless another one does; for a managed identity its client ID."},
		{Name: "MDE_CLIENT_SECRET", Meaning: "Its client secret.", Secret: true},
		{Name: "MDE_CLIENT_CERTIFICATE_FILE", Meaning: "Its certificate with the private key, PEM or PFX, instead of a secret. A renewed file is used without a restart."},
		{Name: "MDE_CLIENT_CERTIFICATE_PASSWORD", Meaning: "Password of the PFX file.", Secret: true},
		{Name: "MDE_ACTION_CLIENT_ID", Meaning: "Application (client) ID of an app registration that only acts: isolates, restricts, scans, and so on. The other one then needs none of those permissions."},
		{Name: "MDE_ACTION_AUTH", Meaning: "How that one signs in, as `MDE_AUTH`."},
		{Name: "MDE_ACTION_CLIENT_SECRET", Meaning: "Its client secret.", Secret: true},
		{Name: "MDE_ACTION_CLIENT_CERTIFICATE_FILE", Meaning: "Its certificate."},
		{Name: "MDE_ACTION_CLIENT_CERTIFICATE_PASSWORD", Meaning: "Password of its PFX file.", Secret: true},
		{Name: "AZURE_FEDERATED_TOKEN_FILE", Meaning: "Federated token of a workload identity; Kubernetes sets it."},
		{Name: "MDE_BASE_URL", Default: "by MDE_CLOUD", Meaning: "Defender API address, with or without `/api`, also regional or of earlier years."},
		{Name: "MDE_AUDIENCE", Default: "by MDE_CLOUD", Meaning: "What its tokens are asked for; the host of the address is not the audience."},
		{Name: "MDE_XDR_URL", Default: "by MDE_CLOUD", Meaning: "Defender XDR API address, for incidents."},
		{Name: "MDE_XDR_AUDIENCE", Default: "by MDE_CLOUD", Meaning: "What its tokens are asked for."},
		{Name: "MDE_GRAPH_URL", Default: "by MDE_CLOUD", Meaning: "Microsoft Graph address, for hunting, directory groups and the expiry of secrets."},
		{Name: "MDE_GRAPH_AUDIENCE", Default: "by MDE_CLOUD", Meaning: "What its tokens are asked for."},
		{Name: "MDE_AUTHORITY_URL", Default: "by MDE_CLOUD", Meaning: "Entra address for the Defender tokens."},
		{Name: "MDE_TOKEN_VERSION", Default: "v2", Meaning: "`v1` asks the token endpoint of earlier years, with `resource`."},
		{Name: "MDE_SECRETS_FILE", Meaning: "JSON file with settings under their names in lower case, such as `mde_client_secret`."},
		{Name: "SLACK_BOT_TOKEN", Meaning: "Bot token (`xoxb-…`). Set it to use Slack.", Secret: true},
		{Name: "SLACK_SIGNING_SECRET", Meaning: "Signing secret, when Slack calls the bot over HTTP. While it is being replaced: `new,old@2026-08-01T00:00:00Z`, and the old one is good until then.", Secret: true},
		{Name: "SLACK_APP_TOKEN", Meaning: "App-level token (`xapp-…`): Socket Mode, and no HTTP routes for Slack.", Secret: true},
		{Name: "SLACK_API_URL", Default: "https://slack.com/api/", Meaning: "Slack Web API address; the hosts accepted in response addresses follow it."},
		{Name: "TEAMS_APP_ID", Meaning: "Microsoft App ID of the bot. Set it to use Teams."},
		{Name: "TEAMS_AUTH", Meaning: "How it signs in, as `MDE_AUTH`."},
		{Name: "TEAMS_APP_SECRET", Meaning: "Its client secret.", Secret: true},
		{Name: "TEAMS_APP_CERTIFICATE_FILE", Meaning: "Its certificate with the private key, PEM or PFX, instead of a secret."},
		{Name: "TEAMS_APP_CERTIFICATE_PASSWORD", Meaning: "Password of the PFX file.", Secret: true},
		{Name: "TEAMS_TENANT_ID", Meaning: "Entra tenant of the bot; further accepted tenants follow after commas."},
		{Name: "TEAMS_AUTHORITY_URL", Default: "https://login.microsoftonline.com", Meaning: "Entra address for the bot's own tokens."},
		{Name: "TEAMS_METADATA_URL", Default: "https://login.botframework.com/v1/.well-known/openidconfiguration", Meaning: "Where the keys of Bot Connector are published."},
		{Name: "TEAMS_SERVICE_HOSTS", Default: "smba.trafficmanager.net", Meaning: "Exact hosts the bot may answer to, with commas."},
		{Name: "MDEBOT_CONFIG", Default: "mdebot.yaml", Meaning: "People, approval rules and routes."},
		{Name: "MDEBOT_DATABASE_URL", Default: "sqlite:mdebot.db", Meaning: "`sqlite:FILE` or `postgres://…`."},
		{Name: "MDEBOT_LISTEN", Default: ":8080", Meaning: "Where Slack and Teams reach the bot."},
		{Name: "MDEBOT_PUBLIC_URL", Meaning: "Address under which people reach mdebot with a browser, to link their Slack account by signing in, and for the tab in Teams; it may be internal."},
		{Name: "MDEBOT_OIDC_CLIENT_ID", Meaning: "Application that people sign in to; its redirect address is `MDEBOT_PUBLIC_URL` + `/link/callback`."},
		{Name: "MDEBOT_OIDC_CLIENT_SECRET", Meaning: "Its client secret.", Secret: true},
		{Name: "MDEBOT_TLS_CERT_FILE", Meaning: "Certificate chain for that listener; empty when a proxy in front ends TLS."},
		{Name: "MDEBOT_TLS_KEY_FILE", Meaning: "Its private key."},
		{Name: "MDEBOT_TRUSTED_PROXIES", Meaning: "Addresses and networks of proxies in front, with commas. Only their `X-Forwarded-For` is read, and only to limit bad requests per source; peers inside that are not listed are not limited."},
		{Name: "MDEBOT_ADMIN_LISTEN", Default: "127.0.0.1:9090", Meaning: "Health, readiness and metrics."},
		{Name: "MDEBOT_CA_FILE", Meaning: "PEM certificates trusted beside the system's, for a proxy that inspects TLS."},
		{Name: "HTTPS_PROXY", Meaning: "Proxy for all outgoing calls, also the websocket and token calls."},
		{Name: "NO_PROXY", Meaning: "Hosts reached without it."},
		{Name: "MDEBOT_PAGE_KEY", Meaning: "Routing key for the address under `notify.page`, which wakes people.", Secret: true},
		{Name: "MDEBOT_AUDIT_ANCHORS", Meaning: "Where the heads of the audit log are sent, with commas: `file:/path` on another volume, `syslog:unix:/dev/log`, `syslog:tcp:host:port`, `https://…`, `slack:C…`, `teams:19:…`."},
		{Name: "MDEBOT_AUDIT_KEY", Meaning: "Signs those heads: 32 random bytes in base64.", Secret: true},
		{Name: "MDEBOT_DATA_KEY", Meaning: "Encrypts alerts, notices, links and conversation references in the database: 32 random bytes in base64. With commas: the first writes, the others still read.", Secret: true},
		{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Meaning: "Collector that takes traces as OTLP over HTTP, such as `http://127.0.0.1:4318`. Without it nothing is traced."},
		{Name: "OTEL_EXPORTER_OTLP_HEADERS", Meaning: "Headers for it, as `name=value` with commas between.", Secret: true},
		{Name: "OTEL_SERVICE_NAME", Default: "mdebot", Meaning: "What this bot is called in traces."},
		{Name: "MDEBOT_LOG_LEVEL", Default: "info", Meaning: "debug, info, warn or error."},
	}
}

// environment answers settings from variables, from the files that NAME_FILE
// variables point to, and from MDE_SECRETS_FILE, in this order. It reads the files
// once, so that a value cannot change between validation and use.
type environment struct {
	values map[string]string
	// origins say where each value came from.
	origins map[string]string
	known   map[string]bool
}

var _ envconfig.Lookuper = (*environment)(nil)

// newEnvironment reads environ, in the form of os.Environ. The error joins
// every fault: unreadable files, a value given twice, and names that look like a
// setting but are none.
func newEnvironment(environ []string) (*environment, error) {
	env := &environment{values: map[string]string{}, origins: map[string]string{}, known: map[string]bool{}}
	secret := map[string]bool{}
	for _, s := range Settings() {
		env.known[s.Name], secret[s.Name] = true, s.Secret
	}
	given := map[string]string{}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		given[name] = value
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := given[name]
		base, isFile := strings.CutSuffix(name, "_FILE")
		switch {
		case env.known[name]:
			if value != "" {
				env.values[name], env.origins[name] = value, "environment"
			}
		case isFile && env.known[base]:
			if given[base] != "" {
				faults = append(faults, fmt.Errorf("%s and %s are both set; keep one", base, name))
				continue
			}
			content, err := readSetting(value, secret[base])
			if err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", name, err))
				continue
			}
			env.values[base], env.origins[base] = strings.TrimRight(string(content), "\r\n"), name
		case strings.HasPrefix(name, "MDE_"), strings.HasPrefix(name, "MDEBOT_"):
			faults = append(faults, fmt.Errorf("%s is no setting of mdebot; did you mean %s?", name, nearest(name, env.known)))
		}
	}
	faults = appendFault(faults, env.readSecrets())
	for _, setting := range Settings() {
		if setting.Secret && isPlaceholder(env.values[setting.Name]) {
			faults = append(faults, fmt.Errorf("%s: is a placeholder; give the real value", setting.Name))
		}
	}
	for _, name := range []string{"HTTPS_PROXY", "NO_PROXY"} {
		if lower := given[strings.ToLower(name)]; env.values[name] == "" && lower != "" {
			env.values[name], env.origins[name] = lower, "environment"
		}
	}
	return env, errors.Join(faults...)
}

// settingsJSON is the setting that names a JSON file of settings.
const settingsJSON = "MDE_SECRETS_FILE"

// maxSecretsFile is far more than all settings together.
const maxSecretsFile = 1 << 20

// readSecrets takes what MDE_SECRETS_FILE has and nothing nearer has said. Keys
// of other programs are left alone; those that look like settings of mdebot and
// are none are faults. No fault repeats a value.
func (e *environment) readSecrets() error {
	file := e.values[settingsJSON]
	if file == "" {
		return nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s: %w", settingsJSON, err)
	}
	var all map[string]json.RawMessage
	if len(content) > maxSecretsFile || json.Unmarshal(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), &all) != nil || all == nil {
		return fmt.Errorf("%s: %s is no JSON object such as {\"mde_client_secret\": \"…\"}", settingsJSON, file)
	}
	var faults []error
	for _, key := range slices.Sorted(maps.Keys(all)) {
		name := strings.ToUpper(key)
		var value string
		switch isText := json.Unmarshal(all[key], &value) == nil; {
		case key != strings.ToLower(key) && e.known[name]:
			faults = append(faults, fmt.Errorf("%s: write %q in lower case", settingsJSON, key))
		case name == settingsJSON:
			faults = append(faults, fmt.Errorf("%s: a secrets file names no other", settingsJSON))
		case e.known[name] && !isText:
			faults = append(faults, fmt.Errorf("%s: the value of %q must be text in quotes", settingsJSON, key))
		case e.known[name] && value != "" && e.values[name] == "":
			e.values[name], e.origins[name] = value, settingsJSON
		case !e.known[name] && (strings.HasPrefix(name, "MDE_") || strings.HasPrefix(name, "MDEBOT_")):
			faults = append(faults, fmt.Errorf("%s: %q is no setting of mdebot; did you mean %s?", settingsJSON, key, strings.ToLower(nearest(name, e.known))))
		}
	}
	return errors.Join(faults...)
}

// Lookup implements envconfig.Lookuper. A variable that is set but empty counts
// as unset: an empty secret must not satisfy "required" anywhere.
func (e *environment) Lookup(name string) (string, bool) {
	v := e.values[name]
	return v, v != ""
}

// secrets are the values of all secret settings. A list of keys counts as each of
// them.
func (e *environment) secrets() []string {
	var all []string
	for _, s := range Settings() {
		if v := e.values[s.Name]; s.Secret && v != "" {
			all = append(append(all, v), strings.Split(v, ",")...)
		}
	}
	return all
}

// secretsOf are those of an environment whose faults are told elsewhere.
func secretsOf(environ []string) []string {
	env, _ := newEnvironment(environ)
	return env.secrets()
}

// readSetting reads the file of a NAME_FILE variable. A file that others may
// change decides nothing, and one with a secret that others may read is none
// (threat-model C-02).
func readSetting(path string, secret bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if why := exposed(info.Mode(), secret, func() bool { return isMount(f) }); why != "" {
		return nil, fmt.Errorf("%s %s", path, why)
	}
	return io.ReadAll(io.LimitReader(f, maxSetting))
}

// maxSetting bounds a file that holds one value.
const maxSetting = 64 << 10

// exposed says why a file must not be used, or is empty. Kubernetes and container
// runtimes mount secrets readable for all, in memory or read-only; inside a
// container nobody else is there to read them.
func exposed(mode fs.FileMode, secret bool, mounted func() bool) string {
	switch {
	case mode.Perm()&0o002 != 0, secret && mode.Perm()&0o020 != 0:
		return fmt.Sprintf("can be changed by others (mode %04o); run: chmod go-w", mode.Perm())
	case secret && mode.Perm()&0o004 != 0 && !mounted():
		return fmt.Sprintf("can be read by everybody on this machine (mode %04o); run: chmod 0600", mode.Perm())
	}
	return ""
}

// isPlaceholder finds what sample files put in place of a secret: whoever forgets
// to replace it must not run with a secret that everybody knows (threat-model
// W-08).
func isPlaceholder(value string) bool {
	lower := strings.ToLower(value)
	return slices.ContainsFunc([]string{"changeme", "change-me", "placeholder", "your-", "your_", "<", "${"}, func(sample string) bool {
		return strings.Contains(lower, sample)
	})
}

// nearest is the known name with the smallest edit distance.
func nearest(name string, known map[string]bool) string {
	best, distance := "", len(name)+1
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if d := editDistance(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// envNames lists the variables that the env tags of v's fields read.
func envNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("env")
		name, _, _ := strings.Cut(tag, ",")
		if name != "" {
			names = append(names, name)
			continue
		}
		if f.IsExported() && f.Type.Kind() == reflect.Struct {
			names = append(names, envNames(f.Type)...)
		}
	}
	return names
}

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/sethvargo/go-envconfig"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/links"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/seal"
	"github.com/mdebot/mdebot/internal/slackbot"
	"github.com/mdebot/mdebot/internal/teamsbot"
)

// Config is everything that comes from the environment. Each part belongs to
// the package that uses it. It holds secrets and prints without them.
type Config struct {
	Defender defender.Config
	Slack    slackbot.Config
	Teams    teamsbot.Config
	SignIn   links.SignInConfig
	Traces   TraceConfig

	// SecretsFile has been read by then: its settings stand among the others.
	SecretsFile string `env:"MDE_SECRETS_FILE"`
	File        string `env:"MDEBOT_CONFIG, default=mdebot.yaml"`
	DatabaseURL string `env:"MDEBOT_DATABASE_URL, default=sqlite:mdebot.db"`
	Listen      string `env:"MDEBOT_LISTEN, default=:8080"`
	TLSCertFile string `env:"MDEBOT_TLS_CERT_FILE"`
	TLSKeyFile  string `env:"MDEBOT_TLS_KEY_FILE"`
	// TrustedProxies are addresses and networks.
	TrustedProxies string `env:"MDEBOT_TRUSTED_PROXIES"`
	AdminListen    string `env:"MDEBOT_ADMIN_LISTEN, default=127.0.0.1:9090"`
	CAFile         string `env:"MDEBOT_CA_FILE"`
	HTTPSProxy     string `env:"HTTPS_PROXY"`
	NoProxy        string `env:"NO_PROXY"`
	LogLevel       string `env:"MDEBOT_LOG_LEVEL, default=info"`

	PageKey      string `env:"MDEBOT_PAGE_KEY"`
	AuditAnchors string `env:"MDEBOT_AUDIT_ANCHORS"`
	AuditKey     string `env:"MDEBOT_AUDIT_KEY"`
	DataKey      string `env:"MDEBOT_DATA_KEY"`

	environ []string          // where it was read from
	given   map[string]string // every setting as it was given
	secrets []string          // the values of all secret settings
	masks   *masks            // hide them
}

// ConfigError joins every fault of the configuration. The process exits with
// code 2 on it.
type ConfigError struct{ Faults []error }

func (e *ConfigError) Error() string {
	lines := make([]string, 0, len(e.Faults)+1)
	lines = append(lines, fmt.Sprintf("the configuration has %d fault(s):", len(e.Faults)))
	for _, f := range e.Faults {
		for line := range strings.SplitSeq(f.Error(), "\n") {
			lines = append(lines, "  "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is see each fault.
func (e *ConfigError) Unwrap() []error { return e.Faults }

// LoadConfig reads the settings from environ, in the form of os.Environ, and
// checks them. The error is a *ConfigError with all faults at once.
func LoadConfig(ctx context.Context, environ []string) (Config, error) {
	var cfg Config
	var faults []error
	env, err := newEnvironment(environ)
	faults = appendFault(faults, err)
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &cfg, Lookuper: env}); err != nil {
		faults = append(faults, err)
	} else {
		faults = appendFault(faults, cfg.Validate())
	}
	if len(faults) > 0 {
		return Config{}, &ConfigError{Faults: faults}
	}
	cfg.environ, cfg.given, cfg.secrets = environ, env.values, env.secrets()
	cfg.masks = newMasks(cfg.secrets)
	return cfg, nil
}

// Validate reports every fault.
func (c Config) Validate() error {
	var faults []error
	faults = appendFault(faults, c.Defender.Validate())
	faults = appendFault(faults, c.SignIn.Validate())
	faults = appendFault(faults, c.Traces.Validate())
	if !c.Slack.Enabled() && !c.Teams.Enabled() {
		faults = append(faults, errors.New("neither Slack nor Teams is configured: set SLACK_BOT_TOKEN or TEAMS_APP_ID, or both"))
	}
	if c.SignIn.PublicURL != "" && !c.SignIn.Enabled() && !c.Teams.Enabled() {
		faults = append(faults, errors.New("MDEBOT_PUBLIC_URL: nothing uses it; set MDEBOT_OIDC_CLIENT_ID and MDEBOT_OIDC_CLIENT_SECRET, with which people link their Slack account, or connect Teams, which has a tab there"))
	}
	if c.Slack.Enabled() {
		faults = appendFault(faults, c.Slack.Validate())
	}
	if c.Teams.Enabled() {
		faults = appendFault(faults, c.Teams.Validate())
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		faults = append(faults, errors.New("MDEBOT_TLS_CERT_FILE and MDEBOT_TLS_KEY_FILE go together: set both or neither"))
	}
	for _, l := range []struct{ name, addr string }{{"MDEBOT_LISTEN", c.Listen}, {"MDEBOT_ADMIN_LISTEN", c.AdminListen}} {
		if _, _, err := net.SplitHostPort(l.addr); err != nil {
			faults = append(faults, fmt.Errorf("%s: write host:port or :port, not %q", l.name, l.addr))
		}
	}
	if _, err := parseProxies(c.TrustedProxies); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.logLevel(); err != nil {
		faults = append(faults, err)
	}
	if _, err := c.auditKey(); err != nil {
		faults = append(faults, err)
	}
	if _, err := seal.ParseKeys(c.DataKey); err != nil {
		faults = append(faults, fmt.Errorf("MDEBOT_DATA_KEY: %w", err))
	}
	return errors.Join(faults...)
}

func (c Config) logLevel() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return 0, fmt.Errorf("MDEBOT_LOG_LEVEL: %q is none of debug, info, warn, error", c.LogLevel)
	}
	return level, nil
}

// auditKey is nil when none is set.
func (c Config) auditKey() (*audit.Key, error) {
	if c.AuditKey == "" {
		return nil, nil
	}
	key, err := audit.ParseKey(c.AuditKey)
	if err != nil {
		return nil, fmt.Errorf("MDEBOT_AUDIT_KEY: %w", err)
	}
	return key, nil
}

// String keeps secrets out of %v and %s.
func (c Config) String() string { return c.LogValue().String() }

// GoString keeps secrets out of %#v.
func (c Config) GoString() string { return "app.Config{" + c.String() + "}" }

// LogValue lists what may be shown; a field added later is hidden until it is
// added here (threat-model C-03).
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Any("defender", c.Defender),
		slog.Any("slack", c.Slack),
		slog.Any("teams", c.Teams),
		slog.Any("sign_in", c.SignIn),
		slog.String("config_file", c.File),
		slog.String("listen", c.Listen),
		slog.String("admin_listen", c.AdminListen),
		slog.Bool("tls", c.TLSCertFile != ""),
		slog.Bool("proxy", c.HTTPSProxy != ""),
		slog.String("log_level", c.LogLevel),
		slog.Bool("traces", c.Traces.Endpoint != ""),
		slog.Bool("page_key", c.PageKey != ""),
		slog.Bool("audit_anchors", c.AuditAnchors != ""),
		slog.Bool("audit_key", c.AuditKey != ""),
		slog.Bool("data_key", c.DataKey != ""),
	)
}

// loadPolicy reads mdebot.yaml and holds it to the settings.
func (c Config) loadPolicy() (*policy.Policy, error) {
	p, err := policy.Load(c.File, c.policyOptions())
	if err == nil && p.Page() != "" && c.PageKey == "" {
		return nil, fmt.Errorf("%s: notify.page needs the receiver's routing key: set MDEBOT_PAGE_KEY", c.File)
	}
	return p, err
}

// appendFault adds err, taking joined errors apart so that each fault is counted
// and shown on its own.
func appendFault(faults []error, err error) []error {
	if err == nil {
		return faults
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			faults = appendFault(faults, e)
		}
		return faults
	}
	return append(faults, err)
}

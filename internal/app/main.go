package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/uuid"

	"github.com/mdebot/mdebot/internal/policy"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitConfig = 2 // the configuration or the command line is wrong
)

type cli struct {
	Serve       serveCmd       `cmd:"" help:"Run the bot."`
	Demo        demoCmd        `cmd:"" help:"Run everything on this machine, with simulated Slack, Teams, Entra and Defender and a page to use them. Needs no account."`
	Audit       auditCmd       `cmd:"" help:"Verify, export and report the audit log; also while the bot runs."`
	Config      configCmd      `cmd:"" help:"Check the configuration, or print a sample."`
	DB          dbCmd          `cmd:"" name:"db" help:"Look after the database: migrate, status, backup, check, move."`
	Policy      policyCmd      `cmd:"" help:"Say what mdebot.yaml decides, and test it."`
	Manifest    manifestCmd    `cmd:"" help:"Print the app manifest to create the bot in Slack or Teams."`
	Healthcheck healthcheckCmd `cmd:"" help:"Ask the running bot whether it is ready; exit code 0 means yes."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// process is what commands know about the process they run in.
type process struct {
	environ []string
	stdout  io.Writer
	stderr  io.Writer
}

// Main runs the command line args and returns the exit code. environ has the
// form of os.Environ. It returns when ctx ends and everything has stopped.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	var c cli
	var exit *int
	parser, err := kong.New(&c,
		kong.Name("mdebot"),
		kong.Description("Microsoft Defender for Endpoint in Slack and Teams, with two-person approval."),
		kong.Writers(stdout, stderr),
		kong.UsageOnError(),
		kong.Exit(func(code int) { exit = &code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&process{environ: environ, stdout: stdout, stderr: stderr}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "mdebot:", err)
		return exitFailed
	}
	k, err := parser.Parse(args)
	if exit != nil { // --help has printed what it should
		return *exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "mdebot: %v\nTry: mdebot --help\n", err)
		return exitConfig
	}
	err = k.Run()
	var config *ConfigError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &config):
		fmt.Fprintln(stderr, "mdebot:", config)
		return exitConfig
	default:
		fmt.Fprintln(stderr, "mdebot:", err)
		return exitFailed
	}
}

type serveCmd struct{}

func (serveCmd) Run(ctx context.Context, p *process) error {
	cfg, err := LoadConfig(ctx, p.environ)
	if err != nil {
		return err
	}
	a, err := New(ctx, cfg, newLogger(cfg, p.stderr))
	if err != nil {
		return err
	}
	// Migrations leave more garbage than all that stays. Unless it is given back
	// now, the collector takes it for live and lets the heap grow to twice of it;
	// what pools hold survives the first collection.
	runtime.GC()
	debug.FreeOSMemory()
	return a.Run(ctx)
}

// newLogger writes JSON. cfg has been validated, so its level parses.
func newLogger(cfg Config, w io.Writer) *slog.Logger {
	level, _ := cfg.logLevel()
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Check environment and mdebot.yaml; report every fault at once."`
	Example configExampleCmd `cmd:"" help:"Print a commented mdebot.yaml."`
}

type configCheckCmd struct{}

func (configCheckCmd) Run(ctx context.Context, p *process) error {
	cfg, err := LoadConfig(ctx, p.environ)
	options := cfg.policyOptions()
	var faults []error
	var config *ConfigError
	if errors.As(err, &config) {
		// The file is checked as far as it can be, so that one run shows all faults.
		faults = config.Faults
		options.HomeTenant = uuid.Nil.String()
		cfg.File = settingOr(p.environ, "MDEBOT_CONFIG", "mdebot.yaml")
	}
	pol, err := policy.Load(cfg.File, options)
	faults = appendFault(faults, err)
	if len(faults) > 0 {
		return &ConfigError{Faults: faults}
	}
	for _, w := range pol.Warnings() {
		fmt.Fprintln(p.stdout, "warning:", w)
	}
	fmt.Fprintf(p.stdout, "ok: %d people, %s, hash %.12s\n", len(pol.Book().People()), cfg.File, pol.Hash())
	return nil
}

type configExampleCmd struct{}

func (configExampleCmd) Run(p *process) error {
	_, err := io.WriteString(p.stdout, policy.Example())
	return err
}

type versionCmd struct{}

func (versionCmd) Run(p *process) error {
	_, err := fmt.Fprintln(p.stdout, "mdebot", Version())
	return err
}

// Version is the module version or the commit the binary was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (version == "" || version == "(devel)") {
			version = s.Value[:min(12, len(s.Value))]
		}
	}
	if version == "" || version == "(devel)" {
		return "development"
	}
	return version
}

type healthcheckCmd struct{}

func (healthcheckCmd) Run(ctx context.Context, p *process) error {
	addr := settingOr(p.environ, "MDEBOT_ADMIN_LISTEN", "127.0.0.1:9090")
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("MDEBOT_ADMIN_LISTEN: %w", err)
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return errors.New("not running")
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(body)))
	}
	_, err = p.stdout.Write(body)
	return err
}

// settingOr is one setting, read without regard to faults in others.
func settingOr(environ []string, name, otherwise string) string {
	env, _ := newEnvironment(environ) // it answers for what it could read
	if v, ok := env.Lookup(name); ok {
		return v
	}
	return otherwise
}

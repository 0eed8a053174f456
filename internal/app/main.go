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

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitConfig = 2 // the configuration or the command line is wrong
)

// process is what commands know about the process they run in.
type process struct {
	environ []string
	stdout  io.Writer // for people; see [scrubber]
	exact   io.Writer // the same, for what programs read byte for byte
	stderr  io.Writer
}

// Main runs the command line args and returns the exit code. environ has the
// form of os.Environ. It returns when ctx ends and everything has stopped.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	secrets := newMasks(secretsOf(environ))
	exact := stdout
	stdout, stderr = newScrubber(stdout, secrets), newScrubber(stderr, secrets)
	p := &process{environ: environ, stdout: stdout, exact: exact, stderr: stderr}
	root := group("mdebot", "Microsoft Defender for Endpoint in Slack and Teams, with two-person approval.",
		serveCommand(p), demoCommand(p), auditCommand(p), configCommand(p), dbCommand(p), policyCommand(p),
		manifestCommand(p), consentCommand(p), doctorCommand(p), healthcheckCommand(p), versionCommand(p))
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var config *ConfigError
	var failed *runError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &config):
		fmt.Fprintln(stderr, "mdebot:", config)
		return exitConfig
	case errors.As(err, &failed):
		fmt.Fprintln(stderr, "mdebot:", failed)
		return exitFailed
	default: // the command line itself
		fmt.Fprintf(stderr, "mdebot: %v\nTry: %s --help\n", err, cmd.CommandPath())
		return exitConfig
	}
}

// runError is the error of a command that was understood.
type runError struct{ error }

func (e *runError) Unwrap() error { return e.error }

// leaf is a command that does something.
func leaf(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := run(cmd.Context(), args); err != nil {
				return &runError{err}
			}
			return nil
		},
	}
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short}
	names := make([]string, len(commands))
	for i, c := range commands {
		names[i] = c.Name()
		g.AddCommand(c)
	}
	g.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("name a command: %s", strings.Join(names, ", "))
		}
		return fmt.Errorf("%s has no command %q; name one of %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
	}
	return g
}

// required refuses a command line without the flags.
func required(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // there is no such flag
		}
	}
}

func serveCommand(p *process) *cobra.Command {
	return leaf("serve", "Run the bot.", cobra.NoArgs, func(ctx context.Context, _ []string) error { return serve(ctx, p) })
}

func serve(ctx context.Context, p *process) error {
	if err := noDumps(); err != nil {
		return err
	}
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
	return slog.New(slog.NewJSONHandler(newScrubber(w, cfg.masks), &slog.HandlerOptions{Level: level}))
}

func configCommand(p *process) *cobra.Command {
	return group("config", "Check the configuration, or print a sample.",
		leaf("check", "Check environment and mdebot.yaml; report every fault at once.", cobra.NoArgs,
			func(ctx context.Context, _ []string) error { return checkConfig(ctx, p) }),
		leaf("example", "Print a commented mdebot.yaml.", cobra.NoArgs, func(context.Context, []string) error {
			_, err := io.WriteString(p.stdout, policy.Example())
			return err
		}))
}

func checkConfig(ctx context.Context, p *process) error {
	cfg, err := LoadConfig(ctx, p.environ)
	var faults []error
	var config *ConfigError
	if errors.As(err, &config) {
		// The file is checked as far as it can be, so that one run shows all faults.
		faults = config.Faults
		cfg.Defender.TenantID = tenant.ID(uuid.Nil.String())
		cfg.File, cfg.PageKey = settingOr(p.environ, "MDEBOT_CONFIG", "mdebot.yaml"), settingOr(p.environ, "MDEBOT_PAGE_KEY", "")
	}
	pol, err := cfg.loadPolicy()
	faults = appendFault(faults, err)
	if len(faults) > 0 {
		return &ConfigError{Faults: faults}
	}
	for _, w := range pol.Warnings() {
		fmt.Fprintln(p.stdout, "warning:", w)
	}
	printOrigins(p.stdout, p.environ)
	fmt.Fprintf(p.stdout, "ok: %d people, %s, hash %.12s\n", len(pol.Book().People()), cfg.File, pol.Hash())
	return nil
}

// printOrigins says where every setting that is set comes from, without its
// value. What is nearer wins: a variable, the file that a NAME_FILE variable
// names, MDE_SECRETS_FILE, the default.
func printOrigins(w io.Writer, environ []string) {
	env, _ := newEnvironment(environ) // its faults have been told
	for _, s := range Settings() {
		switch origin := env.origins[s.Name]; origin {
		case "":
		case "environment":
			fmt.Fprintf(w, "%s: from the environment\n", s.Name)
		default:
			fmt.Fprintf(w, "%s: from the file in %s\n", s.Name, origin)
		}
	}
}

func versionCommand(p *process) *cobra.Command {
	return leaf("version", "Print the version.", cobra.NoArgs, func(context.Context, []string) error {
		_, err := fmt.Fprintln(p.stdout, "mdebot", Version())
		return err
	})
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

func healthcheckCommand(p *process) *cobra.Command {
	return leaf("healthcheck", "Ask the running bot whether it is ready; exit code 0 means yes.", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return healthcheck(ctx, p) })
}

func healthcheck(ctx context.Context, p *process) error {
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

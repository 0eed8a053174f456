package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/freeport"
)

func demoCommand(p *process) *cobra.Command {
	var d demo
	cmd := leaf("demo [flags]", "Run everything on this machine, with simulated Slack, Teams, Entra and Defender and a page to use them. Needs no account.",
		cobra.NoArgs, func(ctx context.Context, _ []string) error { return d.run(ctx, p) })
	f := cmd.Flags()
	f.StringVar(&d.listen, "listen", "127.0.0.1:8080", "`ADDRESS` of the page; loopback only.")
	f.StringVar(&d.bot, "bot", "", "`URL` of a bot you run yourself with the printed settings; none is started then.")
	f.BoolVar(&d.socket, "socket", false, "Let the bot fetch Slack's deliveries by Socket Mode instead of being called.")
	f.StringVar(&d.playground, "playground", "", "`FILE` cli.js of Microsoft's Agents Playground, which is run beside the page and shows Teams cards as Microsoft draws them; make playground installs it.")
	return cmd
}

// playgroundPort is the Playground's own default; it takes another one when that is
// in use.
const playgroundPort = 56150

type demo struct {
	listen, bot string
	socket      bool
	playground  string
}

// run starts the simulators, the page and, unless one is given, the bot itself:
// the same as in production, with the simulators' addresses.
func (c *demo) run(ctx context.Context, p *process) (err error) {
	host, _, err := net.SplitHostPort(c.listen)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return &ConfigError{Faults: []error{fmt.Errorf("--listen %s: the demo has no login, so it listens on loopback only, such as 127.0.0.1:8080", c.listen)}}
	}
	world, err := sandbox.New(ctx, sandbox.Options{SocketMode: c.socket, Pace: true, Customer: true, Playground: c.playground != ""})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	page, err := listen(ctx, c.listen, "", "")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: world.Page(), ReadHeaderTimeout: headerTimeout}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(page) }()
	defer func() {
		err = errors.Join(err, srv.Close())
		if end := <-served; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
	}()

	dir, err := os.MkdirTemp("", "mdebot-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "mdebot.yaml")
	if err := os.WriteFile(file, []byte(world.PolicyYAML()), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "http://%s\n", page.Addr())
	if err := printWorld(p.exact, world, file); err != nil {
		return err
	}
	if c.bot != "" {
		return c.withBot(ctx, p, world)
	}
	return c.ownBot(ctx, p, world, dir, file)
}

// withBot connects the simulators to a bot that somebody else runs, as soon as
// it answers.
func (c *demo) withBot(ctx context.Context, p *process, world *sandbox.World) error {
	fmt.Fprintln(p.stdout, "\nWaiting for the bot at", c.bot)
	for {
		err := world.Connect(ctx, strings.TrimRight(c.bot, "/"))
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
	fmt.Fprintln(p.stdout, "Connected.")
	stop, err := c.startPlayground(ctx, p, world)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return stop()
}

// startPlayground runs the Playground, when one is given, until stop or the end of
// ctx.
func (c *demo) startPlayground(ctx context.Context, p *process, world *sandbox.World) (stop func() error, err error) {
	if c.playground == "" {
		return func() error { return nil }, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	address, wait, err := world.StartPlayground(ctx, c.playground, playgroundPort)
	if err != nil {
		cancel()
		return nil, err
	}
	fmt.Fprintf(p.stdout, `
Microsoft's Agents Playground: %s
There you are %s. Type: machine ws-014
Open the page as well, be Riley, and ask in Slack: /mde isolate ws-014 beaconing to a known bad address
The request comes into the Playground's chat; approve it there. What you ask for there, Sam approves on the page.
`, address, sandbox.PlaygroundPerson.Name)
	return func() error {
		cancel()
		return wait()
	}, nil
}

// ownBot runs the bot in this process on ports of its own.
func (c *demo) ownBot(ctx context.Context, p *process, world *sandbox.World, dir, file string) error {
	address, err := freeport.Address(ctx) // which the app package of Teams names
	if err != nil {
		return err
	}
	environ := slices.Concat(world.Environment(), sandbox.TabEnvironment("http://"+address), []string{
		"MDEBOT_CONFIG=" + file,
		"MDEBOT_DATABASE_URL=sqlite:" + filepath.Join(dir, "mdebot.db"),
		"MDEBOT_LISTEN=" + address,
		"MDEBOT_ADMIN_LISTEN=127.0.0.1:0",
		"MDEBOT_LOG_LEVEL=warn",
	})
	cfg, err := LoadConfig(ctx, environ)
	if err != nil {
		return err
	}
	bot, err := New(ctx, cfg, newLogger(cfg, p.stderr))
	if err != nil {
		return err
	}
	running := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { running <- bot.Run(ctx) }()
	if err := errors.Join(world.Connect(ctx, "http://"+address), installTab(world, "http://"+address)); err != nil {
		cancel()
		return errors.Join(fmt.Errorf("connect the simulators to the bot: %w", err), <-running)
	}
	fmt.Fprintf(p.stdout, "\nThe bot is ready. Open the page, be Riley, and type: /mde isolate ws-014 beaconing to a known bad address\nA customer has a Defender tenant of its own: /mde tenant shows both, #fabrikam is about it alone.\nStop with Ctrl-C.\n")
	stop, err := c.startPlayground(ctx, p, world)
	if err != nil {
		cancel()
		return errors.Join(err, <-running)
	}
	err = <-running
	return errors.Join(err, stop())
}

// installTab gives the simulated Teams the app with its tab.
func installTab(world *sandbox.World, address string) error {
	m := teamsManifest(world.TeamsAppID())
	withTab(m, world.TeamsAppID(), address)
	b, err := manifestJSON(m)
	if err != nil {
		return err
	}
	return world.InstallTab(b)
}

// printWorld prints what a separate bot needs.
func printWorld(w io.Writer, world *sandbox.World, file string) error {
	var b strings.Builder
	b.WriteString("\n# The simulators:\n")
	addresses := world.Addresses()
	for _, name := range []string{"entra", "defender", "slack", "teams"} {
		fmt.Fprintf(&b, "#   %-9s %s\n", name, addresses[name])
	}
	b.WriteString("# To run a bot of your own against them, start the demo with --bot URL and give the bot:\n")
	for _, line := range world.Environment() {
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintf(&b, "MDEBOT_CONFIG=%s\n\n# mdebot.yaml:\n", file)
	for line := range strings.Lines(world.PolicyYAML()) {
		b.WriteString("#   " + line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

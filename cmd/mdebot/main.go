// Command mdebot puts Microsoft Defender for Endpoint in Slack and Teams.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mdebot/mdebot/internal/app"
)

// drainWithin is how long a stop may take. Whatever runs mdebot has to wait longer
// than that before it kills.
const drainWithin = 20 * time.Second

func main() {
	os.Exit(run())
}

// run exists so that deferred calls happen before the process exits.
func run() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first := make(chan os.Signal, 1)
	signal.Notify(first, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-first
		// The first signal drains; a second one has its default effect from before the
		// drain begins and ends the process at once, which every durable step survives.
		signal.Stop(first)
		cancel()
		time.Sleep(drainWithin)
		// A database that does not answer must not hold up a restart.
		fmt.Fprintln(os.Stderr, "mdebot: not stopped in time, leaving; what is unfinished goes on at the next start")
		os.Exit(1)
	}()
	return app.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

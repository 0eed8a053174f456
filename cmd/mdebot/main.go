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
	// The first signal drains; a second one is delivered with its default effect
	// and ends the process at once, which every durable step survives.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		stop()
		// A database that does not answer must not hold up a restart.
		time.AfterFunc(drainWithin, func() {
			fmt.Fprintln(os.Stderr, "mdebot: not stopped in time, leaving; what is unfinished goes on at the next start")
			os.Exit(1)
		})
	})
	return app.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

// Command mdebot puts Microsoft Defender for Endpoint in Slack and Teams.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/mdebot/mdebot/internal/app"
)

func main() {
	os.Exit(run())
}

// run exists so that deferred calls happen before the process exits.
func run() int {
	// The first signal drains; a second one is delivered with its default effect
	// and ends the process at once, which every durable step survives.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return app.Main(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

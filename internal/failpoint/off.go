//go:build !failpoint

package failpoint

import "context"

// Enabled tells whether this binary has failpoints.
const Enabled = false

// Step names the transactions that are begun with the context it returns.
func Step(ctx context.Context, _ Point) context.Context { return ctx }

// Of is the name of the transactions begun with ctx.
func Of(context.Context) Point { return "" }

// Before is called when a step is about to happen.
func Before(Point) error { return nil }

// After is called when a step has happened.
func After(Point) error { return nil }

// Around runs a call to the outside.
func Around(_ Point, call func() error) error { return call() }

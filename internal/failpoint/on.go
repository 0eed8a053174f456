//go:build failpoint

package failpoint

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled tells whether this binary has failpoints.
const Enabled = true

// armed is one thing that happens.
type armed struct {
	point  Point
	action string
	delay  time.Duration
	nth    int // 0: every time
	seen   int
}

var (
	mu    sync.Mutex
	armor = parse(os.Getenv("FAILPOINTS"))
)

// parse panics on what it does not understand: a test that drives nothing would
// prove nothing.
func parse(spec string) []*armed {
	var all []*armed
	for part := range strings.SplitSeq(spec, ",") {
		if part == "" {
			continue
		}
		point, rest, ok := strings.Cut(part, "=")
		action, nth, counted := strings.Cut(rest, "@")
		action, wait, _ := strings.Cut(action, ":")
		a := &armed{point: Point(point), action: action}
		var err error
		if counted {
			a.nth, err = strconv.Atoi(nth)
		}
		switch action {
		case "crash-before", "crash-after":
			a.nth = max(a.nth, 1)
		case "error-before", "error-after":
		case "delay":
			a.delay, err = time.ParseDuration(wait)
		default:
			ok = false
		}
		if !ok || err != nil {
			panic(fmt.Sprintf("FAILPOINTS: %q is not point=action: %v", part, err))
		}
		all = append(all, a)
	}
	return all
}

type key struct{}

// Step names the transactions that are begun with the context it returns.
func Step(ctx context.Context, p Point) context.Context { return context.WithValue(ctx, key{}, p) }

// Of is the name of the transactions begun with ctx.
func Of(ctx context.Context) Point {
	p, _ := ctx.Value(key{}).(Point)
	if p == "" {
		return Transaction
	}
	return p
}

// Before is called when a step is about to happen.
func Before(p Point) error { return hit(p, "before") }

// After is called when a step has happened.
func After(p Point) error { return hit(p, "after") }

// Around runs a call to the outside.
func Around(p Point, call func() error) error {
	if err := Before(p); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	return After(p)
}

// hit does what is armed for a step on one side of it.
func hit(p Point, side string) error {
	var wait time.Duration
	var err error
	mu.Lock()
	for _, a := range armor {
		here := a.point == p || a.point == Transaction && transactions[p]
		if !here || a.action == "delay" && side != "before" || a.action != "delay" && !strings.HasSuffix(a.action, side) {
			continue
		}
		if a.seen++; a.nth > 0 && a.seen != a.nth {
			continue
		}
		switch {
		case a.action == "delay":
			wait = max(wait, a.delay)
		case strings.HasPrefix(a.action, "crash"):
			fmt.Fprintf(os.Stderr, "failpoint %s %s\n", p, a.action)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		default:
			err = fmt.Errorf("failpoint %s %s", p, a.action)
		}
	}
	mu.Unlock()
	time.Sleep(wait)
	return err
}

// transactions are the points that [Transaction] stands for too.
var transactions = map[Point]bool{
	Transaction: true, CommandAccepted: true, RequestSaved: true, VoteSaved: true, ClaimCommitted: true, ResultSaved: true,
	MessageRecorded: true, AlertsSaved: true, WatermarkMoved: true, SweepDone: true, LinkSaved: true, CheckpointSaved: true, KeyRotated: true,
}

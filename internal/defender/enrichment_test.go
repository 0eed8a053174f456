package defender

import (
	"context"
	"errors"
	"testing"
)

// Dots lead elsewhere in a path: "/api/users/../alerts" is every alert there is.
func TestEnrichment_namesThatLeadElsewhereAreRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, _ := f.client(t)
	for name, ask := range map[string]func(context.Context) error{
		"alerts of ..":      func(ctx context.Context) error { _, err := c.UserAlerts(ctx, ".."); return err },
		"machines of ..":    func(ctx context.Context) error { _, err := c.UserMachines(ctx, ".."); return err },
		"machines of .":     func(ctx context.Context) error { _, err := c.UserMachines(ctx, "."); return err },
		"address ..":        func(ctx context.Context) error { _, err := c.IPSightings(ctx, ".."); return err },
		"address of a zone": func(ctx context.Context) error { _, err := c.IPSightings(ctx, "fe80::1%../x"); return err },
		"alerts of address ..": func(ctx context.Context) error {
			_, err := c.RelatedAlerts(ctx, Observable{Kind: ObservableIP, Value: ".."})
			return err
		},
	} {
		if err := ask(t.Context()); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, ErrInvalid)
		}
	}
	if seen := f.seen(); len(seen) > 0 {
		t.Errorf("%v was sent", seen)
	}
}

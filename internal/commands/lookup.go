package commands

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// maxObservables is how many things one lookup asks about: each costs up to four
// calls.
const maxObservables = 10

func lookupSpecs() []Spec {
	return []Spec{{
		Name: "lookup", Usage: "lookup <hash|ip|domain|url>…",
		Summary: "Whether files, addresses and hosts were seen here, where, and what is known about them.",
		Role:    identity.Viewer, Access: ReadersToo,
		Permissions: [][]string{{defender.PermissionFileRead, defender.PermissionIPRead, defender.PermissionURLRead}},
		Flags:       []Flag{publicFlag},
		Examples:    []string{"lookup 203.0.113.9", "lookup hxxps://evil[.]example/a 1.2.3[.]4 4388963aaa83afe2042a46a3c017ad50bdcdafb3"},
		busy:        lookingUp, run: (*Router).lookup,
	}}
}

func (r *Router) lookup(ctx context.Context, c *call) (chat.Message, error) {
	words := make([]string, len(c.args))
	for i, a := range c.args {
		words[i] = a.text
	}
	found, cannot := observablesIn(words)
	switch {
	case len(found) > maxObservables:
		return chat.Message{}, say(fmt.Sprintf("That is %d things; one lookup takes %d at most.", len(found), maxObservables), "Ask for the rest in another lookup.")
	case len(found) == 0 && len(cannot) > 0:
		return chat.Message{}, sayOf("", cannot[0].Text, " cannot be looked up: "+cannot[0].Why+".", "Give SHA-1 or SHA-256 hashes, IP addresses, host names or URLs.")
	case len(found) == 0:
		return chat.Message{}, usageError(c, "What should be looked up? Give SHA-1 or SHA-256 hashes, IP addresses, host names or URLs; [.] and hxxp are understood.")
	}
	granted, err := r.Defender.Permissions(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.Lookup(cards.LookupView{Cannot: cannot, Results: r.lookUpAll(ctx, found, granted), Now: r.Now(), Portal: r.Portal}), nil
}

// lookUp reads all that the token permits about one thing. What it does not
// permit is named without asking.
func (r *Router) lookUp(ctx context.Context, o cards.Observable, granted defender.Permissions) cards.LookupResult {
	res := cards.LookupResult{Observable: o}
	subject := defender.Observable{Kind: defender.ObservableKind(o.Kind), Value: o.Value}
	if o.Kind == cards.ObservableFile && granted.Has(defender.PermissionFileRead) {
		file, err := r.Defender.File(ctx, o.Value)
		switch {
		case errors.Is(err, defender.ErrNotFound):
			res.UnknownFile = true
		case err != nil:
			res.Unread.File = whyUnread(err, defender.PermissionFileRead)
		default:
			res.File = &file
			subject.Value = file.SHA1
		}
	}
	var wg sync.WaitGroup
	read := func(permission string, why *string, ask func() error) {
		if !granted.Has(permission) {
			*why = "not permitted: " + permission
			return
		}
		wg.Go(func() {
			if err := ask(); err != nil && !errors.Is(err, defender.ErrNotFound) {
				*why = whyUnread(err, permission)
			}
		})
	}
	read(statsPermission(o), &res.Unread.Sightings, func() (err error) {
		switch o.Kind {
		case cards.ObservableFile:
			res.Sightings, err = r.Defender.FileSightings(ctx, o.Value)
		case cards.ObservableIP:
			res.Sightings, err = r.Defender.IPSightings(ctx, o.Value)
		default:
			res.Sightings, err = r.Defender.DomainSightings(ctx, o.Value)
		}
		return err
	})
	if o.Kind == cards.ObservableFile && len(subject.Value) != 40 {
		// Only the SHA-1 leads to alerts and machines, and File.Read.All to the SHA-1.
		res.Unread.Alerts = "Defender lists them by SHA-1 alone"
		res.Unread.Machines = res.Unread.Alerts
	} else {
		read(defender.PermissionAlertRead, &res.Unread.Alerts, func() (err error) {
			res.Alerts, err = r.Defender.RelatedAlerts(ctx, subject)
			return err
		})
		if o.Kind != cards.ObservableIP {
			read(defender.PermissionMachineRead, &res.Unread.Machines, func() (err error) {
				res.Machines, err = r.Defender.RelatedMachines(ctx, subject)
				return err
			})
		}
	}
	wg.Wait()
	return res
}

func statsPermission(o cards.Observable) string {
	switch o.Kind {
	case cards.ObservableFile:
		return defender.PermissionFileRead
	case cards.ObservableIP:
		return defender.PermissionIPRead
	case cards.ObservableDomain:
	}
	return defender.PermissionURLRead
}

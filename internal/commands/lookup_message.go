package commands

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

const (
	// maxMessage is how much of a message is read, far above what people write.
	maxMessage = 40_000
	// cannotShown is how many things of a message are named that only look as if they
	// could be looked up.
	cannotShown = 5
)

// lookupMessage looks up what somebody's message names. Whoever asks did not write
// it, so what cannot be looked up is said and never refused as a whole.
func (r *Router) lookupMessage(ctx context.Context, c *call) (chat.Message, error) {
	named := namedIn(c.inv.Text)
	granted, err := r.Defender.Permissions(ctx)
	if err != nil {
		return chat.Message{}, err
	}
	v := cards.LookupView{Now: r.Now(), Portal: r.Portal}
	var known map[string][]defender.Machine // by what stands in the message
	switch {
	case !granted.Has(defender.PermissionMachineRead):
		v.MachinesUnread = "not permitted: " + defender.PermissionMachineRead
	default:
		if known, err = r.machinesIn(ctx, named); err != nil {
			known, v.MachinesUnread = nil, whyUnread(err, defender.PermissionMachineRead)
		}
	}
	var found []cards.Observable
	for _, n := range named {
		machines := slices.DeleteFunc(slices.Clone(known[n.word]), func(m defender.Machine) bool {
			return slices.ContainsFunc(v.Machines, func(have defender.Machine) bool { return have.ID == m.ID })
		})
		room := maxObservables - len(found) - len(v.Machines)
		switch {
		case len(known[n.word]) > 0 && len(machines) <= room:
			v.Machines = append(v.Machines, machines...)
		case len(known[n.word]) > 0 || n.observable.Value != "" && room == 0:
			v.Left = append(v.Left, n.word)
		case n.observable.Value != "":
			found = append(found, n.observable)
		case n.why != "" && len(v.Cannot) < cannotShown:
			v.Cannot = append(v.Cannot, cards.NotLookedUp{Text: n.word, Why: n.why})
		}
	}
	switch {
	case len(found)+len(v.Machines) == 0:
		return chat.Message{}, nothingNamed(v)
	case len(found) == 0 && len(v.Machines) == 1:
		return cards.WithNotLookedUp(r.showMachine(ctx, v.Machines[0]), v), nil
	}
	v.Results = r.lookUpAll(ctx, found, granted)
	return cards.Lookup(v), nil
}

// nothingNamed says what would have been understood, and why what looks like it was
// not.
func nothingNamed(v cards.LookupView) error {
	s := plainSorry("That message names nothing that Defender could look up.", "Or type lookup and what you mean.")
	s.lines = append([]chat.Text{chat.Plain("Understood are machine names and IDs, SHA-1 and SHA-256 hashes, IP addresses, host names and URLs, also when written with [.] and hxxp.")},
		cards.NotLookedUpLines(v)...)
	return s
}

// lookUpAll looks things up several at a time. What cannot be read is part of the
// results.
func (r *Router) lookUpAll(ctx context.Context, found []cards.Observable, granted defender.Permissions) []cards.LookupResult {
	results := make([]cards.LookupResult, len(found))
	var group errgroup.Group
	group.SetLimit(lookUps)
	for i, o := range found {
		group.Go(func() error {
			results[i] = r.lookUp(ctx, o, granted)
			return nil
		})
	}
	_ = group.Wait()
	return results
}

// named is one word of a message that may mean something at Defender. It may be a
// machine's name and an observable at once, until Defender has been asked.
type named struct {
	word       string
	observable cards.Observable
	why        string // it cannot be looked up, though it looks like it
	machine    bool   // a machine may be called that, or have that ID
}

// namedIn lists what a message names, each once, in its order.
func namedIn(text string) []named {
	if len(text) > maxMessage {
		cut := maxMessage
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	var all []named
	for _, word := range strings.FieldsFunc(text, betweenWords) {
		n, ok := namedBy(word)
		if !ok {
			continue
		}
		if !slices.ContainsFunc(all, n.same) {
			all = append(all, n)
		}
	}
	return all
}

func (n named) same(other named) bool {
	if n.observable.Value != "" || other.observable.Value != "" {
		return n.observable.Kind == other.observable.Kind && n.observable.Value == other.observable.Value
	}
	return strings.EqualFold(n.word, other.word)
}

// betweenWords are what stands between words of a message, the marks of formatting
// included.
func betweenWords(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",;|`\u200b", r) }

// namedBy reads one word; ok is false for one that means nothing to Defender. A
// label in front of a value, as in "host=ws-042" or "SHA1:4388…", is no part of it.
func namedBy(word string) (n named, ok bool) {
	if !strings.HasSuffix(word, "::") {
		word = strings.TrimSuffix(word, ":")
	}
	for {
		if n, ok = asNamed(word); ok && (n.observable.Value != "" || n.why != "") {
			return n, true
		}
		at := strings.IndexAny(word, "=:")
		if at < 0 || at == len(word)-1 || scheme.MatchString(word) {
			return n, ok
		}
		word = word[at+1:]
	}
}

func asNamed(word string) (named, bool) {
	n := named{word: strings.Trim(word, `<>"'()*_~[]{}.,;:!?`)}
	n.observable, n.why = observableOf(word)
	switch {
	case machineID.MatchString(n.word): // has the form of a SHA-1 too: only Defender knows which it is
		n.machine = true
	case n.observable.Kind == cards.ObservableDomain && !n.observable.FromURL:
		n.word, n.machine = n.observable.Value, true
	case n.observable.Value == "" && n.why == "":
		// Other words are words of a sentence.
		n.machine = len(n.word) > 2 && len(n.word) <= 63 && hostName.MatchString(n.word) && strings.ContainsAny(n.word, "0123456789-_") &&
			strings.ContainsFunc(n.word, unicode.IsLetter) && !alertLike.MatchString(n.word) && !technique.MatchString(n.word)
	}
	return n, n.machine || n.observable.Value != "" || n.why != ""
}

// machinesIn asks Defender which of the words are machines: all names in one call,
// and the first few that may be IDs.
func (r *Router) machinesIn(ctx context.Context, words []named) (map[string][]defender.Machine, error) {
	var names []string
	known := map[string][]defender.Machine{}
	ids := 0
	for _, n := range words {
		switch {
		case !n.machine:
		case !machineID.MatchString(n.word):
			names = append(names, n.word)
		case ids < maxObservables:
			ids++
			m, err := r.Defender.Machine(ctx, strings.ToLower(n.word))
			switch {
			case errors.Is(err, defender.ErrNotFound):
			case err != nil:
				return nil, err
			default:
				known[n.word] = []defender.Machine{m}
			}
		}
	}
	// Names with a digit in them are machines more often than others with a dash.
	slices.SortStableFunc(names, func(a, b string) int { return digits(b) - digits(a) })
	machines, err := r.Defender.MachinesNamed(ctx, names[:min(len(names), defender.MaxNames)])
	for _, m := range machines {
		for _, name := range names {
			label, _, _ := strings.Cut(m.Name, ".")
			if strings.EqualFold(m.Name, name) || strings.EqualFold(label, name) {
				known[name] = append(known[name], m)
			}
		}
	}
	return known, err
}

// digits is 1 for a word that holds a digit.
func digits(s string) int {
	if strings.ContainsAny(s, "0123456789") {
		return 1
	}
	return 0
}

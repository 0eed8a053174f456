package defender

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Match says what a query had in common with the machines found.
type Match string

// The matches, the surest first.
const (
	MatchID     Match = "id"
	MatchName   Match = "name" // whole name or its first label, without regard to case
	MatchIP     Match = "ip"
	MatchPrefix Match = "prefix" // candidates only: ws-04 also finds ws-042
)

// Found is the answer to [Client.FindMachines].
type Found struct {
	// Machines is empty when nothing matched, and holds at most 50. Several
	// machines may share a name.
	Machines []Machine
	Match    Match
}

const (
	maxCandidates = 50
	maxMerges     = 5
)

// FindMachines finds machines by ID, name or internal IP address. A known ID or
// name costs one call. Merged records are followed (by ID) or left out, excluded
// ones are left out unless named by ID. Never act on a MatchPrefix without
// asking.
func (c *Client) FindMachines(ctx context.Context, query string) (Found, error) {
	const op = "find machines"
	query = strings.TrimSpace(query)
	if query == "" || len(query) > 255 || strings.ContainsFunc(query, unicode.IsControl) {
		return Found{}, fmt.Errorf("%s: %w: give a machine ID, name or IP address", op, ErrInvalid)
	}
	if isMachineID(query) {
		return c.findByID(ctx, query)
	}
	if ip, err := netip.ParseAddr(strings.Trim(query, "[]")); err == nil {
		return c.findByIP(ctx, ip.WithZone("").Unmap())
	}
	return c.findByName(ctx, strings.TrimSuffix(query, "."))
}

func (c *Client) findByID(ctx context.Context, id string) (Found, error) {
	for range maxMerges {
		m, err := c.Machine(ctx, id)
		if errors.Is(err, ErrNotFound) {
			return Found{Match: MatchID}, nil
		}
		if err != nil {
			return Found{}, err
		}
		if m.MergedInto == "" {
			return Found{Machines: []Machine{m}, Match: MatchID}, nil
		}
		id = m.MergedInto
	}
	return Found{}, fmt.Errorf("find machines: %w: the record was merged more than %d times", ErrInvalid, maxMerges)
}

func (c *Client) findByIP(ctx context.Context, ip netip.Addr) (Found, error) {
	// Whole minutes let the same question asked twice be one read; Defender looks
	// 15 minutes to either side anyway.
	at := c.now().UTC().Truncate(time.Minute).Format(time.RFC3339)
	path := "/api/machines/findbyip(ip='" + url.PathEscape(ip.String()) + "',timestamp=" + url.PathEscape(at) + ")"
	found, err := c.collectMachines(ctx, listCall{op: "find machines by IP", family: familyMachines, path: path, plain: true})
	if err != nil || len(found) > 0 {
		return Found{Machines: found, Match: MatchIP}, err
	}
	found, err = c.collectMachines(ctx, listCall{
		op: "find machines by last IP", family: familyMachines, path: "/api/machines",
		filter: eq(machineIP, textLiteral(ip.String())), limit: maxCandidates,
	})
	return Found{Machines: found, Match: MatchIP}, err
}

// MaxNames is how many names [Client.MachinesNamed] takes.
const MaxNames = 20

// MachinesNamed finds the machines with any of some whole names or first labels, in
// one call: for names out of a text, most of which no machine has. What cannot be a
// host name is passed over, and so is what comes after the first [MaxNames].
func (c *Client) MachinesNamed(ctx context.Context, names []string) ([]Machine, error) {
	var asked []string
	var exact []expr
	for _, name := range names {
		if len(asked) == MaxNames {
			break
		}
		if len(name) > maxHostName || !hostNamePattern.MatchString(name) {
			continue
		}
		asked = append(asked, name)
		exact = append(exact, eq(machineName, textLiteral(name)), nameStartsWith(name+"."))
		if lower := strings.ToLower(name); lower != name {
			exact = append(exact, eq(machineName, textLiteral(lower)), nameStartsWith(lower+"."))
		}
	}
	if len(asked) == 0 {
		return nil, nil
	}
	all, err := c.collectMachines(ctx, listCall{
		op: "find machines by their names", family: familyMachines, path: "/api/machines", filter: anyOf(exact...), limit: maxCandidates,
	})
	named := all[:0]
	for _, m := range all {
		if slices.ContainsFunc(asked, m.named) {
			named = append(named, m)
		}
	}
	return named, err
}

// findByName asks for the whole name and the first label in one read, because a
// prefix read of "ws-1" may be cut off before it reaches the machine of exactly
// that name. Whether Defender compares with regard to case is not documented,
// so the name goes out as typed and in lower case.
func (c *Client) findByName(ctx context.Context, name string) (Found, error) {
	spellings := []string{name}
	if lower := strings.ToLower(name); lower != name {
		spellings = append(spellings, lower)
	}
	var exact, prefix []expr
	for _, s := range spellings {
		exact = append(exact, eq(machineName, textLiteral(s)), nameStartsWith(s+"."))
		prefix = append(prefix, nameStartsWith(s))
	}
	found, err := c.machinesNamed(ctx, name, anyOf(exact...))
	if err != nil || len(found.Machines) > 0 {
		return found, err
	}
	found, err = c.machinesNamed(ctx, name, anyOf(prefix...))
	if err != nil || len(found.Machines) > 0 {
		return found, err
	}
	if len(name) > maxHostName || !hostNamePattern.MatchString(name) {
		return Found{Match: MatchName}, nil
	}
	m, err := get(ctx, c, call{op: "get machine by name", family: familyMachines, path: "/api/machines/" + name}, c.machine)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalid):
		return Found{Match: MatchName}, nil
	case err != nil:
		return Found{}, err
	case !m.current():
		return Found{Match: MatchName}, nil
	case m.named(name):
		return Found{Machines: []Machine{m}, Match: MatchName}, nil
	}
	return Found{Machines: []Machine{m}, Match: MatchPrefix}, nil
}

// machinesNamed splits what a filter finds: machines of that name if there are
// any, otherwise all as candidates.
func (c *Client) machinesNamed(ctx context.Context, name string, filter expr) (Found, error) {
	all, err := c.collectMachines(ctx, listCall{
		op: "find machines by name", family: familyMachines, path: "/api/machines", filter: filter, limit: maxCandidates,
	})
	if err != nil {
		return Found{}, err
	}
	var named []Machine
	for _, m := range all {
		if m.named(name) {
			named = append(named, m)
		}
	}
	if len(named) > 0 {
		return Found{Machines: named, Match: MatchName}, nil
	}
	return Found{Machines: all, Match: MatchPrefix}, nil
}

func (c *Client) collectMachines(ctx context.Context, l listCall) ([]Machine, error) {
	all, err := collect(list(ctx, c, l, c.machine))
	current := all[:0]
	for _, m := range all {
		if m.current() {
			current = append(current, m)
		}
	}
	return current, err
}

// named reports whether name is the machine's whole name or its first label.
func (m Machine) named(name string) bool {
	label, _, _ := strings.Cut(m.Name, ".")
	return strings.EqualFold(m.Name, name) || strings.EqualFold(label, name)
}

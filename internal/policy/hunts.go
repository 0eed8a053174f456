package policy

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/mdebot/mdebot/internal/identity"
)

// HuntParam is one parameter of a saved hunt.
type HuntParam struct {
	Name string
	Type string // one of ParamTypes
}

// ParamTypes are the types of parameters, and what each holds in words.
var ParamTypes = map[string]string{
	"machine": "the name or ID of a machine",
	"user":    "an account name",
	"ip":      "an IP address",
	"hash":    "an MD5, SHA-1 or SHA-256",
	"domain":  "a domain or part of a URL",
	"file":    "the name of a file",
	"number":  "a number",
	"text":    "words",
}

// Hunt is a query that people run by its name. Parameters stand in it as {name},
// and {span} is how far back it looks; nothing else in braces has a meaning.
type Hunt struct {
	Name        string
	Description string
	KQL         string
	Params      []HuntParam
	Span        time.Duration
	// Role may run it. What it reads is held against the caller's rights all the
	// same.
	Role identity.Role
	// Shipped hunts come with mdebot.
	Shipped bool `json:"-"`
	Line    int  `json:"-"`
}

// Takes reports whether h has a parameter of a type, and its name.
func (h Hunt) Takes(kind string) (name string, ok bool) {
	for _, p := range h.Params {
		if p.Type == kind {
			return p.Name, true
		}
	}
	return "", false
}

// Hunts are all saved hunts in the order of their names: those of the file, and
// those that come with mdebot and are not replaced by one of the same name.
func (p *Policy) Hunts() []Hunt {
	all := slices.Clone(p.hunts)
	for _, h := range shippedHunts() {
		if !slices.ContainsFunc(p.hunts, func(own Hunt) bool { return own.Name == h.Name }) {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b Hunt) int { return strings.Compare(a.Name, b.Name) })
	return all
}

//go:embed hunts.yaml
var shippedYAML []byte

// shippedHunts are read once. A fault in them is one of this program.
var shippedHunts = sync.OnceValue(func() []Hunt {
	f := &fileReader{policy: &Policy{}}
	if body := f.document(shippedYAML); body != nil {
		f.object(body, "the file", keys{"hunts": func(n ast.Node) { f.list(n, "hunts", f.hunt) }})
	}
	if len(f.faults) > 0 {
		panic("hunts.yaml: " + f.faults[0].Text)
	}
	for i := range f.policy.hunts {
		f.policy.hunts[i].Shipped = true
	}
	return f.policy.hunts
})

const (
	maxHuntSpan  = 30 * 24 * time.Hour // what advanced hunting keeps
	maxHuntKQL   = 8 << 10
	defaultSpan  = 7 * 24 * time.Hour
	maxHuntParam = 6
)

var (
	huntName    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	paramName   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,19}$`)
	placeholder = regexp.MustCompile(`\{([a-z][a-z0-9_]{0,19})\}`)
)

// spanParam is the parameter that every hunt may use.
const spanParam = "span"

func (f *fileReader) hunt(n ast.Node) {
	h := Hunt{Line: lineOf(n), Span: defaultSpan, Role: identity.Hunter}
	f.object(n, "hunt", keys{
		"name":        func(n ast.Node) { h.Name = f.label(n, "hunt: name") },
		"description": func(n ast.Node) { h.Description = f.label(n, "hunt: description") },
		"kql":         func(n ast.Node) { h.KQL, _ = f.text(n, "hunt: kql") },
		"parameters": func(n ast.Node) {
			f.entries(n, "parameters", func(name string, _ int, v ast.Node) { f.huntParam(&h, name, v) })
		},
		"span": func(n ast.Node) { h.Span = f.span(n, "hunt: span", time.Minute, maxHuntSpan) },
		"role": func(n ast.Node) {
			role, ok := f.text(n, "hunt: role")
			h.Role = identity.Role(role)
			if ok && h.Role != identity.Hunter && h.Role != identity.Responder && h.Role != identity.Viewer {
				f.fault(lineOf(n), "hunt: role: %q: write hunter, responder or viewer", role)
			}
		},
	})
	h.KQL = strings.TrimSpace(h.KQL)
	switch {
	case h.Name == "":
		f.missing(n, h.Line, "hunt", "name")
	case !huntName.MatchString(h.Name):
		f.fault(h.Line, "hunt: name: %q: write lower-case letters, digits and dashes", h.Name)
	case slices.ContainsFunc(f.policy.hunts, func(other Hunt) bool { return other.Name == h.Name }):
		f.fault(h.Line, "hunt: another hunt is also named %q", h.Name)
	}
	if h.KQL == "" {
		f.missing(n, h.Line, "hunt", "kql")
	} else {
		f.checkTemplate(h)
	}
	f.policy.hunts = append(f.policy.hunts, h)
}

// span reads a time within bounds, such as 1h, 24h or 7d.
func (f *fileReader) span(n ast.Node, what string, least, most time.Duration) time.Duration {
	s, ok := f.text(n, what)
	if !ok {
		return 0
	}
	var d time.Duration
	if days, isDays := strings.CutSuffix(s, "d"); isDays {
		if count, err := strconv.Atoi(days); err == nil && count > 0 && count < 1_000 {
			d = time.Duration(count) * 24 * time.Hour
		}
	} else if parsed, err := time.ParseDuration(s); err == nil {
		d = parsed
	}
	if d < least || d > most {
		f.fault(lineOf(n), "%s: %q: write a time from %s to %s, such as 6h or 7d", what, s, spanText(least), spanText(most))
		return 0
	}
	return d
}

func (f *fileReader) huntParam(h *Hunt, name string, v ast.Node) {
	kind, ok := f.text(v, "parameters: "+name)
	switch _, known := ParamTypes[kind]; {
	case !ok:
		return
	case !paramName.MatchString(name) || name == spanParam:
		f.fault(lineOf(v), "parameters: %q cannot be the name of one: write lower-case letters, digits and underscores, and not span", name)
	case !known:
		f.fault(lineOf(v), "parameters: %s: %q is no type: write one of domain, file, hash, ip, machine, number, text, user", name, kind)
	case len(h.Params) == maxHuntParam:
		f.fault(lineOf(v), "parameters: more than %d", maxHuntParam)
	}
	h.Params = append(h.Params, HuntParam{Name: name, Type: kind})
}

// checkTemplate finds parameters that are used and not declared, declared and not
// used, or that stand inside a string or a comment, where a value could end it.
func (f *fileReader) checkTemplate(h Hunt) {
	if len(h.KQL) > maxHuntKQL {
		f.fault(h.Line, "hunt %s: the query is larger than %d bytes", h.Name, maxHuntKQL)
		return
	}
	used := map[string]bool{}
	for _, m := range placeholder.FindAllStringSubmatchIndex(h.KQL, -1) {
		name := h.KQL[m[2]:m[3]]
		used[name] = true
		if name != spanParam && !slices.ContainsFunc(h.Params, func(p HuntParam) bool { return p.Name == name }) {
			f.fault(h.Line, "hunt %s: {%s} is not under parameters", h.Name, name)
		}
		if quoted(h.KQL, m[0]) {
			f.fault(h.Line, "hunt %s: {%s} stands inside a string or comment; write it without quotes, its value brings its own", h.Name, name)
		}
	}
	for _, p := range h.Params {
		if !used[p.Name] {
			f.fault(h.Line, "hunt %s: the parameter %s is not used", h.Name, p.Name)
		}
	}
}

// quoted reports whether position at of a query is inside a string or comment.
func quoted(kql string, at int) bool {
	for i := 0; i < at; {
		end := i + 1
		switch c := kql[i]; {
		case strings.HasPrefix(kql[i:], "//"):
			end = endBefore(kql, i, "\n", 0)
		case strings.HasPrefix(kql[i:], "```"), strings.HasPrefix(kql[i:], "~~~"):
			end = endBefore(kql, i+3, kql[i:i+3], 3)
		case c == '"' || c == '\'':
			verbatim := i > 0 && kql[i-1] == '@'
			for end < len(kql) && kql[end] != c {
				if kql[end] == '\\' && !verbatim {
					end++
				}
				end++
			}
			end++
		}
		if end > at {
			return end > i+1
		}
		i = end
	}
	return false
}

func endBefore(s string, from int, mark string, length int) int {
	if n := strings.Index(s[from:], mark); n >= 0 {
		return from + n + length
	}
	return len(s)
}

// Fill puts literals in place of the parameters. Each literal must be one token;
// a parameter without one is an error.
func (h Hunt) Fill(literals map[string]string) (string, error) {
	var missing string
	query := placeholder.ReplaceAllStringFunc(h.KQL, func(m string) string {
		l, ok := literals[strings.Trim(m, "{}")]
		if !ok {
			missing = m
		}
		return l
	})
	if missing != "" {
		return "", fmt.Errorf("hunt %s: no value for %s", h.Name, missing)
	}
	return query, nil
}

// SavedHuntTables lists what person may read by running a saved hunt: what they
// may hunt in freely, and otherwise the device tables when the hunt's role is
// theirs. The error says which memberships could not be read.
func (p *Policy) SavedHuntTables(ctx context.Context, source GroupSource, person identity.Person, h Hunt) (HuntTables, error) {
	current, known := p.book.Person(person.ID)
	switch {
	case !known || !current.Has(h.Role):
		return HuntTables{}, nil
	case current.Has(identity.Hunter):
		return p.HuntTables(ctx, source, person)
	}
	return HuntTables{granted: slices.Clone(families[DeviceTables])}, nil
}

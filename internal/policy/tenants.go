package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Tenant is one entry of tenants: a Defender tenant, how to get into it, and who
// may work on it from where. What it leaves out is as for all.
type Tenant struct {
	ID   tenant.ID
	Name string // how people write it

	Cloud                   string
	ClientID                string
	SecretFile              string
	CertificateFile         string
	CertificatePasswordFile string

	// Channels are bound to the tenant: what is asked there is about it alone.
	Channels []string
	// Groups are whose people may work on it. Nobody else may.
	Groups []string
	// SharedChannels is [SharedAlerts] when alerts of the tenant may go to channels
	// of its own that are shared with other organisations.
	SharedChannels string `json:",omitempty"` // came later: a file without it keeps its hash

	approvers   int           // of every request at least; 0 = as the rule says
	expireAfter time.Duration // at most; 0 = as for all
	routes      []Route       // beside those of all
	line        int
}

// OwnCredential reports whether another application than that of the settings signs
// in at the tenant.
func (t Tenant) OwnCredential() bool {
	return t.ClientID != "" || t.SecretFile != "" || t.CertificateFile != ""
}

// SameSignIn reports whether t and o are reached in one way.
func (t Tenant) SameSignIn(o Tenant) bool {
	return t.Name == o.Name && t.Cloud == o.Cloud && t.ClientID == o.ClientID && t.SecretFile == o.SecretFile &&
		t.CertificateFile == o.CertificateFile && t.CertificatePasswordFile == o.CertificatePasswordFile
}

// Tenants lists the entries of tenants in their order; none means that the bot
// serves the one tenant of its settings.
func (p *Policy) Tenants() []Tenant { return slices.Clone(p.tenants) }

// AllTenants are the groups whose people may ask several tenants at once.
func (p *Policy) AllTenants() []string { return slices.Clone(p.allTenants) }

// MayAskAll reports whether somebody belongs to a group under all_tenants.
func (p *Policy) MayAskAll(person identity.PersonID) bool { return p.inListed(p.allTenants, person) }

func (p *Policy) inListed(groups []string, person identity.PersonID) bool {
	return slices.ContainsFunc(p.groups, func(g Group) bool {
		return slices.Contains(groups, g.Name) && slices.Contains(g.Members, person)
	})
}

// TenantNamed finds a tenant by its ID or its name, without regard to case.
func (p *Policy) TenantNamed(word string) (Tenant, bool) {
	i := slices.IndexFunc(p.tenants, func(t Tenant) bool {
		return strings.EqualFold(t.Name, word) || strings.EqualFold(string(t.ID), word)
	})
	if i < 0 {
		return Tenant{}, false
	}
	return p.tenants[i], true
}

// TenantOf is the tenant that a channel is bound to.
func (p *Policy) TenantOf(channel string) (Tenant, bool) {
	i := slices.IndexFunc(p.tenants, func(t Tenant) bool { return slices.Contains(t.Channels, channel) })
	if i < 0 {
		return Tenant{}, false
	}
	return p.tenants[i], true
}

// For is the policy for one tenant: its people, its stricter rules, its routes.
// Where no tenants are listed it is p itself. For a tenant that is not listed
// nobody may do anything.
func (p *Policy) For(t tenant.ID) *Policy {
	if len(p.tenants) == 0 {
		return p
	}
	if own := p.byTenant[t]; own != nil {
		return own
	}
	return p.byTenant[""]
}

// In is a view of s for one tenant.
func (s *Source) In(t tenant.ID) *Source { return &Source{parent: s.root(), tenant: t} }

func (s *Source) root() *Source {
	if s.parent != nil {
		return s.parent
	}
	return s
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// split makes the policy of each tenant.
func (p *Policy) split() error {
	p.byTenant = make(map[tenant.ID]*Policy, len(p.tenants)+1)
	for _, t := range append(slices.Clone(p.tenants), Tenant{}) {
		own := *p
		people := slices.DeleteFunc(p.book.People(), func(one identity.Person) bool { return !p.inListed(t.Groups, one.ID) })
		book, err := identity.NewBook(people)
		if err != nil {
			return err
		}
		own.book, own.tenants, own.byTenant = book, nil, nil
		own.rules = slices.Clone(p.rules)
		for i := range own.rules {
			own.rules[i].Approvers = max(own.rules[i].Approvers, t.approvers)
		}
		own.leastApprovers = t.approvers
		if t.expireAfter > 0 {
			own.expireAfter = min(own.expireAfter, t.expireAfter)
		}
		own.routes = slices.Concat(p.routes, t.routes)
		own.scheduled, own.digests = about(p.scheduled, t), p.digestsOf(t)
		if t.SharedChannels == SharedAlerts {
			own.sharedPlaces = t.places()
		}
		if t.ID == "" {
			own.routes = nil
		}
		p.byTenant[t.ID] = &own
	}
	return nil
}

// tenantsDir holds further tenants, one or several in a file.
const tenantsDir = "tenants.d"

// maxTenantFiles bounds how many are read.
const maxTenantFiles = 5000

// Files are the paths that [Load] reads for the file at path: it, and those of
// tenants.d beside it.
func Files(path string) ([]string, error) {
	more, err := filepath.Glob(filepath.Join(filepath.Dir(path), tenantsDir, "*.yaml"))
	return append([]string{path}, more...), err
}

// loadTenantFiles reads tenants.d beside the file at path.
func loadTenantFiles(path string) (map[string][]byte, error) {
	files, err := Files(path)
	if err != nil {
		return nil, err
	}
	if files = files[1:]; len(files) > maxTenantFiles {
		return nil, fmt.Errorf("%s holds more than %d files", tenantsDir, maxTenantFiles)
	}
	all := make(map[string][]byte, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all[filepath.Join(tenantsDir, filepath.Base(file))] = text
	}
	return all, nil
}

// tenantFile reads one file of tenants.d: a tenant, or a list of them. Its faults
// carry its name.
func (f *fileReader) tenantFile(name string, text []byte) {
	faults, warnings := len(f.faults), len(f.warnings)
	f.in = name
	if body := f.document(text); body != nil {
		if _, isList := body.(*ast.SequenceNode); isList {
			f.list(body, "tenants", f.tenant)
		} else {
			f.tenant(body)
		}
	}
	f.in = ""
	placeIn(name, f.faults[faults:])
	placeIn(name, f.warnings[warnings:])
}

func (f *fileReader) tenant(n ast.Node) {
	t := Tenant{line: lineOf(n)}
	text := func(into *string) func(ast.Node) {
		return func(n ast.Node) { *into, _ = f.text(n, "tenant") }
	}
	f.object(n, "tenant", keys{
		"id": func(n ast.Node) {
			s, ok := f.text(n, "tenant: id")
			if ok && !guid.MatchString(s) {
				f.fault(lineOf(n), "tenant: id %q is no tenant ID, a GUID", s)
			}
			t.ID = tenant.ID(strings.ToLower(s))
		},
		"name":                      func(n ast.Node) { t.Name = f.tenantName(n) },
		"cloud":                     text(&t.Cloud),
		"client_id":                 text(&t.ClientID),
		"client_secret_file":        text(&t.SecretFile),
		"certificate_file":          text(&t.CertificateFile),
		"certificate_password_file": text(&t.CertificatePasswordFile),
		"channels":                  func(n ast.Node) { t.Channels = f.destinations(n, "channels", false) },
		"shared_channels":           func(n ast.Node) { t.SharedChannels = f.sharedChannels(n) },
		"people":                    func(n ast.Node) { t.Groups = f.listedGroups(n, "people") },
		"approvers":                 func(n ast.Node) { t.approvers = f.number(n, "approvers", maxApprovers) },
		"expire_after": func(n ast.Node) {
			t.expireAfter = f.duration(n, "expire_after", time.Second, maxExpireAfter)
		},
		"routes": func(n ast.Node) {
			all := f.policy.routes
			f.policy.routes = nil
			f.list(n, "routes", f.route)
			t.routes, f.policy.routes = f.policy.routes, all
		},
	})
	switch {
	case t.ID == "":
		f.missing(n, t.line, "tenant", "id")
	case t.Name == "":
		f.missing(n, t.line, "tenant", "name")
	}
	for _, other := range f.policy.tenants {
		switch {
		case t.ID != "" && other.ID == t.ID:
			f.fault(t.line, "tenant: %s is listed twice", t.ID)
		case t.Name != "" && strings.EqualFold(other.Name, t.Name):
			f.fault(t.line, "tenant: another one is also named %q", t.Name)
		}
		for _, c := range t.Channels {
			if slices.Contains(other.Channels, c) {
				f.fault(t.line, "tenant %s: the channel %s is bound to %s already", t.Name, c, other.Name)
			}
		}
		if t.SharedChannels+other.SharedChannels == "" {
			continue
		}
		for _, place := range t.places() {
			if slices.Contains(other.places(), place) {
				f.fault(t.line, "tenant %s: %s is a place of %s too; with shared_channels a customer's channels are its own", t.Name, place, other.Name)
			}
		}
	}
	if t.SharedChannels != "" && len(t.places()) == 0 {
		f.fault(t.line, "tenant %s: shared_channels is set and no channel of its own is named; add channels or routes", t.Name)
	}
	f.policy.tenants = append(f.policy.tenants, t)
}

// tenantName reads a name that fits a flag: one word that is not "all".
func (f *fileReader) tenantName(n ast.Node) string {
	s := f.label(n, "tenant: name")
	if strings.ContainsAny(s, " ,@") || strings.EqualFold(s, "all") || strings.HasPrefix(s, "-") {
		f.fault(lineOf(n), "tenant: name %q must be one word, and not all", s)
		return ""
	}
	return s
}

// listedGroups reads names of groups whose members the file lists: who may work
// on a tenant must not hang on an answer of the directory.
func (f *fileReader) listedGroups(n ast.Node, what string) []string {
	var all []string
	f.list(n, what, func(item ast.Node) {
		if group, ok := f.text(item, what); ok {
			all = append(all, group)
			f.groupUses = append(f.groupUses, f.use(group, item))
			f.listed = append(f.listed, f.use(group, item))
		}
	})
	return all
}

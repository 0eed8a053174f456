package policy

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/mdebot/mdebot/internal/identity"
)

// Bounds and defaults of the file.
const (
	defaultExpireAfter   = 30 * time.Minute
	maxExpireAfter       = 60 * time.Minute
	defaultExecuteWithin = 10 * time.Minute
	maxExecuteWithin     = 15 * time.Minute
	defaultLookBack      = 10 * time.Minute
	maxLookBack          = 7 * 24 * time.Hour
	defaultBlindAfter    = 5 * time.Minute
	maxBlindAfter        = time.Hour
	defaultForgotten     = 7 * day
	maxForgottenAfter    = 365 * day
	defaultStormSize     = 20
	defaultStormWithin   = time.Minute
	maxStormWithin       = time.Hour
	day                  = 24 * time.Hour
	minKeepAudit         = 90 * day
	minKeepAlerts        = 7 * day
	minKeepHunts         = day
	maxKeep              = 3650 * day
	maxApprovers         = 20
	maxCount             = 10_000
	maxPlace             = 250
)

var defaultRetention = Retention{Audit: 400 * day, Alerts: 90 * day, Hunts: 7 * day}

var defaultLimits = Limits{PerPersonPerHour: 5, PerTenantPerHour: 20, TierZeroPerDay: 3}

// fileReader reads mdebot.yaml into a Policy.
type fileReader struct {
	reader
	opts     Options
	policy   *Policy
	people   []identity.Person
	warnings []Fault
	in       string // the file of tenants.d that is being read, or ""

	// Where things were written, for the checks across sections.
	personLine  map[identity.PersonID]int
	accountLine map[string]int
	groupUses   []use
	listed      []use // groups that must list their people
	memberUses  []memberUse
}

// use is a group named by a rule.
type use struct {
	group string
	in    string // a file of tenants.d, or ""
	line  int
}

func (f *fileReader) use(group string, n ast.Node) use {
	return use{group: group, in: f.in, line: lineOf(n)}
}

// faultAt is a fault of a use, found when every file has been read.
func (f *fileReader) faultAt(u use, format string, args ...any) {
	f.fault(u.line, format, args...)
	placeIn(u.in, f.faults[len(f.faults)-1:])
}

// placeIn names the file of tenants.d that faults stand in.
func placeIn(file string, faults []Fault) {
	if file == "" {
		return
	}
	for i := range faults {
		faults[i].Text, faults[i].Line = fmt.Sprintf("%s:%d: %s", file, faults[i].Line, faults[i].Text), 0
	}
}

// memberUse is a person named by a group.
type memberUse struct {
	group  string
	member identity.PersonID
	line   int
}

// Parse reads a mdebot.yaml; name is what faults call it. A file that is refused
// gives a *[FileError] with everything that is wrong with it.
func Parse(name string, text []byte, opts Options) (*Policy, error) {
	f := &fileReader{
		opts: opts,
		policy: &Policy{
			signIn:         opts.SignIn,
			expireAfter:    defaultExpireAfter,
			executeWithin:  defaultExecuteWithin,
			limits:         defaultLimits,
			lookBack:       defaultLookBack,
			blindAfter:     defaultBlindAfter,
			forgottenAfter: defaultForgotten,
			storm:          Storm{MoreThan: defaultStormSize, Within: defaultStormWithin},
			retention:      defaultRetention,
		},
		personLine:  make(map[identity.PersonID]int),
		accountLine: make(map[string]int),
	}
	if body := f.document(text); body != nil {
		f.object(body, "the file", keys{
			"approvals": f.approvals,
			"people":    func(n ast.Node) { f.list(n, "people", f.person) },
			"groups":    func(n ast.Node) { f.entries(n, "groups", f.group) },
			"readers":   func(n ast.Node) { f.policy.readers = f.destinations(n, "readers", false) },
			"notify":    f.notify,
			"hunting":   func(n ast.Node) { f.list(n, "hunting", f.huntGrant) },
			"scopes":    func(n ast.Node) { f.list(n, "scopes", f.scope) },
			"hunts":     func(n ast.Node) { f.list(n, "hunts", f.hunt) },
			"schedules": func(n ast.Node) { f.list(n, "schedules", f.schedule) },
			"retention": f.retention,
			"tenants":   func(n ast.Node) { f.list(n, "tenants", f.tenant) },
			"all_tenants": func(n ast.Node) {
				f.policy.allTenants = f.listedGroups(n, "all_tenants")
			},
		})
	}
	for _, name := range slices.Sorted(maps.Keys(opts.tenantFiles)) {
		f.tenantFile(name, opts.tenantFiles[name])
	}
	f.checkNames()
	f.checkReaders()
	f.checkSchedules()
	if len(f.faults) == 0 {
		f.seal()
	}
	if len(f.faults) > 0 {
		sortFaults(f.faults)
		return nil, &FileError{File: name, Faults: f.faults}
	}
	sortFaults(f.warnings)
	f.policy.warnings = render(name, f.warnings)
	return f.policy, nil
}

// checkNames looks for people and groups that are used and not listed.
func (f *fileReader) checkNames() {
	slices.SortFunc(f.policy.groups, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
	for _, u := range f.groupUses {
		if !slices.ContainsFunc(f.policy.groups, func(g Group) bool { return g.Name == u.group }) {
			f.faultAt(u, "group %q is not under groups", u.group)
		}
	}
	for _, u := range f.listed {
		if slices.ContainsFunc(f.policy.groups, func(g Group) bool { return g.Name == u.group && g.Directory != nil }) {
			f.faultAt(u, "group %q is a group of the directory; name one that lists its people here", u.group)
		}
	}
	for _, u := range f.memberUses {
		if _, ok := f.personLine[u.member]; !ok {
			f.fault(u.line, "group %s: %s is not under people", u.group, u.member)
		}
	}
}

// seal makes what follows from a file without faults of its own.
func (f *fileReader) seal() {
	book, err := identity.NewBook(f.people)
	if err != nil {
		f.fault(0, "%v", err)
		return
	}
	f.policy.book = book
	f.checkSatisfiable()
	f.warn()
	f.policy.hash = f.policy.digest()
	if len(f.policy.tenants) > 0 {
		if err := f.policy.split(); err != nil {
			f.fault(0, "%v", err)
		}
	}
}

func (f *fileReader) approvals(n ast.Node) {
	p := f.policy
	f.object(n, "approvals", keys{
		"allow_guests": func(n ast.Node) { p.approvalGuests = f.boolean(n, "allow_guests") },
		"post_to":      func(n ast.Node) { p.postTo = f.destinations(n, "post_to", true) },
		"mention":      func(n ast.Node) { p.mention = f.mentions(n) },
		"expire_after": func(n ast.Node) {
			p.expireAfter = f.duration(n, "expire_after", time.Second, maxExpireAfter)
		},
		"execute_within": func(n ast.Node) {
			p.executeWithin = f.duration(n, "execute_within", time.Second, maxExecuteWithin)
		},
		"limits": func(n ast.Node) {
			f.object(n, "limits", keys{
				"per_person_per_hour": func(n ast.Node) {
					p.limits.PerPersonPerHour = f.number(n, "per_person_per_hour", maxCount)
				},
				"per_tenant_per_hour": func(n ast.Node) {
					p.limits.PerTenantPerHour = f.number(n, "per_tenant_per_hour", maxCount)
				},
				"tier0_per_day": func(n ast.Node) {
					p.limits.TierZeroPerDay = f.number(n, "tier0_per_day", maxCount)
				},
			})
		},
		"step_up":   f.stepUp,
		"ticket":    f.ticket,
		"rules":     func(n ast.Node) { f.list(n, "rules", f.rule) },
		"protected": func(n ast.Node) { f.list(n, "protected", f.protect) },
		"own":       func(n ast.Node) { f.list(n, "own", f.own) },
	})
}

// StepUpTierZero and StepUpNever are what step_up may say.
const (
	StepUpTierZero = "tier0"
	StepUpNever    = "never"
)

func (f *fileReader) stepUp(n ast.Node) {
	s, ok := f.text(n, "step_up")
	switch {
	case !ok:
	case s != StepUpTierZero && s != StepUpNever:
		f.fault(lineOf(n), "step_up: write tier0 or never, not %q", s)
	case s == StepUpTierZero && !f.opts.SignIn:
		f.fault(lineOf(n), "step_up: nobody can sign in, so nobody could approve tier 0; set MDEBOT_PUBLIC_URL, MDEBOT_OIDC_CLIENT_ID and MDEBOT_OIDC_CLIENT_SECRET, or leave the key out")
	default:
		f.policy.stepUp = s
	}
}

// ticket reads the pattern that a reason must hold. RE2 takes time in proportion to
// the reason, whatever the pattern.
func (f *fileReader) ticket(n ast.Node) {
	s, ok := f.text(n, "ticket")
	if !ok {
		return
	}
	pattern, err := regexp.Compile(s)
	switch {
	case err != nil:
		f.fault(lineOf(n), "ticket: %v", err)
	case pattern.MatchString(""):
		f.fault(lineOf(n), "ticket: the pattern asks for nothing; write one such as INC[0-9]{7}, or leave the key out")
	default:
		f.policy.ticket = pattern
	}
}

func (f *fileReader) rule(n ast.Node) {
	r := Rule{Line: lineOf(n)}
	fromGiven := false
	f.object(n, "rule", keys{
		"name":      func(n ast.Node) { r.Name = f.label(n, "rule: name") },
		"when":      func(n ast.Node) { r.When, r.when = f.condition(n, ruleFacts) },
		"approvers": func(n ast.Node) { r.Approvers = f.number(n, "approvers", maxApprovers) },
		"from": func(n ast.Node) {
			fromGiven = true
			r.From = f.ruleGroups(n, "from")
			if len(r.From) == 0 {
				f.fault(r.Line, "rule: from is empty, so nobody could approve; name a group, or leave the key out for holders of the role approver")
			}
		},
		"then": func(n ast.Node) {
			if r.Then = f.ruleGroups(n, "then"); len(r.Then) == 0 {
				f.fault(r.Line, "rule: then is empty; name a group, or leave the key out")
			}
		},
	})
	switch {
	case r.Name == "":
		f.missing(n, r.Line, "rule", "name")
	case slices.ContainsFunc(f.policy.rules, func(other Rule) bool { return other.Name == r.Name }):
		f.fault(r.Line, "rule: another rule is also named %q", r.Name)
	}
	if !has(n, "approvers") {
		r.Approvers = max(1, len(r.From))
	} else if fromGiven && r.Approvers > 0 && r.Approvers < len(r.From) {
		f.fault(r.Line, "rule: %s cannot stand for %d groups, because one person stands for one group; write approvers: %d or leave the key out",
			count(r.Approvers), len(r.From), len(r.From))
	}
	f.checkThen(r)
	r.tierZero = aboutTierZero(r)
	r.text = ruleText(r)
	f.policy.rules = append(f.policy.rules, r)
}

// ruleGroups reads the names of groups, each once.
func (f *fileReader) ruleGroups(n ast.Node, what string) []string {
	var all []string
	f.list(n, what, func(item ast.Node) {
		group, ok := f.text(item, what)
		switch {
		case !ok:
		case slices.Contains(all, group):
			f.fault(lineOf(item), "%s: group %q is named twice", what, group)
		default:
			all = append(all, group)
			f.groupUses = append(f.groupUses, f.use(group, item))
		}
	})
	return all
}

// ruleText is the rule in the words of the file, with its defaults spelled out.
func ruleText(r Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\n", r.Name)
	if r.When != "" {
		fmt.Fprintf(&b, "when: %s\n", r.When)
	}
	fmt.Fprintf(&b, "approvers: %d\n", r.Approvers)
	if len(r.From) > 0 {
		fmt.Fprintf(&b, "from: [%s]", strings.Join(r.From, ", "))
	} else {
		b.WriteString("from: holders of the role approver")
	}
	b.WriteString(thenText(r.Then))
	return b.String()
}

// ownDomain is a host name of at least two labels, in lower case.
var ownDomain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

// own reads a domain, an address or a range of addresses that is ours.
func (f *fileReader) own(n ast.Node) {
	text, ok := f.text(n, "own")
	if !ok {
		return
	}
	if ip, err := netip.ParseAddr(text); err == nil {
		f.policy.ownRanges = append(f.policy.ownRanges, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
		return
	}
	r, err := netip.ParsePrefix(text)
	switch {
	case err == nil && r.Bits() > 0:
		f.policy.ownRanges = append(f.policy.ownRanges, r.Masked())
	case err != nil && !strings.Contains(text, "/") && ownDomain.MatchString(text):
		f.policy.ownDomains = append(f.policy.ownDomains, text)
	default:
		f.fault(lineOf(n), "own: %q is no domain, address or range; write contoso.com, 198.51.100.7 or 198.51.100.0/24, in lower case", text)
	}
}

func (f *fileReader) protect(n ast.Node) {
	p := protection{line: lineOf(n)}
	f.object(n, "protected", keys{
		"when": func(n ast.Node) { p.written, p.when = f.condition(n, ruleFacts) },
	})
	if !has(n, "when") {
		f.missing(n, p.line, "protected", "when")
	}
	f.policy.protected = append(f.policy.protected, p)
}

// condition reads and compiles a `when`.
func (f *fileReader) condition(n ast.Node, env environment) (written string, when condition) {
	s, ok := f.text(n, "when")
	if !ok {
		return "", condition{}
	}
	s = strings.TrimSpace(s)
	if s == "" {
		f.fault(lineOf(n), "when is empty; leave the key out to match everything")
		return "", condition{}
	}
	when, faults := compile(env, s)
	for _, err := range faults {
		f.fault(lineOf(n), "when: %v", err)
	}
	if when.ast != nil {
		for _, text := range when.neverTrue() {
			f.fault(lineOf(n), "when: %s", text)
		}
	}
	return s, when
}

func (f *fileReader) person(n ast.Node) {
	p := identity.Person{}
	line := lineOf(n)
	f.object(n, "person", keys{
		"person": func(n ast.Node) {
			if tenant, object, ok := f.objectID(n, "person"); ok {
				p.ID = identity.PersonID{Tenant: tenant, Object: object}
			}
		},
		"name": func(n ast.Node) { p.Name = f.label(n, "person: name") },
		"slack": func(n ast.Node) {
			f.list(n, "slack", func(item ast.Node) { f.account(item, &p) })
		},
		"roles": func(n ast.Node) {
			f.list(n, "roles", func(item ast.Node) {
				s, ok := f.text(item, "roles")
				if !ok {
					return
				}
				role, err := identity.ParseRole(s)
				switch {
				case err != nil:
					f.fault(lineOf(item), "%v", err)
				case slices.Contains(p.Roles, role):
					f.fault(lineOf(item), "role %s is named twice", role)
				default:
					p.Roles = append(p.Roles, role)
				}
			})
		},
	})
	if !has(n, "person") {
		f.missing(n, line, "person", "person")
	}
	if !has(n, "name") {
		f.missing(n, line, "person", "name")
	}
	if p.ID.IsZero() {
		return
	}
	if earlier, ok := f.personLine[p.ID]; ok {
		f.fault(line, "%s is already listed on line %d; one person has one entry, with all accounts", p.ID, earlier)
		return
	}
	f.personLine[p.ID] = line
	f.people = append(f.people, p)
}

func (f *fileReader) account(n ast.Node, p *identity.Person) {
	s, ok := f.text(n, "slack")
	if !ok {
		return
	}
	account, err := identity.ParseSlackAccount(s)
	if err != nil {
		f.fault(lineOf(n), "%v", err)
		return
	}
	if earlier, ok := f.accountLine[s]; ok {
		f.fault(lineOf(n), "Slack account %s is already linked on line %d; an account belongs to one person", s, earlier)
		return
	}
	f.accountLine[s] = lineOf(n)
	p.Accounts = append(p.Accounts, account)
}

// objectID reads the ID of a directory object, with or without its tenant.
func (f *fileReader) objectID(n ast.Node, what string) (tenant, object string, ok bool) {
	s, ok := f.text(n, what)
	if !ok {
		return "", "", false
	}
	full := s
	if !strings.Contains(s, "/") {
		if f.opts.HomeTenant == "" {
			f.fault(lineOf(n), "%s: %s has no tenant; write <tenant ID>/%s, or set TEAMS_TENANT_ID or MDE_TENANT_ID", what, s, s)
			return "", "", false
		}
		full = f.opts.HomeTenant + "/" + s
		if _, err := identity.ParsePersonID(f.opts.HomeTenant + "/" + anyObject); err != nil {
			f.fault(lineOf(n), "%s: %s would belong to the tenant %q, which is not a GUID in lower case; correct that setting, or write <tenant ID>/%s", what, s, f.opts.HomeTenant, s)
			return "", "", false
		}
	}
	id, err := identity.ParsePersonID(full)
	if err != nil {
		f.fault(lineOf(n), "%s: %q is no object ID; write it as Entra shows it, in lower case (8a1f0c52-….-…), with <tenant ID>/ before it for another home tenant", what, s)
		return "", "", false
	}
	return id.Tenant, id.Object, true
}

var groupName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (f *fileReader) group(name string, line int, n ast.Node) {
	if !groupName.MatchString(name) {
		f.fault(line, "group name %q: use letters, digits, dots, dashes and underscores", name)
		return
	}
	g := Group{Name: name}
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		f.object(n, "group "+name, keys{
			"entra_group": func(n ast.Node) {
				if tenant, object, ok := f.objectID(n, "entra_group"); ok {
					g.Directory = &DirectoryGroup{Tenant: tenant, Object: object}
				}
			},
		})
		if !has(n, "entra_group") {
			f.missing(n, line, "group "+name, "entra_group")
		}
	default:
		f.list(n, "group "+name, func(item ast.Node) {
			tenant, object, ok := f.objectID(item, "group "+name)
			if !ok {
				return
			}
			id := identity.PersonID{Tenant: tenant, Object: object}
			if slices.Contains(g.Members, id) {
				f.fault(lineOf(item), "group %s: %s is named twice", name, id)
				return
			}
			g.Members = append(g.Members, id)
			f.memberUses = append(f.memberUses, memberUse{group: name, member: id, line: lineOf(item)})
		})
	}
	f.policy.groups = append(f.policy.groups, g)
}

func (f *fileReader) notify(n ast.Node) {
	p := f.policy
	f.object(n, "notify", keys{
		"ops":          func(n ast.Node) { p.ops, _ = f.destination(n, "ops", true) },
		"allow_guests": func(n ast.Node) { p.notifyGuests = f.boolean(n, "allow_guests") },
		"fallback":     func(n ast.Node) { p.fallback, _ = f.destination(n, "fallback", true) },
		"page":         func(n ast.Node) { p.page = f.page(n) },
		"look_back": func(n ast.Node) {
			p.lookBack = f.duration(n, "look_back", 0, maxLookBack)
		},
		"blind_after": func(n ast.Node) {
			p.blindAfter = f.duration(n, "blind_after", time.Second, maxBlindAfter)
		},
		"forgotten_after": func(n ast.Node) {
			p.forgottenAfter = f.days(n, "forgotten_after", day, maxForgottenAfter)
		},
		"digests": func(n ast.Node) { f.list(n, "digests", f.digestEntry) },
		"routes":  func(n ast.Node) { f.list(n, "routes", f.route) },
		"storm": func(n ast.Node) {
			f.object(n, "storm", keys{
				"more_than": func(n ast.Node) { p.storm.MoreThan = f.number(n, "more_than", maxCount) },
				"within": func(n ast.Node) {
					p.storm.Within = f.duration(n, "within", time.Second, maxStormWithin)
				},
			})
		},
	})
}

// page reads the address of a receiver of events. It holds no secret: the file is
// shown, copied and reviewed.
func (f *fileReader) page(n ast.Node) string {
	s, ok := f.text(n, "page")
	if !ok {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		f.fault(lineOf(n), "page: write the https address that takes events, such as https://events.pagerduty.com/v2/enqueue")
		return ""
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		f.fault(lineOf(n), "page: write the address without password, query or fragment; the routing key comes from MDEBOT_PAGE_KEY")
		return ""
	}
	return s
}

// loopback reports an address of this machine: tests and simulators use plain
// http there.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (f *fileReader) retention(n ast.Node) {
	p := f.policy
	f.object(n, "retention", keys{
		"audit":  func(n ast.Node) { p.retention.Audit = f.days(n, "audit", minKeepAudit, maxKeep) },
		"alerts": func(n ast.Node) { p.retention.Alerts = f.days(n, "alerts", minKeepAlerts, maxKeep) },
		"hunts":  func(n ast.Node) { p.retention.Hunts = f.days(n, "hunts", minKeepHunts, maxKeep) },
	})
}

func (f *fileReader) route(n ast.Node) {
	r := Route{Line: lineOf(n)}
	f.object(n, "route", keys{
		"name":         func(n ast.Node) { r.Name = f.label(n, "route: name") },
		"when":         func(n ast.Node) { r.When, r.when = f.condition(n, routeFacts) },
		"allow_guests": func(n ast.Node) { r.AllowGuests = f.boolean(n, "allow_guests") },
		"to":           func(n ast.Node) { r.To = f.destinations(n, "to", true) },
		"mention":      func(n ast.Node) { r.Mention = f.mentions(n) },
	})
	switch {
	case r.Name == "":
		f.missing(n, r.Line, "route", "name")
	case slices.ContainsFunc(f.policy.routes, func(other Route) bool { return other.Name == r.Name }):
		f.fault(r.Line, "route: another route is also named %q", r.Name)
	}
	if len(r.To) == 0 && (!has(n, "to") || empty(n, "to")) {
		f.fault(r.Line, "route: to is empty, so its alerts would go nowhere; name a destination")
	}
	f.policy.routes = append(f.policy.routes, r)
}

var (
	slackPlace   = regexp.MustCompile(`^slack:[CGD][A-Z0-9]{1,31}$`)
	teamsPlace   = regexp.MustCompile(`^teams:(19|a):[!-~]+$`)
	slackMention = regexp.MustCompile(`^slack:[SUW][A-Z0-9]{1,31}$`)
)

// destinations reads a list of places, each once. Direct chats are allowed where
// direct says so.
func (f *fileReader) destinations(n ast.Node, what string, direct bool) []string {
	var all []string
	f.list(n, what, func(item ast.Node) {
		d, ok := f.destination(item, what, direct)
		switch {
		case !ok:
		case slices.Contains(all, d):
			f.fault(lineOf(item), "%s: %s is named twice", what, d)
		default:
			all = append(all, d)
		}
	})
	return all
}

func (f *fileReader) destination(n ast.Node, what string, direct bool) (string, bool) {
	s, ok := f.text(n, what)
	if !ok {
		return "", false
	}
	platform, rest, _ := strings.Cut(s, ":")
	account, isDirect := strings.CutPrefix(rest, "@")
	if isDirect && !direct {
		f.fault(lineOf(n), "%s: %s is a direct chat; name a channel", what, s)
		return "", false
	}
	valid, hint := false, "write slack:C… or teams:19:…@thread.tacv2"
	switch identity.Platform(platform) {
	case identity.Slack:
		valid, hint = slackPlace.MatchString(s), "a Slack destination is slack:C0123456789, with the channel ID from the channel's details; names do not work"
		if isDirect {
			_, err := identity.ParseSlackAccount(account)
			valid, hint = err == nil, "a Slack direct chat is slack:@T0SOC/U0RILEY"
		}
	case identity.Teams:
		valid, hint = len(s) <= maxPlace && teamsPlace.MatchString(s), "a Teams destination is teams:19:…@thread.tacv2, copied from the channel's link"
		if isDirect {
			_, err := identity.ParsePersonID(account)
			valid, hint = err == nil, "a Teams direct chat is teams:@<tenant ID>/<object ID>"
		}
	}
	if !valid {
		f.fault(lineOf(n), "%s: destination %q: %s", what, s, hint)
		return "", false
	}
	return s, true
}

func (f *fileReader) mentions(n ast.Node) []string {
	var all []string
	f.list(n, "mention", func(item ast.Node) {
		s, ok := f.text(item, "mention")
		if !ok {
			return
		}
		object, teams := strings.CutPrefix(s, "teams:")
		valid := slackMention.MatchString(s)
		if teams {
			_, err := identity.ParsePersonID(anyObject + "/" + object)
			valid = err == nil
		}
		switch {
		case !valid:
			f.fault(lineOf(item), "mention: %q: write slack:S… for a user group, slack:U… for a person, or teams:<object ID> for a person", s)
		case slices.Contains(all, s):
			f.fault(lineOf(item), "mention: %s is named twice", s)
		default:
			all = append(all, s)
		}
	})
	return all
}

// anyObject completes half a person ID, to check the form of the other half.
const anyObject = "00000000-0000-0000-0000-000000000000"

// missing reports a key that is needed and absent. A key that is there has been
// read, and complained about if need be.
func (f *fileReader) missing(n ast.Node, line int, what, key string) {
	if !has(n, key) {
		f.fault(line, "%s: %q is missing", what, key)
	}
}

// value returns what an object has under key.
func value(n ast.Node, key string) (ast.Node, bool) {
	mapping, ok := n.(*ast.MappingNode)
	if !ok {
		return nil, false
	}
	for _, v := range mapping.Values {
		if name, ok := v.Key.(*ast.StringNode); ok && name.Value == key {
			return v.Value, true
		}
	}
	return nil, false
}

func has(n ast.Node, key string) bool {
	_, ok := value(n, key)
	return ok
}

func empty(n ast.Node, key string) bool {
	v, _ := value(n, key)
	sequence, ok := v.(*ast.SequenceNode)
	return isNull(v) || ok && len(sequence.Values) == 0
}

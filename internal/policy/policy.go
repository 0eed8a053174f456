package policy

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Policy is one reading of mdebot.yaml. It is immutable and safe for concurrent
// use.
type Policy struct {
	hash     string
	warnings []string
	book     *identity.Book
	groups   []Group
	readers  []string

	postTo        []string
	mention       []string
	expireAfter   time.Duration
	executeWithin time.Duration
	stepUp        string // as written
	ticket        *regexp.Regexp
	signIn        bool
	limits        Limits
	rules         []Rule
	protected     []protection
	ownDomains    []string
	ownRanges     []netip.Prefix

	ops        string
	fallback   string
	page       string
	lookBack   time.Duration
	blindAfter time.Duration
	// forgottenAfter is how long an isolation lasts before it is listed weekly.
	forgottenAfter time.Duration
	routes         []Route
	// Whether guests may read what goes to ops and fallback, and to post_to.
	notifyGuests, approvalGuests bool
	// sharedPlaces may be shared with the customer whose policy this is.
	sharedPlaces []string
	storm        Storm
	hunts        []Hunt
	scheduled    []ScheduledHunt
	digests      []Digest
	hunting      []HuntGrant
	scopes       []scopeGrant
	retention    Retention

	tenants    []Tenant
	allTenants []string
	byTenant   map[tenant.ID]*Policy
	// leastApprovers is a tenant's own floor, also for what no rule matches.
	leastApprovers int
}

// Options say what the file leaves to its surroundings.
type Options struct {
	// HomeTenant is the Entra tenant of people and groups that the file names by
	// their object ID alone. Empty means that every one is written with its tenant.
	HomeTenant string
	// SignIn tells that people can sign in to mdebot, so that tier 0 votes can ask
	// for it.
	SignIn bool
	// ParamProblem says in a sentence what is wrong with the value of a saved hunt's
	// parameter of a type, or ""; nil finds nothing wrong.
	ParamProblem func(kind, value string) string

	// tenantFiles are the files of tenants.d by their names.
	tenantFiles map[string][]byte
}

// Group is a named set of people: a list in the file or a directory group.
type Group struct {
	Name    string
	Members []identity.PersonID
	// Directory is set for a directory group; Members is empty then.
	Directory *DirectoryGroup
}

// Limits cap destructive actions. A request above a limit needs one more
// approver; releases are counted apart (threat-model A-25).
type Limits struct {
	PerPersonPerHour int
	PerTenantPerHour int
	TierZeroPerDay   int
}

// Storm says from how many alerts on a destination counts them in one message.
type Storm struct {
	MoreThan int
	Within   time.Duration
}

// Retention is how long what happened is kept.
type Retention struct {
	Audit  time.Duration // records of the audit log
	Alerts time.Duration // alerts since they last changed, with their cards and notices
	Hunts  time.Duration // each person's last hunts, and the files of their results
}

// maxFile bounds what is read; a file of thousands of people is a tenth of it.
const maxFile = 1 << 20

// Load reads the file at path. See [Parse].
func Load(path string, opts Options) (*Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w; `mdebot config example` prints one to start from", err)
		}
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if opts.tenantFiles, err = loadTenantFiles(path); err != nil {
		return nil, fmt.Errorf("read tenants: %w", err)
	}
	return Parse(path, text, opts)
}

// Hash is the SHA-256, in hex, of what the file says. Comments, order of people
// and layout do not change it; everything that decides something does.
func (p *Policy) Hash() string { return p.hash }

// Warnings lists what is allowed but probably not meant, each with its line. They
// are told at start and every day.
func (p *Policy) Warnings() []string { return slices.Clone(p.warnings) }

// Book is the people of the file.
func (p *Policy) Book() *identity.Book { return p.book }

// Groups lists the groups by name.
func (p *Policy) Groups() []Group { return slices.Clone(p.groups) }

// Readers are the conversations whose full members may use reads other than
// hunt and user, there, without being listed: destinations such as "slack:C0SOC".
func (p *Policy) Readers() []string { return slices.Clone(p.readers) }

// PostTo are the destinations of request cards, beside the asking conversation
// and the approvers' direct chats.
func (p *Policy) PostTo() []string { return slices.Clone(p.postTo) }

// Mention are whom request cards notify: "slack:S0LEADS", "slack:U0RILEY" or
// "teams:<object ID>".
func (p *Policy) Mention() []string { return slices.Clone(p.mention) }

// ExpireAfter is how long a request waits for votes.
func (p *Policy) ExpireAfter() time.Duration { return p.expireAfter }

// ExecuteWithin is how long an approved request may wait to be started.
func (p *Policy) ExecuteWithin() time.Duration { return p.executeWithin }

// StepUp tells whether approving a tier 0 request needs a fresh sign-in: wherever
// people can sign in, unless the file says never.
func (p *Policy) StepUp() bool { return p.signIn && p.stepUp != StepUpNever }

// Ticket is what the reason of a request must hold, or nil.
func (p *Policy) Ticket() *regexp.Regexp { return p.ticket }

// Limits are the caps in force.
func (p *Policy) Limits() Limits { return p.limits }

// Rules lists the approval rules in their order.
func (p *Policy) Rules() []Rule { return slices.Clone(p.rules) }

// Ops is the destination of alarms about the bot itself, or empty.
func (p *Policy) Ops() string { return p.ops }

// Fallback is where an alert goes when no route takes it or its destination
// cannot be reached, or empty.
func (p *Policy) Fallback() string { return p.fallback }

// Page is the address that events for waking people go to, or empty.
func (p *Policy) Page() string { return p.page }

// LookBack is how far back alerts are posted at the first start.
func (p *Policy) LookBack() time.Duration { return p.lookBack }

// BlindAfter is how long no poll may succeed before that is announced.
func (p *Policy) BlindAfter() time.Duration { return p.blindAfter }

// ForgottenAfter is how long a machine is isolated before the weekly list names it.
func (p *Policy) ForgottenAfter() time.Duration { return p.forgottenAfter }

// AllRoutes lists the routes in their order.
func (p *Policy) AllRoutes() []Route { return slices.Clone(p.routes) }

// Storm is the threshold from which alerts are counted instead of posted.
func (p *Policy) Storm() Storm { return p.storm }

// Retention is how long records and alerts are kept.
func (p *Policy) Retention() Retention { return p.retention }

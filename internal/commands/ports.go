package commands

import (
	"context"
	"iter"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/links"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// Defender is what commands read, and what little they write: alerts, incidents and tags. It
// has no way to act on a machine.
type Defender interface {
	Alerts(ctx context.Context, f defender.AlertFilter) iter.Seq2[defender.Alert, error]
	AlertsWithEvidence(ctx context.Context, ids []string) ([]defender.Alert, error)
	Alert(ctx context.Context, id string) (defender.Alert, error)
	UpdateAlert(ctx context.Context, id string, u defender.AlertUpdate) (defender.Alert, error)
	FindMachines(ctx context.Context, query string) (defender.Found, error)
	MachinesNamed(ctx context.Context, names []string) ([]defender.Machine, error)
	Machine(ctx context.Context, id string) (defender.Machine, error)
	Machines(ctx context.Context, f defender.MachineFilter) iter.Seq2[defender.Machine, error]
	MachineUsers(ctx context.Context, machineID string) ([]defender.User, error)
	MachineAlerts(ctx context.Context, machineID string) ([]defender.Alert, error)
	MachineActions(ctx context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error]
	MachineAction(ctx context.Context, id string) (defender.MachineAction, error)
	PackageLink(ctx context.Context, actionID string) (defender.PackageLink, error)
	File(ctx context.Context, hash string) (defender.File, error)
	FileSightings(ctx context.Context, hash string) (defender.Sightings, error)
	IPSightings(ctx context.Context, ip string) (defender.Sightings, error)
	DomainSightings(ctx context.Context, host string) (defender.Sightings, error)
	RelatedAlerts(ctx context.Context, o defender.Observable) ([]defender.Alert, error)
	RelatedMachines(ctx context.Context, o defender.Observable) ([]defender.Machine, error)
	UserMachines(ctx context.Context, account string) ([]defender.Machine, error)
	UserAlerts(ctx context.Context, account string) ([]defender.Alert, error)
	Incident(ctx context.Context, id int64) (defender.Incident, error)
	UpdateIncident(ctx context.Context, id int64, u defender.IncidentUpdate) (defender.Incident, error)
	Incidents(ctx context.Context, since time.Time) iter.Seq2[defender.Incident, error]
	ExposureScore(ctx context.Context) (defender.Score, error)
	SecureScore(ctx context.Context) (defender.Score, error)
	Software(ctx context.Context, words string) ([]defender.Software, error)
	Vulnerability(ctx context.Context, id string) (defender.Vulnerability, error)
	ExposedMachines(ctx context.Context, id string) ([]defender.MachineReference, error)
	TagMachine(ctx context.Context, machineID, tag string, add bool) (defender.Machine, error)
	DeviceOwners(ctx context.Context, deviceID string) ([]defender.Owner, error)
	Permissions(ctx context.Context) (defender.Permissions, error)
}

// IndicatorReader lists indicators, of one value when it is given.
type IndicatorReader interface {
	Indicators(ctx context.Context, value string) iter.Seq2[defender.Indicator, error]
}

// Hunter runs hunting queries.
type Hunter interface {
	Hunt(ctx context.Context, q defender.HuntQuery, sink defender.HuntSink) (defender.HuntStats, error)
}

// Background is Defender for what nobody waits for.
type Background interface {
	Defender
	Hunter
}

// Schedules knows the hunts that run by themselves.
type Schedules interface {
	// Schedules lists those of a tenant in the order of mdebot.yaml.
	Schedules(ctx context.Context, t tenant.ID) ([]cards.ScheduleView, error)
}

// Approvals is the two-person rule. Its refusals are *[approvals.Refusal].
type Approvals interface {
	Open(ctx context.Context, in approvals.OpenInput) (approvals.Opened, error)
	Vote(ctx context.Context, in approvals.VoteInput) (approvals.VoteResult, error)
	Withdraw(ctx context.Context, in approvals.WithdrawInput) (approvals.Request, error)
	Settle(ctx context.Context, in approvals.SettleInput) (approvals.Opened, error)
	Freeze(ctx context.Context, in approvals.FreezeInput) (approvals.Frozen, error)
	Unfreeze(ctx context.Context, in approvals.FreezeInput) (approvals.Opened, error)
	Frozen(ctx context.Context, t tenant.ID) (approvals.Freeze, error)
	Mute(ctx context.Context, in approvals.MuteInput) (approvals.Opened, error)
	AskAgain(ctx context.Context, t tenant.ID, id string) (approvals.Prefill, error)
	// Started finds the requests that machine actions came from, by the actions' IDs.
	Started(ctx context.Context, t tenant.ID, machineActions []string) (map[string]approvals.Request, error)
	Request(ctx context.Context, t tenant.ID, id string) (approvals.Request, error)
	ByNumber(ctx context.Context, t tenant.ID, number int64) (approvals.Request, error)
	Live(ctx context.Context, t tenant.ID) ([]approvals.Request, error)
	// Mark changes with what Live lists.
	Mark(ctx context.Context, t tenant.ID) (string, error)
	// NeedsVote reports whether a request waits for this person.
	NeedsVote(ctx context.Context, r approvals.Request, person identity.PersonID) bool
}

// Links tells who is behind accounts and lets people link their own. Its refusals
// are *[links.Refusal].
type Links interface {
	Who(ctx context.Context, account identity.Principal) (identity.Link, error)
	Offer(ctx context.Context, in links.Asked) (links.Offer, error)
	Complete(ctx context.Context, in links.Asked, code string) (links.Stored, error)
	Propose(ctx context.Context, in links.Asked, code string) (links.Proposal, error)
	Accept(ctx context.Context, in links.Asked, key string) (links.Stored, error)
	Decline(ctx context.Context, in links.Asked, key string) error
	Unlink(ctx context.Context, in links.Asked) (links.Stored, error)
	Confirm(ctx context.Context, in links.Asked, id string) (links.Stored, error)
	// StepUp offers a fresh sign-in for one request as it was shown.
	StepUp(ctx context.Context, in links.Asked, request, digest, subject string) (links.Offer, error)
}

// Inbox remembers deliveries, so that a repeated one does nothing.
type Inbox interface {
	FirstDelivery(ctx context.Context, t tenant.ID, id string) (bool, error)
}

// Recorder keeps what people did and were refused. An error means that the
// event is not recorded; nothing that changes something goes on then.
type Recorder interface {
	Record(ctx context.Context, e audit.Event) error
}

// Watcher is told about alerts that people changed, so that posted cards follow
// at once.
type Watcher interface {
	AlertChanged(ctx context.Context, a defender.Alert) error
}

// PastHunt is a hunt that somebody ran.
type PastHunt struct {
	ID    string
	Query string
	Saved string // the name of a saved hunt, or ""
	At    time.Time
}

// History keeps the last hunts of each person, and which hunts run in some replica.
type History interface {
	KeepHunt(ctx context.Context, t tenant.ID, p identity.PersonID, h PastHunt) error
	// Hunts are the person's last ones, the newest first.
	Hunts(ctx context.Context, t tenant.ID, p identity.PersonID) ([]PastHunt, error)

	// HuntBegan and HuntEnded tell that a hunt of who runs here, and no more.
	HuntBegan(ctx context.Context, t tenant.ID, id, who string) error
	HuntEnded(ctx context.Context, t tenant.ID, id string) error
	// CancelHunt asks whichever replica runs that hunt of who to end it; false when
	// none does. It may run in several tenants at once.
	CancelHunt(ctx context.Context, id, who string) (bool, error)
	// HuntCancelled reports whether somebody asked for that.
	HuntCancelled(ctx context.Context, t tenant.ID, id string) (bool, error)
}

// Mutes keeps alerts out of chat for a while.
type Mutes interface {
	PreviewMute(ctx context.Context, t tenant.ID, m policy.Mute) (policy.MutePreview, error)
	// BeginMute begins a mute that needs nobody else.
	BeginMute(ctx context.Context, t tenant.ID, o policy.MuteOrder) (cards.MuteView, error)
	Mutes(ctx context.Context, t tenant.ID) ([]cards.MuteView, error)
	// EndMute ends one early; ok is false when none of that number is in force.
	EndMute(ctx context.Context, t tenant.ID, number int64, by string) (v cards.MuteView, ok bool, err error)
}

// Subjects knows what the thread of a posted card is about.
type Subjects interface {
	// SubjectOf returns what the card at the head of in's thread shows. ok is false
	// for threads of other messages.
	SubjectOf(ctx context.Context, in chat.Conversation) (s Subject, ok bool, err error)
}

// SubjectKind is what a card shows.
type SubjectKind string

// The kinds of subject.
const (
	SubjectAlert   SubjectKind = "alert"
	SubjectMachine SubjectKind = "machine"
	SubjectRequest SubjectKind = "request"
)

// Subject is what a thread is about.
type Subject struct {
	Tenant tenant.ID // "" counts as the one that is asked about
	Kind   SubjectKind
	ID     string
}

// StatusSource knows how mdebot's parts are.
type StatusSource interface {
	Status(ctx context.Context) []cards.StatusLine
}

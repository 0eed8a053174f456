package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/store/storetest"
	"github.com/mdebot/mdebot/internal/tenant"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	thisTenant = tenant.ID("33333333-3333-3333-3333-333333333333")
	home       = "11111111-1111-1111-1111-111111111111"
	ws042      = "111e6dd8c833c8a052ea231ec1b19adaf497b625"
	ws043      = "222e6dd8c833c8a052ea231ec1b19adaf497b625"
	twinA      = "333e6dd8c833c8a052ea231ec1b19adaf497b625"
	twinB      = "444e6dd8c833c8a052ea231ec1b19adaf497b625"
	cutOff     = "555e6dd8c833c8a052ea231ec1b19adaf497b625"
	linux1     = "777e6dd8c833c8a052ea231ec1b19adaf497b625"
	printer3   = "888e6dd8c833c8a052ea231ec1b19adaf497b625"
	guarded    = "666e6dd8c833c8a052ea231ec1b19adaf497b625"
	alert1     = "da637472900382838869_1364969609"
	action1    = "5382f7ea-7557-4ab7-9782-d50480024a4e"
)

const testPolicy = `
approvals:
  rules:
    - name: everything
      approvers: 1
  protected:
    - when: '"never-isolate" in machine.tags'
people:
  - person: 22222222-2222-2222-2222-222222222201
    name: Riley Chen
    slack: [T0SOC/U0RILEY]
    roles: [responder, hunter]
  - person: 22222222-2222-2222-2222-222222222202
    name: Avery Novak
    slack: [T0SOC/U0AVERY]
    roles: [approver]
  - person: 22222222-2222-2222-2222-222222222203
    name: Vic Viewer
    slack: [T0SOC/U0VIEWER]
    roles: [viewer]
  - person: 22222222-2222-2222-2222-222222222204
    name: Ada Admin
    slack: [T0SOC/U0ADMIN]
    roles: [admin]
readers: [slack:C0READ]
`

func account(name string) identity.Principal {
	return identity.Principal{Platform: identity.Slack, Workspace: "T0SOC", Account: name, Name: strings.ToLower(name)}
}

var (
	riley    = account("U0RILEY")
	avery    = account("U0AVERY")
	viewer   = account("U0VIEWER")
	admin    = account("U0ADMIN")
	stranger = account("U0STRANGER")
	guest    = account("U0GUEST")
	// rileyInTeams is Riley's other account.
	rileyInTeams = identity.Principal{Platform: identity.Teams, Workspace: home, Account: "22222222-2222-2222-2222-222222222201", Name: "Riley"}
)

// estate is a Defender tenant that holds state.
type estate struct {
	incidentUpdates []defender.IncidentUpdate
	mu              sync.Mutex
	machines        []defender.Machine
	alerts          []defender.Alert
	actions         []defender.MachineAction
	users           map[string][]defender.User
	granted         defender.Permissions
	// faults make an operation fail: "users", "alerts", "actions", "find", "update",
	// "permissions", "hunt".
	faults     map[string]error
	hunt       [][]string
	stats      defender.HuntStats
	queries    []string
	indicators []defender.Indicator
	// beside are indicators that only count.
	beside int
	// packages are the actions whose package was asked for.
	packages []string
}

func newEstate() *estate {
	machine := func(id, name string, tags ...string) defender.Machine {
		return defender.Machine{ID: id, Name: name, OS: "Windows11", Health: "Active", LastSeen: noon.Add(-time.Hour), Group: "Workstations", Tags: tags, InternalIP: "10.0.0." + id[:1]}
	}
	penguin := machine(linux1, "web-01")
	penguin.OS, penguin.Onboarding = "Ubuntu", "Onboarded"
	printer := machine(printer3, "printer-3")
	printer.OS, printer.Onboarding = "Other", "CanBeOnboarded"
	return &estate{
		machines: []defender.Machine{
			machine(ws042, "ws-042.corp.example"), machine(ws043, "ws-043.corp.example"),
			machine(twinA, "twin"), machine(twinB, "TWIN"),
			machine(cutOff, "ws-099"), machine(guarded, "dc-01", "never-isolate"),
			penguin, printer,
		},
		users: map[string][]defender.User{ws042: {{Name: "sam", Domain: "CORP"}}},
		alerts: []defender.Alert{
			{ID: alert1, Severity: defender.High, Status: "New", Title: "Suspicious <b>PowerShell</b>", MachineID: ws042, MachineName: "ws-042.corp.example", Created: noon.Add(-time.Hour), Evidence: []defender.Evidence{}},
			{ID: "da637472900382838870_1", Severity: defender.Low, Status: "New", Title: "Low one", MachineID: ws043, Created: noon.Add(-2 * time.Hour), Evidence: []defender.Evidence{}},
			{ID: "da637472900382838871_1", Severity: defender.Medium, Status: "Resolved", Title: "Old one", Created: noon.Add(-72 * time.Hour), Evidence: []defender.Evidence{}},
		},
		actions: []defender.MachineAction{
			{ID: action1, Type: defender.Isolate, Status: defender.ActionSucceeded, Scope: "Full", MachineID: cutOff, MachineName: "ws-099", Requestor: "mdebot", Created: noon.Add(-24 * time.Hour), Updated: noon.Add(-23 * time.Hour)},
		},
		granted: defender.PermissionsOf([]string{"Alert.ReadWrite.All", "Machine.Read.All", "User.Read.All", "Machine.Isolate", "Machine.RestrictExecution", "Machine.Scan", "Machine.StopAndQuarantine", "Machine.CollectForensics", "Ti.ReadWrite.All", "AdvancedQuery.Read.All"}, []string{"ThreatHunting.Read.All"}),
		faults:  map[string]error{},
	}
}

func (e *estate) fault(op string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.faults[op]
}

func each[T any](all []T, keep func(T) bool, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		n := 0
		for _, one := range all {
			if !keep(one) {
				continue
			}
			if n++; limit > 0 && n > limit || !yield(one, nil) {
				return
			}
		}
	}
}

func failing[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}

func (e *estate) Alerts(_ context.Context, f defender.AlertFilter) iter.Seq2[defender.Alert, error] {
	if err := e.fault("alerts"); err != nil {
		return failing[defender.Alert](err)
	}
	return each(e.alerts, func(a defender.Alert) bool {
		return a.Severity.Rank() >= f.MinSeverity.Rank() && !a.Created.Before(f.CreatedSince)
	}, f.Limit)
}

func (e *estate) AlertsWithEvidence(ctx context.Context, ids []string) ([]defender.Alert, error) {
	a, err := e.Alert(ctx, ids[0])
	return []defender.Alert{a}, err
}

func (e *estate) Alert(_ context.Context, id string) (defender.Alert, error) {
	if err := e.fault("alerts"); err != nil {
		return defender.Alert{}, err
	}
	for _, a := range e.alerts {
		if a.ID == id {
			return a, nil
		}
	}
	return defender.Alert{}, defender.ErrNotFound
}

func (e *estate) UpdateAlert(_ context.Context, id string, u defender.AlertUpdate) (defender.Alert, error) {
	if err := e.fault("update"); err != nil {
		return defender.Alert{}, err
	}
	for i := range e.alerts {
		a := &e.alerts[i]
		if a.ID != id {
			continue
		}
		if u.Status != "" {
			a.Status = u.Status
		}
		if u.Determination != "" {
			a.Determination = u.Determination
		}
		if u.AssignedTo != "" {
			a.AssignedTo = u.AssignedTo
		}
		if u.Classification != "" {
			a.Classification = u.Classification
		}
		a.Comments = append(a.Comments, defender.AlertComment{Text: u.Comment})
		return *a, nil
	}
	return defender.Alert{}, defender.ErrNotFound
}

func (e *estate) FindMachines(_ context.Context, query string) (defender.Found, error) {
	if err := e.fault("find"); err != nil {
		return defender.Found{}, err
	}
	var byID, byName, byIP, byPrefix []defender.Machine
	for _, m := range e.machines {
		label, _, _ := strings.Cut(m.Name, ".")
		switch {
		case m.ID == query:
			byID = append(byID, m)
		case strings.EqualFold(m.Name, query) || strings.EqualFold(label, query):
			byName = append(byName, m)
		case m.InternalIP == query:
			byIP = append(byIP, m)
		case strings.HasPrefix(strings.ToLower(m.Name), strings.ToLower(query)):
			byPrefix = append(byPrefix, m)
		}
	}
	switch {
	case len(byID) > 0:
		return defender.Found{Machines: byID, Match: defender.MatchID}, nil
	case len(byName) > 0:
		return defender.Found{Machines: byName, Match: defender.MatchName}, nil
	case len(byIP) > 0:
		return defender.Found{Machines: byIP, Match: defender.MatchIP}, nil
	}
	return defender.Found{Machines: byPrefix, Match: defender.MatchPrefix}, nil
}

func (e *estate) MachinesNamed(_ context.Context, names []string) ([]defender.Machine, error) {
	var found []defender.Machine
	for _, m := range e.machines {
		label, _, _ := strings.Cut(m.Name, ".")
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(m.Name, n) || strings.EqualFold(label, n) }) {
			found = append(found, m)
		}
	}
	return found, e.fault("find")
}

func (e *estate) Machine(_ context.Context, id string) (defender.Machine, error) {
	for _, m := range e.machines {
		if m.ID == id {
			return m, nil
		}
	}
	return defender.Machine{}, defender.ErrNotFound
}

func (e *estate) Machines(_ context.Context, f defender.MachineFilter) iter.Seq2[defender.Machine, error] {
	return each(e.machines, func(m defender.Machine) bool {
		return strings.HasPrefix(m.Name, f.NamePrefix) && (f.Tag == "" || strings.Contains(strings.Join(m.Tags, " "), f.Tag)) && (f.Risk == "" || m.Risk == f.Risk)
	}, f.Limit)
}

func (e *estate) MachineUsers(_ context.Context, id string) ([]defender.User, error) {
	return e.users[id], e.fault("users")
}

func (e *estate) MachineAlerts(_ context.Context, id string) ([]defender.Alert, error) {
	if err := e.fault("alerts"); err != nil {
		return nil, err
	}
	var out []defender.Alert
	for _, a := range e.alerts {
		if a.MachineID == id {
			out = append(out, a)
		}
	}
	return out, nil
}

func (e *estate) MachineActions(_ context.Context, f defender.ActionFilter) iter.Seq2[defender.MachineAction, error] {
	if err := e.fault("actions"); err != nil {
		return failing[defender.MachineAction](err)
	}
	return each(e.actions, func(a defender.MachineAction) bool {
		return (f.MachineID == "" || a.MachineID == f.MachineID) && !a.Created.Before(f.CreatedSince)
	}, f.Limit)
}

func (e *estate) MachineAction(_ context.Context, id string) (defender.MachineAction, error) {
	for _, a := range e.actions {
		if a.ID == id {
			return a, nil
		}
	}
	return defender.MachineAction{}, defender.ErrNotFound
}

func (e *estate) Permissions(context.Context) (defender.Permissions, error) {
	return e.granted, e.fault("permissions")
}

func (e *estate) Hunt(_ context.Context, q defender.HuntQuery, sink defender.HuntSink) (defender.HuntStats, error) {
	e.mu.Lock()
	e.queries = append(e.queries, q.KQL)
	e.mu.Unlock()
	if err := e.fault("hunt"); err != nil {
		return defender.HuntStats{}, err
	}
	if err := sink.Columns([]defender.Column{{Name: "Name"}, {Name: "Count"}}); err != nil {
		return defender.HuntStats{}, err
	}
	for _, row := range e.hunt {
		if err := sink.Row(row); err != nil {
			return defender.HuntStats{}, err
		}
	}
	return e.stats, nil
}

// world is everything around a Router.
type world struct {
	*Router
	estate    *estate
	standing  map[string]identity.Standing
	service   *approvals.Service
	subjects  map[string]Subject
	seen      map[string]bool
	delivery  int
	recorded  []audit.Event
	recordErr error
	changed   []string
	muted     fakeMutes
	past      fakeHistory
	scheduled fakeSchedules
	log       bytes.Buffer
	clock     time.Time
	mu        sync.Mutex
}

// fakeHistory keeps hunts by person, and those that run by their ID: who asked, or ""
// once they are cancelled.
type fakeHistory struct {
	mu      sync.Mutex
	of      map[identity.PersonID][]PastHunt
	running map[string]string
}

func (f *fakeHistory) HuntBegan(_ context.Context, _ tenant.ID, id, who string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		f.running = map[string]string{}
	}
	f.running[id] = who
	return nil
}

func (f *fakeHistory) HuntEnded(_ context.Context, _ tenant.ID, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, id)
	return nil
}

func (f *fakeHistory) CancelHunt(_ context.Context, id, who string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if by, runs := f.running[id]; !runs || by != who {
		return false, nil
	}
	f.running[id] = ""
	return true, nil
}

func (f *fakeHistory) HuntCancelled(_ context.Context, _ tenant.ID, id string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	who, runs := f.running[id]
	return runs && who == "", nil
}

func (f *fakeHistory) KeepHunt(_ context.Context, _ tenant.ID, p identity.PersonID, h PastHunt) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[identity.PersonID][]PastHunt{}
	}
	h.ID = fmt.Sprintf("h%d", len(f.of[p])+1)
	f.of[p] = append([]PastHunt{h}, f.of[p]...)
	return nil
}

func (f *fakeHistory) Hunts(_ context.Context, _ tenant.ID, p identity.PersonID) ([]PastHunt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[p], nil
}

// fakeMutes keeps mutes in force.
type fakeMutes struct {
	mu      sync.Mutex
	all     []cards.MuteView
	preview policy.MutePreview
	asked   []policy.Mute
}

func (f *fakeMutes) PreviewMute(_ context.Context, _ tenant.ID, m policy.Mute) (policy.MutePreview, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, m)
	return f.preview, nil
}

func (f *fakeMutes) BeginMute(_ context.Context, _ tenant.ID, o policy.MuteOrder) (cards.MuteView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := cards.MuteView{MuteOrder: o, Number: int64(len(f.all) + 1), Began: noon, Until: noon.Add(o.For)}
	f.all = append(f.all, v)
	return v, nil
}

func (f *fakeMutes) Mutes(context.Context, tenant.ID) ([]cards.MuteView, error) { return f.all, nil }

func (f *fakeMutes) EndMute(_ context.Context, _ tenant.ID, number int64, by string) (cards.MuteView, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, v := range f.all {
		if v.Number == number {
			f.all = slices.Delete(f.all, i, i+1)
			v.EndedBy = by
			return v, true, nil
		}
	}
	return cards.MuteView{}, false, nil
}

type nobodyTold struct{}

func (nobodyTold) RequestChanged(context.Context, durable.Tx, approvals.Request, approvals.Change) error {
	return nil
}

func (nobodyTold) FreezeChanged(context.Context, durable.Tx, approvals.Freeze, *approvals.Request) error {
	return nil
}

func newWorld(t testing.TB) *world {
	t.Helper()
	p, err := policy.Parse("mdebot.yaml", []byte(testPolicy), policy.Options{HomeTenant: home})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		estate: newEstate(), subjects: map[string]Subject{}, seen: map[string]bool{}, clock: noon,
		standing: map[string]identity.Standing{},
	}
	for _, a := range []identity.Principal{riley, avery, viewer, admin, stranger, rileyInTeams} {
		w.standing[a.Account] = identity.Member
	}
	w.standing[guest.Account] = identity.Guest
	source := policy.NewSource(p)
	now := func() time.Time { return w.clock }
	logger := slog.New(slog.NewJSONHandler(&w.log, nil))
	w.service = approvals.New(approvals.Config{
		DB: storetest.New(t), Audit: audit.NewLog(now), Announcer: nobodyTold{}, Policy: source,
		Actions: approvals.Actions(), Now: now, Logger: logger,
	})
	w.Router = New(Config{
		Tenant: thisTenant, Defender: w.estate, Indicators: w.estate, Hunter: w.estate, Approvals: w.service, Policy: source,
		Links: fileLinks{source: source}, Directory: w, Inbox: w, Recorder: w, Watcher: w, Mutes: &w.muted, History: &w.past, Background: w.estate, Schedules: &w.scheduled, Subjects: w, Status: w, Now: now, Logger: logger,
	})
	return w
}

func (w *world) Standing(_ context.Context, p identity.Principal) (identity.Standing, error) {
	if s, ok := w.standing[p.Account]; ok {
		return s, nil
	}
	return identity.Unknown, context.DeadlineExceeded
}

func (w *world) FirstDelivery(_ context.Context, _ tenant.ID, id string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.seen[id]
	w.seen[id] = true
	return first, nil
}

func (w *world) Record(_ context.Context, e audit.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.recordErr != nil {
		return w.recordErr
	}
	w.recorded = append(w.recorded, e)
	return nil
}

func (w *world) kinds() string {
	var kinds []string
	for _, e := range w.recorded {
		kinds = append(kinds, e.Kind)
	}
	return strings.Join(kinds, " ")
}

func (w *world) AlertChanged(_ context.Context, a defender.Alert) error {
	w.changed = append(w.changed, a.ID)
	return nil
}

func (w *world) SubjectOf(_ context.Context, in chat.Conversation) (Subject, bool, error) {
	s, ok := w.subjects[in.Thread]
	return s, ok, nil
}

func (w *world) Status(context.Context) []cards.StatusLine {
	return []cards.StatusLine{{Part: "Store", Good: true}}
}

// answers is a Replier that keeps what it is given.
type answers struct {
	mu       sync.Mutex
	final    []chat.Message
	progress int
}

func (a *answers) Progress(context.Context, chat.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.progress++
}

func (a *answers) Answer(_ context.Context, m chat.Message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.final = append(a.final, m)
	return nil
}

// invocation is what by does in a channel.
func (w *world) invocation(kind chat.Kind, by identity.Principal) chat.Invocation {
	w.delivery++
	return chat.Invocation{
		Kind: kind, By: by, Delivery: strings.Repeat("d", w.delivery), Slash: true, At: w.clock,
		In: chat.Conversation{Platform: by.Platform, Workspace: by.Workspace, ID: "C0SOC"},
	}
}

// ask runs inv to its end and returns the last answer, and the first.
func (w *world) ask(t *testing.T, inv chat.Invocation) (chat.Message, chat.Response) {
	t.Helper()
	resp := w.Handle(t.Context(), inv)
	if resp.Later == nil {
		if resp.Message == nil {
			return chat.Message{}, resp
		}
		return *resp.Message, resp
	}
	var out answers
	resp.Later(t.Context(), &out)
	if len(out.final) != 1 {
		t.Fatalf("%q got %d answers, want 1", inv.Text+inv.Action, len(out.final))
	}
	m := out.final[0]
	if bare := len(m.Facts)+len(m.Buttons) == 0 && m.Table == nil && m.Menu == nil; m.Tone == chat.Warning && bare && m.Note.String() == "" {
		t.Errorf("%q is refused without a next step: %s", inv.Text+inv.Action, textOf(m))
	}
	return m, resp
}

// says is the answer to a typed command.
func (w *world) says(t *testing.T, by identity.Principal, text string) chat.Message {
	t.Helper()
	inv := w.invocation(chat.Command, by)
	inv.Text = text
	m, _ := w.ask(t, inv)
	return m
}

// inThread is the answer to a command typed in the thread of s.
func (w *world) inThread(t *testing.T, by identity.Principal, s Subject, text string) (chat.Message, chat.Response) {
	t.Helper()
	w.subjects["thread"] = s
	inv := w.invocation(chat.Command, by)
	inv.Text, inv.In.Thread = text, "thread"
	return w.ask(t, inv)
}

func (w *world) clicks(t *testing.T, by identity.Principal, action, value string) (chat.Message, chat.Response) {
	t.Helper()
	inv := w.invocation(chat.Click, by)
	inv.Action, inv.Value = action, value
	return w.ask(t, inv)
}

func (w *world) submits(t *testing.T, by identity.Principal, action, value string, fields map[string]string) (chat.Message, chat.Response) {
	t.Helper()
	inv := w.invocation(chat.Submit, by)
	inv.Action, inv.Value, inv.Fields = action, value, fields
	return w.ask(t, inv)
}

// live are the open requests.
func (w *world) live(t *testing.T) []approvals.Request {
	t.Helper()
	live, err := w.service.Live(t.Context(), thisTenant)
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// textOf is everything that m says.
func textOf(m chat.Message) string {
	raw, err := json.Marshal(struct {
		Title, Note string
		Facts       []string
		Lines       []string
		Table       *chat.Table
		Menu        *chat.Menu
	}{m.Title.String(), m.Note.String(), factsOf(m), linesOf(m), m.Table, m.Menu})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func factsOf(m chat.Message) []string {
	var out []string
	for _, f := range m.Facts {
		out = append(out, f.Label+": "+f.Value.String())
	}
	return out
}

func linesOf(m chat.Message) []string {
	var out []string
	for _, s := range m.Sections {
		out = append(out, s.Heading)
		for _, l := range s.Lines {
			out = append(out, l.String())
		}
	}
	return out
}

func mustSay(t *testing.T, what string, m chat.Message, wants ...string) {
	t.Helper()
	for _, want := range wants {
		quoted, _ := json.Marshal(want)
		if text := textOf(m); !strings.Contains(text, strings.Trim(string(quoted), `"`)) {
			t.Errorf("%s answers %s, want %q in it", what, text, want)
		}
	}
}

const packageAddress = "https://userrequests-us.securitycenter.windows.com:443/safedownload/p.zip?token=CANARY"

func (e *estate) PackageLink(_ context.Context, actionID string) (defender.PackageLink, error) {
	if err := e.fault("package"); err != nil {
		return defender.PackageLink{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.packages = append(e.packages, actionID)
	return defender.ParsePackageLink(packageAddress)
}

// finish carries a request out as Defender would, up to its end.
func (w *world) finish(t testing.TB, r approvals.Request, action string) {
	t.Helper()
	if _, err := w.service.Vote(t.Context(), approvals.VoteInput{Asked: approvals.Asked{By: avery}, Tenant: thisTenant, Request: r.ID, Digest: r.Digest}); err != nil {
		t.Fatal(err)
	}
	id := r.Targets[0].ID
	ref := approvals.Ref{Tenant: thisTenant, Request: r.ID, Generation: 1}
	a, err := w.service.Claim(t.Context(), ref, approvals.Facts{At: w.clock, Machine: &policy.Machine{ID: id, Name: r.Targets[0].Name, OS: "Windows11"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.service.Submitted(t.Context(), a, approvals.Started{ID: action, Status: "Pending"}); err != nil {
		t.Fatal(err)
	}
	if err := w.service.Finished(t.Context(), ref, true, "Succeeded", ""); err != nil {
		t.Fatal(err)
	}
}

func (e *estate) Indicators(_ context.Context, value string) iter.Seq2[defender.Indicator, error] {
	if err := e.fault("indicators"); err != nil {
		return failing[defender.Indicator](err)
	}
	all := e.indicators
	for n := range e.beside {
		all = append(all, defender.Indicator{ID: fmt.Sprint(n), Type: defender.IndicatorIP, Value: fmt.Sprintf("2001:db8::%x", n)})
	}
	return each(all, func(i defender.Indicator) bool { return value == "" || i.Value == value }, 0)
}

// fakeSchedules are the hunts that run by themselves.
type fakeSchedules struct{ all []cards.ScheduleView }

func (f *fakeSchedules) Schedules(context.Context, tenant.ID) ([]cards.ScheduleView, error) {
	return f.all, nil
}

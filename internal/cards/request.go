package cards

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

// RequestView is what the approval card shows.
type RequestView struct {
	Request approvals.Request
	Portal  Portal
	// Freeze is the one in force, which an open request must show.
	Freeze approvals.Freeze
}

// Request is the approval card, in every state of the request. It is all that
// approvers know, so nothing in it is folded: what will run on what, what that
// means, who asks and why, which rule applies, and what has happened so far
// (threat-model A-03). What others chose is bounded, so that no length of it
// pushes a machine off the card.
func Request(v RequestView) chat.Message {
	r := v.Request
	m := chat.Message{
		Preview: requestPreview(r),
		Title:   chat.Join(chat.Plain(fmt.Sprintf("Request #%d: ", r.Number)), requestSubject(r), chat.Plain(" – "+stateWord(r))),
		Tone:    requestTone(r.State),
		Facts:   append(frozenFacts(v), requestFacts(r)...),
		Buttons: requestButtons(r),
		Note:    chat.Join(chat.Plain("Digest of what is voted on and executed: "), code(r.Digest)),
	}
	m.Sections = append(targetSections(r, v.Portal), chat.Section{Heading: "So far", Lines: history(r)})
	return m
}

// frozenFacts says first that nothing runs, as long as the request is open and
// meant by it.
func frozenFacts(v RequestView) []chat.Fact {
	if !v.Freeze.On() || v.Request.State.Resolved() || registry[v.Request.Action].Local() {
		return nil
	}
	return []chat.Fact{{Label: "Frozen", Value: chat.Join(
		frozenBy(v.Freeze), chat.Plain(". Nothing is approved or run until two people end it."))}}
}

// requestSubject is "isolate ws-042" or "isolate (selective) 3 machines".
func requestSubject(r approvals.Request) chat.Text {
	w := wordsOf(r.Action)
	verb := sentence(chat.Untrusted(w.verb), w.manner(r.Params))
	if len(r.Targets) == 1 {
		return sentence(verb, outside(within(r.Targets[0].Name, roomForTitle)))
	}
	many := "targets"
	if len(r.Targets) > 0 {
		many = cmp.Or(map[approvals.TargetKind]string{approvals.TargetMachine: "machines", approvals.TargetIndicator: "indicators"}[r.Targets[0].Kind], many)
	}
	return sentence(verb, chat.Plain(fmt.Sprintf("%d %s", len(r.Targets), many)))
}

func requestPreview(r approvals.Request) chat.Text {
	who := chat.Join(chat.Plain(", asked by "), outside(r.RequesterName), chat.Plain(fmt.Sprintf(" (#%d)", r.Number)))
	if r.State == approvals.Pending {
		return chat.Join(chat.Plain("Approval needed: "), requestSubject(r), who)
	}
	return chat.Join(requestSubject(r), chat.Plain(": "+stateWord(r)), who)
}

// stateWord says where the request stands.
func stateWord(r approvals.Request) string {
	switch r.State {
	case approvals.Pending:
		return "waits for approval"
	case approvals.Approved:
		return "approved, about to run"
	case approvals.Executing:
		return "running"
	case approvals.Submitted:
		return "taken by Defender, not " + wordsOf(r.Action).done + " yet"
	case approvals.Unknown:
		return "unclear, look at Defender"
	case approvals.Succeeded:
		return wordsOf(r.Action).done
	case approvals.Failed:
		return "failed"
	case approvals.Denied:
		return "denied"
	case approvals.Withdrawn:
		return "withdrawn"
	case approvals.Expired:
		return "expired undecided, counts as refused"
	case approvals.Void:
		return "void, nothing was run"
	default:
		return string(r.State)
	}
}

func requestTone(s approvals.State) chat.Tone {
	switch s {
	case approvals.Pending, approvals.Approved, approvals.Executing, approvals.Submitted:
		return chat.Notice
	case approvals.Succeeded:
		return chat.Good
	case approvals.Unknown, approvals.Expired, approvals.Void:
		return chat.Warning
	case approvals.Failed:
		return chat.Danger
	default:
		return chat.Neutral
	}
}

func requestFacts(r approvals.Request) []chat.Fact {
	w := wordsOf(r.Action)
	facts := []chat.Fact{
		{Label: "Asked by", Value: person(r.RequesterName, r.Requester, r.RequesterAs)},
		{Label: "Why, in the requester's words", Value: outside(r.Reason)},
		{Label: "What will run", Value: w.runs(r.Params)},
		{Label: "Parameters", Value: parameters(r.Params)},
		{Label: "What that means", Value: chat.Plain(w.means(r.Params))},
		{Label: "Rule", Value: rule(r)},
		{Label: "Approvals", Value: approvalCount(r)},
	}
	if r.State == approvals.Pending {
		if len(r.Rule.Then) > 0 {
			facts = append(facts, chat.Fact{Label: "Waits for", Value: waitsFor(r)})
		}
		facts = append(facts, chat.Fact{Label: "Decide by", Value: chat.Join(chat.At(r.Expires), chat.Plain("; undecided then counts as refused"))})
	}
	if r.State == approvals.Approved {
		facts = append(facts, chat.Fact{Label: "Starts by", Value: chat.Join(chat.At(r.ExecuteBy), chat.Plain("; not started by then, it is void"))})
	}
	return append(facts, chat.Fact{Label: "Defender tenant", Value: code(string(r.Tenant))})
}

// person is a name with the directory ID that counts and the account used. A Teams
// account that is the person has no other ID to show.
func person(name string, id identity.PersonID, account identity.Principal) chat.Text {
	from := code(account.String())
	if account.Platform == identity.Teams && account.Key() == id.String() {
		from = chat.Plain("Teams")
	}
	return dotted(outside(name), sentence(chat.Plain("person"), code(id.String())), sentence(chat.Plain("from"), from))
}

func parameters(params map[string]string) chat.Text {
	if len(params) == 0 {
		return chat.Plain("none")
	}
	var parts []chat.Text
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if params[k] != "" {
			parts = append(parts, chat.Code(k+"="+params[k]))
		}
	}
	return separated(", ", parts)
}

// How much of a rule the card quotes; the audit record has all of it.
const (
	maxRuleName = 100
	maxRuleText = 600
	maxRuleWhy  = 200
)

func rule(r approvals.Request) chat.Text {
	t := outside(within(r.Rule.Name, maxRuleName))
	if r.Rule.Text != "" && r.Rule.Text != r.Rule.Name {
		t = chat.Join(t, chat.Plain(": "), chat.Code(within(strings.ReplaceAll(strings.TrimSpace(r.Rule.Text), "\n", "; "), maxRuleText)))
	}
	if r.Rule.Why != "" {
		t = chat.Join(t, chat.Plain(" · applies because "), chat.Untrusted(within(r.Rule.Why, maxRuleWhy)))
	}
	if r.Rule.OverLimit != "" {
		t = chat.Join(t, chat.Plain(" · one approver more: "), chat.Untrusted(within(r.Rule.OverLimit, maxRuleWhy)))
	}
	return t
}

func approvalCount(r approvals.Request) chat.Text {
	given := 0
	for _, v := range r.Votes {
		if !v.Deny && v.Digest == r.Digest {
			given++
		}
	}
	if r.Rule.Alone {
		return chat.Plain("none needed")
	}
	t := chat.Plain(fmt.Sprintf("%d of %d, besides the requester", given, r.Rule.Approvers))
	for i, d := range r.Rule.Each {
		words := ", and %d "
		if i == 0 {
			words = ", of them %d "
		}
		t = chat.Join(t, chat.Plain(fmt.Sprintf(words, d.Approvers)), fromGroups(d.From))
	}
	if len(r.Rule.Each) > 0 {
		return t
	}
	return chat.Join(t, chat.Plain(", "), fromGroups(r.Rule.Groups()))
}

// waitsFor is who is asked now, and who is asked next and when, under a rule that
// falls back to others.
func waitsFor(r approvals.Request) chat.Text {
	t := groupNames(r.Rule.Groups())
	for step := range policy.MaxThen {
		groups := r.Rule.NextGroups(step + 1)
		at := r.Opened.Add(policy.AskedAfter(step + 1))
		switch {
		case len(groups) == 0:
		case step < r.Asked():
			t = chat.Join(t, chat.Plain("; since "), chat.At(at), chat.Plain(" also "), groupNames(groups))
		case at.Before(r.Expires):
			return chat.Join(t, chat.Plain("; asked next: "), groupNames(groups), chat.Plain(" at "), chat.At(at))
		}
	}
	return t
}

func groupNames(groups []string) chat.Text {
	var parts []chat.Text
	for _, g := range groups {
		name := chat.Untrusted(g)
		if g == policy.RoleApprovers {
			name = chat.Plain("holders of the role approver")
		}
		parts = append(parts, name)
	}
	return separated(", ", parts)
}

func fromGroups(groups []string) chat.Text {
	switch {
	case len(groups) > 1:
		return chat.Join(chat.Plain("at least one from each of "), list(groups))
	case groups[0] == policy.RoleApprovers:
		return chat.Plain("from holders of the role approver")
	}
	return chat.Join(chat.Plain("from "), chat.Untrusted(groups[0]))
}

// history says who did what, oldest first.
func history(r approvals.Request) []chat.Text {
	lines := []chat.Text{chat.Join(chat.At(r.Opened), chat.Plain(" asked for by "), outside(r.RequesterName))}
	votes := slices.Clone(r.Votes)
	slices.SortStableFunc(votes, func(a, b approvals.Vote) int { return a.At.Compare(b.At) })
	for _, v := range votes {
		did := " approved by "
		if v.Deny {
			did = " denied by "
		}
		line := chat.Join(chat.At(v.At), chat.Plain(did), person(v.Name, v.By, v.As))
		if v.Reason != "" {
			line = chat.Join(line, chat.Plain(", in their words: "), chat.Untrusted(v.Reason))
		}
		if v.Digest != r.Digest {
			line = chat.Join(line, chat.Plain(" · does not count: cast on something else"))
		}
		lines = append(lines, line)
	}
	if line := closing(r); len(line) > 0 {
		lines = append(lines, line)
	}
	if r.State == approvals.Unknown {
		lines = append(lines, chat.Plain(fmt.Sprintf("Look at the machine in the Defender portal, then type settle %d done <what you saw>, or settle %d not-done <what you saw>.", r.Number, r.Number)))
	}
	return lines
}

// closing says when and why the request ended, or nothing when the denial above it
// has said so.
func closing(r approvals.Request) chat.Text {
	why := whyBeside(r)
	if !r.State.Resolved() || r.State == approvals.Denied && len(denials(r)) > 0 && why == "" {
		return nil
	}
	at := r.Closed
	if at.IsZero() {
		at = r.DecidedAt
	}
	line := chat.Join(when(at), chat.Plain(" "+stateWord(r)))
	if r.State == approvals.Withdrawn {
		line = chat.Join(line, chat.Plain(" by "), outside(r.RequesterName))
	}
	if why != "" {
		line = chat.Join(line, chat.Plain(": "), chat.Untrusted(why))
	}
	return line
}

func denials(r approvals.Request) []approvals.Vote {
	return slices.DeleteFunc(slices.Clone(r.Votes), func(v approvals.Vote) bool { return !v.Deny })
}

// whyBeside is why the request ended, without the words that only repeat who denied
// or withdrew it and what they said.
func whyBeside(r approvals.Request) string {
	var known []string
	switch r.State {
	case approvals.Denied:
		for _, v := range denials(r) {
			known = append(known, "Denied by "+v.Name+": "+v.Reason, "Denied by "+v.Name)
		}
	case approvals.Withdrawn:
		known = []string{"Withdrawn by " + r.RequesterName}
	default:
	}
	for _, words := range known {
		if rest, ok := strings.CutPrefix(r.Why, words); ok && (rest == "" || strings.HasPrefix(rest, ". ")) {
			return strings.TrimPrefix(rest, ". ")
		}
	}
	return r.Why
}

func requestButtons(r approvals.Request) []chat.Button {
	value := RequestValue(r.ID, r.Digest)
	deny := []chat.Button{
		{Label: "Deny", Action: ActionDeny, Value: value, Style: chat.StyleDanger},
		{Label: "Deny with a reason", Action: ActionDenyForm, Value: value, OpensForm: true},
		{Label: "Deny and report", Action: ActionReport, Value: value},
		{Label: "Withdraw", Action: ActionWithdraw, Value: value},
	}
	switch r.State {
	case approvals.Pending:
		return append([]chat.Button{{Label: "Approve", Action: ActionApprove, Value: value, Confirm: approveConfirm(r), Whole: true}}, deny...)
	case approvals.Approved:
		return deny
	case approvals.Expired, approvals.Void, approvals.Failed:
		if registry[r.Action].Local() {
			return nil // asked again by its command
		}
		return []chat.Button{{Label: "Ask again", Action: ActionAskAgain, Value: value, OpensForm: true}}
	case approvals.Succeeded:
		if r.Action == approvals.Package {
			return []chat.Button{{Label: "Get the download link", Action: ActionDownload, Value: value}}
		}
		if w := wordsOf(r.Action); w.ask != "" && len(r.Targets) == 1 {
			return []chat.Button{{Label: w.ask, Action: ActionForm(registry[r.Action].Opposite), Value: r.Targets[0].ID, OpensForm: true}}
		}
		return nil
	default:
		return nil
	}
}

// confirmNames is how many machines the confirmation names; the dialogs of both
// platforms are small. The card itself names all.
const confirmNames = 5

func approveConfirm(r approvals.Request) *chat.Confirm {
	names := make([]string, 0, confirmNames)
	for _, t := range r.Targets[:min(len(r.Targets), confirmNames)] {
		names = append(names, within(t.Name, roomForName))
	}
	text := chat.Join(chat.Plain("You approve: "), chat.Untrusted(wordsOf(r.Action).verb), chat.Plain(" "), list(names))
	if len(r.Targets) == 1 {
		text = sentence(text, code(r.Targets[0].ID))
	}
	if more := len(r.Targets) - len(names); more > 0 {
		text = chat.Join(text, chat.Plain(fmt.Sprintf(" and %d more, all listed on the card", more)))
	}
	return &chat.Confirm{
		Title: fmt.Sprintf("Approve #%d?", r.Number),
		Text:  chat.Join(text, chat.Plain(". "+wordsOf(r.Action).means(r.Params))),
		Yes:   "Approve",
		No:    "Back",
	}
}

// RequestReply is the short new message on a final or unclear state: edits
// notify nobody. Whoever posts it adds the mentions.
func RequestReply(r approvals.Request) chat.Message {
	m := chat.Message{
		Title: chat.Join(chat.Plain(fmt.Sprintf("#%d ", r.Number)), requestSubject(r), chat.Plain(": "+stateWord(r))),
		Tone:  requestTone(r.State),
	}
	m.Preview = m.Title
	if r.State == approvals.Withdrawn {
		m.Facts = append(m.Facts, chat.Fact{Label: "Withdrawn by", Value: outside(r.RequesterName)})
	}
	for _, v := range r.Votes {
		did, who := "Approved by", outside(v.Name)
		if v.Deny {
			did = "Denied by"
		}
		if v.Reason != "" {
			who = chat.Join(who, chat.Plain(", in their words: "), chat.Untrusted(v.Reason))
		}
		m.Facts = append(m.Facts, chat.Fact{Label: did, Value: who})
	}
	if why := whyBeside(r); why != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "Why", Value: chat.Untrusted(why)})
	}
	for _, t := range r.Targets {
		if outcome := targetOutcome(r, t); len(outcome) > 0 {
			m.Facts = append(m.Facts, chat.Fact{Label: targetHeading(r, t), Value: chat.Join(outside(t.Name), chat.Plain(" "), code(t.ID), chat.Plain(" · "), outcome)})
		}
	}
	m.Buttons = requestButtons(r)
	if r.State == approvals.Pending || r.State == approvals.Approved {
		// Nobody decides on these few words.
		m.Buttons = []chat.Button{showCard(r)}
	}
	return m
}

func showCard(r approvals.Request) chat.Button {
	return chat.Button{Label: "Show the card", Action: ActionShowReq, Value: RequestValue(r.ID, r.Digest)}
}

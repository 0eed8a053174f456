package commands

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// listed is how many entries a list shows.
const listed = 25

// maxComment bounds what is written into Defender's comments.
const maxComment = 800

// maxAssignee bounds whom an alert is assigned to: the longest user principal
// name is shorter.
const maxAssignee = 120

func alertSpecs() []Spec {
	update := func(s Spec) Spec {
		s.Role, s.Permissions, s.Changes = identity.Responder, [][]string{writeAlerts}, true
		return s
	}
	return []Spec{
		{
			Name: "alert", Usage: "alert <id>", Summary: "Show one alert with its evidence.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{readAlerts},
			Flags: []Flag{publicFlag}, Examples: []string{"alert da637472900382838869_1364969609"},
			busy: lookingUp, run: (*Router).alert,
		},
		{
			Name: "alerts", Usage: "alerts [severity] [--since 24h] [--machine <name|id>]", Summary: "List alerts of a severity or higher, the newest first.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{readAlerts},
			Flags: []Flag{
				{Name: "since", Value: "24h", Summary: "how far back: 90m, 24h, 7d"},
				{Name: "machine", Value: "<name|id>", Summary: "only alerts of this machine"},
				publicFlag,
			},
			Examples: []string{"alerts", "alerts high --since 7d", "alerts --machine ws-042"},
			run:      (*Router).alerts,
		},
		update(Spec{
			Name: "ack", Usage: "alert <id> ack", Summary: "Take an alert: in progress, in your name.",
			Examples: []string{"alert da637472900382838869_1364969609 ack", "ack da637472900382838869_1364969609"},
			run:      (*Router).ack,
		}),
		update(Spec{
			Name: "assign", Usage: "alert <id> assign <who>", Summary: "Assign an alert to somebody, or to you with \"me\".",
			Examples: []string{"alert da637472900382838869_1364969609 assign riley@example.com"},
			asks:     lacksWordsAfterAlert, form: (*Router).assignForm, run: (*Router).assign,
		}),
		update(Spec{
			Name: "resolve", Usage: "alert <id> resolve <true-positive|false-positive|informational> [determination]", Summary: "Resolve an alert with a classification.",
			Examples: []string{"alert da637472900382838869_1364969609 resolve false-positive", "alert da637472900382838869_1364969609 resolve true-positive malware"},
			asks:     lacksWordsAfterAlert, form: (*Router).resolveForm, run: (*Router).resolve,
		}),
		update(Spec{
			Name: "comment", Usage: "alert <id> comment <text>", Summary: "Add a comment to an alert.",
			Examples: []string{"alert da637472900382838869_1364969609 comment looks like the backup job"},
			asks:     lacksWordsAfterAlert, form: (*Router).commentForm, run: (*Router).comment,
		}),
	}
}

func lookingUp(c *call) chat.Text {
	if len(c.args) == 0 {
		return chat.Plain("Looking it up …")
	}
	return chat.Join(chat.Plain("Looking up "), chat.Untrusted(c.arg(0)), chat.Plain(" …"))
}

// alertID tells alert IDs from words: they hold many digits and nothing but
// letters, digits and joints.
var alertID = regexp.MustCompile(`^[A-Za-z]{0,4}-?[0-9]{6,}[0-9A-Za-z_-]*$`)

// alertOf returns the alert that c is about and the position of the words after
// it: the first argument, or in the thread of an alert that alert.
func (r *Router) alertOf(ctx context.Context, c *call) (id string, rest int, err error) {
	if alertID.MatchString(c.arg(0)) {
		return c.arg(0), 1, nil
	}
	s, ok, err := r.subject(ctx, c.inv.In)
	if err != nil {
		return "", 0, err
	}
	if ok && s.Kind == SubjectAlert {
		return s.ID, 0, nil
	}
	if len(c.args) > 0 {
		return "", 0, &sorry{
			sentence: chat.Join(chat.Untrusted(c.arg(0)), chat.Plain(" is not an alert ID.")),
			next:     chat.Join(chat.Plain("Copy the ID from the alert's card. Usage: "), chat.Code(c.usage())),
		}
	}
	return "", 0, usageError(c, "Which alert? Give its ID, or ask in the thread of an alert.")
}

// subject is what the thread is about, if inv came from one.
func (r *Router) subject(ctx context.Context, in chat.Conversation) (Subject, bool, error) {
	if in.Thread == "" {
		return Subject{}, false, nil
	}
	s, ok, err := r.Subjects.SubjectOf(ctx, in)
	if s.Tenant != "" && s.Tenant != r.Tenant {
		return Subject{}, false, err // a thread of another tenant means nothing here
	}
	return s, ok, err
}

func (r *Router) alert(ctx context.Context, c *call) (chat.Message, error) {
	id, rest, err := r.alertOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	if rest < len(c.args) {
		return chat.Message{}, usageError(c, "After the ID, alert takes ack, assign, resolve or comment.")
	}
	v, err := r.alertView(ctx, id)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.Alert(v), nil
}

// alertView reads an alert with its evidence and machine. Only the alert itself
// must be readable.
func (r *Router) alertView(ctx context.Context, id string) (cards.AlertView, error) {
	a, err := r.Defender.Alert(ctx, id)
	if err != nil {
		return cards.AlertView{}, err
	}
	v := cards.AlertView{Alert: a, Portal: r.Portal}
	if a.Evidence == nil {
		with, err := r.Defender.AlertsWithEvidence(ctx, []string{id})
		switch {
		case err != nil:
			v.EvidenceUnread = whyUnread(err, defender.PermissionAlertRead)
		case len(with) == 1:
			v.Alert = with[0]
		}
	}
	if a.MachineID != "" {
		if m, err := r.Defender.Machine(ctx, a.MachineID); err == nil {
			v.Machine = &m
		}
	}
	granted, err := r.Defender.Permissions(ctx)
	if err == nil {
		v.MayUpdate, v.MayIsolate = granted.Has(defender.PermissionAlertWrite), granted.Has(defender.PermissionIsolate)
		v.MayHunt = granted.Has(defender.PermissionHuntGraph) || granted.Has(defender.PermissionHuntDefender)
	}
	return v, nil
}

func (r *Router) alerts(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 1 {
		return chat.Message{}, usageError(c, "alerts takes one severity at most.")
	}
	since := 24 * time.Hour
	if text, given := c.flags["since"]; given {
		d, ok := parseAge(text)
		if !ok {
			return chat.Message{}, usageError(c, "--since takes a time such as 90m, 24h or 7d, up to 180d.")
		}
		since = d
	}
	f := defender.AlertFilter{CreatedSince: r.Now().Add(-since), Limit: listed + 1}
	what := chat.Plain("since " + f.CreatedSince.UTC().Format("2006-01-02 15:04 UTC"))
	if word := c.arg(0); word != "" {
		s, ok := severityOf(word)
		if !ok {
			return chat.Message{}, &sorry{
				sentence: chat.Join(chat.Untrusted(word), chat.Plain(" is not a severity.")),
				next:     chat.Join(chat.Plain("Write informational, low, medium or high. Usage: "), chat.Code(c.usage())),
			}
		}
		f.MinSeverity = s
		what = chat.Join(chat.Plain("of severity "+string(s)+" or higher "), what)
	}
	if query, given := c.flags["machine"]; given {
		return r.alertsOfMachine(ctx, query, f, what)
	}
	all, _, err := collect(r.Defender.Alerts(ctx, f))
	if err != nil {
		return chat.Message{}, err
	}
	return cards.AlertList(all[:min(len(all), listed)], what, len(all) > listed), nil
}

func (r *Router) alertsOfMachine(ctx context.Context, query string, f defender.AlertFilter, what chat.Text) (chat.Message, error) {
	m, err := r.oneMachine(ctx, query, cards.ChooserView{Next: "Ask again with an ID."})
	if err != nil {
		return chat.Message{}, err
	}
	found, err := r.Defender.MachineAlerts(ctx, m.ID)
	if err != nil {
		return chat.Message{}, err
	}
	var all []defender.Alert
	for _, a := range found {
		if a.Severity.Rank() >= f.MinSeverity.Rank() && !a.Created.Before(f.CreatedSince) {
			all = append(all, a)
		}
	}
	what = chat.Join(what, chat.Plain(" on "), chat.Untrusted(m.Name))
	return cards.AlertList(all[:min(len(all), listed)], what, len(all) > listed), nil
}

func severityOf(word string) (defender.Severity, bool) {
	for _, s := range []defender.Severity{defender.Informational, defender.Low, defender.Medium, defender.High} {
		if strings.EqualFold(word, string(s)) {
			return s, true
		}
	}
	return "", false
}

// longestAge is how far back Defender keeps what is asked for.
const longestAge = 180 * 24 * time.Hour

// parseAge reads 90m, 24h or 7d, up to [longestAge].
func parseAge(s string) (time.Duration, bool) {
	if len(s) < 2 {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[s[len(s)-1]|0x20]
	n, err := strconv.Atoi(s[:len(s)-1])
	if !ok || err != nil || n < 1 || n > int(longestAge/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

func (r *Router) ack(ctx context.Context, c *call) (chat.Message, error) {
	id, rest, err := r.alertOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	if rest < len(c.args) {
		return chat.Message{}, usageError(c, "ack takes nothing after the alert.")
	}
	return r.ackAlert(ctx, c, id)
}

// ackAlert takes an alert that nobody works on.
func (r *Router) ackAlert(ctx context.Context, c *call, id string) (chat.Message, error) {
	a, err := r.Defender.Alert(ctx, id)
	if err != nil {
		return chat.Message{}, err
	}
	switch {
	case a.Status == "Resolved":
		return chat.Message{}, say("That alert is resolved already.", "Another classification: alert <id> resolve <classification>. To open it again, use the Defender portal.")
	case a.Status == "InProgress" && a.AssignedTo != "":
		return chat.Message{}, sayOf("That alert is in progress already, with ", a.AssignedTo, ".", "To take it over: alert <id> assign me.")
	}
	return r.updateAlert(ctx, c, id, "Acknowledged", defender.AlertUpdate{Status: "InProgress", AssignedTo: c.who.name()})
}

func (r *Router) assign(ctx context.Context, c *call) (chat.Message, error) {
	id, rest, err := r.alertOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	if len(c.args) != rest+1 {
		return chat.Message{}, usageError(c, "Assign it to whom? Give one name or address, or me.")
	}
	who := c.arg(rest)
	if strings.EqualFold(who, "me") {
		who = c.who.name()
	}
	return r.assignAlert(ctx, c, id, who)
}

func (r *Router) resolve(ctx context.Context, c *call) (chat.Message, error) {
	id, rest, err := r.alertOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	v, problem := verdictOf(c.words(rest))
	if problem != "" {
		return chat.Message{}, usageError(c, problem)
	}
	return r.resolveAlert(ctx, c, id, v, "")
}

// resolveAlert resolves an alert, with a comment of the person or "".
func (r *Router) resolveAlert(ctx context.Context, c *call, id string, v verdict, comment string) (chat.Message, error) {
	what := "Resolved as " + v.String()
	if comment != "" {
		what += ": " + comment
	}
	return r.updateAlert(ctx, c, id, what, defender.AlertUpdate{Status: "Resolved", Classification: v.classification, Determination: v.determination})
}

func (r *Router) comment(ctx context.Context, c *call) (chat.Message, error) {
	id, rest, err := r.alertOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	return r.commentAlert(ctx, c, id, strings.TrimSpace(c.words(rest)))
}

func (r *Router) commentAlert(ctx context.Context, c *call, id, text string) (chat.Message, error) {
	if err := checkComment(c, text); err != nil {
		return chat.Message{}, err
	}
	return r.updateAlert(ctx, c, id, "Comment: "+chat.Visible(text, maxComment), defender.AlertUpdate{})
}

func checkComment(c *call, text string) error {
	if text == "" {
		return usageError(c, "The comment is missing.")
	}
	if n := utf8.RuneCountInString(text); n > maxComment {
		return say(fmt.Sprintf("The comment has %d characters.", n), fmt.Sprintf("Keep it to %d.", maxComment))
	}
	return nil
}

// inTheirName is the comment that Defender keeps of a change, which the bot's
// application makes.
func (c *call) inTheirName(what string) string {
	return fmt.Sprintf("%s, by %s from %s through mdebot", chat.Visible(what, maxComment), chat.Visible(c.who.name(), 80), c.inv.By.Platform)
}

// outcomeOf is what the record says of a change that was not confirmed.
func outcomeOf(err error) string {
	if errors.Is(err, defender.ErrUnavailable) {
		return "unknown"
	}
	return "failed"
}

// updateAlert records the change, makes it with the person's name in the
// comment, and lets posted cards follow.
func (r *Router) updateAlert(ctx context.Context, c *call, id, what string, u defender.AlertUpdate) (chat.Message, error) {
	u.Comment = c.inTheirName(what)
	detail := map[string]string{"alert_id": id, "status": u.Status, "assigned_to": u.AssignedTo, "classification": u.Classification, "comment": u.Comment}
	if err := r.record(ctx, c, "alert.updating", "ok", detail); err != nil {
		return chat.Message{}, fmt.Errorf("record change of alert: %w", err)
	}
	a, err := r.Defender.UpdateAlert(ctx, id, u)
	if err != nil {
		return chat.Message{}, errors.Join(err, r.record(ctx, c, "alert.updated", outcomeOf(err), detail))
	}
	if err := r.record(ctx, c, "alert.updated", "ok", detail); err != nil {
		r.Logger.ErrorContext(ctx, "outcome not recorded", "alert_id", id, "error", err)
	}
	if err := r.Watcher.AlertChanged(ctx, a); err != nil {
		// The next poll brings the cards up to date.
		r.Logger.WarnContext(ctx, "cards do not follow an alert at once", "alert_id", id, "error", err)
	}
	v, err := r.alertView(ctx, id)
	if err != nil {
		v = cards.AlertView{Alert: a, Portal: r.Portal}
	}
	m := cards.Alert(v)
	m.Preview = chat.Join(chat.Untrusted(what), chat.Plain(": "), chat.Untrusted(a.Title))
	return m, nil
}

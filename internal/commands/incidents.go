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

func incidentSpecs() []Spec {
	update := func(s Spec) Spec {
		s.Role, s.Permissions, s.Changes = identity.Responder, [][]string{writeIncidents}, true
		return s
	}
	return []Spec{
		{
			Name: "incident", Usage: "incident <id>", Summary: "Show one incident with its alerts.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{readIncidents},
			Flags: []Flag{publicFlag}, Examples: []string{"incident 924521"},
			busy: lookingUp, run: (*Router).incident,
		},
		{
			Name: "incidents", Usage: "incidents [severity] [--since 24h]", Summary: "List incidents that changed lately, the newest first.",
			Role: identity.Viewer, Access: ReadersToo, Permissions: [][]string{readIncidents},
			Flags: []Flag{{Name: "since", Value: "24h", Summary: "how far back: 90m, 24h, 7d"}, publicFlag}, Examples: []string{"incidents", "incidents high --since 7d"},
			run: (*Router).incidents,
		},
		update(Spec{
			Name: "incident-assign", Usage: "incident <id> assign <who>", Summary: "Assign an incident to somebody, or to you with \"me\".",
			Examples: []string{"incident 924521 assign me", "incident 924521 assign riley@example.com"},
			run:      (*Router).assignIncident,
		}),
		update(Spec{
			Name: "incident-resolve", Usage: "incident <id> resolve <true-positive|false-positive|informational> [determination]", Summary: "Resolve an incident with a classification.",
			Examples: []string{"incident 924521 resolve false-positive", "incident 924521 resolve true-positive malware"},
			run:      (*Router).resolveIncident,
		}),
		update(Spec{
			Name: "incident-comment", Usage: "incident <id> comment <text>", Summary: "Add a comment to an incident.",
			Examples: []string{"incident 924521 comment both hosts are reimaged"},
			run:      (*Router).commentIncident,
		}),
	}
}

var incidentID = regexp.MustCompile(`^#?([0-9]{1,18})$`)

// incidentOf reads the incident that the first word names, as it is now.
func (r *Router) incidentOf(ctx context.Context, c *call) (in defender.Incident, asked int64, err error) {
	m := incidentID.FindStringSubmatch(c.arg(0))
	if m == nil {
		return defender.Incident{}, 0, usageError(c, "Give the number of one incident; incidents lists them.")
	}
	if asked, err = strconv.ParseInt(m[1], 10, 64); err != nil {
		return defender.Incident{}, 0, err
	}
	in, err = r.Defender.Incident(ctx, asked)
	return in, asked, err
}

func (r *Router) incident(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 1 {
		return chat.Message{}, usageError(c, "After the number, incident takes assign, resolve or comment.")
	}
	in, asked, err := r.incidentOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	return cards.Incident(in, asked, r.Portal), nil
}

func (r *Router) assignIncident(ctx context.Context, c *call) (chat.Message, error) {
	who := strings.TrimSpace(c.arg(1))
	switch {
	case len(c.args) != 2 || who == "":
		return chat.Message{}, usageError(c, "Assign it to whom? Give one name or address, or me.")
	case strings.EqualFold(who, "me"):
		who = c.who.name()
	case utf8.RuneCountInString(who) > maxAssignee:
		return chat.Message{}, usageError(c, "That is too long for a name or address.")
	}
	return r.updateIncident(ctx, c, "Assigned to "+who, defender.IncidentUpdate{AssignedTo: who})
}

// ofIncidents are the determinations that the change of an incident names otherwise
// than that of an alert.
var ofIncidents = map[string]string{
	"CompromisedUser": "CompromisedAccount", "NotMalicious": "Clean", "InsufficientData": "NoEnoughDataToValidate",
}

func (r *Router) resolveIncident(ctx context.Context, c *call) (chat.Message, error) {
	v, problem := verdictOf(c.words(1))
	if problem != "" {
		return chat.Message{}, usageError(c, problem)
	}
	if name, other := ofIncidents[v.determination]; other {
		v.determination = name
	}
	return r.updateIncident(ctx, c, "Resolved as "+v.String(), defender.IncidentUpdate{Status: "Resolved", Classification: v.classification, Determination: v.determination})
}

func (r *Router) commentIncident(ctx context.Context, c *call) (chat.Message, error) {
	text := strings.TrimSpace(c.words(1))
	if err := checkComment(c, text); err != nil {
		return chat.Message{}, err
	}
	return r.updateIncident(ctx, c, "Comment: "+chat.Visible(text, maxComment), defender.IncidentUpdate{})
}

// updateIncident records the change and makes it with the person's name in the
// comment. An incident that has become part of another meanwhile is left alone:
// what somebody saw of it is not what there is now.
func (r *Router) updateIncident(ctx context.Context, c *call, what string, u defender.IncidentUpdate) (chat.Message, error) {
	in, asked, err := r.incidentOf(ctx, c)
	if err != nil {
		return chat.Message{}, err
	}
	if in.ID != asked {
		return chat.Message{}, &sorry{
			sentence: chat.Plain(fmt.Sprintf("Incident %d is part of incident %d now, so nothing was changed.", asked, in.ID)),
			next:     chat.Join(chat.Plain("Look at it first: "), chat.Code(withPrefix(prefix(c.inv), fmt.Sprintf("incident %d", in.ID)))),
		}
	}
	u.Comment = c.inTheirName(what)
	detail := map[string]string{
		"incident_id": strconv.FormatInt(in.ID, 10), "status": u.Status, "assigned_to": u.AssignedTo, "classification": u.Classification,
		"determination": u.Determination, "comment": u.Comment,
	}
	if err := r.record(ctx, c, "incident.updating", "ok", detail); err != nil {
		return chat.Message{}, fmt.Errorf("record change of incident: %w", err)
	}
	now, err := r.Defender.UpdateIncident(ctx, in.ID, u)
	if err != nil {
		return chat.Message{}, errors.Join(err, r.record(ctx, c, "incident.updated", outcomeOf(err), detail))
	}
	if err := r.record(ctx, c, "incident.updated", "ok", detail); err != nil {
		r.Logger.ErrorContext(ctx, "outcome not recorded", "incident_id", in.ID, "error", err)
	}
	if now.RedirectedTo != 0 {
		if now, err = r.Defender.Incident(ctx, in.ID); err != nil {
			return chat.Message{}, err
		}
	}
	m := cards.Incident(now, asked, r.Portal)
	m.Preview = chat.Join(chat.Untrusted(what), chat.Plain(": "), chat.Untrusted(now.Name))
	return m, nil
}

func (r *Router) incidents(ctx context.Context, c *call) (chat.Message, error) {
	if len(c.args) > 1 {
		return chat.Message{}, usageError(c, "incidents takes one severity at most.")
	}
	since := 24 * time.Hour
	if text, given := c.flags["since"]; given {
		d, ok := parseAge(text)
		if !ok {
			return chat.Message{}, usageError(c, "--since takes a time such as 90m, 24h or 7d, up to 180d.")
		}
		since = d
	}
	var least defender.Severity
	if word := c.arg(0); word != "" {
		s, ok := severityOf(word)
		if !ok {
			return chat.Message{}, &sorry{
				sentence: chat.Join(chat.Untrusted(word), chat.Plain(" is not a severity.")),
				next:     chat.Join(chat.Plain("Write informational, low, medium or high. Usage: "), chat.Code(c.usage())),
			}
		}
		least = s
	}
	from := r.Now().Add(-since)
	// Defender XDR cannot filter by severity, so that is done here.
	var all []defender.Incident
	for in, err := range r.Defender.Incidents(ctx, from) {
		var record *defender.RecordError
		switch {
		case errors.As(err, &record):
			continue
		case err != nil:
			return chat.Message{}, err
		case in.RedirectedTo != 0 || in.Severity.Rank() < least.Rank():
			continue
		}
		if all = append(all, in); len(all) > listed {
			break
		}
	}
	return cards.IncidentList(all[:min(len(all), listed)], from, least, len(all) > listed), nil
}

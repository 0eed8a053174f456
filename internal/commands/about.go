package commands

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/policy"
)

func aboutSpecs() []Spec {
	return []Spec{
		{
			Name: "whoami", Usage: "whoami", Summary: "What mdebot believes about you, and why.",
			Access: Anybody, Audience: chat.Personal, Examples: []string{"whoami"},
			run: (*Router).whoami,
		},
		{
			Name: "status", Usage: "status", Summary: "Whether mdebot and its connections work, and what each command is permitted.",
			Role: identity.Admin, Flags: []Flag{publicFlag}, Examples: []string{"status"},
			run: (*Router).status,
		},
		{
			Name: "help", Usage: "help [command]", Summary: "This list, or more about one command.",
			Access: AnyMember, Examples: []string{"help", "help isolate"},
			run: (*Router).help,
		},
	}
}

func (r *Router) whoami(ctx context.Context, c *call) (chat.Message, error) {
	current := r.Policy.Current()
	v := cards.WhoamiView{Account: c.inv.By, ReadsHere: readsHere(current, c.inv.In)}
	standing, err := r.Directory.Standing(ctx, c.inv.By)
	if err != nil {
		v.StandingUnread = "the chat platform did not say"
	}
	v.Standing = standing
	v.ReadsHere = v.ReadsHere && standing == identity.Member
	link, err := r.Links.Who(ctx, c.inv.By)
	v.Link = &link
	switch {
	case err == nil:
		v.Person = &link.Person
		if err := r.activePerson(ctx, link.Person.ID); err != nil {
			v.Problem = err.Error()
		}
		groups, err := current.Memberships(ctx, r.Groups, link.Person)
		v.Groups = groups
		if err != nil {
			v.Problem = "Not every group could be read, so you count as no member of those."
		}
	case errors.Is(err, identity.ErrAmbiguous):
		v.Problem = "More than one entry of mdebot.yaml names this account, so it counts as nobody."
	case !errors.Is(err, identity.ErrUnlinked):
		return chat.Message{}, err
	default:
		problem, account := whyNobody(c.inv, link, err)
		v.Problem, v.Lines = problem, policy.PersonYAML(account, account.Name)
	}
	return cards.Whoami(v), nil
}

func (r *Router) status(ctx context.Context, _ *call) (chat.Message, error) {
	parts := r.Status.Status(ctx)
	if r.several() {
		return cards.Status(parts, nil), nil // mdebot doctor has the table of each tenant
	}
	granted, err := r.Defender.Permissions(ctx)
	if err != nil {
		parts = append(parts, cards.StatusLine{Part: "Defender permissions", Detail: r.explainShort(err)})
		return cards.Status(parts, nil), nil
	}
	var permissions []cards.StatusLine
	for _, s := range r.specs {
		if len(s.Permissions) == 0 {
			continue
		}
		line := cards.StatusLine{Part: s.Name, Good: true}
		if missing := missingPermissions(s, granted); len(missing) > 0 {
			line.Good, line.Detail = false, "needs "+permissionText(missing)
		}
		permissions = append(permissions, line)
	}
	return cards.Status(parts, permissions), nil
}

// explainShort is err in a sentence for an admin.
func (r *Router) explainShort(err error) string {
	if s := r.known(nil, err); s != nil {
		return s.sentence.String()
	}
	return "could not be read"
}

// help lists the commands in the form that works where it is read, and marks
// what the token does not permit.
func (r *Router) help(ctx context.Context, c *call) (chat.Message, error) {
	own, granted, known := r.grantedHere(ctx, c)
	form := prefix(c.inv)
	if len(c.args) > 1 {
		return chat.Message{}, usageError(c, "help takes one command.")
	}
	if word := strings.ToLower(c.arg(0)); word != "" {
		spec, ok := r.byName[strings.TrimPrefix(word, "/")]
		if !ok {
			return chat.Message{}, r.unknownCommand(c.inv, c.arg(0))
		}
		return own.marked(cards.HelpCommand(helpEntry(*spec, form, granted, known))), nil
	}
	var all []cards.HelpTopic
	for _, t := range topics() {
		about := cards.HelpTopic{Name: t.name}
		for _, s := range t.specs {
			about.Entries = append(about.Entries, helpEntry(s, form, granted, known))
		}
		all = append(all, about)
	}
	return own.marked(cards.Help(all, withPrefix(form, "help <command>"))), nil
}

// grantedHere is what is permitted in the tenant that is meant here, as far as that
// is known.
func (r *Router) grantedHere(ctx context.Context, c *call) (own *Router, granted defender.Permissions, known bool) {
	own = r
	if r.several() {
		if own = r.here(c); own == nil {
			return r, granted, false
		}
	}
	granted, err := own.Defender.Permissions(ctx)
	return own, granted, err == nil
}

func helpEntry(s Spec, form string, granted defender.Permissions, known bool) cards.HelpEntry {
	e := cards.HelpEntry{
		Usage: withPrefix(form, s.Usage), Summary: s.Summary, Role: roleText(s), Aliases: slices.Clone(s.Aliases),
	}
	for _, f := range s.Flags {
		name := "--" + f.Name
		if f.Value != "" {
			name += " " + f.Value
		}
		e.Flags = append(e.Flags, cards.HelpFlag{Name: name, Summary: f.Summary})
	}
	for _, x := range s.Examples {
		e.Examples = append(e.Examples, withPrefix(form, x))
	}
	if known {
		for _, anyOf := range missingPermissions(s, granted) {
			e.Missing = append(e.Missing, permissionText([][]string{anyOf}))
		}
	}
	return e
}

// roleText says who may use s.
func roleText(s Spec) string {
	switch {
	case s.Access == Anybody:
		return "everybody"
	case s.Access == AnyMember:
		return "every full member"
	case s.Role == "":
		return "every linked person; the rule of the request decides who counts"
	case s.Access == ReadersToo:
		return string(s.Role) + ", and full members in a readers conversation"
	}
	return string(s.Role)
}

package commands

import (
	"context"
	"strings"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/identity"
)

// lacksWordsAfterAlert tells that an alert may be named and nothing else is.
func lacksWordsAfterAlert(c *call) bool {
	return len(c.args) == 0 || len(c.args) == 1 && alertID.MatchString(c.arg(0))
}

// alertForm is a form about one alert.
func alertForm(action, alert, title, submit string, fields ...chat.Field) *chat.Form {
	return &chat.Form{
		Action: action, Value: alert, Title: title, Submit: submit,
		Intro: chat.Join(chat.Plain("Alert "), chat.Code(alert)), Fields: fields,
	}
}

// typedForm opens form for the alert that was typed or that the thread is about.
func (r *Router) typedForm(ctx context.Context, c *call, form func(r *Router, c *call, alert string) *chat.Form) (*chat.Form, error) {
	id, _, err := r.alertOf(ctx, c)
	if err != nil {
		return nil, err
	}
	return form(r, c, id), nil
}

func (r *Router) resolveForm(ctx context.Context, c *call) (*chat.Form, error) {
	return r.typedForm(ctx, c, resolveForm)
}

func (r *Router) assignForm(ctx context.Context, c *call) (*chat.Form, error) {
	return r.typedForm(ctx, c, assignForm)
}

func (r *Router) commentForm(ctx context.Context, c *call) (*chat.Form, error) {
	return r.typedForm(ctx, c, commentForm)
}

func (r *Router) clickResolve(_ context.Context, c *call) (*chat.Form, error) {
	return resolveForm(r, c, c.inv.Value), nil
}

func (r *Router) clickAssign(_ context.Context, c *call) (*chat.Form, error) {
	return assignForm(r, c, c.inv.Value), nil
}

func (r *Router) clickComment(_ context.Context, c *call) (*chat.Form, error) {
	return commentForm(r, c, c.inv.Value), nil
}

func resolveForm(_ *Router, _ *call, alert string) *chat.Form {
	return alertForm(cards.ActionAlertResolveSubmit, alert, "Resolve alert", "Resolve",
		chat.Field{ID: cards.FieldClassification, Label: "What it was", Kind: chat.FieldSelect, Options: verdictOptions()},
		chat.Field{ID: cards.FieldComment, Label: "Comment", Kind: chat.FieldArea, Optional: true, MaxLength: maxComment},
	)
}

// assignable is how many people a form offers; an address can be typed for others.
const assignable = 99

// assignForm offers everybody who may work on alerts, the asker first.
func assignForm(r *Router, c *call, alert string) *chat.Form {
	people := chat.Field{ID: cards.FieldPerson, Label: "To", Kind: chat.FieldSelect, Initial: assignMe}
	people.Options = []chat.Option{{Label: "Me", Detail: c.who.name(), Value: assignMe}}
	for _, p := range r.Policy.Current().Book().People() {
		if p.ID != c.who.Person.ID && p.Has(identity.Responder) && len(people.Options) < assignable {
			people.Options = append(people.Options, chat.Option{Label: p.Name, Value: p.ID.String()})
		}
	}
	return alertForm(cards.ActionAlertAssignSubmit, alert, "Assign alert", "Assign", people,
		chat.Field{
			ID: cards.FieldOther, Label: "Or somebody else", Kind: chat.FieldLine, Optional: true, MaxLength: maxAssignee,
			Hint: "A name or address as Defender knows it; it goes before the choice above.",
		},
	)
}

const assignMe = "me"

func commentForm(_ *Router, _ *call, alert string) *chat.Form {
	return alertForm(cards.ActionAlertCommentSubmit, alert, "Comment on alert", "Comment",
		chat.Field{
			ID: cards.FieldComment, Label: "Comment", Kind: chat.FieldArea, MaxLength: maxComment,
			Hint: "Everyone who reads the alert in Defender sees it, with your name.",
		},
	)
}

func (r *Router) submitResolve(ctx context.Context, c *call) (chat.Message, error) {
	v, ok := chosenVerdict(c.inv.Fields[cards.FieldClassification])
	if !ok {
		return chat.Message{}, errOldButton
	}
	return r.resolveAlert(ctx, c, c.inv.Value, v, strings.TrimSpace(c.inv.Fields[cards.FieldComment]))
}

func (r *Router) submitAssign(ctx context.Context, c *call) (chat.Message, error) {
	if other := strings.TrimSpace(c.inv.Fields[cards.FieldOther]); other != "" {
		return r.assignAlert(ctx, c, c.inv.Value, other)
	}
	chosen := c.inv.Fields[cards.FieldPerson]
	if chosen == assignMe {
		return r.assignAlert(ctx, c, c.inv.Value, c.who.name())
	}
	for _, p := range r.Policy.Current().Book().People() {
		if p.ID.String() == chosen {
			return r.assignAlert(ctx, c, c.inv.Value, p.Name)
		}
	}
	return chat.Message{}, say("That person is no longer in mdebot.yaml.", "Open the form again.")
}

func (r *Router) submitComment(ctx context.Context, c *call) (chat.Message, error) {
	return r.commentAlert(ctx, c, c.inv.Value, strings.TrimSpace(c.inv.Fields[cards.FieldComment]))
}

func (r *Router) assignAlert(ctx context.Context, c *call, id, who string) (chat.Message, error) {
	who = chat.Visible(who, maxAssignee)
	return r.updateAlert(ctx, c, id, "Assigned to "+who, defender.AlertUpdate{AssignedTo: who})
}

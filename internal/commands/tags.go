package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// maxTagCalls is how many changes one command makes: each is a call, and one
// command leaves quota for others.
const maxTagCalls = 25

// tagChange is one tag that is added or removed.
type tagChange struct {
	tag string
	add bool
}

func (ch tagChange) String() string {
	if ch.add {
		return "+" + ch.tag
	}
	return "-" + ch.tag
}

// tagOrder reads machines and changes. The first word is a machine, and so is each
// following one that can only be one; commas join them.
func tagOrder(c *call) (machines []string, changes []tagChange, err error) {
	i := 0
	for ; i < len(c.args) && (i == 0 || !c.args[i].quoted && looksLikeMachine(c.args[i].text)); i++ {
		for _, name := range strings.Split(c.args[i].text, ",") {
			if name != "" && !slices.Contains(machines, name) {
				machines = append(machines, name)
			}
		}
	}
	for _, a := range c.args[i:] {
		word := strings.Replace(a.text, "−", "-", 1) // a minus sign, as word processors write it
		name := strings.TrimSpace(strings.TrimLeft(word, "+-"))
		if name == "" || (word[0] != '+' && word[0] != '-') {
			return nil, nil, sayOf("", a.text, " is no change of a tag.", "Write +tag to add one and -tag to remove one; put tags with spaces in quotes.")
		}
		if word[0] == '+' && chat.Visible(name, defender.MaxTag) != name {
			return nil, nil, sayOf("", a.text, " cannot be a tag.", fmt.Sprintf("Nothing was changed. A tag has at most %d characters, all of which can be seen.", defender.MaxTag))
		}
		changes = append(changes, tagChange{name, word[0] == '+'})
	}
	switch {
	case len(machines) == 0, len(changes) == 0:
		err = usageError(c, "Which machine, and which tags?")
	case len(machines)*len(changes) > maxTagCalls:
		err = say(fmt.Sprintf("That is %d changes; one command makes %d at most.", len(machines)*len(changes), maxTagCalls), "Nothing was changed. Ask for the rest in another command.")
	}
	return machines, changes, err
}

// tag changes tags of machines. A tag that a rule reads decides who has to approve,
// so changing it is asked for like every other action.
func (r *Router) tag(ctx context.Context, c *call) (chat.Message, error) {
	names, changes, err := tagOrder(c)
	if err != nil {
		return chat.Message{}, err
	}
	reason := strings.TrimSpace(c.flags["reason"])
	var words []string
	asks := false
	for _, ch := range changes {
		words = append(words, ch.String())
		rule := r.Policy.Current().ReadsTag(ch.tag)
		if rule == "" {
			continue
		}
		asks = true
		next := ""
		switch {
		case len(changes) > 1:
			next = "Nothing was changed. Ask for that tag alone."
		case reason == "":
			next = "A second person must approve that. Say why: --reason <why>"
		default:
			continue
		}
		return chat.Message{}, sayOf("The tag ", ch.tag, " is read by "+rule+", so changing it changes who must approve or who is told.", next)
	}
	// Every machine is known before the first is changed.
	var machines []defender.Machine
	for _, name := range names {
		m, err := r.oneMachine(ctx, name, cards.ChooserView{Next: "Nothing was changed. Type the command again with an ID."})
		if err != nil {
			return chat.Message{}, err
		}
		if !slices.ContainsFunc(machines, func(other defender.Machine) bool { return other.ID == m.ID }) {
			machines = append(machines, m)
		}
	}
	if asks {
		return r.requestTag(ctx, c, machines, changes[0], reason)
	}
	var tagged []cards.TaggedMachine
	done := 0
	for _, m := range machines {
		if err := r.record(ctx, c, "machine.tag", "ok", map[string]string{"machine_id": m.ID, "tags": strings.Join(words, " ")}); err != nil {
			return chat.Message{}, r.tagsStopped(ctx, c, err, done, len(machines)*len(changes), m, changes[0])
		}
		before := m.Tags
		for _, ch := range changes {
			now, err := r.Defender.TagMachine(ctx, m.ID, ch.tag, ch.add)
			if err != nil {
				return chat.Message{}, r.tagsStopped(ctx, c, err, done, len(machines)*len(changes), m, ch)
			}
			m, done = now, done+1
		}
		tagged = append(tagged, cards.TaggedMachine{Machine: m, Before: before})
	}
	return cards.Tagged(tagged), nil
}

// requestTag asks for the change of a tag that a rule reads.
func (r *Router) requestTag(ctx context.Context, c *call, machines []defender.Machine, ch tagChange, reason string) (chat.Message, error) {
	o := order{reason: reason, params: map[string]string{"tag": ch.String()}}
	for _, m := range machines {
		if slices.Contains(m.Tags, ch.tag) == ch.add {
			return chat.Message{}, sayOf("The tags of ", m.Name, " are so already.", "Nothing was asked for.")
		}
		o.machines = append(o.machines, m.ID)
	}
	return r.request(ctx, c, o)
}

// tagsStopped says how far a command came before err.
func (r *Router) tagsStopped(ctx context.Context, c *call, err error, done, of int, m defender.Machine, at tagChange) error {
	if done == 0 {
		return err
	}
	why := r.known(c, err)
	if why == nil {
		r.Logger.ErrorContext(ctx, "tags were changed in part", "machine_id", m.ID, "error", err)
		why = plainSorry("Something went wrong.", "Look at the machines, and ask again for what is missing.")
	}
	return &sorry{
		sentence: chat.Join(chat.Plain(fmt.Sprintf("Only %d of %d changes were made, those before ", done, of)), chat.Untrusted(at.String()),
			chat.Plain(" on "), chat.Untrusted(m.Name), chat.Plain(". "), why.sentence),
		next: why.next,
	}
}

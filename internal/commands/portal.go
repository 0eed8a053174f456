package commands

import (
	"context"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// whyPortal is why some actions stay out of chat, whoever agrees.
var whyPortal = map[string]string{
	"live":     "Live response is left to the Defender portal: a session runs any command on the machine, and two people in chat could not see what they approve.",
	"offboard": "Offboarding is left to the Defender portal: the machine leaves Defender, and with that everything mdebot could follow or undo.",
}

func portalSpecs() []Spec {
	spec := func(name, summary string) Spec {
		return Spec{
			Name: name, Usage: name + " [machine]", Summary: summary, Role: identity.Viewer, Access: ReadersToo,
			Examples: []string{name + " ws-042"}, run: (*Router).leftToPortal,
		}
	}
	return []Spec{
		spec("live", "Not from chat: where live response is, and why."),
		spec("offboard", "Not from chat: where machines are offboarded, and why."),
	}
}

// leftToPortal refuses, and leads to the page of the machine.
func (r *Router) leftToPortal(ctx context.Context, c *call) (chat.Message, error) {
	why := whyPortal[c.spec.Name]
	m := chat.Message{
		Title: chat.Plain(why), Tone: chat.Warning,
		Note: chat.Plain("Open the machine's page in the Defender portal; with a name behind the command, this answer links there."),
	}
	query := c.arg(0)
	if query == "" {
		id, err := r.threadMachine(ctx, c.inv.In)
		if err != nil || id == "" {
			return m, err
		}
		query = id
	}
	found, err := r.oneMachine(ctx, query, cards.ChooserView{Action: cards.ActionShowMachine, Next: "Choose one; its card links to the portal."})
	if err != nil {
		return chat.Message{}, err
	}
	m.Note = chat.Join(chat.Plain("Nothing was done. "), chat.Untrusted(found.Name), chat.Plain(" "), chat.Code(found.ID))
	m.Buttons = cards.OpenInDefender(r.Portal, found.ID)
	return m, nil
}

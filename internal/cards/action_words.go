package cards

import (
	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
)

// actionWords is how an action is said. An action without an entry is still
// shown, by its kind.
type actionWords struct {
	verb, done string // of the registry: "isolate", "isolated"
	// ask is the label of the button that asks for the opposite, or "", and
	// opposite is its action.
	ask, opposite string
	// runs says exactly what Defender will be told, per parameter set.
	runs func(params map[string]string) chat.Text
	// means says what that does to people and how it ends.
	means func(params map[string]string) string
}

// actionTable has an entry for each action of the registry.
var actionTable = map[string]actionWords{
	approvals.Isolate: {
		ask: "Request release", opposite: ActionRequestRelease,
		runs: func(params map[string]string) chat.Text {
			return chat.Plain("Defender's isolate, type " + isolationType(params) + ", once per machine listed here, in this order. The comment names this request and its requester.")
		},
		means: func(params map[string]string) string {
			loses := "The machine loses all network but Defender."
			if params["scope"] == "selective" {
				loses = "The machine loses all network but Defender, Outlook, Teams, Skype for Business and configured exclusions."
			}
			return loses + " Release needs two people. Offline machines: Defender waits up to three days."
		},
	},
	approvals.Release: {
		runs: func(map[string]string) chat.Text {
			return chat.Plain("Defender's release from isolation (unisolate), once per machine listed here, in this order. The comment names this request and its requester.")
		},
		means: func(map[string]string) string {
			return "The machine gets its network back; whatever is on it can reach others again. Offline machines: Defender waits up to three days."
		},
	},
	approvals.Settle: {
		runs: func(params map[string]string) chat.Text {
			return chat.Join(chat.Plain("Nothing at Defender. mdebot records the outcome people have seen: "), chat.Untrusted(params["outcome"]))
		},
		means: func(map[string]string) string {
			return "The unclear targets of that request get this outcome, and their machines are free for new requests. Look at each in the Defender portal first."
		},
	},
	approvals.Unfreeze: {
		runs: func(map[string]string) chat.Text {
			return chat.Plain("Nothing at Defender. mdebot ends the freeze named here.")
		},
		means: func(map[string]string) string {
			return "From then on requests can be opened, approved and carried out again. What the freeze made void stays void; what still waits can be approved."
		},
	},
	approvals.Mute: {
		runs: func(map[string]string) chat.Text {
			return chat.Plain("Nothing at Defender. mdebot posts none of these alerts to chat until the time is over.")
		},
		means: func(map[string]string) string {
			return "Nobody is told in chat about these alerts, High ones included. They stay in Defender and are all named here when it ends."
		},
	},
}

func isolationType(params map[string]string) string {
	if params["scope"] == "selective" {
		return "Selective"
	}
	return "Full"
}

var registry = approvals.Actions()

func wordsOf(action string) actionWords {
	w, ok := actionTable[action]
	if !ok {
		w = actionWords{
			runs:  func(map[string]string) chat.Text { return chat.Untrusted(action) },
			means: func(map[string]string) string { return "See the Defender documentation of this action." },
		}
	}
	w.verb, w.done = action, "done"
	if a, ok := registry[action]; ok {
		w.verb, w.done = a.Verb, a.Done
	}
	return w
}

package cards

import "github.com/mdebot/mdebot/internal/chat"

// actionWords is how an action is said. An action without an entry is still
// shown, by its kind.
type actionWords struct {
	verb string // "isolate"
	done string // "isolated"
	ask  string // label of the button that asks for the opposite, or ""
	// opposite is that button's action.
	opposite string
	// runs says exactly what Defender will be told, per parameter set.
	runs func(params map[string]string) chat.Text
	// means says what that does to people and how it ends.
	means func(params map[string]string) string
}

var actionTable = map[string]actionWords{
	"isolate": {
		verb: "isolate", done: "isolated", ask: "Request release", opposite: ActionRequestRelease,
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
	"release": {
		verb: "release", done: "released",
		runs: func(map[string]string) chat.Text {
			return chat.Plain("Defender's release from isolation (unisolate), once per machine listed here, in this order. The comment names this request and its requester.")
		},
		means: func(map[string]string) string {
			return "The machine gets its network back; whatever is on it can reach others again. Offline machines: Defender waits up to three days."
		},
	},
	"settle": {
		verb: "settle", done: "settled",
		runs: func(params map[string]string) chat.Text {
			return chat.Join(chat.Plain("Nothing at Defender. mdebot records the outcome people have seen: "), chat.Untrusted(params["outcome"]))
		},
		means: func(map[string]string) string {
			return "The unclear targets of that request get this outcome, and their machines are free for new requests. Look at each in the Defender portal first."
		},
	},
}

func isolationType(params map[string]string) string {
	if params["scope"] == "selective" {
		return "Selective"
	}
	return "Full"
}

func wordsOf(action string) actionWords {
	if w, ok := actionTable[action]; ok {
		return w
	}
	return actionWords{
		verb: action, done: "done",
		runs:  func(map[string]string) chat.Text { return chat.Untrusted(action) },
		means: func(map[string]string) string { return "See the Defender documentation of this action." },
	}
}

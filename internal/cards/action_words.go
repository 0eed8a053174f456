package cards

import (
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
)

// actionWords is how an action is said. An action without an entry is still
// shown, by its kind.
type actionWords struct {
	verb, done string // of the registry: "isolate", "isolated"
	// ask is the label of the button that asks for the opposite, or "".
	ask string
	// manner is what the parameters add to the verb in a title, or nil.
	manner func(params map[string]string) chat.Text
	// runs says exactly what Defender will be told, per parameter set.
	runs func(params map[string]string) chat.Text
	// means says what that does to people and how it ends.
	means func(params map[string]string) string
}

const (
	oncePerMachine = ", once per machine listed here, in this order. The comment names this request and its requester."
	waitsForThem   = " Offline machines: Defender waits up to three days."
)

func saying(s string) func(map[string]string) chat.Text {
	return func(map[string]string) chat.Text { return chat.Plain(s) }
}

func meaning(s string) func(map[string]string) string {
	return func(map[string]string) string { return s }
}

// actionTable has an entry for each action of the registry.
var actionTable = map[string]actionWords{
	approvals.Isolate: {
		ask: "Request release",
		manner: func(params map[string]string) chat.Text {
			how := unlessDefault(approvals.Isolate, "scope")(params)
			if d := timed(params); d > 0 {
				how = sentence(how, chat.Plain("for "+lasting(d)))
			}
			return how
		},
		runs: func(params map[string]string) chat.Text {
			return chat.Plain("Defender's isolate, type " + isolationType(params) + oncePerMachine)
		},
		means: func(params map[string]string) string {
			loses := "The machine loses all network but Defender."
			if params["scope"] == "selective" {
				loses = "The machine loses all network but Defender, Outlook, Teams, Skype for Business and configured exclusions."
			}
			ends := " Release needs two people."
			if d := timed(params); d > 0 {
				ends = " After " + lasting(d) + " the requester is reminded, with a prepared release. Nothing is released by itself: release needs two people."
			}
			return loses + ends + waitsForThem
		},
	},
	approvals.Release: {
		runs:  saying("Defender's release from isolation (unisolate)" + oncePerMachine),
		means: meaning("The machine gets its network back; whatever is on it can reach others again." + waitsForThem),
	},
	approvals.Contain: {
		runs:  saying("Defender's isolate, type UnManagedDevice, once per device listed here, in this order. The comment names this request and its requester."),
		means: meaning("Onboarded machines refuse to talk to the device, within about five minutes. It keeps its own network. The API does not say how that ends: it is ended in the Defender portal."),
	},
	approvals.Restrict: {
		ask:   "Request unrestriction",
		runs:  saying("Defender's restriction of app execution" + oncePerMachine),
		means: meaning("The machine runs only programs that Microsoft signed; others are stopped from starting. Unrestricting needs two people." + waitsForThem),
	},
	approvals.Unrestrict: {
		runs:  saying("Defender's removal of the app restriction" + oncePerMachine),
		means: meaning("The machine runs all programs again, also those that the restriction kept out." + waitsForThem),
	},
	approvals.Scan: {
		manner: unlessDefault(approvals.Scan, "scope"),
		runs: func(params map[string]string) chat.Text {
			return chat.Plain("Defender's antivirus scan, type " + capital(params["scope"]) + oncePerMachine)
		},
		means: func(params map[string]string) string {
			if params["scope"] == "full" {
				return "Defender Antivirus reads every file; that may take hours and slows the machine down. What it finds becomes an alert." + waitsForThem
			}
			return "Defender Antivirus reads the places where malware usually is. What it finds becomes an alert." + waitsForThem
		},
	},
	approvals.Quarantine: {
		runs: func(params map[string]string) chat.Text {
			return chat.Join(chat.Plain("Defender's stop and quarantine of the file with SHA-1 "), chat.Code(params["file"]), chat.Plain(oncePerMachine))
		},
		means: meaning("The machine stops every process of the file and puts it into quarantine, from where the portal can restore it. A machine that does not have the file reports a failure." + waitsForThem),
	},
	approvals.Package: {
		runs:  saying("Defender's collection of an investigation package" + oncePerMachine),
		means: meaning("The machine packs logs, processes, connections and other traces. Only the requester gets the address to download it. It holds personal data." + waitsForThem),
	},
	approvals.Cancel: {
		runs: func(params map[string]string) chat.Text {
			return chat.Join(chat.Plain("Defender's cancellation of the machine action listed here, of type "), chat.Untrusted(params["type"]), chat.Plain(". The comment names this request and its requester."))
		},
		means: func(params map[string]string) string {
			switch params["type"] {
			case "Isolate", "RestrictCodeExecution", "StopAndQuarantineFile":
				return "The action does not happen if it has not ended by then. Whatever it was to stop goes on."
			}
			return "The action does not happen if it has not ended by then."
		},
	},
	approvals.Block: {
		manner: unlessDefault(approvals.Block, "effect"),
		runs: func(params map[string]string) chat.Text {
			return chat.Plain("Defender's indicator with the effect " + capital(params["effect"]) + ", once for each listed here, for all machines. Its description names this request and its requester.")
		},
		means: func(params map[string]string) string {
			does := map[string]string{
				"block": "Every machine is kept from it, and an alert is raised.",
				"warn":  "People are warned of it and can go on; an alert is raised.",
				"audit": "Nothing is stopped; an alert is raised.",
			}[params["effect"]]
			ends := " It holds until somebody ends it, which needs two people."
			if at := params["expires"]; at != "" {
				ends = " It ends by itself at " + at + "; that is announced before."
			}
			return does + " It may take two hours to reach every machine." + ends
		},
	},
	approvals.Unblock: {
		runs: func(params map[string]string) chat.Text {
			return chat.Join(chat.Plain("Defender's deletion of indicator "), chat.Code(params["indicator"]))
		},
		means: meaning("Whatever it kept machines from is possible again, on every machine."),
	},
	approvals.Tag: {
		manner: func(params map[string]string) chat.Text {
			return chat.Join(chat.Plain("("), chat.Untrusted(params["tag"]), chat.Plain(")"))
		},
		runs: func(params map[string]string) chat.Text {
			verb := "addition"
			if strings.HasPrefix(params["tag"], "-") {
				verb = "removal"
			}
			return chat.Join(chat.Plain("Defender's "+verb+" of the tag "), chat.Code(strings.TrimLeft(params["tag"], "+-")), chat.Plain(", once per machine listed here, in this order."))
		},
		means: meaning("A rule, a protection or a route of mdebot.yaml reads this tag: changing it changes who must approve actions on the machine, or who is told. A tag that is taken away counts for another day."),
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

// timed is how long the effect is planned to last, or zero.
func timed(params map[string]string) time.Duration {
	return approvals.Request{Params: params}.Timed()
}

// lasting says a planned time in words, in the unit it is written in.
func lasting(d time.Duration) string {
	switch text := approvals.FormatTimed(d); text[len(text)-1] {
	case 'd':
		return plural(int(d/(24*time.Hour)), "day", "days")
	case 'h':
		return plural(int(d/time.Hour), "hour", "hours")
	}
	return plural(int(d/time.Minute), "minute", "minutes")
}

// unlessDefault is a parameter's value where it is not the usual one.
func unlessDefault(kind, param string) func(map[string]string) chat.Text {
	return func(params map[string]string) chat.Text {
		values := registry[kind].Params[param].Values
		switch i := slices.Index(values, params[param]); {
		case i == 0:
			return nil
		case i > 0:
			return chat.Plain("(" + values[i] + ")")
		}
		return chat.Untrusted(params[param])
	}
}

func capital(word string) string {
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
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
	if w.manner == nil {
		w.manner = func(map[string]string) chat.Text { return nil }
	}
	w.verb, w.done = action, "done"
	if a, ok := registry[action]; ok {
		w.verb, w.done = a.Verb, a.Done
	}
	return w
}

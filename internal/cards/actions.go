package cards

import (
	"net/url"
	"strconv"
	"strings"
)

// The actions of buttons, menus and forms. A button's value is an opaque key:
// whoever answers the click reads every fact again.
const (
	// Values of these are made by [RequestValue].
	ActionApprove     = "request.approve"
	ActionDeny        = "request.deny"
	ActionDenyForm    = "request.deny.form" // opens a form for the reason
	ActionReport      = "request.report"    // denies, and tells the ops channel
	ActionDenySubmit  = "request.deny.submit"
	ActionWithdraw    = "request.withdraw"
	ActionAskAgain    = "request.again" // opens a form
	ActionAgainSubmit = "request.again.submit"
	ActionShowReq     = "request.show"
	ActionViewReq     = "request.view" // how the card looks to one person
	ActionDownload    = "request.download"

	// ActionViewQueue is how the queue of requests looks to one person. It has no value.
	ActionViewQueue = "requests.view"

	// Values of these are alert IDs.
	ActionAlertShow          = "alert.show"
	ActionAlertAck           = "alert.ack"
	ActionAlertAssign        = "alert.assign.form" // opens a form
	ActionAlertAssignSubmit  = "alert.assign.submit"
	ActionAlertResolve       = "alert.resolve.form" // opens a form
	ActionAlertResolveSubmit = "alert.resolve.submit"
	ActionAlertComment       = "alert.comment.form" // opens a form
	ActionAlertCommentSubmit = "alert.comment.submit"

	ActionAlertMute       = "alert.mute.form" // opens a form
	ActionAlertMuteSubmit = "alert.mute.submit"

	ActionMuteSubmit = "mute.submit"
	ActionMuteBegin  = "mute.begin" // its value is the key of an order
	ActionMuteEnd    = "mute.end"   // its value is the number of a mute

	// ActionShare shows everyone an answer that its asker alone sees; its value is the
	// answer's key and the command that gave it.
	ActionShare = "answer.share"

	// ActionMessageLookup is the shortcut on a message.
	ActionMessageLookup = "message.lookup"

	// Values of these are machine IDs.
	ActionShowMachine = "machine.show"

	// Values of these are made by [AskValue].
	ActionRequestIsolation = "isolate.form" // opens a form
	ActionRequestRelease   = "release.form" // opens a form

	// ActionMachineSearch suggests machines for a search field.
	ActionMachineSearch = "machine.search"

	ActionHuntSubmit = "hunt.submit" // of the form that takes a query or the name of a hunt
	ActionHuntPick   = "hunt.pick"   // its value is the name of a saved hunt
	ActionHuntRun    = "hunt.run"    // of the form for a saved hunt's parameters; its value is the name
	ActionHuntAround = "hunt.around" // opens a form; its value is an alert ID
	ActionHuntFrom   = "hunt.from"   // of that form; its value is a machine ID
	ActionHuntAgain  = "hunt.again"  // its value is the ID of one of the asker's hunts
	ActionHuntCancel = "hunt.cancel" // its value is the key of a running hunt

	// Values of these are Slack accounts, as in mdebot.yaml.
	ActionLinkAccept  = "link.accept"
	ActionLinkDecline = "link.decline"
	// The value of this is a link's ID.
	ActionLinkConfirm = "link.confirm"

	// The value of this is a machine action ID.
	ActionShowAction = "action.show"
)

// The input fields of forms.
const (
	FieldReason         = "reason"
	FieldMachine        = "machine"
	FieldScope          = "scope"
	FieldPerson         = "person"
	FieldWhat           = "what"
	FieldHunt           = "hunt"
	FieldQuery          = "query"
	FieldSpan           = "span"
	FieldFor            = "for"
	FieldTitle          = "title"
	FieldOther          = "other"
	FieldClassification = "classification"
	FieldComment        = "comment"
)

// RequestValue is the value of a button about a request: which one, and the
// digest of what the person saw. A vote on another digest does not count.
func RequestValue(id, digest string) string { return id + "." + digest }

// ParseRequestValue is the inverse of [RequestValue].
func ParseRequestValue(value string) (id, digest string, ok bool) {
	id, digest, ok = strings.Cut(value, ".")
	return id, digest, ok && id != "" && digest != ""
}

// ActionForm opens the form that asks for an action of the registry, and
// ActionSubmit is that form's. Their values are made by [AskValue].
func ActionForm(kind string) string   { return kind + ".form" }
func ActionSubmit(kind string) string { return kind + ".submit" }

// ActionChoose answers a chooser that a command opened because a name matched
// several machines.
func ActionChoose(kind string) string { return kind + ".choose" }

// AskValue is the value of a button that opens the form for an action, and of the
// form.
type AskValue struct {
	Machine string // "" when it is typed into the form
	Alert   string // the alert that led there, or ""
	// Of is the ID of the request whose planned time is over, and Targets which of
	// its machines are meant, when several are.
	Of      string
	Targets []int
	// Params are those that the form does not ask for.
	Params map[string]string
}

// The names in a value that no parameter has.
const (
	askOf      = ".of"
	askTargets = ".targets"
)

// String is "<machine>.<alert>?<parameters>", without what is empty.
func (v AskValue) String() string {
	s := v.Machine
	if v.Alert != "" {
		s += "." + v.Alert
	}
	q := url.Values{}
	for name, value := range v.Params {
		q.Set(name, value)
	}
	if v.Of != "" {
		q.Set(askOf, v.Of)
	}
	for _, i := range v.Targets {
		q.Add(askTargets, strconv.Itoa(i))
	}
	if len(q) == 0 {
		return s
	}
	return s + "?" + q.Encode()
}

// IsolationValue is the value of a button that asks for the isolation of a machine,
// with the alert that led there or "".
func IsolationValue(machineID, alertID string) string {
	return AskValue{Machine: machineID, Alert: alertID}.String()
}

// ParseAskValue is the inverse of [AskValue.String]. What is not one of its values
// has no parameters.
func ParseAskValue(value string) AskValue {
	subject, query, _ := strings.Cut(value, "?")
	var v AskValue
	v.Machine, v.Alert, _ = strings.Cut(subject, ".")
	q, err := url.ParseQuery(query)
	if err != nil || len(q) == 0 {
		return v
	}
	v.Of = q.Get(askOf)
	for _, text := range q[askTargets] {
		if i, err := strconv.Atoi(text); err == nil {
			v.Targets = append(v.Targets, i)
		}
	}
	q.Del(askOf)
	q.Del(askTargets)
	if len(q) == 0 {
		return v
	}
	v.Params = make(map[string]string, len(q))
	for name := range q {
		v.Params[name] = q.Get(name)
	}
	return v
}

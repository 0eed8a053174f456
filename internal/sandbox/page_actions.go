package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// attackInterval is the time between the steps of an attack: long enough to see
// each alert arrive and to read what happened, short enough to keep watching.
const attackInterval = 18 * time.Second

// maxActionBody holds the longest text that either platform lets people write.
const maxActionBody = 256 << 10

// refusal is a sentence for the person who tried something that cannot be done.
type refusal string

func (r refusal) Error() string { return string(r) }

func refused(format string, a ...any) error { return refusal(fmt.Sprintf(format, a...)) }

// pageActions adds what people do. Every action takes its fields as a JSON
// object, the person in the query, and answers when the bot has answered the
// platform.
func (w *World) pageActions(mux *http.ServeMux) {
	handle(mux, "/api/slack/send", w.slackSend)
	handle(mux, "/api/slack/home", w.slackHome)
	handle(mux, "/api/slack/click", w.slackClick)
	handle(mux, "/api/slack/choose", w.slackChoose)
	handle(mux, "/api/slack/shortcut", w.slackShortcut)
	handle(mux, "/api/slack/submit", w.slackSubmit)
	handle(mux, "/api/slack/close", w.slackClose)
	handle(mux, "/api/slack/suggest", w.slackSuggest)
	handle(mux, "/api/teams/send", w.teamsSend)
	handle(mux, "/api/teams/click", w.teamsClick)
	handle(mux, "/api/teams/submit", w.teamsSubmit)
	handle(mux, "/api/teams/show", w.teamsShow)
	handle(mux, "/api/teams/search", w.teamsSearch)
	handle(mux, "/api/teams/query", w.teamsQuery)
	handle(mux, "/api/teams/file", w.teamsFile)
	handle(mux, "/api/teams/token", w.teamsToken)
	handle(mux, "/api/defender/attack", w.startAttack)
	handle(mux, "/api/defender/stop", w.stopAttack)
	handle(mux, "/api/defender/alert", w.raiseAlert)
	handle(mux, "/api/defender/edit", w.editAlert)
}

// handle serves one action.
func handle[In any](mux *http.ServeMux, path string, do func(context.Context, Person, In) (any, error)) {
	mux.HandleFunc("POST "+path, func(rw http.ResponseWriter, r *http.Request) {
		me, known := personByKey(r.URL.Query().Get("person"))
		if !known {
			writeError(rw, http.StatusBadRequest, "There is no such person in the demo.")
			return
		}
		var in In
		body := json.NewDecoder(http.MaxBytesReader(rw, r.Body, maxActionBody))
		body.DisallowUnknownFields()
		if err := body.Decode(&in); err != nil {
			writeError(rw, http.StatusBadRequest, "The page sent something that cannot be read: "+err.Error())
			return
		}
		out, err := do(r.Context(), me, in)
		if err != nil {
			writeError(rw, statusOf(err), err.Error())
			return
		}
		writeJSON(rw, out)
	})
}

func statusOf(err error) int {
	var slack *slacksim.DeliveryError
	var teams *teamssim.RefusedError
	if errors.As(err, &slack) || errors.As(err, &teams) {
		return http.StatusBadGateway
	}
	return http.StatusConflict
}

type sendIn struct {
	Conversation string `json:"conversation"`
	Thread       string `json:"thread"`
	Text         string `json:"text"`
}

// slackSend is what Slack's client does with a line: a slash command, a mention,
// a direct message, or a message that the bot does not hear of.
func (w *World) slackSend(ctx context.Context, me Person, in sendIn) (any, error) {
	// Slack escapes these three in all that it delivers.
	text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.TrimSpace(in.Text))
	if command, isSlash := strings.CutPrefix(text, "/"); isSlash {
		name, rest, _ := strings.Cut(command, " ")
		switch {
		case name != "mde":
			return nil, refused("/%s is not a command here. Try /mde help.", name)
		case in.Thread != "":
			return nil, refused("Slack runs no slash commands in threads. Write @mdebot %s", html.UnescapeString(rest))
		}
		return nil, w.Slack.Slash(ctx, me.Slack, in.Conversation, strings.TrimSpace(rest))
	}
	marked, toBot := w.slackMentions(text)
	event := ""
	switch {
	case in.Conversation == w.Slack.DirectChannel(me.Slack):
		event = "message"
	case toBot:
		event = "app_mention"
	}
	return nil, w.Slack.Write(ctx, me.Slack, in.Conversation, in.Thread, marked, event)
}

// slackMentions turns @names into mentions as Slack's compose box does.
func (w *World) slackMentions(text string) (marked string, toBot bool) {
	for _, u := range w.Slack.Users() {
		for _, name := range []string{u.RealName, u.Name} {
			mention := "<@" + u.ID + ">"
			if name == "" || !strings.Contains(text, "@"+name) {
				continue
			}
			text = strings.ReplaceAll(text, "@"+name, mention)
			toBot = toBot || u.Bot
		}
	}
	return text, toBot
}

// slackHome opens the Home tab.
func (w *World) slackHome(ctx context.Context, me Person, _ struct{}) (any, error) {
	return nil, w.Slack.OpenHome(ctx, me.Slack)
}

type slackClickIn struct {
	Home         bool   `json:"home"` // in the Home tab, and not in a message
	Conversation string `json:"conversation"`
	Message      string `json:"message"`
	Action       string `json:"action"`
	Value        string `json:"value"`
}

func (w *World) slackClick(ctx context.Context, me Person, in slackClickIn) (any, error) {
	press := slacksim.Press{ActionID: in.Action, Value: in.Value}
	if in.Home {
		return nil, w.Slack.ClickHome(ctx, me.Slack, press)
	}
	return nil, w.Slack.Click(ctx, me.Slack, in.Conversation, in.Message, press)
}

func (w *World) slackChoose(ctx context.Context, me Person, in slackClickIn) (any, error) {
	if in.Home {
		return nil, w.Slack.ChooseHome(ctx, me.Slack, in.Action, in.Value)
	}
	return nil, w.Slack.Choose(ctx, me.Slack, in.Conversation, in.Message, in.Action, in.Value)
}

type slackShortcutIn struct {
	Conversation string `json:"conversation"`
	Message      string `json:"message"`
}

func (w *World) slackShortcut(ctx context.Context, me Person, in slackShortcutIn) (any, error) {
	return nil, w.Slack.Shortcut(ctx, me.Slack, in.Conversation, in.Message, SlackShortcut)
}

type slackSubmitIn struct {
	Fields map[string]string `json:"fields"` // by block ID
}

func (w *World) slackSubmit(ctx context.Context, me Person, in slackSubmitIn) (any, error) {
	return nil, w.Slack.SubmitView(ctx, me.Slack, in.Fields)
}

func (w *World) slackClose(_ context.Context, me Person, _ struct{}) (any, error) {
	w.Slack.CloseView(me.Slack)
	return nil, nil
}

type slackSuggestIn struct {
	Block string `json:"block"`
	Text  string `json:"text"`
}

type pageOption struct {
	Label  string `json:"label"`
	Detail string `json:"detail"`
	Value  string `json:"value"`
}

func (w *World) slackSuggest(ctx context.Context, me Person, in slackSuggestIn) (any, error) {
	found, err := w.Slack.Suggest(ctx, me.Slack, in.Block, in.Text)
	options := make([]pageOption, len(found))
	for i, o := range found {
		options[i] = pageOption(o)
	}
	return options, err
}

type teamsSendIn struct {
	sendIn
	Card json.RawMessage `json:"card"` // of what was looked up for the message, or left out
}

// teamsSend writes a message. A line that begins with a slash is a command of the
// bot's, which nobody else sees; personal chats have none, and there it is text.
func (w *World) teamsSend(ctx context.Context, me Person, in teamsSendIn) (any, error) {
	text := strings.TrimSpace(in.Text)
	personal := in.Conversation == ""
	if personal {
		in.Conversation = w.Teams.PersonalChat(me.Object)
	}
	for _, c := range w.Teams.Conversations(me.Object) {
		personal = personal || c.ID == in.Conversation && c.Kind == "personal"
	}
	if command, typed := strings.CutPrefix(text, "/"); typed && !personal {
		if in.Card != nil {
			return nil, refused("A command behind / goes out without a card. Remove the card first.")
		}
		if rest, named := strings.CutPrefix(command, "mde "); named { // as typed in Slack
			command = strings.TrimSpace(rest)
		}
		_, err := w.Teams.Slash(ctx, me.Object, in.Conversation, command, in.Thread)
		return nil, err
	}
	if in.Card != nil {
		_, err := w.Teams.Insert(ctx, me.Object, in.Conversation, text, in.Thread, teamssim.Result{Card: in.Card})
		return nil, err
	}
	_, err := w.Teams.Message(ctx, me.Object, in.Conversation, text, in.Thread)
	return nil, err
}

type teamsQueryIn struct {
	Conversation string `json:"conversation"`
	Text         string `json:"text"`
}

// pageResults are what looking something up for a message lists, or what it says in
// place of a list. The cards are what the bot sent.
type pageResults struct {
	Results []pageResult `json:"results"`
	Note    string       `json:"note"`
}

type pageResult struct {
	Label  string          `json:"label"`
	Detail string          `json:"detail"`
	Card   json.RawMessage `json:"card"`
}

// teamsQuery looks something up for the message that the person writes.
func (w *World) teamsQuery(ctx context.Context, me Person, in teamsQueryIn) (any, error) {
	if in.Conversation == "" {
		in.Conversation = w.Teams.PersonalChat(me.Object)
	}
	found, err := w.Teams.Query(ctx, me.Object, in.Conversation, TeamsSearch, strings.TrimSpace(in.Text))
	if err != nil {
		return nil, err
	}
	out := pageResults{Results: make([]pageResult, len(found.List)), Note: found.Note}
	for i, r := range found.List {
		out.Results[i] = pageResult{Label: r.Title, Detail: r.Text, Card: r.Card}
	}
	return out, nil
}

type teamsClickIn struct {
	Message string         `json:"message"`
	Title   string         `json:"title"`
	Verb    string         `json:"verb"`
	Data    map[string]any `json:"data"`
	Inputs  map[string]any `json:"inputs"`
}

// pageOutcome is what a click or a dialog led to, for the one who did it.
type pageOutcome struct {
	Note   string      `json:"note"`
	Failed bool        `json:"failed"`
	Dialog *pageDialog `json:"dialog"`
}

type pageDialog struct {
	ID    string          `json:"id"`
	Title string          `json:"title"`
	Card  json.RawMessage `json:"card"`
}

func (w *World) teamsClick(ctx context.Context, me Person, in teamsClickIn) (any, error) {
	out, err := w.Teams.Click(ctx, me.Object, in.Message, teamssim.Choice{Title: in.Title, Verb: in.Verb, Data: in.Data}, in.Inputs)
	return outcome(out), err
}

type teamsSubmitIn struct {
	Dialog string         `json:"dialog"`
	Inputs map[string]any `json:"inputs"`
}

func (w *World) teamsSubmit(ctx context.Context, me Person, in teamsSubmitIn) (any, error) {
	out, err := w.Teams.SubmitDialog(ctx, me.Object, in.Dialog, in.Inputs)
	return outcome(out), err
}

type teamsShowIn struct {
	Conversation string `json:"conversation"`
}

// teamsShow is what a client does when it shows a conversation: it asks how cards look
// to its user.
func (w *World) teamsShow(ctx context.Context, me Person, in teamsShowIn) (any, error) {
	_, err := w.Teams.Show(ctx, me.Object, in.Conversation)
	return nil, err
}

type teamsSearchIn struct {
	Shown string `json:"shown"` // the message or dialog
	Input string `json:"input"`
	Text  string `json:"text"`
}

func (w *World) teamsSearch(ctx context.Context, me Person, in teamsSearchIn) (any, error) {
	found, err := w.Teams.Search(ctx, me.Object, in.Shown, in.Input, in.Text)
	options := make([]pageOption, len(found))
	for i, o := range found {
		options[i] = pageOption{Label: o.Title, Value: o.Value}
	}
	return options, err
}

func outcome(o teamssim.Outcome) pageOutcome {
	out := pageOutcome{Note: o.Note, Failed: o.Failed}
	if o.Dialog != nil {
		out.Dialog = &pageDialog{ID: o.Dialog.ID, Title: o.Dialog.Title, Card: o.Dialog.Card}
	}
	return out
}

type teamsFileIn struct {
	Message string `json:"message"`
	Accept  bool   `json:"accept"`
}

func (w *World) teamsFile(ctx context.Context, me Person, in teamsFileIn) (any, error) {
	return nil, w.Teams.AnswerFile(ctx, me.Object, in.Message, in.Accept)
}

func (w *World) startAttack(context.Context, Person, struct{}) (any, error) {
	if attacks := w.Tenant.Attacks(); len(attacks) > 0 && !attacks[len(attacks)-1].Over {
		return nil, refused("An attack is under way already.")
	}
	w.Tenant.StartAttack(w.attackInterval)
	return nil, nil
}

func (w *World) stopAttack(context.Context, Person, struct{}) (any, error) {
	w.Tenant.StopAttack()
	return nil, nil
}

// ordinaryAlerts are what "Raise one alert" raises, in turn.
var ordinaryAlerts = []struct{ machine, severity, title string }{
	{"ws-042", "High", "Connection to a known command-and-control server"},
	{"lt-018", "High", "Credential theft tool was run"},
	{"web-01", "Medium", "Suspicious process launched by a web server"},
	{"db-01", "High", "Unusual export of a customer database"},
	{"ws-007", "Low", "Unwanted software was blocked"},
}

func (w *World) raiseAlert(context.Context, Person, struct{}) (any, error) {
	next := ordinaryAlerts[int(w.raised.Add(1)-1)%len(ordinaryAlerts)]
	machines := w.Estate.Named(next.machine)
	if len(machines) == 0 {
		return nil, refused("There is no machine %s.", next.machine)
	}
	active := slices.MaxFunc(machines, func(a, b estate.Machine) int { return a.LastSeen.Compare(b.LastSeen.Time) })
	_, err := w.Tenant.RaiseAlert(active.ID, next.severity, next.title)
	return nil, err
}

type editAlertIn struct {
	ID     string `json:"id"`
	Change string `json:"change"` // take, resolve or raise
}

// editAlert changes an alert as somebody in the portal would.
func (w *World) editAlert(_ context.Context, me Person, in editAlertIn) (any, error) {
	change, known := map[string]func(*estate.Alert){
		"take": func(a *estate.Alert) {
			who := me.Key + "@contoso.example"
			a.Status, a.AssignedTo = "InProgress", &who
		},
		"resolve": func(a *estate.Alert) {
			classification, determination := "TruePositive", "Malware"
			a.Status, a.ResolvedTime = "Resolved", estate.At(time.Now())
			a.Classification, a.Determination = &classification, &determination
		},
		"raise": func(a *estate.Alert) { a.Severity = "High" },
	}[in.Change]
	if !known {
		return nil, refused("The portal knows no change %q.", in.Change)
	}
	return nil, w.Tenant.EditAlert(in.ID, change)
}

package teamsbot

import (
	"encoding/json"
	"errors"
	"html"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// activity is what is read of an incoming activity. The library's own type
// cannot decode every activity that Teams sends, so value, channelData and
// entities stay raw until something needs them.
type activity struct {
	Type         string            `json:"type"`
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	ChannelID    string            `json:"channelId"`
	ServiceURL   string            `json:"serviceUrl"`
	From         account           `json:"from"`
	Recipient    account           `json:"recipient"`
	Conversation place             `json:"conversation"`
	Text         string            `json:"text"`
	Entities     []json.RawMessage `json:"entities"`
	ChannelData  json.RawMessage   `json:"channelData"`
	Value        json.RawMessage   `json:"value"`
	ReplyToID    string            `json:"replyToId"`

	tenant string // from channelData, agreed on by the rest
}

type account struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	ObjectID   string `json:"aadObjectId"`
	TenantID   string `json:"tenantId"`
	IsTargeted bool   `json:"isTargeted"`
}

type place struct {
	ID       string `json:"id"`
	Kind     string `json:"conversationType"`
	TenantID string `json:"tenantId"`
}

const (
	kindPersonal = "personal"
	// sharedPrefix begins the ID of a conversation of people. A chat of two of them is
	// called personal as well, and a card of the bot's that one of them sends there
	// brings activities from it.
	sharedPrefix = "19:"
)

// decodeActivity reads an activity whose JSON is known to be strict.
func decodeActivity(body []byte) (activity, error) {
	var a activity
	if err := json.Unmarshal(body, &a); err != nil {
		return activity{}, errors.New("body is no activity")
	}
	if a.Type == "" || a.ID == "" || a.Conversation.ID == "" {
		return activity{}, errors.New("activity without type, ID or conversation")
	}
	return a, nil
}

// skeleton is the part of the activity that the library's adapter authenticates.
func (a activity) skeleton() ([]byte, error) {
	return json.Marshal(map[string]any{
		"type": a.Type, "id": a.ID, "channelId": a.ChannelID, "serviceUrl": a.ServiceURL,
	})
}

// checkTenant requires one tenant on which all parts of the activity agree and
// which is configured.
func (a *activity) checkTenant(accepted []string) error {
	var data struct {
		Tenant struct {
			ID string `json:"id"`
		} `json:"tenant"`
	}
	if len(a.ChannelData) == 0 || json.Unmarshal(a.ChannelData, &data) != nil || data.Tenant.ID == "" {
		return forbidden("activity names no tenant")
	}
	a.tenant = strings.ToLower(data.Tenant.ID)
	for _, other := range []string{a.Conversation.TenantID, a.From.TenantID} {
		if other != "" && strings.ToLower(other) != a.tenant {
			return forbidden("tenants of the activity differ")
		}
	}
	if !slices.Contains(accepted, a.tenant) {
		return forbidden("tenant is not configured")
	}
	return nil
}

// delivery identifies the activity.
func (a activity) delivery() string {
	return a.tenant + "/" + a.Conversation.ID + "/" + a.ID
}

// in is where the activity happened.
func (a activity) in() chat.Conversation {
	id, thread, _ := strings.Cut(a.Conversation.ID, ";messageid=")
	return chat.Conversation{
		Platform: identity.Teams, Workspace: a.tenant, ID: id, Thread: thread,
		Direct: a.Conversation.Kind == kindPersonal && !strings.HasPrefix(id, sharedPrefix),
	}
}

// by is the person, when the activity names one.
func (a activity) by() (identity.Principal, bool) {
	if !isGUID(a.From.ObjectID) {
		return identity.Principal{}, false
	}
	return identity.Principal{
		Platform: identity.Teams, Workspace: a.tenant, Account: strings.ToLower(a.From.ObjectID),
		Address: a.From.ID, Name: a.From.Name,
	}, true
}

// source is the message that holds the clicked card.
func (a activity) source() chat.Ref {
	if a.ReplyToID == "" {
		return chat.Ref{}
	}
	return chat.Ref{Conversation: a.in(), MessageID: a.ReplyToID}
}

type mention struct {
	Type      string  `json:"type"`
	Text      string  `json:"text"`
	Mentioned account `json:"mentioned"`
}

// command is the text without the bot's mention, and whether the bot was
// mentioned. Who is meant by a mention stands only in the entities: names in the
// text can be anything.
func (a activity) command(botID string) (text string, mentioned bool) {
	text = a.Text
	for _, raw := range a.Entities {
		var m mention
		if json.Unmarshal(raw, &m) != nil || m.Type != "mention" || m.Text == "" {
			continue
		}
		if m.Mentioned.ID == botID {
			mentioned = true
			text = strings.Replace(text, m.Text, " ", 1)
			continue
		}
		text = strings.Replace(text, m.Text, m.Mentioned.Name, 1)
	}
	text = html.UnescapeString(text)
	text = strings.ReplaceAll(text, "\u00a0", " ")
	return strings.TrimSpace(text), mentioned
}

// cardData is what a button of ours sends back. Everything in it is made by the
// client and may be anything.
type cardData struct {
	action string
	value  string
	form   string            // key of the form that was drawn, for forms
	menu   string            // input that holds the chosen value, for menus
	aside  bool              // the card is seen by one person alone
	view   bool              // a client asks how the card looks to its user
	fields map[string]string // inputs of forms
}

// Keys of a card's data. Inputs are called fieldPrefix + ID, so that an input
// cannot take the place of a key.
const (
	keyAction   = "action"
	keyValue    = "value"
	keyForm     = "form"
	keyMenu     = "menu"
	keyAside    = "aside"
	keyView     = "view"
	fieldPrefix = "field."
	menuPrefix  = "menu."
)

const maxCardValue = 4 << 10

var errCardData = errors.New("card data is not ours")

// decodeCardData reads the data of a card action.
func decodeCardData(raw json.RawMessage) (cardData, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil || all == nil {
		return cardData{}, errCardData
	}
	d := cardData{fields: map[string]string{}}
	for key, target := range map[string]*string{keyAction: &d.action, keyValue: &d.value, keyForm: &d.form, keyMenu: &d.menu} {
		v, ok := all[key]
		if !ok {
			continue
		}
		if json.Unmarshal(v, target) != nil || len(*target) > maxCardValue {
			return cardData{}, errCardData
		}
	}
	for key, target := range map[string]*bool{keyAside: &d.aside, keyView: &d.view} {
		if v, ok := all[key]; ok && json.Unmarshal(v, target) != nil {
			return cardData{}, errCardData
		}
	}
	if d.action == "" {
		return cardData{}, errCardData
	}
	if d.menu != "" {
		if !strings.HasPrefix(d.menu, menuPrefix) || json.Unmarshal(all[d.menu], &d.value) != nil || len(d.value) > maxCardValue {
			return cardData{}, errCardData
		}
	}
	for key, v := range all {
		id, ok := strings.CutPrefix(key, fieldPrefix)
		if !ok {
			continue
		}
		var s string
		if json.Unmarshal(v, &s) != nil {
			return cardData{}, errCardData
		}
		d.fields[id] = s
	}
	return d, nil
}

// invocation makes a click or, when the data came from a form, a submission.
func (a activity) invocation(d cardData, by identity.Principal) chat.Invocation {
	inv := chat.Invocation{
		Kind: chat.Click, Delivery: a.delivery(), By: by, In: a.in(),
		Action: d.action, Value: d.value, Source: a.source(),
	}
	if d.form != "" {
		inv.Kind, inv.Fields = chat.Submit, d.fields
	}
	return inv
}

// executed is the value of an adaptiveCard/action invoke.
type executed struct {
	Action struct {
		Type string          `json:"type"`
		Verb string          `json:"verb"`
		Data json.RawMessage `json:"data"`
	} `json:"action"`
	Trigger string `json:"trigger"`
}

// decodeExecute reads an adaptiveCard/action. What a client sends by itself is told
// apart, because nothing may be changed by it.
func decodeExecute(raw json.RawMessage) (d cardData, automatic bool, err error) {
	var e executed
	if json.Unmarshal(raw, &e) != nil || e.Action.Type != "Action.Execute" {
		return cardData{}, false, errCardData
	}
	d, err = decodeCardData(e.Action.Data)
	if err == nil && e.Action.Verb != d.action {
		err = errCardData
	}
	return d, e.Trigger == "automatic", err
}

// decodeTask reads a task/fetch or task/submit.
func decodeTask(raw json.RawMessage) (cardData, error) {
	var t struct {
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(raw, &t) != nil {
		return cardData{}, errCardData
	}
	return decodeCardData(t.Data)
}

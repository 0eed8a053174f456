package sandbox

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

// pageMessages is how many messages of a conversation the page gets, the newest.
const pageMessages = 200

// pageState is what GET /api/state answers: everything that one person sees.
type pageState struct {
	Person   string       `json:"person"`
	People   []pagePerson `json:"people"`
	Slack    pageSlack    `json:"slack"`
	Teams    pageTeams    `json:"teams"`
	Defender pageDefender `json:"defender"`
}

type pagePerson struct {
	Key  string `json:"key"`
	Name string `json:"name"`
	Part string `json:"part"`
}

type pageSlack struct {
	Bot string `json:"bot"` // its user ID
	// Names of people and groups by ID, for mentions.
	Names         map[string]string  `json:"names"`
	Conversations []pageConversation `json:"conversations"`
	Modal         *pageModal         `json:"modal"`
	Home          *pageHome          `json:"home"` // null before the bot has shown one
}

type pageTeams struct {
	Conversations []pageConversation `json:"conversations"`
	Tab           *pageTab           `json:"tab"` // null when the app has none
}

// pageTab is the web tab of the app, and BotChat is part of every address that leads
// into the chat with its bot.
type pageTab struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Origin  string `json:"origin"`
	BotChat string `json:"botChat"`
}

// pageConversation is a channel or the person's direct chat with the bot.
// Messages are of pageSlackMessage or pageTeamsMessage.
type pageConversation struct {
	ID       string `json:"id"` // empty when the chat does not exist yet
	Name     string `json:"name"`
	Direct   bool   `json:"direct"`
	Shared   bool   `json:"shared"` // with another company
	Messages []any  `json:"messages"`
}

// pageSlackMessage is a message in Slack. Blocks and Attachments are what the bot
// sent, byte for byte.
type pageSlackMessage struct {
	ID          string          `json:"id"` // its ts
	Thread      string          `json:"thread"`
	At          time.Time       `json:"at"`
	From        string          `json:"from"`
	Mine        bool            `json:"mine"`
	FromBot     bool            `json:"fromBot"`
	Text        string          `json:"text"`
	Blocks      json.RawMessage `json:"blocks"`
	Attachments json.RawMessage `json:"attachments"`
	OnlyYou     bool            `json:"onlyYou"`
	Edits       int             `json:"edits"`
	Files       []pageFile      `json:"files"`
}

type pageFile struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Title string `json:"title"`
	Size  int    `json:"size"`
}

type pageModal struct {
	ID     string            `json:"id"`
	Hash   string            `json:"hash"`
	View   json.RawMessage   `json:"view"`
	Errors map[string]string `json:"errors"`
}

// pageHome is the person's Home tab. View is what the bot sent, byte for byte.
type pageHome struct {
	Hash string          `json:"hash"`
	View json.RawMessage `json:"view"`
}

// pageTeamsMessage is a message in Teams. Card and the contents of Attachments
// are what the bot sent, byte for byte.
type pageTeamsMessage struct {
	ID          string           `json:"id"`
	Thread      string           `json:"thread"`
	At          time.Time        `json:"at"`
	From        string           `json:"from"`
	Mine        bool             `json:"mine"`
	FromBot     bool             `json:"fromBot"`
	Text        string           `json:"text"`
	Summary     string           `json:"summary"`
	Card        json.RawMessage  `json:"card"`
	Note        string           `json:"note"`
	Failed      bool             `json:"failed"`
	Edits       int              `json:"edits"`
	Attachments []pageAttachment `json:"attachments"`
	OnlyYou     bool             `json:"onlyYou"`
}

type pageAttachment struct {
	Type    string          `json:"type"`
	Name    string          `json:"name"`
	Content json.RawMessage `json:"content"`
}

// pageDefender is what really happens, which people in chat only hear of.
type pageDefender struct {
	Machines []pageMachine `json:"machines"` // isolated, or on the way to it or back
	Actions  []pageAction  `json:"actions"`  // newest first
	Alerts   []pageAlert   `json:"alerts"`   // the newest ones
	Attack   *pageAttack   `json:"attack"`   // the latest
}

type pageMachine struct {
	ID    string    `json:"id"`
	Name  string    `json:"name"`
	State string    `json:"state"` // isolating, isolated or releasing
	Scope string    `json:"scope"`
	Since time.Time `json:"since"`
}

type pageAction struct {
	ID      string    `json:"id"`
	Type    string    `json:"type"`
	Machine string    `json:"machine"`
	Status  string    `json:"status"`
	Comment string    `json:"comment"`
	Source  string    `json:"source"`
	Asked   time.Time `json:"asked"`
	Changed time.Time `json:"changed"`
}

type pageAlert struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Severity string    `json:"severity"`
	Status   string    `json:"status"`
	Machine  string    `json:"machine"`
	At       time.Time `json:"at"`
}

type pageAttack struct {
	Steps     []pageStep `json:"steps"` // those that happened
	Of        int        `json:"of"`
	Contained bool       `json:"contained"`
	Stopped   bool       `json:"stopped"`
	Over      bool       `json:"over"`
}

// pageStep is a step of an attack: what happens, what to do about it, and the
// command that does it.
type pageStep struct {
	Name    string    `json:"name"`
	Told    string    `json:"told"`
	Try     string    `json:"try"`
	Command string    `json:"command"`
	At      time.Time `json:"at"`
}

func (w *World) pageState(me Person) pageState {
	s := pageState{Person: me.Key, Slack: w.pageSlack(me), Teams: w.pageTeams(me), Defender: w.pageDefender()}
	for _, p := range People() {
		s.People = append(s.People, pagePerson{Key: p.Key, Name: p.Name, Part: p.Part})
	}
	return s
}

func (w *World) pageSlack(me Person) pageSlack {
	out := pageSlack{Names: map[string]string{}}
	for _, u := range w.Slack.Users() {
		out.Names[u.ID] = u.RealName
		if u.Bot {
			out.Bot = u.ID
		}
	}
	for _, g := range slackGroups {
		out.Names[g.ID] = g.Handle
	}
	direct := w.Slack.DirectChannel(me.Slack)
	for _, c := range w.Slack.Channels(me.Slack) {
		shown := pageConversation{ID: c.ID, Name: c.Name, Direct: c.ID == direct, Shared: c.Shared}
		for _, m := range latest(w.Slack.Messages(c.ID, me.Slack)) {
			shown.Messages = append(shown.Messages, slackMessage(m, me, out.Names))
		}
		out.Conversations = append(out.Conversations, shown)
	}
	if m, open := w.Slack.Modal(me.Slack); open {
		out.Modal = &pageModal{ID: m.ID, Hash: m.Hash, View: m.View, Errors: m.Errors}
	}
	if h, shown := w.Slack.Home(me.Slack); shown {
		out.Home = &pageHome{Hash: h.Hash, View: h.View}
	}
	return out
}

func slackMessage(m slacksim.Message, me Person, names map[string]string) pageSlackMessage {
	out := pageSlackMessage{
		ID: m.TS, At: slackTime(m.TS), From: cmp.Or(names[m.User], m.User), Mine: m.User == me.Slack, FromBot: m.FromBot,
		Text: m.Text, Blocks: m.Blocks, Attachments: m.Attachments, OnlyYou: m.OnlyFor != "", Edits: m.Edits,
	}
	if m.ThreadTS != m.TS {
		out.Thread = m.ThreadTS
	}
	for _, f := range m.Files {
		out.Files = append(out.Files, pageFile{ID: f.ID, Name: f.Name, Title: cmp.Or(f.Title, f.AltText), Size: len(f.Content)})
	}
	return out
}

func (w *World) pageTeams(me Person) pageTeams {
	var out pageTeams
	direct := pageConversation{Name: "mdebot", Direct: true}
	for _, c := range w.Teams.Conversations(me.Object) {
		shown := pageConversation{ID: c.ID, Name: c.Name, Direct: c.Kind == "personal"}
		for _, m := range latest(w.Teams.Messages(c.ID, me.Object)) {
			shown.Messages = append(shown.Messages, teamsMessage(m, me))
		}
		if shown.Direct {
			direct = shown
			continue
		}
		out.Conversations = append(out.Conversations, shown)
	}
	out.Conversations = append(out.Conversations, direct)
	if t := w.tab.Load(); t != nil {
		out.Tab = &pageTab{Name: t.name, Address: t.address, Origin: t.origin, BotChat: "/l/chat/0/0?users=" + url.QueryEscape("28:"+teamsAppID)}
	}
	return out
}

func teamsMessage(m teamssim.Message, me Person) pageTeamsMessage {
	out := pageTeamsMessage{
		ID: m.ID, Thread: m.Thread, At: m.At, From: m.From, Mine: !m.FromBot && m.From == me.Name, FromBot: m.FromBot,
		Text: m.Text, Summary: m.Summary, Card: m.Card, Note: m.Note, Failed: m.Failed, Edits: m.Edits, OnlyYou: m.OnlyFor != "",
	}
	for _, a := range m.Attachments {
		out.Attachments = append(out.Attachments, pageAttachment{Type: a.ContentType, Name: a.Name, Content: a.Content})
	}
	return out
}

func (w *World) pageDefender() pageDefender {
	var out pageDefender
	for _, m := range w.Tenant.Machines() {
		shown := pageMachine{ID: m.ID, Name: m.ShortName(), Scope: m.Scope, Since: m.Since}
		if m.Isolated {
			shown.State = "isolated"
		}
		if len(m.Actions) > 0 && !m.Actions[0].Final() {
			shown.State, shown.Since = "isolating", m.Actions[0].CreationDateTimeUTC.Time
			if m.Actions[0].Type == string(defendersim.EffectUnisolate) {
				shown.State = "releasing"
			}
		}
		if shown.State != "" {
			out.Machines = append(out.Machines, shown)
		}
	}
	for _, a := range slices.Backward(w.Tenant.Actions()) {
		name := a.MachineID
		if a.ComputerDNSName != nil {
			name = *a.ComputerDNSName
		}
		out.Actions = append(out.Actions, pageAction{
			ID: a.ID, Type: a.Type, Machine: name, Status: a.Status, Comment: a.RequestorComment, Source: a.RequestSource,
			Asked: a.CreationDateTimeUTC.Time, Changed: a.LastUpdateDateTimeUTC.Time,
		})
	}
	for _, a := range w.Tenant.Alerts() {
		if len(out.Alerts) == 12 {
			break
		}
		shown := pageAlert{ID: a.ID, Title: a.Title, Severity: a.Severity, Status: a.Status, At: a.AlertCreationTime.Time}
		if a.ComputerDNSName != nil {
			shown.Machine = *a.ComputerDNSName
		}
		out.Alerts = append(out.Alerts, shown)
	}
	if attacks := w.Tenant.Attacks(); len(attacks) > 0 {
		a := attacks[len(attacks)-1]
		out.Attack = &pageAttack{Of: a.Of, Contained: a.Contained, Stopped: a.Stopped, Over: a.Over}
		for _, s := range a.Done {
			out.Attack.Steps = append(out.Attack.Steps, pageStep{
				Name: s.Name, Told: s.Told, Try: s.Try, At: s.At,
				Command: strings.ReplaceAll(s.Command, "{incident}", strconv.FormatInt(a.IncidentID, 10)),
			})
		}
	}
	return out
}

func latest[M any](messages []M) []M { return messages[max(0, len(messages)-pageMessages):] }

// slackTime is the time in a message's ts, seconds and microseconds.
func slackTime(ts string) time.Time {
	var seconds json.Number
	if json.Unmarshal([]byte(ts), &seconds) != nil {
		return time.Time{}
	}
	f, _ := seconds.Float64() // a number, as it was read as one
	return time.UnixMicro(int64(f * 1e6)).UTC()
}

package cards

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/policy"
)

// SuppressionRules leads to what Defender itself offers for longer quiet.
func SuppressionRules(p Portal) chat.Text {
	if p == nil || p.Suppressions() == "" {
		return chat.Plain("suppression rules in the Defender portal")
	}
	return chat.Link("suppression rules in the Defender portal", p.Suppressions())
}

// MuteView is a mute as it stands.
type MuteView struct {
	policy.MuteOrder
	Number int64
	// Began, Until and Ended are its course; EndedBy is who ended it early, or "".
	Began, Until, Ended time.Time
	EndedBy             string
	Held                int // alerts kept back so far
}

// MutePreviewWords is "would have hidden 14 of the last 7 days' 120 alerts, 2 High".
func MutePreviewWords(p policy.MutePreview) string {
	s := fmt.Sprintf("would have hidden %d of the last %d days' %s", p.Held, p.Days, plural(p.Of, "alert", "alerts"))
	if p.Held > 0 {
		s += fmt.Sprintf(", %d High", p.High)
	}
	return s
}

// MuteOffer shows what a mute would do, with the button that begins it. key names
// the order that was kept.
func MuteOffer(o policy.MuteOrder, key string) chat.Message {
	m := chat.Message{
		Title: chat.Plain("Mute these alerts?"), Tone: chat.Notice,
		Facts: append(muteFacts(o), chat.Fact{Label: "It", Value: chat.Plain(MutePreviewWords(o.Preview))}),
		Note:  chat.Plain("Muted alerts stay in Defender and are all named here when the mute ends."),
	}
	label, style := "Mute", chat.StylePrimary
	if o.Mute.High {
		label, style = "Ask for approval", chat.StyleDanger
		m.Facts = append(m.Facts, chat.Fact{Label: "Needs", Value: chat.Plain("a second person, because it could hide High alerts or those of tier 0")})
	}
	m.Buttons = []chat.Button{{Label: label, Action: ActionMuteBegin, Value: key, Style: style}}
	return m
}

func muteFacts(o policy.MuteOrder) []chat.Fact {
	return []chat.Fact{
		{Label: "Keeps back", Value: chat.Untrusted(o.Mute.String())},
		{Label: "For", Value: chat.Plain(o.For.String())},
		{Label: "Reason", Value: outside(o.Reason)},
	}
}

// muteFactLines are what voters see of a mute.
func muteFactLines(t approvals.Target) []chat.Text {
	var o policy.MuteOrder
	if err := json.Unmarshal(t.Facts, &o); err != nil || o.ID == "" {
		return []chat.Text{chat.Bold("What it keeps back could not be read. Deny it.")}
	}
	lines := []chat.Text{labelled("It", chat.Plain(MutePreviewWords(o.Preview)))}
	if o.Mute.Title != "" {
		lines = append(lines, labelled("Title", chat.Untrusted(o.Mute.Title)))
	}
	if o.Mute.Machine != "" {
		lines = append(lines, labelled("Machine", sentence(outside(o.Mute.MachineName), chat.Code(o.Mute.Machine))))
	}
	return append(lines, labelled("For", chat.Plain(o.For.String()+" from its approval on")))
}

// MuteBegun tells everybody that alerts are kept back.
func MuteBegun(v MuteView) chat.Message {
	m := chat.Message{
		Title: chat.Plain(fmt.Sprintf("Mute %d: some alerts are not posted for %s", v.Number, v.For)), Tone: chat.Warning,
		Facts: append(muteFacts(v.MuteOrder)[:1:1],
			chat.Fact{Label: "Until", Value: when(v.Until)},
			chat.Fact{Label: "By", Value: outside(v.By)},
			chat.Fact{Label: "Reason", Value: outside(v.Reason)},
		),
		Note: chat.Join(chat.Plain("It ends by itself and is summed up here. End it now: "), chat.Code(fmt.Sprintf("unmute %d", v.Number))),
	}
	m.Preview = chat.Join(m.Title, chat.Plain(", by "), outside(v.By))
	return m
}

// mutedNamed is how many alerts the end of a mute names.
const mutedNamed = 60

// MuteEnded tells that a mute is over, and what it kept back.
func MuteEnded(v MuteView, held []defender.Alert, p Portal) chat.Message {
	m := chat.Message{
		Title: chat.Plain(fmt.Sprintf("Mute %d is over: it kept back %s", v.Number, plural(len(held), "alert", "alerts"))), Tone: chat.Good,
		Facts: append(muteFacts(v.MuteOrder)[:1:1],
			chat.Fact{Label: "From", Value: chat.Join(when(v.Began), chat.Plain(" to "), when(v.Ended))},
			chat.Fact{Label: "By", Value: outside(v.By)},
		),
	}
	if v.EndedBy != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "Ended by", Value: outside(v.EndedBy)})
	}
	if len(held) == 0 {
		return m
	}
	m.Tone = chat.Notice
	m.Facts = append(m.Facts, chat.Fact{Label: "By severity", Value: chat.Plain(severityCounts(held))})
	s := chat.Section{Heading: "Kept back"}
	for _, a := range held[:min(len(held), mutedNamed)] {
		line := sentence(chat.Join(severityWord(a.Severity), chat.Plain(":")), outside(a.Title), chat.Plain("on"), outside(a.MachineName))
		line = dotted(line, alertStatusWord(a.Status), code(a.ID))
		if url := alertURL(p, a.ID); url != "" {
			line = dotted(line, chat.Link("open it", url))
		}
		s.Lines = append(s.Lines, line)
	}
	if more := len(held) - mutedNamed; more > 0 {
		s.Lines = append(s.Lines, chat.Plain(fmt.Sprintf("and %d more: alerts --since lists them", more)))
	}
	m.Sections = append(m.Sections, s)
	return m
}

// MuteList is what is muted now.
func MuteList(all []MuteView) chat.Message {
	if len(all) == 0 {
		return chat.Message{Title: chat.Plain("Nothing is muted"), Tone: chat.Good}
	}
	m := chat.Message{
		Title: chat.Plain(plural(len(all), "mute", "mutes") + " in force"), Tone: chat.Notice,
		Table: &chat.Table{Caption: "Mutes", Columns: []string{"Mute", "Keeps back", "Until", "By", "Reason", "Kept back"}, Total: len(all)},
		Menu:  &chat.Menu{Label: "End a mute", Action: ActionMuteEnd},
	}
	for i, v := range all {
		number := strconv.FormatInt(v.Number, 10)
		m.Table.Rows = append(m.Table.Rows, []string{number, v.Mute.String(), tableTime(v.Until), v.By, v.Reason, strconv.Itoa(v.Held)})
		if i < menuOptions {
			m.Menu.Options = append(m.Menu.Options, chat.Option{Label: number + ": " + v.Mute.String(), Detail: v.By, Value: number})
		}
	}
	return m
}

package teamsbot

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/chat"
)

// object is a JSON object. Cards are built from them because an element is a bag
// of optional properties; keys come out sorted, so cards compare byte by byte.
type object = map[string]any

const (
	cardContentType = "application/vnd.microsoft.card.adaptive"
	cardVersion     = "1.5"
	// maxCard keeps a card well below the 100 KB of UTF-16 that an activity may
	// have. Pictures do not count.
	maxCard        = 25 << 10
	maxPicture     = 1 << 20
	maxColumns     = 4
	visibleButtons = 6
	maxButtons     = 12
	maxSummary     = 200
)

// limits say how much of a message is drawn. Whatever is left out is counted in
// a visible line.
type limits struct {
	text    int // runes of one outside text
	facts   int
	lines   int // of all sections together
	rows    int
	options int
	folded  bool
	// whole limits leave nothing out of a message as mdebot makes them: only what
	// is longer than the bounds of its parts is cut.
	whole bool
}

// steps are tried from the first until the card fits. What an approver needs
// stands in facts and lines and goes last.
var steps = []limits{
	{text: 2000, facts: 40, lines: 120, rows: 20, options: 60, folded: true, whole: true},
	{text: 1000, facts: 40, lines: 120, rows: 15, options: 40, folded: true, whole: true},
	{text: 1000, facts: 40, lines: 120, rows: 15, options: 40, whole: true},
	{text: 400, facts: 40, lines: 100, rows: 10, options: 25},
	{text: 200, facts: 30, lines: 60, rows: 8, options: 20},
	{text: 100, facts: 25, lines: 40, rows: 5, options: 15},
	{text: 40, facts: 15, lines: 20, rows: 3, options: 8},
	{text: 12, facts: 8, lines: 6, rows: 1, options: 4},
}

// card draws m within the limits, for all who see it. extra elements stand at the
// end, such as where a file is.
func card(m chat.Message, extra ...object) object { return drawCard(m.ForAll(), extra) }

// cardAside draws m for the one person who sees it. Every button tells that it was
// pressed there.
func cardAside(m chat.Message, extra ...object) object {
	c := drawCard(m, extra)
	markAside(c)
	return c
}

func drawCard(m chat.Message, extra []object) object {
	return fit(func(l limits) object {
		c := newDrawing(l)
		c.message(m)
		c.body = append(c.body, extra...)
		return c.card()
	}, m.Title)
}

// fit draws with smaller and smaller limits. A message that does not fit even
// then is replaced by its title: posting something beats posting nothing.
func fit(draw func(limits) object, title chat.Text) object {
	for _, l := range steps {
		if c := draw(l); weight(c) <= maxCard {
			return c
		}
	}
	d := newDrawing(steps[len(steps)-1])
	d.add(d.line(title, look{weight: "Bolder"}))
	d.cut("This message is too large to show here.")
	return d.card()
}

// weight is the size of a card without its pictures.
func weight(c object) int {
	n := len(encode(c))
	for _, e := range c["body"].([]object) {
		if instead, ok := e["fallback"].(object); ok {
			e = instead
		}
		if address, ok := e["url"].(string); ok && e["type"] == "Image" {
			n -= len(address)
		}
	}
	return n
}

// summary is the line of the notification.
func summary(m chat.Message) string {
	return literal(m.FirstLine().String(), maxSummary)
}

// drawing is a card in the making.
type drawing struct {
	limit    limits
	body     []object
	actions  []object
	mentions []object
	named    map[string]string // mention name → ID, because clients match by name
	missing  bool              // facts or lines did not fit
}

func newDrawing(l limits) *drawing { return &drawing{limit: l, named: map[string]string{}} }

func (d *drawing) add(elements ...object) {
	for _, e := range elements {
		if e != nil {
			d.body = append(d.body, e)
		}
	}
}

// cut adds a visible line about something left out.
func (d *drawing) cut(format string, args ...any) {
	d.add(cutLine(format, args...))
}

func cutLine(format string, args ...any) object {
	return object{"type": "TextBlock", "text": markdown(fmt.Sprintf(format, args...)), "isSubtle": true, "wrap": true, "size": "Small"}
}

// more is "1 more line" or "3 more lines".
func more(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d more %s", n, what)
}

func (d *drawing) card() object {
	teams := object{"width": "Full"}
	if len(d.mentions) > 0 {
		teams["entities"] = d.mentions
	}
	if d.body == nil {
		d.body = []object{}
	}
	c := object{"type": "AdaptiveCard", "version": cardVersion, "msteams": teams, "body": d.body}
	if len(d.actions) > 0 {
		c["actions"] = d.actions
	}
	return c
}

// tones: a symbol and a word's worth of colour, never colour alone.
var tones = map[chat.Tone]struct{ symbol, style string }{
	chat.Good:    {"✅ ", "good"},
	chat.Notice:  {"🔔 ", "accent"},
	chat.Warning: {"⚠️ ", "warning"},
	chat.Danger:  {"⛔ ", "attention"},
}

func (d *drawing) message(m chat.Message) {
	d.title(m)
	d.mentionLine(m.Mentions)
	d.facts(m.Facts)
	d.sections(m.Sections)
	d.table(m.Table)
	d.picture(m.Picture)
	d.menu(m.Menu)
	d.buttons(m.Buttons)
	if len(m.Note) > 0 {
		d.add(d.line(m.Note, look{subtle: true, size: "Small"}))
	}
}

func (d *drawing) title(m chat.Message) {
	if len(m.Title) == 0 {
		return
	}
	tone, ok := tones[m.Tone]
	if !ok {
		d.add(d.line(m.Title, look{weight: "Bolder", size: "Medium"}))
		return
	}
	title := d.line(chat.Join(chat.Plain(tone.symbol), m.Title), look{weight: "Bolder", size: "Medium"})
	d.add(object{"type": "Container", "style": tone.style, "bleed": true, "items": []object{title}})
}

// look is how a line is drawn.
type look struct {
	weight string
	size   string
	subtle bool
	color  string
}

func (k look) apply(o object) object {
	for name, v := range map[string]string{"weight": k.weight, "size": k.size, "color": k.color} {
		if v != "" {
			o[name] = v
		}
	}
	if k.subtle {
		o["isSubtle"] = true
	}
	return o
}

// line draws t, or nil when it is empty. Lines of our own words alone become a
// TextBlock, where mentions and the reader's time zone work; text from outside
// stands in a RichTextBlock, which knows no Markdown, and a moment behind it is in
// UTC and says so.
func (d *drawing) line(t chat.Text, k look) object {
	if t = slices.DeleteFunc(slices.Clone(t), blank); len(t) == 0 {
		return nil
	}
	first := slices.IndexFunc(t, outside)
	if first < 0 {
		return d.ownLine(t, k)
	}
	own := untilTime(t[:first])
	if own == 0 {
		return object{"type": "RichTextBlock", "inlines": d.runs(t, k)}
	}
	rest := slices.Clone(t[own:])
	rest[0].Value = strings.TrimLeft(rest[0].Value, " ") // the columns are apart already
	// Shares of the width: a column as wide as its text leaves one letter a line for
	// the other on a phone.
	return object{"type": "ColumnSet", "columns": []object{
		{"type": "Column", "width": "2", "items": []object{d.ownLine(t[:own], k)}},
		{"type": "Column", "width": "3", "spacing": "Small", "items": []object{{"type": "RichTextBlock", "inlines": d.runs(rest, k)}}},
	}}
}

// ownLine draws our own words.
func (d *drawing) ownLine(t chat.Text, k look) object {
	var b strings.Builder
	for _, s := range t {
		b.WriteString(d.span(s))
	}
	return k.apply(object{"type": "TextBlock", "text": b.String(), "wrap": true})
}

// untilTime is how many spans end with the last moment in t: a line that begins
// with one shows it in the reader's zone, as the lines beside it do.
func untilTime(t chat.Text) int {
	for i := len(t); i > 0; i-- {
		if t[i-1].Kind == chat.SpanTime {
			return i
		}
	}
	return 0
}

func blank(s chat.Span) bool {
	return s.Kind != chat.SpanTime && s.Kind != chat.SpanMention && s.Value == ""
}

func outside(s chat.Span) bool { return s.Kind == chat.SpanUntrusted || s.Kind == chat.SpanCode }

// span draws our own words as Markdown.
func (d *drawing) span(s chat.Span) string {
	switch s.Kind {
	case chat.SpanBold:
		// Markdown takes stars beside a space for stars.
		word := strings.TrimSpace(s.Value)
		before, after, _ := strings.Cut(s.Value, word)
		return before + "**" + markdown(word) + "**" + after
	case chat.SpanLink:
		if address, ok := link(s.URL); ok {
			return "[" + markdown(s.Value) + "](" + strings.NewReplacer("(", "%28", ")", "%29", " ", "%20").Replace(address) + ")"
		}
		return markdown(s.Value)
	case chat.SpanTime:
		at := s.At.UTC().Format(time.RFC3339)
		return "{{DATE(" + at + ", SHORT)}} {{TIME(" + at + ")}}"
	case chat.SpanMention:
		return d.mention(s.Mention)
	default:
		return markdown(s.Value)
	}
}

// runs draws spans without Markdown.
func (d *drawing) runs(t chat.Text, k look) []object {
	var out []object
	for _, s := range t {
		run := k.apply(object{"type": "TextRun"})
		switch s.Kind {
		case chat.SpanUntrusted:
			run["text"] = literal(s.Value, d.limit.text)
		case chat.SpanCode:
			run["text"], run["fontType"] = literal(s.Value, d.limit.text), "Monospace"
		case chat.SpanLink:
			run["text"] = s.Value
			if address, ok := link(s.URL); ok {
				run["selectAction"] = object{"type": "Action.OpenUrl", "url": address}
				run["color"] = "Accent"
			}
		case chat.SpanBold:
			run["text"], run["weight"] = s.Value, "Bolder"
		default:
			run["text"] = chat.Text{s}.String()
		}
		out = append(out, run)
	}
	return out
}

// link accepts https addresses only.
func link(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", false
	}
	return u.String(), true
}

// mention is a tag that notifies, with its entity. An entity with an ID that
// Teams cannot know would spoil the ones after it, so such a mention is words.
func (d *drawing) mention(m chat.Mention) string {
	name := mentionName(m.Name)
	if name == "" || m.Group || !isGUID(m.ID) && !strings.HasPrefix(m.ID, "29:") {
		return "@" + markdown(name)
	}
	for other, taken := d.named[name]; taken && other != m.ID; other, taken = d.named[name] {
		name += "'"
	}
	tag := "<at>" + name + "</at>"
	if _, drawn := d.named[name]; !drawn {
		d.named[name] = m.ID
		d.mentions = append(d.mentions, object{
			"type": "mention", "text": tag, "mentioned": object{"id": m.ID, "name": name},
		})
	}
	return tag
}

func (d *drawing) mentionLine(mentions []chat.Mention) {
	var t chat.Text
	for _, m := range mentions {
		if len(t) > 0 {
			t = append(t, chat.Plain(" ")...)
		}
		t = append(t, chat.Notify(m)...)
	}
	d.add(d.line(t, look{}))
}

func (d *drawing) facts(facts []chat.Fact) {
	for i, f := range facts {
		if i == d.limit.facts {
			d.missing = true
			d.cut("… %s left out", more(len(facts)-i, "value"))
			return
		}
		value := d.line(f.Value, look{})
		if value == nil {
			value = d.line(chat.Plain("–"), look{})
		}
		label := object{"type": "TextBlock", "text": markdown(f.Label), "weight": "Bolder", "wrap": true}
		d.add(object{"type": "ColumnSet", "spacing": "Small", "columns": []object{
			{"type": "Column", "width": "120px", "items": []object{label}},
			{"type": "Column", "width": "stretch", "items": []object{value}},
		}})
	}
}

func (d *drawing) sections(sections []chat.Section) {
	left, hidden := d.limit.lines, 0
	for i, s := range sections {
		if s.Folded && !d.limit.folded {
			d.cut("%s: left out to fit", foldName(s))
			continue
		}
		n := min(len(s.Lines), left)
		left -= n
		hidden += len(s.Lines) - n
		elements := d.section(s, n)
		if !s.Folded {
			d.add(elements...)
			continue
		}
		id := fmt.Sprintf("fold.%d", i)
		d.add(
			object{"type": "ActionSet", "actions": []object{{
				"type": "Action.ToggleVisibility", "title": "Show: " + foldName(s), "targetElements": []string{id},
			}}},
			object{"type": "Container", "id": id, "isVisible": false, "items": elements},
		)
	}
	if hidden > 0 {
		d.missing = true
		d.cut("… %s left out", more(hidden, "line"))
	}
}

func foldName(s chat.Section) string {
	if s.Heading == "" {
		return "More"
	}
	return s.Heading
}

func (d *drawing) section(s chat.Section, n int) []object {
	elements := []object{}
	if s.Heading != "" && !s.Folded {
		elements = append(elements, object{"type": "TextBlock", "text": markdown(s.Heading), "weight": "Bolder", "wrap": true, "spacing": "Medium"})
	}
	for _, t := range s.Lines[:n] {
		if e := d.line(t, look{}); e != nil {
			e["spacing"] = "Small"
			elements = append(elements, e)
		}
	}
	return elements
}

func (d *drawing) table(t *chat.Table) {
	if t == nil || len(t.Columns) == 0 {
		return
	}
	if t.Caption != "" {
		d.add(object{"type": "TextBlock", "text": markdown(t.Caption), "weight": "Bolder", "wrap": true, "spacing": "Medium"})
	}
	columns, rows := min(len(t.Columns), maxColumns), min(len(t.Rows), d.limit.rows)
	definitions := make([]object, columns)
	for i := range definitions {
		definitions[i] = object{"width": 1}
	}
	drawn := []object{d.row(t.Columns[:columns], columns, look{weight: "Bolder"})}
	for _, r := range t.Rows[:rows] {
		drawn = append(drawn, d.row(r, columns, look{}))
	}
	d.add(object{
		"type": "Table", "columns": definitions, "rows": drawn,
		"fallback": object{"type": "TextBlock", "wrap": true, "text": "This client cannot draw tables; open the message in Teams on a computer."},
	})
	if total := max(t.Total, len(t.Rows)); total > rows {
		d.cut("Rows 1 to %d of %d", rows, total)
	}
	if left := t.Columns[columns:]; len(left) > 0 {
		d.add(object{"type": "RichTextBlock", "inlines": d.runs(chat.Join(
			chat.Plain(more(len(left), "column")+": "), chat.Untrusted(strings.Join(left, ", ")),
		), look{subtle: true, size: "Small"})})
	}
}

// maxCell keeps rows readable whatever the limits allow elsewhere.
const maxCell = 120

func (d *drawing) row(values []string, columns int, k look) object {
	cells := make([]object, columns)
	for i := range cells {
		value := ""
		if i < len(values) {
			value = values[i]
		}
		run := k.apply(object{"type": "TextRun", "text": literal(value, min(d.limit.text, maxCell))})
		cells[i] = object{"type": "TableCell", "items": []object{{"type": "RichTextBlock", "inlines": []object{run}}}}
	}
	return object{"type": "TableRow", "cells": cells}
}

func (d *drawing) picture(p *chat.Picture) {
	if p == nil {
		return
	}
	if len(p.PNG) > maxPicture {
		d.cut("Picture left out, it is too large: %s", chat.Visible(p.Alt, 200))
		return
	}
	image := object{
		"type": "Image", "altText": literal(p.Alt, 500),
		"url": "data:image/png;base64," + base64.StdEncoding.EncodeToString(p.PNG),
	}
	if c := d.chart(p.Chart); c != nil {
		c["fallback"] = image
		d.add(c)
		return
	}
	d.add(image)
}

// maxChartPoints is how many values a chart of the client's own has; each costs some
// forty bytes of the card.
const maxChartPoints = 120

// chart draws c as the client's own chart, in the colours of its theme, sharp at every
// size and with its values to be read out one by one. Which clients have charts is
// settled nowhere, and those that do not would draw nothing, so the picture is always
// there as the fallback. The table beside it says the same in words.
func (d *drawing) chart(c *chat.Chart) object {
	if c == nil || len(c.Points) == 0 || len(c.Points)*len(c.Series) > maxChartPoints || !d.limit.whole {
		return nil
	}
	value := func(s chat.Series, i int) object { return object{"x": literal(c.Points[i], maxCell), "y": s.Values[i]} }
	if !c.Lines {
		data := make([]object, len(c.Points))
		for i := range data {
			data[i] = value(c.Series[0], i)
		}
		return object{"type": "Chart.HorizontalBar", "title": literal(c.Title, maxCell), "data": data}
	}
	data := make([]object, len(c.Series))
	for n, s := range c.Series {
		values := make([]object, len(c.Points))
		for i := range values {
			values[i] = value(s, i)
		}
		data[n] = object{"legend": literal(s.Name, maxCell), "values": values}
	}
	return object{"type": "Chart.Line", "title": literal(c.Title, maxCell), "data": data}
}

// maxOptionButtons is up to how many options are drawn as one button each; more
// become a select.
const maxOptionButtons = 5

func (d *drawing) menu(m *chat.Menu) {
	if m == nil || len(m.Options) == 0 {
		return
	}
	if m.Label != "" {
		d.add(object{"type": "TextBlock", "text": markdown(m.Label), "wrap": true, "weight": "Bolder"})
	}
	if len(m.Options) <= min(maxOptionButtons, d.limit.options) {
		for _, o := range m.Options {
			if o.Detail != "" {
				d.add(d.line(chat.Untrusted(o.Detail), look{subtle: true}))
			}
			button := execute(literal(o.Label, min(60, d.limit.text)), m.Action, object{keyAction: m.Action, keyValue: o.Value}, "none")
			d.add(object{"type": "ActionSet", "spacing": "Small", "actions": []object{button}})
		}
		return
	}
	shown := m.Options[:min(len(m.Options), d.limit.options)]
	input := menuPrefix + "0"
	d.add(
		object{"type": "Input.ChoiceSet", "id": input, "style": "compact", "choices": d.choices(shown), "value": shown[0].Value, "wrap": true},
		object{"type": "ActionSet", "actions": []object{
			execute("Choose", m.Action, object{keyAction: m.Action, keyMenu: input}, "auto"),
		}},
	)
	if hidden := len(m.Options) - len(shown); hidden > 0 {
		d.cut("… %d more; narrow the search to see them", hidden)
	}
}

func (d *drawing) choices(options []chat.Option) []object {
	out := make([]object, len(options))
	for i, o := range options {
		out[i] = choice(o, min(d.limit.text, maxCell))
	}
	return out
}

func choice(o chat.Option, limit int) object {
	title := o.Label
	if o.Detail != "" {
		title += " · " + o.Detail
	}
	return object{"title": literal(title, limit), "value": o.Value}
}

func (d *drawing) buttons(buttons []chat.Button) {
	for i, b := range buttons {
		if i == maxButtons {
			d.cut("… %s left out", more(len(buttons)-i, "button"))
			return
		}
		if b.Whole && (d.missing || !d.limit.whole) {
			d.cut("%s is not offered here, because not all of this message fits", b.Label)
			continue
		}
		a := d.button(b)
		if a == nil {
			continue
		}
		if len(d.actions) >= visibleButtons {
			a["mode"] = "secondary"
		}
		d.actions = append(d.actions, a)
	}
}

var styles = map[chat.Style]string{chat.StylePrimary: "positive", chat.StyleDanger: "destructive"}

// button draws b, or nil when it is a link that must not be followed.
func (d *drawing) button(b chat.Button) object {
	label := literal(b.Label, 60)
	data := object{keyAction: b.Action, keyValue: b.Value}
	var a object
	switch {
	case b.URL != "":
		address, ok := link(b.URL)
		if !ok {
			return nil
		}
		a = object{"type": "Action.OpenUrl", "title": label, "url": address}
	case b.OpensForm: // dialogs open only from Action.Submit
		data["msteams"] = object{"type": "task/fetch"}
		a = object{"type": "Action.Submit", "title": label, "data": data, "associatedInputs": "none"}
	case b.Confirm != nil:
		a = object{"type": "Action.ShowCard", "title": label, "card": d.confirm(b, data)}
	default:
		a = execute(label, b.Action, data, "none")
	}
	if s := styles[b.Style]; s != "" {
		a["style"] = s
	}
	return a
}

// confirm is the card that opens below the button: the question, and the button
// that counts. Closing it again is the no.
func (d *drawing) confirm(b chat.Button, data object) object {
	yes := execute(literal(b.Confirm.Yes, 60), b.Action, data, "none")
	if s := styles[b.Style]; s != "" {
		yes["style"] = s
	}
	body := []object{}
	if b.Confirm.Title != "" {
		body = append(body, object{"type": "TextBlock", "text": markdown(b.Confirm.Title), "weight": "Bolder", "wrap": true})
	}
	if e := d.line(b.Confirm.Text, look{}); e != nil {
		body = append(body, e)
	}
	return object{"type": "AdaptiveCard", "version": cardVersion, "body": body, "actions": []object{yes}}
}

// execute is a button that is answered in place; old clients send it as a
// message instead. inputs is "auto" to send the card's inputs with it, or "none".
func execute(title, verb string, data object, inputs string) object {
	return object{
		"type": "Action.Execute", "title": title, "verb": verb, "data": data, "associatedInputs": inputs,
		"fallback": object{"type": "Action.Submit", "title": title, "data": data, "associatedInputs": inputs},
	}
}

// formCard is a form to be drawn, for the first time or again.
type formCard struct {
	form   chat.Form
	key    string            // finds the form again when it is submitted
	values map[string]string // what was typed before, by field ID
	errors map[string]string // by field ID; "" is about the whole form
	// dialog is drawn in a dialog, which submits by Action.Submit and shows the
	// title itself.
	dialog bool
}

func (f formCard) card() object {
	return fit(f.draw, chat.Plain(f.form.Title))
}

func (f formCard) draw(l limits) object {
	d := newDrawing(l)
	if !f.dialog {
		d.add(d.line(chat.Plain(f.form.Title), look{weight: "Bolder", size: "Medium"}))
	}
	d.add(d.line(f.form.Intro, look{}))
	for _, field := range f.form.Fields {
		if fault := f.errors[field.ID]; fault != "" {
			d.add(d.line(chat.Text{{Kind: chat.SpanUntrusted, Value: fault}}, look{color: "Attention"}))
		}
		d.add(f.input(d, field))
		if field.Hint != "" {
			d.add(d.line(chat.Plain(field.Hint), look{subtle: true, size: "Small"}))
		}
	}
	if fault := f.errors[""]; fault != "" {
		d.add(d.line(chat.Untrusted(fault), look{color: "Attention"}))
	}
	label := f.form.Submit
	if label == "" {
		label = "Submit"
	}
	data := object{keyAction: f.form.Action, keyValue: f.form.Value, keyForm: f.key}
	if f.dialog {
		d.actions = []object{{"type": "Action.Submit", "title": label, "data": data}}
	} else {
		d.actions = []object{execute(label, f.form.Action, data, "auto")}
	}
	return d.card()
}

func (f formCard) input(d *drawing, field chat.Field) object {
	in := object{"id": fieldPrefix + field.ID, "label": field.Label}
	if !field.Optional {
		in["isRequired"], in["errorMessage"] = true, field.Label+" is needed"
	}
	value, typed := f.values[field.ID]
	if !typed {
		value = field.Initial
	}
	if value != "" {
		in["value"] = inputValue(value)
	}
	if field.Placeholder != "" {
		in["placeholder"] = field.Placeholder
	}
	switch field.Kind {
	case chat.FieldSelect:
		in["type"], in["style"] = "Input.ChoiceSet", "compact"
		in["choices"] = d.choices(field.Options[:min(len(field.Options), d.limit.options)])
		return in
	case chat.FieldSearch:
		searchInput(in, dataset(field.Search, f.form.Value))
		return in
	case chat.FieldLine:
	case chat.FieldArea:
		in["isMultiline"] = true
	}
	in["type"] = "Input.Text"
	if field.MaxLength > 0 {
		in["maxLength"] = field.MaxLength
	}
	return in
}

// inputValue keeps what a person typed, in valid UTF-8 and bounded.
func inputValue(s string) string {
	const limit = 4000
	s = strings.ToValidUTF8(s, "\ufffd")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit])
}

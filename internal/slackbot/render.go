package slackbot

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/mdebot/mdebot/internal/chat"
)

// drawn is a message in Slack's form.
type drawn struct {
	text        string
	blocks      []slack.Block
	attachments []slack.Attachment
}

// What one message holds, below the limits of table 4.1 in Slack's
// documentation taken together: the text of all blocks ends at about 13,000
// characters.
const (
	maxText       = 12_900
	maxElements   = 800
	maxFacts      = 40
	maxSections   = 30
	maxLines      = 100
	maxButtons    = 20
	maxOptions    = 30
	maxMentions   = 20
	maxTableCells = 160
	maxCell       = 60
	maxColumns    = 20
	maxValue      = 800
	maxCodeValue  = 2_400
	maxOwnWords   = 2_400
	maxFallback   = 3_800 // bytes of text; chat.update takes 4,000
	maxPreview    = 1_500 // bytes

	maxTitle        = 150
	maxLabel        = 40 // of a button; clients show about 30
	maxConfirmTitle = 40
	maxConfirmWord  = 20
	maxConfirmText  = 300
	maxConfirmTexts = 1_500 // of all buttons
	maxOption       = 60
	maxOptionDetail = 40
	maxPlaceholder  = 100
	maxSmallPrint   = 120 // per element
)

// allowance is the text that m's own parts leave for facts and sections. It
// depends on how many parts there are and not on what they say.
func allowance(m chat.Message) int {
	left := maxText - maxTitle - 2*maxMentions - min(len(m.Note), 10)*maxSmallPrint - 200
	// Every element keeps at least one character and every cut list its remark.
	left -= maxElements + 100 + 3*min(len(m.Facts), maxFacts) + 30*min(len(m.Sections), maxSections)
	if m.Menu != nil {
		left -= maxPlaceholder + min(len(m.Menu.Options), maxOptions)*(maxOption+maxOptionDetail)
	}
	left -= min(len(m.Buttons), maxButtons)*(maxLabel+maxConfirmTitle+2*maxConfirmWord) + maxConfirmTexts
	return left
}

// toneLooks are the colour bar and the sign beside the title, for those who do
// not see colours.
var toneLooks = map[chat.Tone]struct{ colour, sign, word string }{
	chat.Good:    {"#2e7d32", "✅", "OK"},
	chat.Notice:  {"#1264a3", "🔔", "Waiting for somebody"},
	chat.Warning: {"#b26a00", "🟠", "Attention"},
	chat.Danger:  {"#a30200", "🔴", "Important"},
}

// lacks are the blocks that a workspace has learnt late, or not yet.
type lacks struct {
	folds   bool // those that collapse
	tables  bool
	colours bool // those beside the small print, which only messages have
}

// draw draws m without what the workspace lacks, see [Bot.withFallback]. Its structure (blocks, elements, mentions, links, actions)
// depends on what mdebot put into m and never on outside text; outside text that
// does not fit is cut with a mark. What cannot be kept within Slack's limits
// comes as plain text.
func draw(m chat.Message, without lacks) drawn {
	d := drawn{text: previewText(m)}
	r := &renderer{left: allowance(m), without: without}

	if title := plainSpans(m.Title); title != "" {
		if look, ok := toneLooks[m.Tone]; ok {
			title = look.sign + " " + title
		}
		d.add(slack.NewHeaderBlock(plainObject(title, maxTitle)))
	}
	d.add(r.mentions(m.Mentions))
	d.add(r.facts(m.Facts))
	d.add(r.sections(m.Sections)...)
	if m.Table != nil {
		d.add(r.table(*m.Table)...)
	}
	if line := attached(m); line != "" {
		d.add(r.richText(chat.Plain(line)))
	}
	if m.Menu != nil {
		d.add(menu(*m.Menu))
	}
	d.add(buttons(r.offered(m.Buttons)))
	if r.cut {
		d.add(slack.NewRichTextBlock("", slack.NewRichTextSection(own("Some of this is left out: Slack limits how long a message can be.", nil))))
	}
	d.addNote(r, m)
	if len(d.blocks) == 0 && len(d.attachments) == 0 {
		d.add(slack.NewRichTextBlock("", slack.NewRichTextSection(own(nothingShown, nil))))
	}
	if validate(d) != nil {
		return plain(m)
	}
	return d
}

// plain is m without blocks, for when Slack refuses them.
func plain(m chat.Message) drawn {
	var out strings.Builder
	line := func(t chat.Text) bool {
		if len(t) == 0 {
			return true
		}
		if out.Len() > 0 && !appendWithin(&out, "\n", maxFallback) {
			return false
		}
		return appendWithin(&out, mrkdwn(t, maxFallback), maxFallback)
	}
	lines := []chat.Text{m.Title}
	for _, f := range m.Facts {
		lines = append(lines, chat.Join(chat.Plain(f.Label+": "), f.Value))
	}
	for _, s := range m.Sections {
		lines = append(append(lines, chat.Plain(s.Heading)), s.Lines...)
	}
	if m.Table != nil {
		lines = append(lines, chat.Plain(m.Table.Caption), chat.Untrusted(strings.Join(m.Table.Columns, " | ")))
		for _, row := range m.Table.Rows {
			lines = append(lines, chat.Untrusted(strings.Join(row, " | ")))
		}
	}
	for _, b := range m.Buttons {
		if b.URL != "" {
			lines = append(lines, chat.Plain(b.Label+": "+b.URL))
		}
	}
	lines = append(lines, m.Note)
	for _, t := range lines {
		if !line(t) {
			break
		}
	}
	if out.Len() == 0 {
		out.WriteString(previewText(m))
	}
	return drawn{text: out.String(), blocks: []slack.Block{}, attachments: []slack.Attachment{}}
}

func previewText(m chat.Message) string {
	return mrkdwn(m.FirstLine(), maxPreview)
}

func (d *drawn) add(blocks ...slack.Block) {
	for _, b := range blocks {
		if b != nil {
			d.blocks = append(d.blocks, b)
		}
	}
}

// addNote ends the message with its small print, beside the tone's colour bar.
// Only attachments have one, and none is made for the colour alone: the title has
// the tone's sign. What is in an attachment may be folded by clients, so nothing
// that matters to a decision is.
func (d *drawn) addNote(r *renderer, m chat.Message) {
	look, coloured := toneLooks[m.Tone]
	block := r.context(m.Note)
	switch {
	case block == nil:
	case coloured && !r.without.colours:
		d.attachments = append(d.attachments, slack.Attachment{
			Color: look.colour, Fallback: look.word, Blocks: slack.Blocks{BlockSet: []slack.Block{block}},
		})
	default:
		d.blocks = append(d.blocks, block)
	}
}

// renderer counts what has been drawn. Once the allowance is used up every
// further text shrinks to a mark and none disappears, so that long outside text
// cannot push anything off a card.
type renderer struct {
	left     int // characters
	elements int
	cut      bool
	without  lacks
}

// take shortens s to what is left of the allowance.
func (r *renderer) take(s string) string {
	n := utf8.RuneCountInString(s)
	if n > r.left {
		s, r.cut = shorten(s, max(r.left, 1)), true
		n = r.left
	}
	r.left -= n
	return s
}

func own(s string, style *slack.RichTextSectionTextStyle) *slack.RichTextSectionTextElement {
	return slack.NewRichTextSectionTextElement(s, style)
}

var (
	boldStyle = &slack.RichTextSectionTextStyle{Bold: true}
	codeStyle = &slack.RichTextSectionTextStyle{Code: true}
)

// inline draws the spans of one line.
func (r *renderer) inline(t chat.Text) []slack.RichTextSectionElement {
	var out []slack.RichTextSectionElement
	for _, span := range t {
		if e := r.span(span); e != nil {
			r.elements++
			out = append(out, e)
		}
	}
	return out
}

func (r *renderer) span(s chat.Span) slack.RichTextSectionElement {
	switch s.Kind {
	case chat.SpanUntrusted:
		return own(r.take(literal(s.Value, maxValue)), nil)
	case chat.SpanCode:
		return own(r.take(literalCode(s.Value, maxCodeValue)), codeStyle)
	case chat.SpanTime:
		fallback := chat.Text{s}.String()
		return slack.NewRichTextSectionDateElement(s.At.Unix(), "{date_short_pretty} {time}", nil, &fallback)
	case chat.SpanMention:
		if e := mention(s.Mention); e != nil {
			return e
		}
		return own(r.take("@"+literal(s.Mention.Name, 80)), nil)
	case chat.SpanLink:
		label := r.take(words(s.Value))
		if !webAddress(s.URL) {
			return own(label, nil)
		}
		return slack.NewRichTextSectionLinkElement(s.URL, label, nil)
	case chat.SpanBold:
		return r.plain(s.Value, boldStyle)
	case chat.SpanPlain:
	}
	return r.plain(s.Value, nil)
}

func (r *renderer) plain(s string, style *slack.RichTextSectionTextStyle) slack.RichTextSectionElement {
	if s == "" {
		return nil
	}
	return own(r.take(words(s)), style)
}

// words are mdebot's own, which may contain line breaks.
func words(s string) string {
	return shorten(strings.ToValidUTF8(s, "\ufffd"), maxOwnWords)
}

func webAddress(s string) bool {
	return len(s) <= 3_000 && utf8.ValidString(s) && (strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://"))
}

// mention is nil when m does not name a Slack account or group.
func mention(m chat.Mention) slack.RichTextSectionElement {
	prefixes := "UW"
	if m.Group {
		prefixes = "S"
	}
	if len(m.ID) < 2 || len(m.ID) > 30 || !strings.ContainsRune(prefixes, rune(m.ID[0])) {
		return nil
	}
	for _, c := range []byte(m.ID) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return nil
		}
	}
	if m.Group {
		return slack.NewRichTextSectionUserGroupElement(m.ID)
	}
	return slack.NewRichTextSectionUserElement(m.ID, nil)
}

func (r *renderer) richText(t chat.Text) slack.Block {
	elements := r.inline(t)
	if len(elements) == 0 {
		return nil
	}
	return slack.NewRichTextBlock("", slack.NewRichTextSection(elements...))
}

func (r *renderer) mentions(list []chat.Mention) slack.Block {
	var elements []slack.RichTextSectionElement
	for _, m := range list[:min(len(list), maxMentions)] {
		if e := mention(m); e != nil {
			elements = append(elements, e, own(" ", nil))
		}
	}
	if len(elements) == 0 {
		return nil
	}
	return slack.NewRichTextBlock("", slack.NewRichTextSection(elements...))
}

// facts draws one labelled line per value, so that no value can imitate a label.
func (r *renderer) facts(list []chat.Fact) slack.Block {
	var elements []slack.RichTextSectionElement
	for i, f := range list {
		if i == maxFacts {
			r.cut = true
			elements = append(elements, own(fmt.Sprintf("\n… and %d more", len(list)-i), nil))
			break
		}
		label := r.take(shorten(strings.ToValidUTF8(f.Label, "\ufffd"), 80)) + ": "
		if i > 0 {
			label = "\n" + label
		}
		r.elements++
		elements = append(elements, own(label, boldStyle))
		value := r.inline(f.Value)
		if len(value) == 0 {
			value = []slack.RichTextSectionElement{own(nothingShown, nil)}
		}
		elements = append(elements, value...)
	}
	if len(elements) == 0 {
		return nil
	}
	return slack.NewRichTextBlock("", slack.NewRichTextSection(elements...))
}

// sections draws what must be seen first, so that folded sections are the first
// to run out of space, and returns them in their order.
func (r *renderer) sections(list []chat.Section) []slack.Block {
	if len(list) > maxSections {
		list, r.cut = list[:maxSections], true
	}
	out := make([]slack.Block, len(list))
	for _, folded := range []bool{false, true} {
		for i, s := range list {
			if s.Folded == folded {
				out[i] = r.section(s)
			}
		}
	}
	return out
}

// more is "1 more line" or "3 more lines".
func more(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d more %s", n, what)
}

func (r *renderer) section(s chat.Section) slack.Block {
	collapses := s.Folded && s.Heading != "" && !r.without.folds
	var elements []slack.RichTextSectionElement
	if s.Heading != "" && !collapses {
		elements = append(elements, own(r.take(words(s.Heading)), boldStyle))
	}
	for i, line := range s.Lines {
		if i == maxLines || r.elements > maxElements {
			r.cut = true
			elements = append(elements, own("\n… and "+more(len(s.Lines)-i, "line"), nil))
			break
		}
		if len(elements) > 0 {
			elements = append(elements, own("\n", nil))
			r.elements++
		}
		elements = append(elements, r.inline(line)...)
	}
	if len(elements) == 0 {
		return nil
	}
	block := slack.NewRichTextBlock("", slack.NewRichTextSection(elements...))
	if !collapses {
		return block
	}
	fold := slack.NewContainerBlock(block)
	fold.Title = plainObject(r.take(words(s.Heading)), maxTitle)
	fold.IsCollapsible, fold.DefaultCollapsed = true, true
	return fold
}

// table draws as many rows as Slack's limits allow for tables of this width,
// whatever the cells hold.
func (r *renderer) table(t chat.Table) []slack.Block {
	columns := min(len(t.Columns), maxColumns)
	if columns == 0 {
		return nil
	}
	if r.without.tables {
		return r.typedTable(t)
	}
	rows := min(len(t.Rows), max(maxTableCells/columns-1, 1), 99)
	block := slack.NewTableBlock("")
	header := make([]slack.TableCell, columns)
	for i := range header {
		header[i] = slack.NewTableRawTextCell(literal(t.Columns[i], maxCell))
	}
	block.AddRow(header...)
	for _, row := range t.Rows[:rows] {
		cells := make([]slack.TableCell, columns)
		for i := range cells {
			value := ""
			if i < len(row) {
				value = row[i]
			}
			cells[i] = slack.NewTableRawTextCell(literal(value, maxCell))
		}
		block.AddRow(cells...)
	}
	var out []slack.Block
	if t.Caption != "" {
		out = append(out, slack.NewRichTextBlock("", slack.NewRichTextSection(own(r.take(words(t.Caption)), boldStyle))))
	}
	out = append(out, block)
	if line := leftOut(t, rows, columns); line != "" {
		out = append(out, slack.NewRichTextBlock("", slack.NewRichTextSection(own(line, nil))))
	}
	return out
}

// Of a table in fixed width, which phones show without breaking its lines up.
const (
	maxTypedColumns = 5
	maxTypedCell    = 18
	maxTypedRows    = 25
)

// typedTable draws a table in fixed width, as typewriters did, where Slack does not
// know tables. Like a table it has the same form whatever the cells hold.
func (r *renderer) typedTable(t chat.Table) []slack.Block {
	columns, rows := min(len(t.Columns), maxTypedColumns), min(len(t.Rows), maxTypedRows)
	all := [][]string{t.Columns[:columns]}
	all = append(all, t.Rows[:rows]...)
	lines := make([]string, len(all))
	for column := range columns {
		cells, width := make([]string, len(all)), 0
		for i, row := range all {
			if column < len(row) {
				cells[i] = literalCode(row[column], maxTypedCell)
			} else {
				cells[i] = literalCode("", maxTypedCell)
			}
			width = max(width, utf8.RuneCountInString(cells[i]))
		}
		for i, cell := range cells {
			if column < columns-1 {
				cell += strings.Repeat(" ", width-utf8.RuneCountInString(cell)+2)
			}
			lines[i] += cell
		}
	}
	var out []slack.Block
	if t.Caption != "" {
		out = append(out, slack.NewRichTextBlock("", slack.NewRichTextSection(own(r.take(words(t.Caption)), boldStyle))))
	}
	out = append(out, slack.NewRichTextBlock("", &slack.RichTextPreformatted{
		Type: slack.RTEPreformatted, Elements: []slack.RichTextSectionElement{own(r.take(strings.Join(lines, "\n")), nil)},
	}))
	if line := leftOut(t, rows, columns); line != "" {
		out = append(out, slack.NewRichTextBlock("", slack.NewRichTextSection(own(line, nil))))
	}
	return out
}

func leftOut(t chat.Table, rows, columns int) string {
	var parts []string
	if total := max(t.Total, len(t.Rows)); total > rows {
		parts = append(parts, fmt.Sprintf("the first %d of %d rows", rows, total))
	}
	if len(t.Columns) > columns {
		parts = append(parts, fmt.Sprintf("the first %d of %d columns", columns, len(t.Columns)))
	}
	if len(parts) == 0 {
		return ""
	}
	return "Shown: " + strings.Join(parts, ", ") + "."
}

// attached says in words what comes as a file.
func attached(m chat.Message) string {
	var names []string
	if m.Picture != nil {
		names = append(names, literal(m.Picture.Alt, 100))
	}
	for _, f := range m.Files {
		names = append(names, literal(f.Name, 100))
	}
	if len(names) == 0 {
		return ""
	}
	return "As a file: " + strings.Join(names[:min(len(names), 10)], ", ")
}

func menu(m chat.Menu) slack.Block {
	options := selectOptions(m.Options, maxOptions)
	if len(options) == 0 {
		return nil
	}
	placeholder := m.Label
	if n := len(m.Options); n > len(options) {
		placeholder = fmt.Sprintf("%s (%d of %d)", shorten(m.Label, 80), len(options), n)
	}
	return slack.NewActionBlock("", slack.NewOptionsSelectBlockElement(
		slack.OptTypeStatic, plainObject(placeholder, maxPlaceholder), actionID(m.Action, 0), options...))
}

// selectOptions leaves out options whose value Slack could not carry back.
func selectOptions(list []chat.Option, most int) []*slack.OptionBlockObject {
	var out []*slack.OptionBlockObject
	for _, o := range list {
		if len(out) == most {
			break
		}
		if o.Value == "" || utf8.RuneCountInString(o.Value) > 150 || !utf8.ValidString(o.Value) {
			continue
		}
		var detail *slack.TextBlockObject
		if o.Detail != "" {
			detail = plainObject(literal(o.Detail, maxOptionDetail), maxOptionDetail)
		}
		out = append(out, slack.NewOptionBlockObject(o.Value, plainObject(literal(o.Label, maxOption), maxOption), detail))
	}
	return out
}

// offered leaves out buttons that need the whole message when some of it is
// missing.
func (r *renderer) offered(list []chat.Button) []chat.Button {
	return slices.DeleteFunc(slices.Clone(list), func(b chat.Button) bool { return b.Whole && r.cut })
}

func buttons(list []chat.Button) slack.Block {
	list = list[:min(len(list), maxButtons)]
	confirms := 0
	for _, b := range list {
		if b.Confirm != nil {
			confirms++
		}
	}
	var elements []slack.BlockElement
	for i, b := range list {
		if utf8.RuneCountInString(b.Value) > 2_000 || !utf8.ValidString(b.Value) {
			continue
		}
		e := slack.NewButtonBlockElement(actionID(b.Action, i), b.Value, plainObject(b.Label, maxLabel))
		if b.URL != "" {
			if !webAddress(b.URL) {
				continue
			}
			e.ActionID, e.URL = actionID(linkAction, i), b.URL
		}
		switch b.Style {
		case chat.StylePrimary:
			e.Style = slack.StylePrimary
		case chat.StyleDanger:
			e.Style = slack.StyleDanger
		case chat.StyleDefault:
		}
		if b.Confirm != nil {
			e.Confirm = confirmation(*b.Confirm, b.Style, min(maxConfirmText, maxConfirmTexts/confirms))
		}
		elements = append(elements, e)
	}
	if len(elements) == 0 {
		return nil
	}
	return slack.NewActionBlock("", elements...)
}

func confirmation(c chat.Confirm, style chat.Style, most int) *slack.ConfirmationBlockObject {
	out := slack.NewConfirmationBlockObject(
		plainObject(c.Title, maxConfirmTitle), plainObject(plainSpans(c.Text), most),
		plainObject(c.Yes, maxConfirmWord), plainObject(c.No, maxConfirmWord))
	if style == chat.StyleDanger {
		out.WithStyle(slack.StyleDanger)
	}
	return out
}

// linkAction marks buttons that only open an address. Slack still sends a click
// for them, which means nothing.
const linkAction = "link"

// actionID makes action unique in its block.
func actionID(action string, i int) string {
	return shorten(strings.ToValidUTF8(action, "\ufffd"), 200) + "#" + strconv.Itoa(i)
}

// actionOf is the inverse of actionID.
func actionOf(id string) string {
	action, _, _ := strings.Cut(id, "#")
	return action
}

// plainObject is plain_text: no markup and no mentions, and :names: of emoji
// stay as they are.
func plainObject(s string, most int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, literalCode(s, most), false, false)
}

// plainSpans is t as plain text with its outside values defanged.
func plainSpans(t chat.Text) string {
	var out strings.Builder
	for _, s := range t {
		switch s.Kind {
		case chat.SpanUntrusted:
			out.WriteString(literal(s.Value, maxValue))
		case chat.SpanCode:
			out.WriteString(literalCode(s.Value, maxValue))
		default:
			out.WriteString(chat.Text{s}.String())
		}
	}
	return out.String()
}

// context draws small print: one element per span, outside text in plain_text.
func (r *renderer) context(t chat.Text) slack.Block {
	var elements []slack.MixedElement
	for i, s := range t {
		if i == 9 && len(t) > 10 {
			elements = append(elements, plainObject(plainSpans(t[i:]), maxSmallPrint))
			break
		}
		switch {
		case s.Kind == chat.SpanTime:
			fallback := escape(chat.Text{s}.String())
			token := fmt.Sprintf("<!date^%d^{date_short_pretty} {time}|%s>", s.At.Unix(), fallback)
			elements = append(elements, slack.NewTextBlockObject(slack.MarkdownType, token, false, false))
		case s.Kind == chat.SpanLink && webAddress(s.URL) && !strings.ContainsAny(s.URL, "<>| \n\r\t"):
			token := "<" + escape(s.URL) + "|" + escape(strings.ReplaceAll(shorten(words(s.Value), 40), "|", "/")) + ">"
			if utf8.RuneCountInString(token) > 2*maxSmallPrint {
				token = escape(shorten(words(s.Value), 40))
			}
			elements = append(elements, slack.NewTextBlockObject(slack.MarkdownType, token, false, false))
		case s.Kind == chat.SpanUntrusted || s.Kind == chat.SpanCode:
			elements = append(elements, plainObject(literal(s.Value, maxSmallPrint), maxSmallPrint))
		case chat.Text{s}.String() != "":
			elements = append(elements, plainObject(chat.Text{s}.String(), maxSmallPrint))
		}
	}
	if len(elements) == 0 {
		return nil
	}
	return slack.NewContextBlock("", elements...)
}

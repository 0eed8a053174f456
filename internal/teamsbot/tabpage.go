package teamsbot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
)

// element is a piece of the tab's page. The browser makes a node of it by its name and
// gives it text; nobody parses HTML, so no text can become any.
type element struct {
	Name       string            `json:"e"`
	Key        string            `json:"k,omitempty"` // finds it again in the page before
	Attributes map[string]string `json:"a,omitempty"`
	Children   []any             `json:"c,omitempty"` // elements and strings
}

func el(name, class string, children ...any) element {
	e := element{Name: name, Children: slices.DeleteFunc(children, func(c any) bool { return c == nil })}
	if class != "" {
		e.Attributes = map[string]string{"class": class}
	}
	return e
}

// tabLimits bound one page; chat cards are far smaller.
const (
	maxTabText  = 2000
	maxTabLines = 200
)

// drawTab draws a page. Whatever would act is left out, and where something was, chat
// is the way to it: a token that lives in a browser must not be enough for anything.
func drawTab(p chat.Page, chat string) []any {
	out := make([]any, len(p))
	for i, m := range p {
		out[i] = drawTabPart(m, i == 0, chat)
	}
	return out
}

func drawTabPart(m chat.Message, first bool, way string) element {
	key := "first"
	if !first {
		key = tabKey(m)
	}
	heading := el("h2", "", tabText(chat.Join(chat.Plain(tones[m.Tone].symbol), m.Title))...)
	if first {
		heading.Name = "h1"
	}
	heading.Attributes = map[string]string{"id": "h-" + key}
	part := el("section", "part "+string(m.Tone), heading)
	part.Key, part.Attributes["aria-labelledby"] = key, "h-"+key
	if len(m.Facts) > 0 {
		list := el("dl", "facts")
		for _, f := range m.Facts {
			list.Children = append(list.Children, el("div", "", el("dt", "", f.Label), el("dd", "", tabText(f.Value)...)))
		}
		part.Children = append(part.Children, list)
	}
	for _, s := range m.Sections {
		if s.Heading != "" {
			part.Children = append(part.Children, el("h3", "", s.Heading))
		}
		part.Children = append(part.Children, tabLines(s.Lines))
	}
	if m.Table != nil {
		part.Children = append(part.Children, tabTable(*m.Table))
	}
	if m.Picture != nil {
		part.Children = append(part.Children, el("p", "", "Picture: "+literal(m.Picture.Alt, maxTabText)))
	}
	if ways := tabWays(m, way); len(ways) > 0 {
		part.Children = append(part.Children, el("p", "ways", ways...))
	}
	if len(m.Note) > 0 {
		part.Children = append(part.Children, el("p", "note", tabText(m.Note)...))
	}
	return part
}

// tabKey is the same for what a message is about in the next page too, so that whoever
// stands on a link of one request does not find themselves on another's.
func tabKey(m chat.Message) string {
	about := m.Title.String()
	for _, b := range m.Buttons {
		if b.Value != "" {
			about = b.Value
			break
		}
	}
	sum := sha256.Sum256([]byte(about))
	return hex.EncodeToString(sum[:6])
}

// tabWays are the links below a message: those to other pages, and one into the chat in
// place of all buttons that act.
func tabWays(m chat.Message, way string) []any {
	label := ""
	var out []any
	if m.Menu != nil && len(m.Menu.Options) > 0 {
		label = "Go on in the chat"
	}
	for _, b := range m.Buttons {
		address, isLink := link(b.URL)
		switch {
		case b.URL != "" && isLink:
			out = append(out, tabLink(b.Label, address, ""))
		case b.URL != "":
		case b.Whole: // a decision
			label = "Decide in the chat"
		case label == "":
			label = "Go on in the chat"
		}
	}
	if label != "" {
		// Many links with the same words need more of them where they are read one by one.
		out = slices.Insert(out, 0, any(tabLink(label, way, label+": "+literal(m.Title.String(), 200))))
	}
	return out
}

func tabLink(label, address, name string) element {
	e := el("a", "", label)
	e.Attributes = map[string]string{"href": address, "rel": "noopener noreferrer", "target": "_blank"}
	if name != "" {
		e.Attributes["aria-label"] = name
	}
	return e
}

// tabLines draws lines as a list. A line that begins in bold begins an item, and the
// others belong to the one before, as the lines below a request's number do.
func tabLines(lines []chat.Text) element {
	list := el("ul", "")
	bold := slices.ContainsFunc(lines, func(t chat.Text) bool { return len(t) > 0 && t[0].Kind == chat.SpanBold })
	for _, t := range lines[:min(len(lines), maxTabLines)] {
		line := el("p", "", tabText(t)...)
		if bold && len(t) > 0 && t[0].Kind != chat.SpanBold && len(list.Children) > 0 {
			last := list.Children[len(list.Children)-1].(element)
			last.Children = append(last.Children, line)
			list.Children[len(list.Children)-1] = last
			continue
		}
		list.Children = append(list.Children, el("li", "", line))
	}
	if more := len(lines) - maxTabLines; more > 0 {
		list.Children = append(list.Children, el("li", "", fmt.Sprintf("… %d more", more)))
	}
	return list
}

func tabTable(t chat.Table) element {
	row := func(name string, cells []string) element {
		r := el("tr", "")
		for _, c := range cells {
			r.Children = append(r.Children, el(name, "", el("bdi", "", literal(c, maxCell))))
		}
		return r
	}
	body := el("tbody", "")
	for _, cells := range t.Rows[:min(len(t.Rows), maxTabLines)] {
		body.Children = append(body.Children, row("td", cells))
	}
	table := el("table", "", el("thead", "", row("th", t.Columns)), body)
	if t.Caption != "" {
		table.Children = slices.Insert(table.Children, 0, any(el("caption", "", t.Caption)))
	}
	if more := max(t.Total, len(t.Rows)) - len(body.Children); more > 0 {
		return el("div", "table", table, el("p", "note", "… "+strconv.Itoa(more)+" more"))
	}
	return el("div", "table", table)
}

// tabText draws spans. Outside text stands apart from ours, so that it cannot turn the
// direction in which ours is read.
func tabText(t chat.Text) []any {
	out := make([]any, 0, len(t))
	for _, s := range t {
		if blank(s) {
			continue
		}
		switch s.Kind {
		case chat.SpanUntrusted:
			out = append(out, el("bdi", "", literal(s.Value, maxTabText)))
		case chat.SpanCode:
			out = append(out, el("code", "", literal(s.Value, maxTabText)))
		case chat.SpanBold:
			out = append(out, el("strong", "", s.Value))
		case chat.SpanLink:
			if address, ok := link(s.URL); ok {
				out = append(out, tabLink(s.Value, address, ""))
			} else {
				out = append(out, s.Value)
			}
		case chat.SpanTime:
			at := el("time", "", chat.Text{s}.String())
			at.Attributes = map[string]string{"datetime": s.At.UTC().Format(time.RFC3339)}
			out = append(out, at)
		case chat.SpanMention:
			out = append(out, "@", el("bdi", "", literal(s.Mention.Name, maxTabText)))
		default:
			out = append(out, s.Value)
		}
	}
	return out
}

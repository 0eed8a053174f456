package teamsbot

import (
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
)

// literal prepares text from outside for a TextRun, which draws no Markdown.
// Some clients expand date macros there too, so those are taken apart.
func literal(s string, limit int) string {
	s = defang(chat.Visible(s, limit))
	s = strings.ReplaceAll(s, "{{DATE(", "{ {DATE(")
	return strings.ReplaceAll(s, "{{TIME(", "{ {TIME(")
}

// defang takes addresses apart that a client could make links of (threat-model
//
func defang(s string) string {
	s = strings.ReplaceAll(s, "://", "[:]//")
	return strings.ReplaceAll(s, "mailto:", "mailto[:]")
}

// markdownEscaper makes mdebot's own words draw as they read in a TextBlock.
var markdownEscaper = strings.NewReplacer(
	`\`, `\\`, `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, "`", "\\`", `<`, "&lt;", `>`, "&gt;", "{{", "{ {",
)

func markdown(s string) string { return markdownEscaper.Replace(s) }

// note is a message as one plain line or a few, for places that take only text:
// the line under a card and in place of a dialog. Clients differ in whether they
// draw Markdown there, so what could become a link, tag or mention is escaped.
func note(t chat.Text) string {
	var b strings.Builder
	for _, s := range t {
		switch s.Kind {
		case chat.SpanUntrusted, chat.SpanCode:
			b.WriteString(noteEscaper.Replace(defang(chat.Visible(s.Value, maxNoteSpan))))
		default:
			b.WriteString(chat.Text{s}.String())
		}
	}
	return b.String()
}

const maxNoteSpan = 300

var noteEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, "`", "\\`", `<`, "‹", `>`, "›")

// mentionName is a name as it may stand between <at> tags.
func mentionName(s string) string {
	return strings.NewReplacer("<", "", ">", "", "&", "").Replace(chat.Visible(s, 60))
}

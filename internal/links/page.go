package links

import (
	"net/http"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// view is what a page shows. All of it is escaped.
type view struct {
	Title, Text     string
	Subject         string // what is approved
	Account, Person string
	Token           string // asks to go on
	Action          string // where to
	Code            string
}

const style = `
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1.25rem }
h1 { font-size: 1.5rem; line-height: 1.25 }
dt { font-size: .875rem; opacity: .75 }
dd { margin: 0 0 .75rem; font-weight: 600; overflow-wrap: anywhere }
code { font: 600 1.25rem ui-monospace, monospace; padding: .5rem .75rem; border: 1px solid; border-radius: .375rem; display: inline-block }
button { font: inherit; font-weight: 600; padding: .6rem 1.25rem; border-radius: .375rem; cursor: pointer }
`

func (v view) page() g.Node {
	return h.Doctype(h.HTML(h.Lang("en"),
		h.Head(
			h.Meta(h.Charset("utf-8")),
			h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
			h.Meta(h.Name("robots"), h.Content("noindex")),
			h.TitleEl(g.Text(v.Title+" – mdebot")),
			h.StyleEl(g.Raw(style)),
		),
		h.Body(h.Main(
			h.H1(g.Text(v.Title)),
			g.If(v.Account != "", h.Dl(
				g.If(v.Subject != "", g.Group{h.Dt(g.Text("Request")), h.Dd(g.Text(v.Subject))}),
				h.Dt(g.Text("Chat account")), h.Dd(g.Text(v.Account)),
				g.If(v.Person != "", g.Group{h.Dt(g.Text("Signed in as")), h.Dd(g.Text(v.Person))}),
			)),
			h.P(g.Text(v.Text)),
			g.If(v.Token != "", h.Form(h.Method("post"), h.Action(v.Action),
				h.Input(h.Type("hidden"), h.Name("t"), h.Value(v.Token)), h.Button(g.Text("Go on and sign in")))),
			g.If(v.Code != "", h.P(h.Code(g.Text("/mde link "+v.Code)))),
		)),
	))
}

func show(w http.ResponseWriter, status int, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = v.page().Render(w) // fails only when the browser is gone
}

package links

import (
	"html/template"
	"net/http"
)

// view is what a page shows. All of it is escaped.
type view struct {
	Title, Text     string
	Account, Person string
	Token           string // asks to go on
	Code            string
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{.Title}} – mdebot</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1.25rem }
h1 { font-size: 1.5rem; line-height: 1.25 }
dt { font-size: .875rem; opacity: .75 }
dd { margin: 0 0 .75rem; font-weight: 600; overflow-wrap: anywhere }
code { font: 600 1.25rem ui-monospace, monospace; padding: .5rem .75rem; border: 1px solid; border-radius: .375rem; display: inline-block }
button { font: inherit; font-weight: 600; padding: .6rem 1.25rem; border-radius: .375rem; cursor: pointer }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{if .Account}}<dl><dt>Slack account</dt><dd>{{.Account}}</dd>
{{if .Person}}<dt>Signed in as</dt><dd>{{.Person}}</dd>{{end}}</dl>{{end}}
<p>{{.Text}}</p>
{{if .Token}}<form method="post" action="/link"><input type="hidden" name="t" value="{{.Token}}"><button>Go on and sign in</button></form>{{end}}
{{if .Code}}<p><code>/mde link {{.Code}}</code></p>{{end}}
</main>
</body>
</html>
`))

func show(w http.ResponseWriter, status int, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = page.Execute(w, v) // fails only when the browser is gone
}

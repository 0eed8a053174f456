package sandbox

import (
	"embed"
	"io/fs"
	"net"
	"net/http"
)

//go:embed web
var web embed.FS

// contentPolicy lets the page load its own files alone: no inline script or
// style, nothing from elsewhere. Pictures of Adaptive Cards are data addresses. The
// app's tab is the one other page that it may show.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Page serves the page: Slack and Teams side by side, as one of [People] sees
// them, and what happens in Defender meanwhile.
//
//	GET  /                                   the page and its modules
//	GET  /api/state?person=riley             all that the person sees, see pageState
//	GET  /api/events                         Server-Sent Events: "look again"
//	GET  /api/slack/payload, /api/teams/payload   what the bot sent, for one message
//	GET  /api/slack/file, /api/teams/file    a file
//	POST /api/slack/…, /api/teams/…          what the person does, see pageActions
//	POST /api/defender/…                     what happens in Defender by itself or in its portal
//
// There is no login, so the handler is for loopback only. It refuses requests
// for any other host, which a rebound DNS name would send, and those that pages
// of another origin send. Errors are JSON with a sentence in "error".
func (w *World) Page() http.Handler {
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	w.pageReads(mux)
	w.pageActions(mux)
	return w.guard(mux)
}

// guard keeps everybody out but the browser of this machine, on this page.
func (world *World) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		policy := contentPolicy
		if tab := world.tab.Load(); tab != nil {
			policy += "; frame-src " + tab.origin
		}
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !loopback(r.Host):
			writeError(w, http.StatusForbidden, "The demo answers on loopback addresses only, such as 127.0.0.1.")
		case r.Method != http.MethodGet && r.Header.Get("Origin") != "http://"+r.Host:
			writeError(w, http.StatusForbidden, "This was not sent by the demo's own page.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

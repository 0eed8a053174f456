package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// pageReads adds what the page reads.
func (w *World) pageReads(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/events", w.serveEvents)
	for path, serve := range map[string]func(http.ResponseWriter, *http.Request, Person){
		"/api/state":         func(rw http.ResponseWriter, _ *http.Request, me Person) { writeJSON(rw, w.pageState(me)) },
		"/api/slack/payload": w.serveSlackPayload,
		"/api/teams/payload": w.serveTeamsPayload,
		"/api/slack/file":    w.serveSlackFile,
		"/api/teams/file":    w.serveTeamsFile,
	} {
		mux.HandleFunc("GET "+path, func(rw http.ResponseWriter, r *http.Request) {
			me, known := personByKey(r.URL.Query().Get("person"))
			if !known {
				writeError(rw, http.StatusBadRequest, "There is no such person in the demo.")
				return
			}
			serve(rw, r, me)
		})
	}
}

func personByKey(key string) (Person, bool) {
	for _, p := range People() {
		if p.Key == key {
			return p, true
		}
	}
	return Person{}, false
}

// defenderLook is how often Defender is looked at: it has no background work and
// so nobody who could tell.
const defenderLook = 500 * time.Millisecond

// serveEvents tells when to read the state again. Every message means only that,
// so none can be missed.
func (w *World) serveEvents(rw http.ResponseWriter, r *http.Request) {
	slack, stopSlack := w.Slack.Subscribe()
	defer stopSlack()
	teams, stopTeams := w.Teams.Subscribe()
	defer stopTeams()
	look := time.NewTicker(defenderLook)
	defer look.Stop()

	rw.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(rw)
	seen := w.defenderMark()
	for {
		if _, err := fmt.Fprint(rw, "data: changed\n\n"); err != nil || out.Flush() != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-slack:
				waiting = false
			case <-teams:
				waiting = false
			case <-look.C:
				mark := w.defenderMark()
				waiting, seen = mark == seen, mark
			case <-r.Context().Done():
				return
			}
		}
	}
}

// defenderMark changes when what the page shows of Defender changes.
func (w *World) defenderMark() uint64 {
	mark := fnv.New64a()
	_ = json.NewEncoder(mark).Encode(w.pageDefender()) // a hash takes everything
	return mark.Sum64()
}

func (w *World) serveSlackPayload(rw http.ResponseWriter, r *http.Request, me Person) {
	for _, m := range w.Slack.Messages(r.URL.Query().Get("conversation"), me.Slack) {
		if m.TS == r.URL.Query().Get("message") && m.Payload != nil {
			writeJSON(rw, m.Payload)
			return
		}
	}
	writeError(rw, http.StatusNotFound, "There is no such message of the bot.")
}

func (w *World) serveTeamsPayload(rw http.ResponseWriter, r *http.Request, me Person) {
	for _, m := range w.Teams.Messages(r.URL.Query().Get("conversation"), me.Object) {
		if m.ID == r.URL.Query().Get("message") && m.Payload != nil {
			writeJSON(rw, m.Payload)
			return
		}
	}
	writeError(rw, http.StatusNotFound, "There is no such message of the bot.")
}

func (w *World) serveSlackFile(rw http.ResponseWriter, r *http.Request, me Person) {
	for _, m := range w.Slack.Messages(r.URL.Query().Get("conversation"), me.Slack) {
		for _, f := range m.Files {
			if f.ID == r.URL.Query().Get("file") {
				writeFile(rw, f.Name, f.Content)
				return
			}
		}
	}
	writeError(rw, http.StatusNotFound, "There is no such file.")
}

// serveTeamsFile finds the person's newest file of that name: in OneDrive a later
// one replaces an earlier one.
func (w *World) serveTeamsFile(rw http.ResponseWriter, r *http.Request, me Person) {
	for _, f := range slices.Backward(w.Teams.Files()) {
		if f.User == me.Object && f.Name == r.URL.Query().Get("file") {
			writeFile(rw, f.Name, f.Content)
			return
		}
	}
	writeError(rw, http.StatusNotFound, "There is no such file.")
}

// writeFile shows pictures and has everything else downloaded.
func writeFile(rw http.ResponseWriter, name string, content []byte) {
	if bytes.HasPrefix(content, []byte("\x89PNG\r\n\x1a\n")) {
		rw.Header().Set("Content-Type", "image/png")
	} else {
		rw.Header().Set("Content-Type", "application/octet-stream")
		name = strings.Map(func(c rune) rune {
			if c < ' ' || c == '/' || c == '\\' {
				return '_'
			}
			return c
		}, name)
		rw.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	}
	_, _ = rw.Write(content) // the browser may be gone
}

func writeJSON(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v) // the browser may be gone
}

func writeError(rw http.ResponseWriter, status int, sentence string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(map[string]string{"error": sentence}) // the browser may be gone
}

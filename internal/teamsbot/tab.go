package teamsbot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// TabPath is where the tab is, and everything that belongs to it is below.
const TabPath = "/teams/tab"

const (
	// tabFresh is how long an open tab stands while no request changes: what Defender
	// says, how much time is left and whether somebody may see it are not in the mark.
	tabFresh = time.Minute
	// tabTime bounds an answer, below what the listener waits for one.
	tabTime = 12 * time.Second
	// maxTabs is how many are drawn at a time.
	maxTabs = 32
	// tabAsks and tabEvery bound how often one person asks: far more than an open tab
	// does, on a few machines.
	tabAsks  = 30
	tabEvery = time.Second
)

// Tab is what the personal tab shows.
type Tab struct {
	// Local tells that only browsers of this machine reach the bot. Whatever stands for
	// Teams is here too then, and may show the tab.
	Local bool
	// Draw makes somebody's page as they may see it. Asked is whether they have come to
	// it just now; the page is empty when they do so too often.
	Draw func(ctx context.Context, who identity.Principal, asked bool) (page chat.Page, allowed bool)
	// Mark changes with whatever pages are drawn from.
	Mark func(ctx context.Context) (string, error)
	// Now is the clock by which pages grow old.
	Now func() time.Time
}

//go:embed web
var tabFiles embed.FS

// tab serves the personal tab "Requests": a page that anybody may load, because it
// holds nothing, and what stands in it for those whom Teams' token names.
//
// It shows and never decides. The token is good for an hour in whatever browser it is
// in, and nothing says that a person sits at it; the chat's own clicks, with their
// checks, are the only way to act.
type tab struct {
	Tab
	bot     *Bot
	policy  string // Content-Security-Policy
	tokens  *tabVerifier
	drawing chan struct{} // a place for each page that is drawn
	pace    *tabPace
}

// Tab returns the routes below [TabPath].
func (b *Bot) Tab(t Tab) http.Handler {
	s := &tab{Tab: t, bot: b, tokens: b.tabTokens, drawing: make(chan struct{}, maxTabs), pace: &tabPace{people: map[string]*rate.Limiter{}, now: b.now}}
	page, err := tabFiles.ReadFile("web/tab.html")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	frames := b.frames
	if t.Local {
		frames = "http://127.0.0.1:* http://localhost:*"
		page = bytes.Replace(page, []byte("<html "), []byte("<html data-local "), 1)
	}
	if frames == "" {
		frames = "'none'"
	}
	s.policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors " + frames

	mux := http.NewServeMux()
	mux.HandleFunc("GET "+TabPath, s.file("tab.html", "text/html; charset=utf-8", page))
	for name, kind := range map[string]string{"tab.js": "text/javascript; charset=utf-8", "tab.css": "text/css; charset=utf-8", "MicrosoftTeams.min.js": "text/javascript; charset=utf-8"} {
		content, err := tabFiles.ReadFile("web/" + name)
		if err != nil {
			panic(err)
		}
		mux.HandleFunc("GET "+TabPath+"/"+name, s.file(name, kind, content))
	}
	mux.HandleFunc("GET "+TabPath+"/page", s.answer)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", s.policy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// file serves what is the same for everybody. Browsers may keep it and ask whether it
// still is.
func (s *tab) file(name, kind string, content []byte) http.HandlerFunc {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", kind)
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	}
}

// tabWords is what the tab shows in place of a page, or above the one it has.
type tabWords struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

var (
	tabUnknown = tabWords{"mdebot could not verify who you are", "Close this tab and open it again. If that does not help, an administrator finds the reason in mdebot's log."}
	tabGuest   = tabWords{"Only full members of this organisation can use mdebot", "Ask a colleague who is a full member."}
	tabBusy    = tabWords{"mdebot is busy", "It tries again by itself."}
)

// answer is the page of whoever asks, or that the one they have is still true.
func (s *tab) answer(w http.ResponseWriter, r *http.Request) {
	who, err := s.tokens.person(r.Header)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if !s.pace.allow(who.Key()) {
		s.say(w, http.StatusTooManyRequests, tabBusy)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), tabTime)
	defer cancel()
	mark, err := s.Mark(ctx)
	if err != nil {
		s.bot.log.WarnContext(ctx, "requests not read for a tab", "error", err)
		s.say(w, http.StatusServiceUnavailable, tabBusy)
		return
	}
	had := r.Header.Get("If-None-Match")
	now := s.Now()
	state := tabState(mark, who)
	if drawn, same := strings.CutPrefix(strings.Trim(had, `"`), state+"-"); same && recent(drawn, now) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	select {
	case s.drawing <- struct{}{}:
		defer func() { <-s.drawing }()
	default:
		s.say(w, http.StatusServiceUnavailable, tabBusy)
		return
	}
	page, _ := s.Draw(ctx, who, had == "")
	if len(page) == 0 {
		s.say(w, http.StatusTooManyRequests, tabBusy)
		return
	}
	w.Header().Set("ETag", `"`+state+"-"+strconv.FormatInt(now.Unix(), 36)+`"`)
	respondTab(w, http.StatusOK, map[string]any{"page": drawTab(page, s.bot.chatLink(who))})
}

// tabState is the same as long as a page need not be drawn again because of a change.
func tabState(mark string, who identity.Principal) string {
	sum := sha256.Sum256([]byte(mark + " " + who.Key()))
	return hex.EncodeToString(sum[:12])
}

// recent reports whether a page that was drawn then may still stand. Who says so got
// it, and a wrong answer costs nobody but them a newer page.
func recent(drawn string, now time.Time) bool {
	seconds, err := strconv.ParseInt(drawn, 36, 64)
	if err != nil {
		return false
	}
	age := now.Sub(time.Unix(seconds, 0))
	return age >= 0 && age < tabFresh
}

// chatLink leads to the chat with the bot, where the cards with their buttons are. It
// names the bot and not the app: that has another ID in every organisation's catalogue.
func (b *Bot) chatLink(who identity.Principal) string {
	return b.chats + "/l/chat/0/0?users=" + url.QueryEscape(b.botID()) + "&tenantId=" + url.QueryEscape(who.Workspace)
}

// refuse says no to a token. Why not is for the log, at a bounded rate.
func (s *tab) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var no *refusal
	if !errors.As(err, &no) {
		no = &refusal{http.StatusUnauthorized, err.Error()}
	}
	if s.bot.refusals.AllowN(s.bot.now(), 1) {
		s.bot.log.WarnContext(r.Context(), "request refused", "status_code", no.status, "reason", no.reason)
	}
	if no == errTabGuest {
		s.say(w, no.status, tabGuest)
		return
	}
	s.say(w, no.status, tabUnknown)
}

func (s *tab) say(w http.ResponseWriter, status int, words tabWords) {
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	respondTab(w, status, words)
}

func respondTab(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the browser may be gone
}

// tabPace limits how often each person asks.
type tabPace struct {
	now func() time.Time

	mu     sync.Mutex
	people map[string]*rate.Limiter
}

func (p *tabPace) allow(who string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.people[who]
	if one == nil {
		if len(p.people) >= maxStanding {
			clear(p.people)
		}
		one = rate.NewLimiter(rate.Every(tabEvery), tabAsks)
		p.people[who] = one
	}
	return one.AllowN(p.now(), 1)
}

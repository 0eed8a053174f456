package app

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/errgroup"

	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
	"github.com/mdebot/mdebot/internal/sandbox/fault"
	"github.com/mdebot/mdebot/internal/teamsbot"
)

// newTabStory is a story in which Teams has the app with its tab.
func newTabStory(t *testing.T, yaml string, o sandbox.Options) *story {
	t.Helper()
	address := freeAddress(t)
	s := newStoryUnder(t, yaml, o, append(sandbox.TabEnvironment("http://"+address), "MDEBOT_LISTEN="+address)...)
	if err := installTab(s.world, "http://"+address); err != nil {
		t.Fatal(err)
	}
	return s
}

// tabAnswer is what the tab gets for a question.
type tabAnswer struct {
	status int
	tag    string
	body   string
}

// asksTab asks for the tab's page as its script does. An empty token is none.
func (s *story) asksTab(token, tag string) tabAnswer {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.bot.Addr().String()+teamsbot.TabPath+"/page", nil)
	if err != nil {
		s.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		s.Fatalf("ask for the tab's page: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		s.Errorf("the page may be kept: %q", got)
	}
	return tabAnswer{resp.StatusCode, resp.Header.Get("ETag"), string(body)}
}

// tabToken is the token that Teams gives the tab for somebody.
func (s *story) tabToken(who sandbox.Person) string {
	s.Helper()
	token, err := s.world.TabToken(who)
	if err != nil {
		s.Fatalf("a token for %s: %v", who.Name, err)
	}
	return token
}

// tab is what who reads in the tab.
func (s *story) tab(who sandbox.Person) string {
	s.Helper()
	got := s.asksTab(s.tabToken(who), "")
	if got.status != http.StatusOK {
		s.Fatalf("%s's tab is answered %d %s", who.Name, got.status, got.body)
	}
	return tabText(s.T, got.body)
}

// tabPiece is an element of the page.
type tabPiece struct {
	E string
	A map[string]string
	C []json.RawMessage
}

// tabPieces calls f for every element of a page and every text.
func tabPieces(t *testing.T, raw json.RawMessage, f func(tabPiece, string)) {
	t.Helper()
	var text string
	if json.Unmarshal(raw, &text) == nil {
		f(tabPiece{}, text)
		return
	}
	var p tabPiece
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	f(p, "")
	for _, c := range p.C {
		tabPieces(t, c, f)
	}
}

func tabPage(t *testing.T, body string) []json.RawMessage {
	t.Helper()
	var page struct{ Page []json.RawMessage }
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return page.Page
}

func tabText(t *testing.T, body string) string {
	t.Helper()
	var b strings.Builder
	for _, part := range tabPage(t, body) {
		tabPieces(t, part, func(p tabPiece, text string) {
			if p.E != "" && !slices.Contains([]string{"bdi", "code", "strong", "time"}, p.E) {
				b.WriteString("\n")
			}
			b.WriteString(text)
		})
	}
	return b.String()
}

// tabShows waits until who's tab has all the words and none of the others, which are
// after "".
func (s *story) tabShows(who sandbox.Person, words ...string) {
	s.Helper()
	s.shows(who.Name+"'s tab", func() string { return s.tab(who) }, words)
}

func TestStory_tabFollowsTheQueue(t *testing.T) {
	t.Parallel()
	s := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
	s.tabShows(sandbox.Avery, "Nothing waits for you to decide", "Avery Stone", "follows by itself", "No machine is isolated", "High and open")
	s.asks(sandbox.Riley, "ws-011")
	// All that the card says is there, and no button: only the way to the chat.
	s.tabShows(sandbox.Avery, "1 request waits for you to decide", "Request #1: isolate ws-011", "beaconing to a known bad address",
		s.machine("ws-011.corp.contoso.com").ID, "loses all network", "workstations", "Decide in the chat", "", "Deny", "Withdraw")
	s.tabShows(sandbox.Riley, "Nothing waits for you to decide", "You asked for", "isolate ws-011", "0 of 1 approvals", "Go on in the chat")

	card := s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "isolate ws-011", "waits for approval")
	s.slack().click(sandbox.Sam, card, "Approve")
	s.tabShows(sandbox.Avery, "Nothing waits for you to decide", "1 machine is isolated", "owner Riley Chen", "", "Decide in the chat")
}

// Whoever has the tab open all day costs next to nothing, and sees what has changed.
func TestStory_tabIsDrawnAgainOnlyWhenItHasChanged(t *testing.T) {
	t.Parallel()
	s := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
	token := s.tabToken(sandbox.Avery)
	first := s.asksTab(token, "")
	if first.status != http.StatusOK || first.tag == "" {
		t.Fatalf("the first answer is %d with the tag %q", first.status, first.tag)
	}
	if again := s.asksTab(token, first.tag); again.status != http.StatusNotModified || again.body != "" {
		t.Errorf("what is still true is answered %d %q", again.status, again.body)
	}
	if others := s.asksTab(s.tabToken(sandbox.Riley), first.tag); others.status != http.StatusOK {
		t.Errorf("somebody else's tag is answered %d", others.status)
	}
	s.asks(sandbox.Riley, "ws-011")
	changed := s.asksTab(token, first.tag)
	if changed.status != http.StatusOK || changed.tag == first.tag || !strings.Contains(changed.body, "ws-011") {
		t.Errorf("after a change the answer is %d with the tag %q", changed.status, changed.tag)
	}
	// What is in no request is looked at again after a minute.
	s.later(time.Minute)
	if later := s.asksTab(token, changed.tag); later.status != http.StatusOK {
		t.Errorf("a minute later the answer is %d", later.status)
	}
	// Nobody asks without end.
	refused := 0
	for range 60 {
		if got := s.asksTab(token, changed.tag); got.status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("one person may ask sixty times in a row")
	}
	if got := s.asksTab(s.tabToken(sandbox.Sam), ""); got.status != http.StatusOK {
		t.Errorf("somebody else is answered %d then", got.status)
	}
}

// While Defender hangs, what waits for people is there all the same, for as many as
// look: they do not wait for it one after the other.
func TestStory_tabWhileDefenderHangs(t *testing.T) {
	t.Parallel()
	s := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
	s.asks(sandbox.Riley, "ws-011")
	s.world.Defender.Faults.Add(fault.Fault{Kind: fault.Hang, Route: "/api/**"})
	t.Cleanup(s.world.Defender.Faults.Clear) // whoever hangs would keep the world from closing
	token := s.tabToken(sandbox.Avery)
	began := time.Now()
	var group errgroup.Group
	for range 12 {
		group.Go(func() error {
			got := s.asksTab(token, "")
			if got.status != http.StatusOK || !strings.Contains(got.body, "ws-011") {
				return fmt.Errorf("answered %d %s", got.status, got.body)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	// Each waits at most as long as one read may take, which the first has begun.
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("12 people were answered within %s", took)
	}
}

// A person loses what they see with what lets them see it, the open tab included.
func TestStory_tabOfSomebodyWhoMayNoMore(t *testing.T) {
	t.Parallel()
	s := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
	s.asks(sandbox.Riley, "ws-011")
	secret := []string{"ws-011", "isolat", "Decide in the chat"}
	refused := func(who sandbox.Person, words ...string) {
		t.Helper()
		s.tabShows(who, append(append(words, ""), secret...)...)
	}
	// Noor is in no entry of mdebot.yaml.
	refused(sandbox.Noor, "not linked to a person", "As of")
	// Gale is a guest, by what Entra says already.
	if got := s.asksTab(s.tabToken(sandbox.Gale), ""); got.status != http.StatusForbidden || !strings.Contains(got.body, "Only full members") || containsAny(got.body, secret) {
		t.Errorf("a guest is answered %d %s", got.status, got.body)
	}
	if n := len(s.audited("command.refused")); n != 0 {
		t.Errorf("%d refusals are recorded of people who only looked", n)
	}

	token := s.tabToken(sandbox.Avery)
	open := s.asksTab(token, "")
	if !strings.Contains(open.body, "ws-011") {
		t.Fatalf("Avery sees %s", open.body)
	}
	s.changePolicy(strings.Replace(sandbox.PolicyYAML(), "U0AVERY]\n    roles: [responder, approver]\n", "U0AVERY]\n", 1))
	if got := s.asksTab(token, open.tag); got.status != http.StatusOK || containsAny(got.body, secret) || !strings.Contains(got.body, "needs the role viewer") {
		t.Errorf("without a role Avery's open tab is answered %d %s", got.status, got.body)
	}
	// The directory is asked again after some minutes; its token is good for an hour.
	token = s.tabToken(sandbox.Sam)
	open = s.asksTab(token, "")
	if !strings.Contains(open.body, "ws-011") {
		t.Fatalf("Sam sees %s", open.body)
	}
	s.world.Entra.AddUser(sandbox.TenantID, entrasim.User{Object: sandbox.Sam.Object, Name: sandbox.Sam.Name, Disabled: true})
	s.later(homeRefresh)
	if got := s.asksTab(token, open.tag); got.status != http.StatusOK || containsAny(got.body, secret) || !strings.Contains(got.body, "you are: inactive") {
		t.Errorf("disabled, Sam's open tab is answered %d %s", got.status, got.body)
	}
	if _, err := s.world.TabToken(sandbox.Sam); err == nil {
		t.Error("Entra gives a disabled person a token")
	}
}

func containsAny(text string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// A token counts only if every one of its claims is right, whoever has signed it.
func TestStory_tabTokensThatMustNotCount(t *testing.T) {
	t.Parallel()
	s := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
	s.asks(sandbox.Riley, "ws-011")
	entra := s.world.Addresses()["entra"]
	now := time.Now()
	good := func() jwt.MapClaims {
		return jwt.MapClaims{
			"iss": entra + "/" + sandbox.TenantID + "/v2.0", "aud": s.world.TeamsAppID(), "tid": sandbox.TenantID, "oid": sandbox.Avery.Object,
			"azp": sandbox.TeamsWeb, "scp": "access_as_user", "ver": "2.0", "name": sandbox.Avery.Name,
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}
	}
	sign := func(change func(jwt.MapClaims)) string {
		c := good()
		change(c)
		token, err := s.world.Entra.Sign(jwt.SigningMethodRS256, c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	set := func(name string, value any) string {
		return sign(func(c jwt.MapClaims) {
			if value == nil {
				delete(c, name)
			} else {
				c[name] = value
			}
		})
	}
	for name, token := range map[string]string{
		"of Teams in a browser":              sign(func(jwt.MapClaims) {}),
		"of Teams on the desktop":            set("azp", sandbox.TeamsDesktop),
		"with more scopes":                   set("scp", "profile access_as_user"),
		"of a person, as newer tokens say":   set("idtyp", "user"),
		"of somebody at home here":           set("idp", "https://sts.windows.net/"+sandbox.TenantID+"/"),
		"that ended a moment ago, by clocks": set("exp", now.Add(-time.Minute).Unix()),
	} {
		if got := s.asksTab(token, ""); got.status != http.StatusOK || !strings.Contains(got.body, "ws-011") {
			t.Errorf("a token %s is answered %d %s", name, got.status, got.body)
		}
	}

	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, good()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	forged := jwt.NewWithClaims(jwt.SigningMethodHS256, good())
	forged.Header["kid"] = "entrasim-1"
	withSecret, err := forged.SignedString([]byte("a guess"))
	if err != nil {
		t.Fatal(err)
	}
	otherMethod, err := s.world.Entra.Sign(jwt.SigningMethodRS512, good())
	if err != nil {
		t.Fatal(err)
	}
	whole := sign(func(jwt.MapClaims) {})
	parts := strings.Split(whole, ".")
	const other = "0a000000-0000-4000-8000-000000000009"
	s.world.Entra.Register(other, entrasim.App{ID: s.world.TeamsAppID()})
	for name, token := range map[string]string{
		"that is none":            "",
		"that is not one":         "abc",
		"without a signature":     parts[0] + "." + parts[1] + ".",
		"of another signature":    parts[0] + "." + parts[1] + "." + strings.Split(set("oid", sandbox.Riley.Object), ".")[2],
		"with alg none":           unsigned,
		"with a shared secret":    withSecret,
		"signed in another way":   otherMethod,
		"for another application": set("aud", "0d9c1f6e-55a1-4f0b-8a7d-3e2b6c4d1a01"),
		"for several":             set("aud", []string{s.world.TeamsAppID(), "0d9c1f6e-55a1-4f0b-8a7d-3e2b6c4d1a01"}),
		"for Bot Connector":       set("aud", "https://api.botframework.com"),
		"for nobody":              set("aud", nil),
		"of another issuer":       set("iss", "https://login.microsoftonline.com/"+sandbox.TenantID+"/v2.0"),
		"of the issuer v1":        set("iss", "https://sts.windows.net/"+sandbox.TenantID+"/"),
		"of no issuer":            set("iss", nil),
		"of another tenant":       sign(func(c jwt.MapClaims) { c["tid"], c["iss"] = other, entra+"/"+other+"/v2.0" }),
		"of two tenants":          set("iss", entra+"/"+other+"/v2.0"),
		"of no tenant":            set("tid", nil),
		"that is over":            set("exp", now.Add(-10*time.Minute).Unix()),
		"without an end":          set("exp", nil),
		"that is not good yet":    set("nbf", now.Add(time.Hour).Unix()),
		"without a scope":         set("scp", nil),
		"of another scope":        set("scp", "access_as_user_too"),
		"of another program":      set("azp", "4765445b-32c6-49b0-83e6-1d93765276ca"),
		"of the bot itself":       set("azp", s.world.TeamsAppID()),
		"of no program":           set("azp", nil),
		"of an application":       set("idtyp", "app"),
		"of no person":            set("oid", nil),
		"of a person with a name": set("oid", "avery@contoso.example"),
		"of version 1.0":          set("ver", "1.0"),
	} {
		got := s.asksTab(token, "")
		if got.status != http.StatusUnauthorized || strings.Contains(got.body, "ws-011") || !strings.Contains(got.body, "could not verify who you are") {
			t.Errorf("a token %s is answered %d %s", name, got.status, got.body)
		}
	}
	for name, token := range map[string]string{
		"a guest":                      set("acct", 1),
		"somebody of another company":  set("idp", "https://sts.windows.net/"+other+"/"),
		"somebody with a personal one": set("idp", "live.com"),
	} {
		if got := s.asksTab(token, ""); got.status != http.StatusForbidden || strings.Contains(got.body, "ws-011") {
			t.Errorf("%s is answered %d %s", name, got.status, got.body)
		}
	}

	// Tokens that Entra gives for something else.
	secret := "sandbox-teams-secret-9Xw4"
	appOnly := s.appToken(s.world.TeamsAppID(), secret)
	if got := s.asksTab(appOnly, ""); got.status != http.StatusUnauthorized {
		t.Errorf("the bot's own token is answered %d %s", got.status, got.body)
	}
	// The registration that nobody has told which version it takes.
	s.world.Entra.Change(sandbox.TenantID, s.world.TeamsAppID(), func(a *entrasim.App) {
		api := *a.API
		api.TokenVersion = 0
		a.API = &api
	})
	if got := s.asksTab(s.tabToken(sandbox.Avery), ""); got.status != http.StatusUnauthorized {
		t.Errorf("a token of version 1.0 is answered %d %s", got.status, got.body)
	}
}

// appToken is a token that an application gets for itself.
func (s *story) appToken(app, secret string) string {
	s.Helper()
	form := strings.NewReader("grant_type=client_credentials&client_id=" + app + "&client_secret=" + secret + "&scope=https%3A%2F%2Fapi.botframework.com%2F.default")
	resp, err := http.Post(s.world.Addresses()["entra"]+"/"+sandbox.TenantID+"/oauth2/v2.0/token", "application/x-www-form-urlencoded", form)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Token == "" {
		s.Fatalf("no token: %d %v", resp.StatusCode, err)
	}
	return got.Token
}

// The tab's token is no token of Bot Connector, and the other way round.
func TestStory_tabTokensOpenNoOtherDoor(t *testing.T) {
	t.Parallel()
	s := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
	service := s.world.Teams.ServiceURL(sandbox.TenantID)
	activity, err := json.Marshal(map[string]any{
		"type": "message", "id": "1", "channelId": "msteams", "serviceUrl": service, "text": "isolate ws-011 beaconing to a known bad address",
		"from":         map[string]any{"id": "29:avery", "aadObjectId": sandbox.Avery.Object},
		"conversation": map[string]any{"id": "a:1", "conversationType": "personal", "tenantId": sandbox.TenantID},
		"channelData":  map[string]any{"tenant": map[string]any{"id": sandbox.TenantID}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.bot.Addr().String()+"/api/messages", strings.NewReader(string(activity)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.tabToken(sandbox.Avery))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the tab's token with a message is answered %d", resp.StatusCode)
	}
	if got := s.asksTab(s.world.Teams.Token(service), ""); got.status != http.StatusUnauthorized {
		t.Errorf("Bot Connector's token at the tab is answered %d %s", got.status, got.body)
	}
	if live, err := s.bot.approvals.Live(t.Context(), s.bot.tenant); err != nil || len(live) != 0 {
		t.Errorf("%d requests are open (%v), want none", len(live), err)
	}
}

// Nothing in the tab acts, whatever is on it: not a request that waits, one that runs,
// one's own, an alert or a machine that is cut off. Its only links lead into the chat
// with the bot and to the portal.
func TestStory_tabNeverActs(t *testing.T) {
	t.Parallel()
	s := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
	s.asks(sandbox.Riley, "ws-011")
	card := s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "isolate ws-011", "waits for approval")
	s.slack().click(sandbox.Sam, card, "Approve")
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "isolate ws-011", "isolated")
	for _, machine := range []string{"ws-013", "ws-014", "ws-015"} {
		s.asks(sandbox.Riley, machine)
	}
	s.slack().write(sandbox.Avery, sandbox.SlackOps, "isolate ws-017 it answers to nobody")
	s.sees(s.slack(), sandbox.Sam, sandbox.SlackApprovals, "isolate ws-017", "waits for approval")
	for _, who := range []sandbox.Person{sandbox.Riley, sandbox.Avery, sandbox.Sam, sandbox.Jordan, sandbox.Noor} {
		got := s.asksTab(s.tabToken(who), "")
		for _, part := range tabPage(t, got.body) {
			tabPieces(t, part, func(p tabPiece, _ string) {
				switch {
				case slices.Contains([]string{"button", "form", "input", "select", "textarea", "script", "iframe", "img", "object", "embed"}, p.E):
					t.Errorf("%s's tab has a <%s>", who.Name, p.E)
				case p.E == "a" && !strings.HasPrefix(p.A["href"], "https://teams.microsoft.com/l/chat/0/0?users=28%3A"+s.world.TeamsAppID()) && !strings.HasPrefix(p.A["href"], "https://security.microsoft.com/"):
					t.Errorf("%s's tab leads to %s", who.Name, p.A["href"])
				}
				for name := range p.A {
					if strings.HasPrefix(name, "on") || name == "style" || name == "src" {
						t.Errorf("%s's tab has the attribute %s", who.Name, name)
					}
				}
			})
		}
		for _, action := range []string{cards.ActionApprove, cards.ActionDeny, cards.ActionWithdraw, cards.ActionDenyForm} {
			if strings.Contains(got.body, `"`+action+`"`) {
				t.Errorf("%s's tab holds the action %s", who.Name, action)
			}
		}
		if live, err := s.bot.approvals.Live(t.Context(), s.bot.tenant); err == nil {
			for _, r := range live {
				if strings.Contains(got.body, cards.RequestValue(r.ID, r.Digest)) {
					t.Errorf("%s's tab holds what the buttons of #%d send", who.Name, r.Number)
				}
			}
		}
	}
	// And what it asks can only be read.
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.bot.Addr().String()+teamsbot.TabPath+"/page", strings.NewReader(`{"action":"approve"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.tabToken(sandbox.Sam))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s is answered %d", method, resp.StatusCode)
		}
	}
}

// The page around it is the same for everybody, and may be shown by Teams alone.
func TestStory_tabPage(t *testing.T) {
	t.Parallel()
	local := newTabStory(t, sandbox.PolicyYAML(), sandbox.Options{})
	public := newStory(t, sandbox.Options{}, sandbox.TabEnvironment("https://mdebot.example.com")...)
	without := newStory(t, sandbox.Options{})
	for _, c := range []struct {
		name, frames string
		s            *story
		status       int
	}{
		{"on this machine", "frame-ancestors http://127.0.0.1:* http://localhost:*", local, http.StatusOK},
		{"in the open", "frame-ancestors https://teams.microsoft.com https://*.teams.microsoft.com https://*.cloud.microsoft", public, http.StatusOK},
		{"without an address", "", without, http.StatusNotFound},
	} {
		for _, path := range []string{"", "/tab.js", "/tab.css", "/MicrosoftTeams.min.js", "/tab.html", "/../tab"} {
			resp, err := http.Get("http://" + c.s.bot.Addr().String() + teamsbot.TabPath + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			want := c.status
			if path == "/tab.html" {
				want = http.StatusNotFound
			}
			if resp.StatusCode != want {
				t.Errorf("%s: %s is answered %d, want %d", c.name, cmp.Or(path, "the page"), resp.StatusCode, want)
			}
			if c.status != http.StatusOK {
				continue
			}
			policy := resp.Header.Get("Content-Security-Policy")
			if !strings.HasSuffix(policy, c.frames) || !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';") ||
				resp.Header.Get("X-Content-Type-Options") != "nosniff" || len(resp.Cookies()) != 0 {
				t.Errorf("%s: %s has the headers %v", c.name, path, resp.Header)
			}
			if path == "" && strings.Contains(string(body), "data-local") != (c.s == local) {
				t.Errorf("%s: the page is %s", c.name, body)
			}
		}
	}
}

// An address that nothing is at is a mistake, and said before anybody looks for it.
func TestConfig_publicAddressThatNothingUses(t *testing.T) {
	t.Parallel()
	s := newStory(t, sandbox.Options{})
	var slackAlone []string
	for _, e := range s.env {
		if !strings.HasPrefix(e, "TEAMS_") {
			slackAlone = append(slackAlone, e)
		}
	}
	address := sandbox.TabEnvironment("https://mdebot.example.com")
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"Slack alone":              {append(slices.Clone(slackAlone), address...), "MDEBOT_PUBLIC_URL: nothing uses it"},
		"Slack, with signing in":   {append(slices.Clone(slackAlone), sandbox.SignInEnvironment("https://mdebot.example.com")...), ""},
		"Slack, with half of that": {append(append(slices.Clone(slackAlone), address...), "MDEBOT_OIDC_CLIENT_ID=id"), "MDEBOT_OIDC_CLIENT_SECRET is missing"},
		"with Teams":               {append(slices.Clone(s.env), address...), ""},
		"with Teams, by http":      {append(slices.Clone(s.env), "MDEBOT_PUBLIC_URL=http://mdebot.example.com"), "bare https address"},
	} {
		_, err := LoadConfig(t.Context(), c.env)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: LoadConfig() = %v, want %q", name, err, c.want)
		}
	}
}

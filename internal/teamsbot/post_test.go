package teamsbot

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

func TestPost_channelThreadAndEdit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.posted()
	reply, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Thread: ref.MessageID, Message: *titled("approved")})
	if err != nil {
		t.Fatalf("Post() into the thread = %v", err)
	}
	if err := w.bot.Edit(t.Context(), ref, *titled("Isolated")); err != nil {
		t.Fatalf("Edit() = %v", err)
	}
	if err := w.bot.Edit(t.Context(), reply, *titled("approved by Avery")); err != nil {
		t.Fatalf("Edit() of the reply = %v", err)
	}
	got := w.sim.Messages(alerts, riley)
	if len(got) != 2 || got[0].ID != ref.MessageID || got[0].Edits != 1 || got[1].Thread != ref.MessageID || got[1].Edits != 1 {
		t.Errorf("messages = %+v, want the edited card and a reply in its thread", got)
	}
	if got[0].Text != "" || !strings.Contains(string(got[0].Card), "Isolated") {
		t.Errorf("card = %s, want the edited one and no text", got[0].Card)
	}
}

func TestPost_person(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	to := chat.DirectTo(identity.Principal{Platform: identity.Teams, Workspace: home, Account: avery})
	for range 2 {
		m := *titled("your vote is needed")
		m.Files = []chat.File{{Name: "a.csv", Content: []byte("a")}}
		if _, err := w.bot.Post(t.Context(), chat.Post{To: to, Message: m}); err != nil {
			t.Fatalf("Post() = %v", err)
		}
	}
	if got := w.sim.Messages("a:1"+avery, avery); len(got) != 4 {
		t.Errorf("personal chat holds %d messages, want two cards and two file offers", len(got))
	}
	created := 0
	for _, e := range w.sim.Effects() {
		if e.Kind == teamssim.EffectCreated {
			created++
		}
	}
	if created != 1 {
		t.Errorf("chat was created %d times, want the reference used the second time", created)
	}
}

func TestPost_learnedServiceURL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: *titled("x")}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + soc, Message: *titled("x")}); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, c := range w.sim.Calls() {
		if c.Method == http.MethodPost {
			paths = append(paths, strings.SplitN(c.Path, "/v3/", 2)[0])
		}
	}
	// The installation named the team, not the other channel.
	if want := []string{"/teams", "/emea/" + home}; !slices.Equal(paths, want) {
		t.Errorf("service URLs = %v, want the default for the unknown channel and the learned one", paths)
	}
}

func TestPost_refusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		to    chat.Destination
		fault teamssim.Fault
		want  error
	}{
		{"unknown channel", "teams:19:nowhere@thread.tacv2", teamssim.Fault{}, chat.ErrNotThere},
		{"person without the app", chat.Destination("teams:@" + home + "/" + loner), teamssim.Fault{}, chat.ErrNotThere},
		{"person of a tenant not configured", chat.Destination("teams:@" + partner + "/" + riley), teamssim.Fault{}, chat.ErrNotThere},
		{"not in the roster", "teams:" + alerts, teamssim.Fault{Status: 403, Code: "BotNotInConversationRoster"}, chat.ErrNotThere},
		{"too big", "teams:" + alerts, teamssim.Fault{Status: 413, Code: "MessageSizeTooBig"}, chat.ErrTooBig},
		{"malformed", "teams:" + alerts, teamssim.Fault{Status: 400, Code: "BadSyntax"}, chat.ErrTooBig},
		{"token refused twice", "teams:" + alerts, teamssim.Fault{Status: 401, Code: "Unauthorized"}, chat.ErrCredentials},
		{"internal error", "teams:" + alerts, teamssim.Fault{Status: 500}, chat.ErrUnclear},
		{"gateway with HTML", "teams:" + alerts, teamssim.Fault{Status: 502, Body: "<html>bad gateway</html>"}, chat.ErrUnclear},
		{"connection cut after the post", "teams:" + alerts, teamssim.Fault{Method: http.MethodPost, DropAfterEffect: true}, chat.ErrUnclear},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tc.fault != (teamssim.Fault{}) {
				tc.fault.Method = http.MethodPost // members can be read
				w.sim.Fail(tc.fault)
			}
			_, err := w.bot.Post(t.Context(), chat.Post{To: tc.to, Message: *titled("x")})
			if !errors.Is(err, tc.want) {
				t.Errorf("Post() = %v, want %v", err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "token-") || strings.Contains(err.Error(), "127.0.0.1")) {
				t.Errorf("error %q tells too much", err)
			}
		})
	}
}

func TestPost_throttled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "": defaultBackOff, "soon": defaultBackOff} {
		w.sim.Heal()
		w.sim.Fail(teamssim.Fault{Status: 429, Code: "Throttled", RetryAfter: header})
		_, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: *titled("x")})
		var throttled *chat.ThrottledError
		if !errors.As(err, &throttled) || throttled.RetryAfter != want {
			t.Errorf("Retry-After %q: %v, want a wait of %s", header, err, want)
		}
		var refused *ConnectorError
		if !errors.As(err, &refused) || refused.Code != "Throttled" || refused.StatusCode != 429 {
			t.Errorf("Retry-After %q: %v, want the code kept", header, err)
		}
	}
}

func TestPost_newTokenAfterRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.posted()
	w.authority.mu.Lock()
	w.authority.valid = "revoked"
	w.authority.mu.Unlock()
	w.posted()
	if w.authority.tokens != 2 {
		t.Errorf("%d tokens were fetched, want a second one after the refusal", w.authority.tokens)
	}
}

func TestPost_noTokenFromAuthority(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{401: chat.ErrCredentials, 400: chat.ErrCredentials} {
		w := newWorld(t)
		w.authority.fail = status
		_, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: *titled("x")})
		if !errors.Is(err, want) || strings.Contains(err.Error(), secret) {
			t.Errorf("authority answers %d: %v, want %v and no text of Entra's", status, err, want)
		}
	}
	w := newWorld(t)
	w.authority.fail = 503
	if _, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: *titled("x")}); err == nil || errors.Is(err, chat.ErrCredentials) {
		t.Errorf("authority is down: %v, want an error that may pass", err)
	}
}

func TestPost_neverFollowsRedirects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stolen := make(chan string, 1)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("Authorization") }))
	defer thief.Close()
	w.sim.Fail(teamssim.Fault{Status: 307, Location: thief.URL})
	if _, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: *titled("x")}); err == nil {
		t.Error("Post() = nil, want an error")
	}
	select {
	case got := <-stolen:
		t.Errorf("the redirect was followed with %q", got)
	default:
	}
}

func TestPost_editedReferenceSendsNothing(t *testing.T) {
	t.Parallel()
	refs := &MemoryReferences{}
	w := newWorld(t, func(_ *Config, o *Options) { o.References = refs })
	w.bot.tasks.wg.Wait()
	if r, ok, _ := refs.Get(t.Context(), home, soc); !ok || r.ServiceURL != w.sim.ServiceURL(home) {
		t.Fatalf("stored reference = %+v, want the one of the installation", r)
	}
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s came with Authorization %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer thief.Close()
	if err := refs.Put(t.Context(), Reference{Tenant: home, Key: alerts, ConversationID: alerts, ServiceURL: thief.URL}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: *titled("x")}); !errors.Is(err, errForeignHost) {
		t.Errorf("Post() = %v, want %v", err, errForeignHost)
	}
}

func TestPost_idsCannotLeaveTheirPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, id := range []string{"../../admin", "..", "a/b", "x?y=z", "x#y", "%2e%2e"} {
		_ = w.bot.Edit(t.Context(), chat.Ref{Conversation: chat.Conversation{Workspace: home, ID: alerts}, MessageID: id}, *titled("x"))
	}
	for _, c := range w.sim.Calls() {
		if !strings.HasPrefix(c.Path, "/teams/v3/conversations/"+alerts+"/activities/") {
			t.Errorf("an ID led to %s", c.Path)
		}
	}
	if len(w.sim.Calls()) == 0 {
		t.Error("no call reached the connector")
	}
}

func TestEdit_goneAndForeign(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.posted()
	ref.MessageID = "123"
	if err := w.bot.Edit(t.Context(), ref, *titled("x")); !errors.Is(err, chat.ErrGone) {
		t.Errorf("Edit() of an unknown message = %v, want %v", err, chat.ErrGone)
	}
	if err := w.bot.Edit(t.Context(), chat.Ref{}, *titled("x")); !errors.Is(err, chat.ErrGone) {
		t.Errorf("Edit() of nothing = %v, want %v", err, chat.ErrGone)
	}
}

func TestFind_cannotTell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if ref, found, err := w.bot.Find(t.Context(), chat.Post{}, time.Time{}); found || err != nil || !ref.IsZero() {
		t.Errorf("Find() = %v, %v, %v, want nothing found", ref, found, err)
	}
}

func TestPost_mentions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := *titled("High alert")
	m.Mentions = []chat.Mention{{ID: avery, Name: "Avery <Diaz>"}, {ID: "S0GROUP", Name: "on call", Group: true}}
	if _, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + alerts, Message: m}); err != nil {
		t.Fatalf("Post() = %v", err)
	}
	got := string(w.sim.Messages(alerts, riley)[0].Card)
	if !strings.Contains(got, "<at>Avery Diaz</at> @on call") || strings.Count(got, `"type":"mention"`) != 1 {
		t.Errorf("card = %s, want one mention and one name", got)
	}
}

func TestStanding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	person := func(object string) identity.Principal {
		return identity.Principal{Platform: identity.Teams, Workspace: home, Account: object}
	}
	w.sim.Join(guest, soc)
	w.sim.Join(outsider, soc)
	for object, want := range map[string]identity.Standing{
		riley: identity.Member, guest: identity.Guest, outsider: identity.Outsider,
	} {
		if got, err := w.bot.Standing(t.Context(), person(object)); got != want || err != nil {
			t.Errorf("Standing(%s) = %v, %v, want %v", object, got, err, want)
		}
	}
	for _, p := range []identity.Principal{
		person(loner), person("99999999-9999-4999-8999-999999999999"), person("riley"),
		{Platform: identity.Teams, Workspace: partner, Account: riley},
		{Platform: identity.Slack, Workspace: "T0", Account: "U0"},
	} {
		if got, err := w.bot.Standing(t.Context(), p); got != identity.Unknown || err == nil {
			t.Errorf("Standing(%s) = %v, %v, want an error", p, got, err)
		}
	}
}

func TestStanding_freshness(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.message(riley, alerts, "@mdebot status", "")
	if got, err := w.bot.Standing(t.Context(), rileyAs()); got != identity.Member || err != nil {
		t.Fatalf("Standing() = %v, %v", got, err)
	}
	w.sim.AddUser(teamssim.User{Tenant: home, Object: riley, Name: "Riley Chen", Email: "r@x.example", Role: teamssim.RoleGuest})
	calls := len(w.sim.Calls())
	if got, _ := w.bot.Standing(t.Context(), rileyAs()); got != identity.Member || len(w.sim.Calls()) != calls {
		t.Errorf("Standing() = %v, want the cached answer", got)
	}
	w.skew.Store(int64(standingAge))
	if got, err := w.bot.Standing(t.Context(), rileyAs()); got != identity.Guest || err != nil {
		t.Errorf("Standing() after five minutes = %v, %v, want a fresh answer", got, err)
	}
	w.skew.Store(int64(2 * standingAge))
	w.sim.Fail(teamssim.Fault{Path: "/members/", Status: 503})
	if got, err := w.bot.Standing(t.Context(), rileyAs()); got != identity.Unknown || err == nil {
		t.Errorf("Standing() with Teams down = %v, %v, want an error", got, err)
	}
}

func TestAnswer_fallsBackToPersonalChat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Fail(teamssim.Fault{Path: alerts, Status: 403, Code: "BotNotInConversationRoster"})
	w.handler.will(func(chat.Invocation) chat.Response { return chat.Response{Message: titled("web-01 is healthy")} })
	w.message(riley, alerts, "@mdebot machine web-01", "")
	if got := w.fromBot(riley, "a:1"+riley, 1); !strings.Contains(string(got[0].Card), "web-01 is healthy") {
		t.Errorf("personal chat shows %s, want the answer", got[0].Card)
	}
}

func TestPatiently(t *testing.T) {
	t.Parallel()
	tries := 0
	err := patiently(t.Context(), func() error {
		tries++
		if tries == 1 {
			return &ConnectorError{StatusCode: 429, RetryAfter: time.Millisecond}
		}
		return nil
	})
	if err != nil || tries != 2 {
		t.Errorf("throttled once: %v after %d tries, want success after 2", err, tries)
	}
	tries = 0
	if err := patiently(t.Context(), func() error { tries++; return chat.ErrNotThere }); !errors.Is(err, chat.ErrNotThere) || tries != 1 {
		t.Errorf("not there: %v after %d tries, want one", err, tries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tries = 0
	if err := patiently(ctx, func() error { tries++; return chat.ErrUnclear }); !errors.Is(err, chat.ErrUnclear) || tries != 1 {
		t.Errorf("cancelled: %v after %d tries, want one", err, tries)
	}
}

func TestPost_secondTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config, _ *Options) { c.TenantIDs = append(c.TenantIDs, partner) })
	const team, room, pat = "19:partner@thread.tacv2", "19:partner-alerts@thread.tacv2", "00000000-0000-4000-8000-000000000031"
	w.sim.AddUser(teamssim.User{Tenant: partner, Object: pat, Name: "Pat", Email: "pat@partner.example"})
	w.sim.AddTeam(teamssim.Team{Tenant: partner, ID: team, Name: "Partner", Members: []string{pat}})
	w.sim.AddChannel(teamssim.Channel{Team: team, ID: room, Name: "Alerts"})
	if err := w.sim.Install(t.Context(), team); err != nil {
		t.Fatal(err)
	}
	w.handler.will(func(chat.Invocation) chat.Response { return chat.Response{Message: titled("pong")} })
	w.message(pat, room, "@mdebot status", "")
	w.fromBot(pat, room, 1)
	got := w.handler.invocations()[0]
	if got.In.Workspace != partner || got.By.Workspace != partner {
		t.Errorf("invocation = %+v, want the partner's tenant", got)
	}
	ref, err := w.bot.Post(t.Context(), chat.Post{To: "teams:" + room, Message: *titled("alert")})
	if err != nil || ref.Conversation.Workspace != partner {
		t.Errorf("Post() = %+v, %v, want it posted in the partner's tenant", ref, err)
	}
	if st, err := w.bot.Standing(t.Context(), got.By); st != identity.Member || err != nil {
		t.Errorf("Standing() = %v, %v", st, err)
	}
}

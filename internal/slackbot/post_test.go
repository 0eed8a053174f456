package slackbot

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/sandbox/slacksim"
)

func TestPost_findAndEdit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	head, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: *say("alert"), Delivery: "d1"})
	if err != nil {
		t.Fatalf("Post() = %v", err)
	}
	reply := chat.Post{To: "slack:C0SOC", Thread: head.MessageID, Broadcast: true, Message: *say("resolved"), Delivery: "d2"}
	ref, err := w.bot.Post(t.Context(), reply)
	if err != nil {
		t.Fatalf("Post(reply) = %v", err)
	}
	if m := w.sim.Messages("C0SOC", "U0RILEY")[1]; m.ThreadTS != head.MessageID || !m.Broadcast {
		t.Errorf("reply = %+v, want it in the thread and broadcast", m)
	}
	since := time.Now().Add(-time.Minute)
	if got, found, err := w.bot.Find(t.Context(), reply, since); err != nil || !found || got != ref {
		t.Errorf("Find(reply) = %v, %v, %v, want %v", got, found, err, ref)
	}
	if got, found, err := w.bot.Find(t.Context(), chat.Post{To: "slack:C0SOC", Delivery: "d1"}, since); err != nil || !found || got != head {
		t.Errorf("Find(head) = %v, %v, %v, want %v", got, found, err, head)
	}
	if _, found, err := w.bot.Find(t.Context(), chat.Post{To: "slack:C0SOC", Delivery: "d3"}, since); err != nil || found {
		t.Errorf("Find(never posted) = %v, %v, want not found", found, err)
	}
	// An answer with nothing in it does not say that nothing was posted.
	for method, post := range map[string]chat.Post{"conversations.history": {To: "slack:C0SOC", Delivery: "d1"}, "conversations.replies": reply} {
		w.sim.Inject(slacksim.Fault{Method: method, Kind: slacksim.FaultEmpty, Times: 1})
		if _, found, err := w.bot.Find(t.Context(), post, since); err == nil {
			t.Errorf("Find() with an empty answer of %s = %v, nil, want an error", method, found)
		}
	}
	red := *say("alert, in progress")
	red.Tone = chat.Danger
	for _, m := range []chat.Message{red, *say("alert, resolved")} {
		if err := w.bot.Edit(t.Context(), head, m); err != nil {
			t.Fatalf("Edit() = %v", err)
		}
	}
	if m := w.sim.Messages("C0SOC", "U0RILEY")[0]; m.Text != "alert, resolved" || string(m.Attachments) != "[]" {
		t.Errorf("edited message = %q with attachments %s, want the colour bar gone", m.Text, m.Attachments)
	}
	w.sim.DeleteMessage("C0SOC", head.MessageID)
	if err := w.bot.Edit(t.Context(), head, *say("x")); !errors.Is(err, chat.ErrGone) {
		t.Errorf("Edit(deleted) = %v, want %v", err, chat.ErrGone)
	}
}

func TestPost_toAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ref, err := w.bot.Post(t.Context(), chat.Post{To: chat.DirectTo(riley()), Message: *say("approve?"), Delivery: "d1"})
	if err != nil || !ref.Conversation.Direct {
		t.Fatalf("Post() = %v, %v, want a direct message", ref, err)
	}
	if list := w.sim.Messages(w.sim.DirectChannel("U0RILEY"), "U0RILEY"); len(list) != 1 || list[0].Text != "approve?" {
		t.Errorf("direct chat = %+v", list)
	}
	outsider := chat.DirectTo(identity.Principal{Platform: identity.Slack, Workspace: "T0EVIL", Account: "U0EVE"})
	if _, err := w.bot.Post(t.Context(), chat.Post{To: outsider, Message: *say("x")}); !errors.Is(err, chat.ErrNotThere) {
		t.Errorf("Post(outsider) = %v, want %v", err, chat.ErrNotThere)
	}
}

func TestPost_refusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		to    chat.Destination
		fault slacksim.Fault
		want  error
		posts int
	}{
		{"no such channel", "slack:C0NONE", slacksim.Fault{}, chat.ErrNotThere, 0},
		{"not in the channel", "slack:C0OUT", slacksim.Fault{}, chat.ErrNotThere, 0},
		{"shared with outsiders", "slack:C0SHARED", slacksim.Fault{}, chat.ErrForbiddenPlace, 0},
		{"a Teams destination", "teams:19:x@thread.tacv2", slacksim.Fault{}, chat.ErrNotThere, 0},
		{"a revoked token", "slack:C0SOC", slacksim.Fault{Kind: slacksim.FaultError, Code: "token_revoked"}, chat.ErrCredentials, 0},
		{"an archived channel", "slack:C0SOC", slacksim.Fault{Kind: slacksim.FaultError, Code: "is_archived"}, chat.ErrNotThere, 0},
		{"blocks refused twice", "slack:C0SOC", slacksim.Fault{Kind: slacksim.FaultError, Code: "invalid_blocks", Times: 2}, chat.ErrTooBig, 0},
		{"a server error", "slack:C0SOC", slacksim.Fault{Kind: slacksim.FaultServerError}, chat.ErrUnclear, 0},
		{"a documented half failure", "slack:C0SOC", slacksim.Fault{Kind: slacksim.FaultError, Code: "fatal_error"}, chat.ErrUnclear, 0},
		{"a proxy's page", "slack:C0SOC", slacksim.Fault{Kind: slacksim.FaultHTML}, chat.ErrUnclear, 0},
		{"an empty answer", "slack:C0SOC", slacksim.Fault{Kind: slacksim.FaultEmpty}, chat.ErrUnclear, 0},
		{"a lost answer", "slack:C0SOC", slacksim.Fault{Kind: slacksim.FaultDropAfter}, chat.ErrUnclear, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			if tt.fault.Kind != "" {
				tt.fault.Method = "chat.postMessage"
				w.sim.Inject(tt.fault)
			}
			_, err := w.bot.Post(t.Context(), chat.Post{To: tt.to, Message: *say("x"), Delivery: "d1"})
			if !errors.Is(err, tt.want) {
				t.Errorf("Post() = %v, want %v", err, tt.want)
			}
			if n := len(w.sim.Ledger()); n != tt.posts {
				t.Errorf("%d posts took effect, want %d", n, tt.posts)
			}
			if err != nil && strings.Contains(err.Error(), "http") {
				t.Errorf("error %q holds an address", err)
			}
		})
	}
}

func TestPost_plainFallback(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Kind: slacksim.FaultError, Code: "invalid_blocks", Times: 2}) // the second one without its table
	if _, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: fullCard(hostile, 1)}); err != nil {
		t.Fatalf("Post() = %v", err)
	}
	m := w.sim.Messages("C0SOC", "U0RILEY")[0]
	if string(m.Blocks) != "[]" || !strings.Contains(m.Text, "Machine: ") || strings.Contains(m.Text, "<!") {
		t.Errorf("message = %+v, want plain escaped text", m)
	}
}

func TestPost_throttled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	for header, want := range map[string]time.Duration{
		"7": 7 * time.Second, "1.5": 1500 * time.Millisecond, "": throttleDefault, "0": time.Second, "-4": time.Second,
		"soon": throttleDefault, "99999999999": throttleMax, "NaN": throttleDefault,
	} {
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Kind: slacksim.FaultThrottle, RetryAfter: header})
		_, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: *say("x")})
		var throttled *chat.ThrottledError
		if !errors.As(err, &throttled) || throttled.RetryAfter != want || errors.Is(err, chat.ErrUnclear) {
			t.Errorf("Retry-After %q: %v, want to wait %s", header, err, want)
		}
	}
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	if got := retryAfter(at.Add(42*time.Second).Format(http.TimeFormat), at); got != 42*time.Second {
		t.Errorf("retryAfter(date) = %s, want 42s", got)
	}
}

func TestPost_becomesSharedBetweenTwoPosts(t *testing.T) {
	t.Parallel()
	clock := newClock()
	w := newWorld(t, worldOptions{now: clock.now})
	post := chat.Post{To: "slack:C0SOC", Message: *say("x")}
	if _, err := w.bot.Post(t.Context(), post); err != nil {
		t.Fatal(err)
	}
	w.sim.AddChannel(slacksim.Channel{ID: "C0SOC", Name: "soc", BotIn: true, Shared: true})
	clock.advance(10 * time.Minute)
	if _, err := w.bot.Post(t.Context(), post); !errors.Is(err, chat.ErrForbiddenPlace) {
		t.Errorf("Post() = %v, want %v within ten minutes", err, chat.ErrForbiddenPlace)
	}
}

func TestPost_guestJoinsBetweenTwoPosts(t *testing.T) {
	t.Parallel()
	for who, want := range map[string]string{"U0GUEST": "holds guests", "U0SINGLE": "holds guests", "U0EVE": "other organisations", "U0NOBODY": "other organisations"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			w := newWorld(t, worldOptions{now: clock.now})
			post := chat.Post{To: "slack:C0SOC", Message: *say("x")}
			for _, m := range []string{"U0GONE", "U0ROBOT"} { // neither reads along
				w.sim.Join(m, "C0SOC")
			}
			if _, err := w.bot.Post(t.Context(), post); err != nil {
				t.Fatal(err)
			}
			w.sim.Join(who, "C0SOC")
			clock.advance(10 * time.Minute)
			_, err := w.bot.Post(t.Context(), post)
			if !errors.Is(err, chat.ErrForbiddenPlace) || !strings.Contains(err.Error(), want) {
				t.Errorf("Post() = %v, want a refusal that says %q within ten minutes", err, want)
			}
			post.Admits.Guests = true
			_, err = w.bot.Post(t.Context(), post)
			if guest := strings.Contains(want, "guests"); guest && err != nil {
				t.Errorf("Post() that admits guests = %v", err)
			}
			w.sim.Leave(who, "C0SOC")
			clock.advance(10 * time.Minute)
			post.Admits.Guests = false
			if _, err := w.bot.Post(t.Context(), post); err != nil {
				t.Errorf("Post() = %v after they left", err)
			}
		})
	}
}

// A member who is made a guest counts as one within ten minutes, although the
// account was looked up for another channel just before the channel was.
func TestPost_memberBecomesAGuestBetweenTwoPosts(t *testing.T) {
	t.Parallel()
	clock := newClock()
	w := newWorld(t, worldOptions{now: clock.now})
	w.sim.AddChannel(slacksim.Channel{ID: "C0FIN", Name: "fin", BotIn: true, Members: []string{"U0RILEY"}})
	post := func(to chat.Destination) error {
		_, err := w.bot.Post(t.Context(), chat.Post{To: to, Message: *say("x")})
		return err
	}
	if err := post("slack:C0FIN"); err != nil {
		t.Fatal(err)
	}
	w.sim.AddUser(slacksim.User{ID: "U0RILEY", Name: "riley", Guest: true})
	clock.advance(5*time.Minute - time.Second)
	if err := post("slack:C0SOC"); err != nil {
		t.Fatalf("Post() = %v, want what was learnt five minutes ago", err)
	}
	clock.advance(5*time.Minute + 2*time.Second)
	if err := post("slack:C0SOC"); !errors.Is(err, chat.ErrForbiddenPlace) {
		t.Errorf("Post() = %v ten minutes after, want %v", err, chat.ErrForbiddenPlace)
	}
}

func TestPost_whoReadsAChannelIsAskedOnceInAWhile(t *testing.T) {
	t.Parallel()
	clock := newClock()
	w := newWorld(t, worldOptions{now: clock.now})
	members := make([]string, 0, maxReaders-1) // the bot is one more
	for i := range cap(members) {
		members = append(members, fmt.Sprintf("U0M%d", i))
		w.sim.AddUser(slacksim.User{ID: members[i], Name: "m"})
	}
	w.sim.AddChannel(slacksim.Channel{ID: "C0SOC", Name: "soc", BotIn: true, Members: members})
	post := chat.Post{To: "slack:C0SOC", Message: *say("x")}
	for range 3 {
		if _, err := w.bot.Post(t.Context(), post); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.sim.Calls("users.info"); got != len(members) {
		t.Errorf("%d accounts were looked up for three posts, want each of %d once", got, len(members))
	}

	// Where guests are admitted, nobody is looked up.
	clock.advance(10 * time.Minute)
	before := w.sim.Calls("users.info")
	admits := post
	admits.Admits.Guests = true
	if _, err := w.bot.Post(t.Context(), admits); err != nil || w.sim.Calls("users.info") != before {
		t.Errorf("Post() that admits guests = %v after %d look-ups, want none", err, w.sim.Calls("users.info")-before)
	}

	// The first guest ends the search.
	w.sim.AddUser(slacksim.User{ID: members[0], Name: "m", Guest: true})
	clock.advance(10 * time.Minute)
	if _, err := w.bot.Post(t.Context(), post); !errors.Is(err, chat.ErrForbiddenPlace) {
		t.Errorf("Post() = %v, want %v", err, chat.ErrForbiddenPlace)
	}
	if got := w.sim.Calls("users.info") - len(members); got > 10*readersAtOnce {
		t.Errorf("%d accounts were looked up although the first was a guest", got)
	}

	// Nor where there are too many to look at.
	w.sim.Join("U0RILEY", "C0SOC")
	clock.advance(10 * time.Minute)
	w.sim.AddUser(slacksim.User{ID: members[0], Name: "m"})
	clock.advance(10 * time.Minute)
	if _, err := w.bot.Post(t.Context(), post); !errors.Is(err, chat.ErrReadersUnknown) || !strings.Contains(err.Error(), "too many") {
		t.Errorf("Post() = %v, want %v", err, chat.ErrReadersUnknown)
	}
}

func TestPost_whereReadersCannotBeFoundOut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault slacksim.Fault
		want  error // nil: the wait that Slack asked for
	}{
		"the members are not told":           {slacksim.Fault{Method: "conversations.members", Kind: slacksim.FaultServerError}, chat.ErrReadersUnknown},
		"a list without members":             {slacksim.Fault{Method: "conversations.members", Kind: slacksim.FaultEmpty}, chat.ErrReadersUnknown},
		"the scope is missing":               {slacksim.Fault{Method: "conversations.members", Kind: slacksim.FaultError, Code: "missing_scope"}, chat.ErrReadersUnknown},
		"an account is not told":             {slacksim.Fault{Method: "users.info", Kind: slacksim.FaultServerError}, chat.ErrReadersUnknown},
		"a proxy answers about an account":   {slacksim.Fault{Method: "users.info", Kind: slacksim.FaultEmpty}, chat.ErrReadersUnknown},
		"Slack asks to wait for the members": {slacksim.Fault{Method: "conversations.members", Kind: slacksim.FaultThrottle, RetryAfter: "3"}, nil},
		"Slack asks to wait for an account":  {slacksim.Fault{Method: "users.info", Kind: slacksim.FaultThrottle, RetryAfter: "3"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			w.sim.Inject(tt.fault)
			post := chat.Post{To: "slack:C0SOC", Message: *say("x")}
			_, err := w.bot.Post(t.Context(), post)
			if tt.want == nil {
				if throttled := (*chat.ThrottledError)(nil); !errors.As(err, &throttled) || errors.Is(err, chat.ErrReadersUnknown) {
					t.Errorf("Post() = %v, want to wait", err)
				}
			} else if !errors.Is(err, tt.want) || errors.Is(err, chat.ErrUnclear) {
				t.Errorf("Post() = %v, want %v", err, tt.want)
			}
			if n := len(w.sim.Ledger()); n != 0 {
				t.Errorf("%d posts took effect", n)
			}
			if _, err := w.bot.Post(t.Context(), post); err != nil {
				t.Errorf("Post() = %v when it can be found out", err)
			}
		})
	}
}

// What everybody in a channel would read of an answer goes to the asker alone where
// guests read along, unless mdebot.yaml admits them.
func TestAnswer_forEveryoneWhereGuestsReadAlong(t *testing.T) {
	t.Parallel()
	for name, admitted := range map[string]bool{"not admitted": false, "admitted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{
				respond: func(chat.Invocation) chat.Response {
					return chat.Response{Audience: chat.Everyone, Message: say("for all")}
				},
				guests: func(d chat.Destination) bool { return admitted && d == "slack:C0SOC" },
			})
			w.sim.Join("U0GUEST", "C0SOC")
			if err := w.sim.Slash(t.Context(), "U0RILEY", "C0SOC", "machine ws-1 --public"); err != nil {
				t.Fatal(err)
			}
			w.message(t, "C0SOC", "U0RILEY", 1)
			want := map[bool]int{true: 1}[admitted]
			if got := len(w.sim.Messages("C0SOC", "U0GUEST")); got != want {
				t.Errorf("the guest sees %d messages, want %d", got, want)
			}
			if err := w.sim.Mention(t.Context(), "U0RILEY", "C0SOC", "", "machine ws-1"); err != nil {
				t.Fatal(err)
			}
			place := map[bool]string{true: "C0SOC", false: w.sim.DirectChannel("U0RILEY")}[admitted]
			w.wait(t, "the answer to the mention", func() bool {
				return slices.ContainsFunc(w.sim.Messages(place, "U0RILEY"), func(m slacksim.Message) bool {
					return m.FromBot && m.OnlyFor == "" && m.ThreadTS != "" || m.Channel != "C0SOC"
				})
			})
		})
	}
}

func TestStanding(t *testing.T) {
	t.Parallel()
	clock := newClock()
	w := newWorld(t, worldOptions{now: clock.now})
	account := func(workspace, user string) identity.Principal {
		return identity.Principal{Platform: identity.Slack, Workspace: workspace, Account: user}
	}
	tests := []struct {
		name string
		who  identity.Principal
		want identity.Standing
	}{
		{"a member", account("T0SOC", "U0RILEY"), identity.Member},
		{"a guest", account("T0SOC", "U0GUEST"), identity.Guest},
		{"a single-channel guest", account("T0SOC", "U0SINGLE"), identity.Guest},
		{"somebody who left", account("T0SOC", "U0GONE"), identity.Inactive},
		{"a bot", account("T0SOC", "U0ROBOT"), identity.Automaton},
		{"a stranger", account("T0EVIL", "U0EVE"), identity.Outsider},
		{"a stranger who claims our workspace", account("T0SOC", "U0EVE"), identity.Outsider},
		{"a member who claims another workspace", account("T0EVIL", "U0RILEY"), identity.Outsider},
		{"nobody", account("T0SOC", "U0NOBODY"), identity.Outsider},
	}
	for _, tt := range tests {
		if got, err := w.bot.Standing(t.Context(), tt.who); err != nil || got != tt.want {
			t.Errorf("%s: Standing() = %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	w.sim.AddUser(slacksim.User{ID: "U0RILEY", Deleted: true})
	clock.advance(5 * time.Minute)
	if got, err := w.bot.Standing(t.Context(), account("T0SOC", "U0RILEY")); err != nil || got != identity.Inactive {
		t.Errorf("Standing() = %v, %v five minutes after leaving, want inactive", got, err)
	}
	for _, kind := range []slacksim.FaultKind{slacksim.FaultServerError, slacksim.FaultHTML, slacksim.FaultEmpty, slacksim.FaultDrop, slacksim.FaultThrottle} {
		w.sim.Inject(slacksim.Fault{Method: "users.info", Kind: kind})
		if got, err := w.bot.Standing(t.Context(), account("T0SOC", "U0AVERY")); err == nil || got != identity.Unknown {
			t.Errorf("%s: Standing() = %v, %v, want unknown and an error", kind, got, err)
		}
	}
}

func TestPost_workspaceWithoutCollapsingBlocksGetsThemOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	folded := chat.Message{Title: chat.Plain("High alert"), Sections: []chat.Section{{Heading: "Evidence", Lines: []chat.Text{chat.Code("cmd.exe")}, Folded: true}}}
	post := func() string {
		t.Helper()
		ref, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: folded})
		if err != nil {
			t.Fatalf("Post() = %v", err)
		}
		for _, m := range w.sim.Messages("C0SOC", "U0RILEY") {
			if m.TS == ref.MessageID {
				return string(m.Blocks)
			}
		}
		t.Fatal("the message is not there")
		return ""
	}
	if got := post(); !strings.Contains(got, `"is_collapsible":true`) || !strings.Contains(got, "Evidence") {
		t.Errorf("the message is drawn as %s, want what is folded collapsed", got)
	}
	w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Kind: slacksim.FaultError, Code: "invalid_blocks"})
	for range 2 { // the second one is not tried with them
		if got := post(); strings.Contains(got, "container") || !strings.Contains(got, "Evidence") || !strings.Contains(got, "cmd.exe") {
			t.Errorf("the message is drawn as %s, want the same in blocks that do not collapse", got)
		}
	}
}

// A workspace that does not know tables gets them in fixed width, and all else of the
// message as it is; what it refused is not tried again.
func TestPost_workspaceWithoutTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{sim: func(o *slacksim.Options) { o.Unknown = []string{"table"} }})
	listed := chat.Message{
		Title: chat.Plain("2 machines"), Sections: []chat.Section{{Heading: "Query", Lines: []chat.Text{chat.Code("x")}, Folded: true}},
		Table:   &chat.Table{Caption: "First rows", Columns: []string{"Machine", "Risk"}, Rows: [][]string{{"ws-042", "High"}, {"a-much-longer-name-than-fits", "*Low* <!channel>"}}, Total: 9},
		Buttons: []chat.Button{{Label: "Run again", Action: "hunt.again", Value: "1"}},
	}
	for n := range 2 {
		ref, err := w.bot.Post(t.Context(), chat.Post{To: "slack:C0SOC", Message: listed})
		if err != nil {
			t.Fatalf("Post() = %v", err)
		}
		got := string(w.message(t, ref.Conversation.ID, "U0RILEY", n+1).Blocks)
		for _, want := range []string{"rich_text_preformatted", "Machine             Risk", "ws-042              High", "the first 2 of 9 rows", "Run again", `"is_collapsible":true`, "*Low*"} {
			if !strings.Contains(got, want) {
				t.Errorf("the message is drawn as %s, want %q in it", got, want)
			}
		}
	}
	if n := w.sim.Calls("chat.postMessage"); n != 4 { // with both, without folds, without tables; then at once
		t.Errorf("%d calls, want that what was refused is not tried again", n)
	}
}

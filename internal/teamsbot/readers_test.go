package teamsbot

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/sandbox/teamssim"
)

func TestPost_outsiderJoinsBetweenTwoPosts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		join func(*teamssim.Server)
		want string
	}{
		"a guest":                    {func(s *teamssim.Server) { s.Join(guest, soc) }, "holds guests"},
		"somebody of another tenant": {func(s *teamssim.Server) { s.Join(outsider, soc) }, "other organisations"},
		"somebody anonymous":         {func(s *teamssim.Server) { s.Join(nobody, soc) }, "other organisations"},
		"a channel is shared elsewhere": {func(s *teamssim.Server) {
			s.AddChannel(teamssim.Channel{Team: soc, ID: alerts, Name: "Alerts", SharedWith: []string{outsider}})
		}, "other organisations"},
		"a member is made a guest": {func(s *teamssim.Server) {
			s.AddUser(teamssim.User{Tenant: home, Object: avery, Name: "Avery Diaz", Email: "avery@contoso.example", Role: teamssim.RoleGuest})
		}, "holds guests"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			post := chat.Post{To: "teams:" + alerts, Message: *titled("x")}
			if _, err := w.bot.Post(t.Context(), post); err != nil {
				t.Fatal(err)
			}
			tt.join(w.sim)
			w.skew.Store(int64(10 * time.Minute))
			_, err := w.bot.Post(t.Context(), post)
			if !errors.Is(err, chat.ErrForbiddenPlace) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Post() = %v, want a refusal that says %q within ten minutes", err, tt.want)
			}
			// Who admits guests admits nobody of another organisation.
			post.Admits = chat.Readers{Guests: true}
			if _, err := w.bot.Post(t.Context(), post); (err == nil) != strings.Contains(tt.want, "guests") {
				t.Errorf("Post() that admits guests = %v", err)
			}
			post.Admits = chat.Readers{Strangers: true}
			if _, err := w.bot.Post(t.Context(), post); err != nil {
				t.Errorf("Post() that admits strangers = %v", err)
			}
			if got := len(w.sim.Messages(alerts, riley)); got > 3 {
				t.Errorf("%d messages stand in the channel", got)
			}
		})
	}
}

// A guest who is found first does not hide the stranger behind when guests are
// admitted later.
func TestPost_guestHidesNoStranger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Join(guest, soc)
	w.sim.Join(outsider, soc) // comes after the guest in the list
	post := chat.Post{To: "teams:" + alerts, Message: *titled("x")}
	for _, admits := range []chat.Readers{{}, {Guests: true}} {
		post.Admits = admits
		if _, err := w.bot.Post(t.Context(), post); !errors.Is(err, chat.ErrForbiddenPlace) {
			t.Errorf("Post() that admits %+v = %v, want %v", admits, err, chat.ErrForbiddenPlace)
		}
	}
}

func TestPost_membersAreReadByPageAndOnceInAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range readerPage + 10 {
		object := fmt.Sprintf("00000000-0000-4000-8001-%012d", i)
		w.sim.AddUser(teamssim.User{Tenant: home, Object: object, Name: "M", Email: object + "@contoso.example"})
		w.sim.Join(object, soc)
	}
	pages := func() (n int) {
		for _, c := range w.sim.Calls() {
			if strings.HasSuffix(c.Path, "/pagedmembers") {
				n++
			}
		}
		return n
	}
	post := chat.Post{To: "teams:" + alerts, Message: *titled("x")}
	for range 3 {
		if _, err := w.bot.Post(t.Context(), post); err != nil {
			t.Fatal(err)
		}
	}
	if got := pages(); got != 2 {
		t.Errorf("%d pages were read for three posts, want 2", got)
	}
	const last = "ffffffff-0000-4000-8001-000000000000" // on the second page
	w.sim.AddUser(teamssim.User{Tenant: home, Object: last, Name: "Late Guest", Email: "late@fabrikam.example", Role: teamssim.RoleGuest})
	w.sim.Join(last, soc)
	w.skew.Store(int64(10 * time.Minute))
	if _, err := w.bot.Post(t.Context(), post); !errors.Is(err, chat.ErrForbiddenPlace) {
		t.Errorf("Post() = %v, want %v", err, chat.ErrForbiddenPlace)
	}
}

func TestPost_whereReadersCannotBeFoundOut(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]teamssim.Fault{
		"a server error":         {Status: 500},
		"a refused request":      {Status: 400, Code: "BadSyntax"},
		"a list without members": {Status: 200, Body: `{"members":[]}`},
		"a member without role":  {Status: 200, Body: `{"members":[{"id":"29:1x","aadObjectId":"` + riley + `","tenantId":"` + home + `"}]}`},
		"a member of no tenant":  {Status: 200, Body: `{"members":[{"id":"29:1x","aadObjectId":"` + riley + `","userRole":"user"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			fault.Method, fault.Path = http.MethodGet, "/pagedmembers"
			w.sim.Fail(fault)
			post := chat.Post{To: "teams:" + alerts, Message: *titled("x")}
			if _, err := w.bot.Post(t.Context(), post); !errors.Is(err, chat.ErrReadersUnknown) || errors.Is(err, chat.ErrUnclear) || errors.Is(err, chat.ErrTooBig) {
				t.Errorf("Post() = %v, want %v", err, chat.ErrReadersUnknown)
			}
			if got := len(w.sim.Messages(alerts, riley)); got != 0 {
				t.Errorf("%d messages stand in the channel", got)
			}
			w.sim.Heal()
			if _, err := w.bot.Post(t.Context(), post); err != nil {
				t.Errorf("Post() = %v when it can be found out", err)
			}
		})
	}
}

// A reply in a channel is read by everybody there, so where guests read along the
// answer goes to the asker alone.
func TestAnswer_whereGuestsReadAlong(t *testing.T) {
	t.Parallel()
	for name, admitted := range map[string]bool{"not admitted": false, "admitted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(_ *Config, o *Options) {
				o.Guests = func(d chat.Destination) bool { return admitted && d == "teams:"+alerts }
			})
			w.sim.SetTargeted(false)
			w.sim.Join(guest, soc)
			w.handler.will(func(chat.Invocation) chat.Response { return chat.Response{Message: titled("web-01 is healthy")} })
			w.message(riley, alerts, "@mdebot machine web-01", "")
			place := "a:1" + riley
			if admitted {
				place = alerts
			}
			if got := w.fromBot(riley, place, 1); !strings.Contains(string(got[0].Card), "web-01 is healthy") {
				t.Errorf("%s shows %s, want the answer", place, got[0].Card)
			}
			if admitted {
				return
			}
			if got := w.fromBot(guest, alerts, 1); len(got) != 1 || strings.Contains(string(got[0].Card), "web-01") || !strings.Contains(string(got[0].Card), wordPersonal) {
				t.Errorf("the guest reads %s, want only where the answer is", got[0].Card)
			}
		})
	}
}

// What guests ask is refused where they asked: they have no personal chat with the bot.
func TestAnswer_toAGuestStaysInPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Join(guest, soc)
	w.handler.will(func(chat.Invocation) chat.Response { return chat.Response{Message: titled("Only full members may")} })
	w.message(guest, alerts, "@mdebot machine web-01", "")
	if got := w.fromBot(guest, alerts, 1); !strings.Contains(string(got[0].Card), "Only full members may") {
		t.Errorf("the guest reads %s", got[0].Card)
	}
}

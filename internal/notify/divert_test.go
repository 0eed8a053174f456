package notify

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/policy"
)

const (
	approve  = chat.Destination("slack:C0APPROVE")
	toRiley  = chat.Destination("slack:@T0SOC/U0RILEY")
	toAvery  = chat.Destination("slack:@T0SOC/U0AVERY")
	shared   = chat.Destination("slack:C0SHARED")
	unlikely = "the readers cannot be told"
)

// under puts another mdebot.yaml in force: routesYAML with changes.
func (f *fixture) under(oldnew ...string) {
	f.Helper()
	text := strings.NewReplacer(oldnew...).Replace(routesYAML)
	if text == routesYAML {
		f.Fatal("nothing was changed")
	}
	p, err := policy.Parse("mdebot.yaml", []byte(text), policy.Options{HomeTenant: string(contoso)})
	if err != nil {
		f.Fatalf("parse policy: %v", err)
	}
	f.n.policy.Set(p)
}

func (f *fixture) read(d chat.Destination, by chat.Readers) {
	if f.chat.readers == nil {
		f.chat.readers = map[chat.Destination]chat.Readers{}
	}
	f.chat.readers[d] = by
}

func TestReaders_guestsGetNoAlertsUnlessTheRouteSaysSo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	wantPosts(t, f.chat.at(soc), 1)

	f.read(soc, chat.Readers{Guests: true}) // between two posts
	for i := range 3 {
		f.alert(fmt.Sprint("b", i), nil)
		f.clock.add(16 * time.Second)
		f.settle()
	}
	wantPosts(t, f.chat.at(soc), 1)
	wantPosts(t, f.chat.at(back), 3)
	alarms := f.chat.at(ops)
	wantPosts(t, alarms, 1)
	if text := fmt.Sprint(alarms[0].message.Sections); !strings.Contains(text, string(soc)) || !strings.Contains(text, "Guests read it") || !strings.Contains(text, "allow_guests: true") {
		t.Errorf("the alarm says %s, want the place, why and what to do", text)
	}

	// What was held back comes when it may, and nothing comes twice.
	f.under("mention: [slack:S0ONCALL]", "allow_guests: true")
	f.clock.add(11 * time.Minute)
	f.settle()
	wantPosts(t, f.chat.at(soc), 4)
	wantPosts(t, f.chat.at(back), 3)
}

func TestReaders_anotherOrganisationIsNotAdmittedByAllowGuests(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.under("mention: [slack:S0ONCALL]", "allow_guests: true")
	f.settle()
	f.read(soc, chat.Readers{Strangers: true})
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	wantPosts(t, f.chat.at(soc), 0)
	wantPosts(t, f.chat.at(back), 1)
	if text := fmt.Sprint(f.chat.at(ops)[0].message.Sections); !strings.Contains(text, "People of other organisations read it") || strings.Contains(text, "allow_guests") {
		t.Errorf("the alarm says %s", text)
	}
}

// A customer's shared channel gets that customer's alerts, and neither requests nor
// anything else.
func TestReaders_sharedChannelOfACustomerGetsItsAlertsAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.under("approvals:\n  post_to: [slack:C0APPROVE]", `groups: { soc: [8a1f0000-0000-4000-8000-000000000001, 8a1f0000-0000-4000-8000-000000000002] }
tenants:
  - { id: `+string(contoso)+`, name: contoso, people: [soc], channels: ["slack:C0SHARED"], shared_channels: alerts, routes: [{ name: theirs, to: ["slack:C0SHARED"] }] }
approvals:
  post_to: [slack:C0APPROVE, slack:C0SHARED]`)
	f.read(shared, chat.Readers{Strangers: true})
	f.read(soc, chat.Readers{Strangers: true}) // a place of all customers, so of none
	f.settle()
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	wantPosts(t, f.chat.at(shared), 1)
	wantPosts(t, f.chat.at(soc), 0)

	r := pending("r1")
	r.Origin = string(shared)
	f.changed(r, approvals.ChangeOpened)
	f.deliver()
	wantPosts(t, f.chat.at(shared), 1)
	wantPosts(t, f.chat.at(approve), 1)
	wantPosts(t, f.chat.at(toAvery), 1)
	wantPosts(t, f.chat.at(toRiley), 1) // asked there, answered in private
	f.defender.down = errors.New("down")
	f.clock.add(6 * time.Minute)
	if f.n.PollOnce(t.Context(), contoso) == nil {
		t.Fatal("the poll succeeded")
	}
	f.deliver()
	wantPosts(t, f.chat.at(shared), 1) // that mdebot is blind is not for them
}

func TestReaders_requestsGoToPeopleWhereGuestsRead(t *testing.T) {
	t.Parallel()
	for name, readers := range map[string]error{
		"guests":  &chat.ForbiddenError{Place: approve, Found: chat.Readers{Guests: true}},
		"unknown": fmt.Errorf("%w: %s", chat.ErrReadersUnknown, unlikely),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.chat.fail = func(to chat.Destination, edit bool) error {
				if !edit && (to == approve || to == soc) {
					return readers
				}
				return nil
			}
			// Avery is asked so often that only the configured place would show one more.
			for i := range promptsPerHour + 1 {
				r := pending(fmt.Sprint("r", i))
				r.Origin = string(soc)
				f.changed(r, approvals.ChangeOpened)
				f.step(approve, soc, toAvery, toRiley)
			}
			f.clock.add(10 * time.Second)
			f.step(approve, soc, toAvery, toRiley, ops)
			wantPosts(t, f.chat.at(approve), 0)
			wantPosts(t, f.chat.at(soc), 0)
			wantPosts(t, f.chat.at(toAvery), promptsPerHour+1)
			wantPosts(t, f.chat.at(toRiley), promptsPerHour+1)
			wantPosts(t, f.chat.at(ops), 2) // one for each place
			for _, alarm := range f.chat.at(ops) {
				text := fmt.Sprint(alarm.message)
				if !strings.Contains(text, "Requests for approval") || !strings.Contains(text, "direct chats") || (name == "unknown") != strings.Contains(text, unlikely) {
					t.Errorf("the alarm says %s", text)
				}
			}
			// The outcome reaches who asked.
			done := pending("r0")
			done.Origin, done.State = string(soc), approvals.Succeeded
			f.changed(done, approvals.ChangeResolved)
			f.step(approve, soc, toAvery, toRiley)
			wantPosts(t, f.chat.at(toRiley), promptsPerHour+2)
			wantPosts(t, f.chat.at(toAvery), promptsPerHour+1)
		})
	}
}

// Who reads a place is asked again within seconds: an answer that is lost once moves
// nothing.
func TestReaders_unknownForAMomentIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	asked := 0
	f.chat.fail = func(to chat.Destination, _ bool) error {
		if to != soc {
			return nil
		}
		if asked++; asked < unknownAfter {
			return chat.ErrReadersUnknown
		}
		return nil
	}
	f.alert("a1", nil)
	f.clock.add(16 * time.Second)
	f.settle()
	f.step(soc)
	wantPosts(t, f.chat.at(soc), 1)
	wantPosts(t, f.chat.at(back), 0)
	wantPosts(t, f.chat.at(ops), 0)
}

// An alarm that the ops channel may not show goes to the fallback and, when that may
// not show it either, to the admins.
func TestReaders_alarmsReachSomebody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.under("roles: [approver]", "roles: [approver, admin]")
	f.read(ops, chat.Readers{Guests: true})
	announce := func(about string) {
		t.Helper()
		if err := f.n.Announce(t.Context(), contoso, about, chat.Message{Title: chat.Plain(about)}); err != nil {
			t.Fatal(err)
		}
		f.deliver()
	}
	announce("one")
	wantPosts(t, f.chat.at(ops), 0)
	wantPosts(t, f.chat.at(back), 1)
	f.read(back, chat.Readers{Guests: true})
	announce("two")
	wantPosts(t, f.chat.at(back), 1)
	wantPosts(t, f.chat.at(toAvery), 1)

	f.under("  ops: slack:C0OPS", "  allow_guests: true\n  ops: slack:C0OPS")
	announce("three")
	wantPosts(t, f.chat.at(ops), 1)
}

// The head of a storm and its pages move too.
func TestReaders_stormGoesToTheFallback(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.settle()
	f.read(soc, chat.Readers{Guests: true})
	for i := range 12 {
		f.alert(fmt.Sprintf("s%02d", i), func(a *defender.Alert) { a.MachineName = fmt.Sprint("ws-", i) })
	}
	f.clock.add(16 * time.Second)
	f.poll()
	f.step(soc, back, ops)
	f.clock.add(2 * time.Minute)
	if err := f.n.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.step(soc, back, ops)
	wantPosts(t, f.chat.at(soc), 0)
	all := fmt.Sprint(f.chat.at(back))
	for i := range 12 {
		if !strings.Contains(all, fmt.Sprintf("thing s%02d", i)) {
			t.Errorf("alert s%02d is named nowhere in the fallback", i)
		}
	}
}

// step makes sends at places until nothing is due within some seconds.
func (f *fixture) step(places ...chat.Destination) {
	f.Helper()
	for range 15 {
		for _, d := range places {
			if _, err := f.n.step(f.Context(), d); err != nil {
				f.Fatalf("step(%s) = %v", d, err)
			}
		}
		f.clock.add(time.Second)
	}
}

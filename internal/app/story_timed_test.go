package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox"
	"github.com/mdebot/mdebot/internal/sandbox/defendersim"
)

// cutOff asks for an isolation with some words and has it approved and done.
func (s *story) cutOff(on side, machine, words string) {
	s.Helper()
	on.write(sandbox.Riley, on.soc(), "isolate "+machine+" "+words)
	card := s.sees(on, sandbox.Avery, on.approvals(), machine, "waits for approval")
	on.click(sandbox.Avery, card, "Approve")
	s.sees(on, sandbox.Riley, on.soc(), machine+".corp.contoso.com – isolated")
}

// At the end of its time an isolation is brought back to mind, with a release that
// two people have to want like any other; nothing ends by itself.
func TestStory_timedIsolation(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		on.write(sandbox.Riley, on.soc(), "isolate ws-011 phished --for soon")
		s.sees(on, sandbox.Riley, on.soc(), "such as 90m, 4h or 2d")

		// The portal releases this one before its time.
		s.cutOff(on, "ws-014", "suspicious download --for 4h")
		other := s.machine("ws-014")
		if _, err := s.world.Tenant.PortalAction(other.ID, "Unisolate", "dana@contoso.com", "was a false alarm"); err != nil {
			t.Fatal(err)
		}
		released := func() int {
			return len(s.world.Tenant.Effects(func(e defendersim.Effect) bool { return e.Kind == defendersim.EffectUnisolate }))
		}
		s.eventually("the release in the portal", func() string { return map[bool]string{false: "has no effect yet"}[released() == 1] })
		on.write(sandbox.Riley, on.soc(), "isolate ws-011 phished --for 4h")
		card := s.sees(on, sandbox.Avery, on.approvals(), "isolate for 4 hours ws-011", "waits for approval", "After 4 hours the requester is reminded", "for=4h")
		on.click(sandbox.Avery, card, "Approve")
		s.sees(on, sandbox.Riley, on.soc(), "ws-011.corp.contoso.com – isolated")
		on.write(sandbox.Riley, on.soc(), "isolated")
		until := s.now().Add(4 * time.Hour).UTC().Format("2006-01-02 15:")
		s.sees(on, sandbox.Riley, on.soc(), "isolated or changing", "ws-011", "isolated (Full) for 0 minutes", "Riley Chen", until)

		s.halt()
		s.start()
		s.later(4*time.Hour + time.Second)
		for _, place := range []string{on.soc(), on.direct(sandbox.Riley)} {
			s.sees(on, sandbox.Riley, place, "ws-011", "is still isolated, and the 4 hours of #2 are over", "Riley Chen", "phished")
		}
		for _, m := range on.see(sandbox.Riley, on.soc()) {
			if strings.Contains(m.text, "the 4 hours of #1 are over") {
				t.Errorf("somebody is reminded of a machine that was released in the portal: %s", m.text)
			}
		}
		if n := released(); n != 1 {
			t.Fatalf("%d releases at Defender, want the portal's alone", n)
		}
		over := s.sees(on, sandbox.Riley, on.soc(), "the 4 hours of #2 are over")
		f := on.open(sandbox.Riley, over, "Request release")
		if !containsAll(f.text, []string{"ws-011", "The time of #2 is over: phished", "second person"}) {
			t.Errorf("the form is not prepared: %s", f.text)
		}
		on.fill(sandbox.Riley, f, map[string]string{"reason": "The time of #2 is over: phished"})
		release := s.sees(on, sandbox.Riley, on.approvals(), "release ws-011", "waits for approval")
		s.pressed(on, sandbox.Riley, release, "Approve", "You asked for this yourself")
		release = s.sees(on, sandbox.Avery, on.approvals(), "release ws-011", "waits for approval")
		on.click(sandbox.Avery, release, "Approve")
		s.sees(on, sandbox.Riley, on.soc(), "release ws-011.corp.contoso.com – released")
	})
}

// A week later somebody is told what is still cut off, once, whoever started it.
func TestStory_forgottenIsolationsAreListedWeekly(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.watching()
		s.cutOff(on, "ws-011", "phished")
		if _, err := s.world.Tenant.PortalAction(s.machine("ws-014").ID, "Isolate", "dana@contoso.com", "by hand"); err != nil {
			t.Fatal(err)
		}
		s.eventually("both are isolated, and no action runs any more", func() string {
			for _, a := range s.world.Tenant.Actions() {
				if a.Status == "Pending" || a.Status == "InProgress" {
					return a.Type + " is " + a.Status
				}
			}
			return map[bool]string{false: "not yet"}[len(s.isolations()) == 2]
		})
		const title = "2 machines have been isolated for more than 7 days"
		s.eventually("the next list has its day", func() string {
			var planned int64
			if err := s.bot.store.Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM pollers WHERE pass = 'forgotten'`).Scan(&planned); err != nil || planned == 0 {
				return fmt.Sprint(planned, err)
			}
			return ""
		})
		s.later(15 * 24 * time.Hour) // past a Monday, whatever day it is
		looks := 0
		s.eventually("the list", func() string {
			if s.posted(on, sandbox.Riley, on.soc(), title) > 0 {
				return ""
			}
			if looks++; looks%100 == 0 {
				s.later(11 * time.Minute) // a look that failed is made again
			}
			return "not posted"
		})
		s.sees(on, sandbox.Riley, on.soc(), title, "ws-011", "owner Riley Chen", "ws-014", "owner dana@contoso.com")
		s.halt()
		s.start()
		s.watching()
		lists := 0
		for _, m := range on.see(sandbox.Riley, on.soc()) {
			if strings.Contains(m.text, title) {
				lists++
			}
		}
		if lists != 1 {
			t.Errorf("the list was posted %d times in a week", lists)
		}
	})
}

package app

import (
	"testing"

	"github.com/mdebot/mdebot/internal/sandbox"
)

func TestStory_anyApproverFreezesAndTwoPeopleEndIt(t *testing.T) {
	onBothPlatforms(t, func(t *testing.T, s *story, on side) {
		s.request(on, on, sandbox.Riley, sandbox.Avery, "ws-031", "beaconing")
		s.ask(on, sandbox.Noor, "freeze I am nobody", "not linked")
		s.ask(on, sandbox.Avery, "freeze somebody approves what nobody asked for", "All actions are frozen", "Avery Stone")

		for _, place := range []struct {
			side  side
			where string
		}{{s.slack(), sandbox.SlackOps}, {s.slack(), sandbox.SlackApprovals}, {s.teams(), sandbox.TeamsApprovals}} {
			s.sees(place.side, sandbox.Sam, place.where, "All actions are frozen", "Avery Stone", "somebody approves what nobody asked for")
		}
		card := s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-031", "waits for approval", "Frozen", "until two people end it")
		s.pressed(on, sandbox.Avery, card, "Approve", "Avery Stone has frozen all actions")
		s.ask(on, sandbox.Riley, "isolate ws-032 beaconing", "Avery Stone has frozen all actions", "portal")
		s.ask(on, sandbox.Sam, "status", "frozen by Avery Stone")
		s.wantIsolations(0)

		s.ask(on, sandbox.Avery, "unfreeze the account is locked", "Asked", "end the freeze by Avery Stone")
		end := s.sees(on, sandbox.Sam, on.approvals(), "end the freeze by Avery Stone", "waits for approval", "the account is locked")
		s.pressed(on, sandbox.Avery, end, "Approve", "You asked for this yourself")
		s.pressed(on, sandbox.Sam, end, "Approve", "Your approval counts")
		s.sees(s.slack(), sandbox.Sam, sandbox.SlackOps, "Actions are no longer frozen", "Avery Stone", "Sam Okafor")

		s.eventually("the card without the freeze", func() string {
			card = s.sees(on, sandbox.Avery, on.approvals(), "isolate ws-031", "waits for approval", "So far")
			if containsAll(card.text, []string{"until two people end it"}) {
				return card.text
			}
			return ""
		})
		s.pressed(on, sandbox.Avery, card, "Approve", "Your approval counts")
		s.sees(on, sandbox.Riley, on.soc(), "isolate ws-031.corp.contoso.com – isolated")
		s.wantIsolations(1)
	})
}

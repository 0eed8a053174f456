package policy

import "testing"

func TestReaders_onlyWhereTheFileSaysSo(t *testing.T) {
	t.Parallel()
	text := `
approvals:
  post_to: [slack:C0APPROVE, slack:C0BOTH]
  allow_guests: true
people:
  - { person: 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222201, name: A, slack: [T0SOC/U0A], roles: [responder, approver] }
  - { person: 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222202, name: B, slack: [T0SOC/U0B], roles: [responder, approver] }
groups:
  soc: [11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222201, 11111111-1111-1111-1111-111111111111/22222222-2222-2222-2222-222222222202]
notify:
  ops: slack:C0OPS
  fallback: slack:C0BACK
  allow_guests: true
  routes:
    - { name: open, to: ["slack:C0OPEN"], allow_guests: true }
    - { name: closed, to: ["slack:C0SOC", "slack:C0BOTH"] }
tenants:
  - id: ` + string(fabrikam) + `
    name: fabrikam
    people: [soc]
    channels: ["slack:C0FAB"]
    shared_channels: alerts
    routes:
      - { name: with them, to: ["slack:C0FABALERTS"] }
      - { name: with guests, to: ["slack:C0FAB"], allow_guests: true }
  - id: ` + string(tailspin) + `
    name: tailspin
    people: [soc]
    channels: ["slack:C0TAIL"]
    routes:
      - { name: not bound, to: ["slack:C0TAILALERTS"], allow_guests: true }
`
	p := mustParse(t, text)
	type may struct{ guestsAlerts, strangersAlerts, guestsRequests, guestsNotices bool }
	alertsFor := func(own *Policy, place string) may {
		var m may
		m.guestsAlerts, m.strangersAlerts = own.AlertReaders(place)
		m.guestsRequests, m.guestsNotices = own.RequestReaders(place), own.NoticeReaders(place)
		return m
	}
	for _, tt := range []struct {
		of    *Policy
		place string
		want  may
	}{
		{p.For(fabrikam), "slack:C0OPEN", may{guestsAlerts: true, guestsNotices: true}},
		{p.For(fabrikam), "slack:C0SOC", may{}},
		{p.For(fabrikam), "slack:C0OTHER", may{}},
		{p.For(fabrikam), "slack:C0APPROVE", may{guestsRequests: true, guestsNotices: true}},
		{p.For(fabrikam), "slack:C0BOTH", may{guestsRequests: true, guestsNotices: true}}, // requests, not alerts
		{p.For(fabrikam), "slack:C0OPS", may{guestsAlerts: true, guestsNotices: true}},
		{p.For(fabrikam), "slack:C0BACK", may{guestsAlerts: true, guestsNotices: true}},
		// A customer's shared channels get that customer's alerts and nothing else.
		{p.For(fabrikam), "slack:C0FABALERTS", may{strangersAlerts: true}},
		{p.For(fabrikam), "slack:C0FAB", may{guestsAlerts: true, strangersAlerts: true, guestsNotices: true}},
		{p.For(tailspin), "slack:C0FABALERTS", may{}},
		{p.For(tailspin), "slack:C0FAB", may{}},
		{p.For("somebody-else"), "slack:C0FAB", may{}},
		{p.For(tailspin), "slack:C0TAIL", may{}},
		// Answers are looked at without a tenant: only a bound channel is one tenant's.
		{p, "slack:C0FAB", may{guestsNotices: true}},
		{p, "slack:C0TAILALERTS", may{}},
		{p, "slack:C0OPEN", may{guestsAlerts: true, guestsNotices: true}},
	} {
		if got := alertsFor(tt.of, tt.place); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.place, got, tt.want)
		}
	}
}

package policy

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// SharedAlerts is what shared_channels of a tenant may say.
const SharedAlerts = "alerts"

// AlertReaders says who besides full members may read the alerts of this policy's
// tenant at a place: guests where its routes say so, and people of other
// organisations in the customer's own channels (threat-model S-14).
func (p *Policy) AlertReaders(place string) (guests, strangers bool) {
	return opens(p.routes, place) || p.notifyOpens(place), slices.Contains(p.sharedPlaces, place)
}

// RequestReaders says whether guests may read requests at a place. Nobody of
// another organisation ever does.
func (p *Policy) RequestReaders(place string) (guests bool) {
	return p.approvalGuests && slices.Contains(p.postTo, place)
}

// NoticeReaders says whether guests may read other messages at a place, answers to
// commands among them: where they may read anything.
func (p *Policy) NoticeReaders(place string) (guests bool) {
	if opens(p.routes, place) || p.notifyOpens(place) || p.RequestReaders(place) {
		return true
	}
	// A route of one tenant says nothing about what is asked there of another.
	return slices.ContainsFunc(p.tenants, func(t Tenant) bool { return slices.Contains(t.Channels, place) && opens(t.routes, place) })
}

func (p *Policy) notifyOpens(place string) bool {
	return p.notifyGuests && (place == p.ops || place == p.fallback)
}

func opens(routes []Route, place string) bool {
	return slices.ContainsFunc(routes, func(r Route) bool { return r.AllowGuests && slices.Contains(r.To, place) })
}

// places are the conversations that a tenant's entry names.
func (t Tenant) places() []string {
	places := slices.Clone(t.Channels)
	for _, r := range t.routes {
		places = append(places, r.To...)
	}
	return places
}

// sharedChannels reads what a customer's channels that are shared with it may get.
func (f *fileReader) sharedChannels(n ast.Node) string {
	s, ok := f.text(n, "shared_channels")
	if ok && s != SharedAlerts {
		f.fault(lineOf(n), "shared_channels: write alerts, not %q: nothing else goes into a channel that others share", s)
	}
	return s
}

// checkReaders looks for places that one route opens to guests and another does not:
// who reads along would hang on which of them an alert took.
func (f *fileReader) checkReaders() {
	f.checkOpened(f.policy.routes, f.policy.routes)
	for _, t := range f.policy.tenants {
		all := slices.Concat(f.policy.routes, t.routes)
		f.checkOpened(t.routes, all)
		f.checkOpened(f.policy.routes, t.routes)
	}
}

func (f *fileReader) checkOpened(routes, among []Route) {
	for _, r := range routes {
		for _, place := range r.To {
			if !r.AllowGuests && opens(among, place) {
				f.fault(r.Line, "route %q: another route allows guests in %s and this one does not; say allow_guests in both or in neither", r.Name, place)
			}
		}
	}
}

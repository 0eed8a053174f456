package policy

import "slices"

// Route is one entry of notify.routes.
type Route struct {
	Name string
	// When is the condition as written; empty matches every alert.
	When string
	// To are destinations, such as "slack:C0SOC" or "teams:19:abc@thread.tacv2".
	To []string
	// Mention are whom the alert notifies, as in [Policy.Mention].
	Mention []string
	// AllowGuests lets guests read what goes to To.
	AllowGuests bool
	// Line is where the route starts in the file.
	Line int

	when condition
}

// Routes lists every route that takes the alert. A nil machine means that its
// facts are not known, or that the alert has none; a route that depends on what
// is not known takes the alert (threat-model INV-8). The result is the caller's,
// the lists in it are not to be changed.
func (p *Policy) Routes(alert Alert, m *Machine) []Route {
	facts := facts{alert: &alert, machine: m}.activation()
	var routes []Route
	for _, r := range p.routes {
		if r.when.eval(facts) != not {
			routes = append(routes, r)
		}
	}
	return routes
}

// RoutesReadMachine reports whether any route asks about the machine, so that
// facts need not be fetched for routes that do not.
func (p *Policy) RoutesReadMachine() bool {
	return slices.ContainsFunc(p.routes, func(r Route) bool { return r.when.reads("machine") })
}

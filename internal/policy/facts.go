package policy

import "time"

// Machine is what a rule or route may ask about a machine. A nil *Machine means
// that the facts could not be read: rules then fail closed (the strictest rule
// applies and the machine counts as tier 0) and routes count as matching.
type Machine struct {
	ID       string   `cel:"id"`
	Name     string   `cel:"name"` // lower case
	OS       string   `cel:"os"`
	Tags     []string `cel:"tags"`
	Group    string   `cel:"group"`
	Risk     string   `cel:"risk"`
	Exposure string   `cel:"exposure"`
	Value    string   `cel:"value"`
	Health   string   `cel:"health"`
}

// Alert is what a route may ask about an alert.
type Alert struct {
	ID        string    `cel:"id"`
	Title     string    `cel:"title"`
	Severity  string    `cel:"severity"`
	Status    string    `cel:"status"`
	Category  string    `cel:"category"`
	Source    string    `cel:"source"`
	Threat    string    `cel:"threat"`
	Incident  int64     `cel:"incident"`
	Created   time.Time `cel:"created"`
	Technique []string  `cel:"techniques"`
}

// Action is what a rule may ask about the action.
type Action struct {
	Kind   string `cel:"kind"`   // isolate, release, …
	Family string `cel:"family"` // isolation, …
	Scope  string `cel:"scope"`  // full, selective, quick
	// Alone: nobody else is needed unless a rule that asks about the action says so.
	Alone bool `cel:"-"`
}

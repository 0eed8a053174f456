package policy

import "testing"

func TestMute_holds(t *testing.T) {
	t.Parallel()
	alert := func(severity string) Alert { return Alert{Title: "Suspicious task", Severity: severity} }
	plain, tierZero := &Machine{ID: "m1"}, &Machine{ID: "m1", Tags: []string{"Tier0"}}
	title := Mute{Title: "suspicious TASK"}
	both := Mute{Title: "Suspicious task", Machine: "m1"}
	high := Mute{Title: "Suspicious task", High: true}
	for name, c := range map[string]struct {
		mute    Mute
		alert   Alert
		id      string
		machine *Machine
		want    bool
	}{
		"same title":                       {title, alert("Medium"), "m1", plain, true},
		"another title":                    {title, Alert{Title: "Suspicious task 2", Severity: "Low"}, "m1", plain, false},
		"High without a second person":     {title, alert("High"), "m1", plain, false},
		"tier 0 without a second person":   {title, alert("Low"), "m1", tierZero, false},
		"unknown machine may be of tier 0": {title, alert("Low"), "m1", nil, false},
		"High with a second person":        {high, alert("High"), "m1", tierZero, true},
		"title on another machine":         {both, alert("Low"), "m2", plain, false},
		"title on the machine":             {both, alert("Low"), "m1", plain, true},
		"the machine alone":                {Mute{Machine: "m1"}, alert("Low"), "m1", plain, true},
		"nothing named holds nothing":      {Mute{}, alert("Low"), "m1", plain, false},
		"nothing named, with High":         {Mute{High: true}, alert("High"), "m1", plain, false},
		"a blank title is no title":        {Mute{Title: "  "}, Alert{Title: "  "}, "m1", plain, false},
	} {
		if got := c.mute.Holds(c.alert, c.id, c.machine); got != c.want {
			t.Errorf("%s: Holds() = %t, want %t", name, got, c.want)
		}
	}
}

package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Bounds of a mute (threat-model N-07). What has to stay quiet for longer is
// decided in Defender.
const (
	MuteDefault = time.Hour
	MuteMost    = 4 * time.Hour
	MuteLeast   = 5 * time.Minute
)

// Mute says which alerts are kept out of chat for a while. It names a title, a
// machine or both, so it is never a match of everything. Unless High is set it
// keeps back neither High alerts nor those of machines that are, or may be, of
// tier 0.
type Mute struct {
	Title       string `json:"title,omitempty"`   // the whole of it, without regard to case
	Machine     string `json:"machine,omitempty"` // ID
	MachineName string `json:"machine_name,omitempty"`
	High        bool   `json:"high,omitempty"`
}

// ErrMuteAll refuses a mute that names nothing.
var ErrMuteAll = errors.New("a mute names the title of an alert, a machine, or both")

// Check reports whether m may be asked for at all.
func (m Mute) Check() error {
	if strings.TrimSpace(m.Title) == "" && m.Machine == "" {
		return ErrMuteAll
	}
	return nil
}

// Names reports whether m is about the alert, whether or not it may keep it back.
func (m Mute) Names(a Alert, machine string) bool {
	return m.Check() == nil &&
		(m.Title == "" || strings.EqualFold(m.Title, a.Title)) &&
		(m.Machine == "" || m.Machine == machine)
}

// Holds reports whether m keeps the alert out of chat. A nil machine means that
// nothing is known about it, which may be tier 0.
func (m Mute) Holds(a Alert, id string, machine *Machine) bool {
	if !m.Names(a, id) {
		return false
	}
	return m.High || a.Severity != "High" && machine != nil && !machine.TierZero()
}

// String says what m is about.
func (m Mute) String() string {
	machine := m.MachineName
	if machine == "" {
		machine = m.Machine
	}
	s := "alerts"
	if m.Title != "" {
		s += fmt.Sprintf(" called “%s”", m.Title)
	}
	if m.Machine != "" {
		s += " on " + machine
	}
	if m.High {
		return s + ", also High ones and those of tier 0"
	}
	return s + ", up to Medium and not of tier 0"
}

// MutePreview is what a mute would have kept back lately.
type MutePreview struct {
	Held int `json:"held"`
	High int `json:"high"` // of Held
	Of   int `json:"of"`   // all alerts of that time
	Days int `json:"days"`
}

// MuteOrder is a mute that somebody asks for.
type MuteOrder struct {
	ID      string        `json:"id"`
	Mute    Mute          `json:"mute"`
	For     time.Duration `json:"for"`
	Owner   string        `json:"owner"` // person ID
	By      string        `json:"by"`    // the owner's name
	Reason  string        `json:"reason"`
	Place   string        `json:"place,omitempty"` // where it was asked for, as a destination
	Preview MutePreview   `json:"preview"`
}

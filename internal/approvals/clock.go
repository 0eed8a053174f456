package approvals

import (
	"fmt"
	"time"
)

// MaxSkew is how wrong the clock may be when an action is sent: expiry, leases
// and what is recorded hang on it (threat-model O-02).
const MaxSkew = 2 * time.Minute

// clockProblem says why an action must not be sent by this clock, or is empty.
func (s *Service) clockProblem(a Action) string {
	if s.skew == nil || a.Local() {
		return ""
	}
	ahead, known := s.skew()
	switch {
	case !known:
		return "mdebot's clock could not be compared with Defender's."
	case ahead.Abs() >= MaxSkew:
		return fmt.Sprintf("mdebot's clock differs from Defender's by %s, so no time can be trusted.", ahead.Abs().Round(time.Second))
	}
	return ""
}

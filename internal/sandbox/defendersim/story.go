package defendersim

import (
	"time"
)

// story is an attack that is under way.
type story struct{}

func (t *Tenant) play(*story, time.Time) {}

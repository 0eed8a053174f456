//go:build !race

package containment

import "time"

const defaultModelTime = time.Minute

//go:build race

package containment

import "time"

// The race detector slows SQLite down so much that more time would give few more
// histories; TestModel runs without it as well.
const defaultModelTime = 10 * time.Second

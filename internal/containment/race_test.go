//go:build race

package containment

import "flag"

// The histories of TestModel run in the hundreds without the race detector,
// which slows SQLite by a factor of twenty; a few are enough for it.
func init() {
	if err := flag.Set("rapid.checks", "8"); err != nil {
		panic(err)
	}
}

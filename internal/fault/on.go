//go:build faults

package fault

import (
	"os"
	"slices"
	"testing"
)

var chosen = func() Name {
	if !testing.Testing() {
		panic("built with the tag faults, which is for tests alone")
	}
	name := Name(os.Getenv(Env))
	if name != "" && !slices.Contains(All(), name) {
		panic("no fault is called " + string(name))
	}
	return name
}()

// On reports whether the program has this fault.
func On(name Name) bool { return name == chosen }

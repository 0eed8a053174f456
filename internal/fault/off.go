//go:build !faults

package fault

// On reports whether the program has this fault. It has none.
func On(Name) bool { return false }

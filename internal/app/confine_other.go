//go:build !linux

package app

import "os"

// noDumps is known for Linux only; elsewhere the system's own settings hold.
func noDumps() error { return nil }

// isMount knows the mounts of Linux only.
func isMount(*os.File) bool { return false }

package app

import (
	"fmt"
	"os"
	"syscall"
)

// noDumps keeps what is in memory, secrets among it, out of files and away from
// other processes of the same user (threat-model C-04).
func noDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("switch core dumps off: %w", err)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		return fmt.Errorf("close the process to debuggers: %w", errno)
	}
	return nil
}

// Magic numbers of statfs(2) and its flag for file systems that are mounted
// read-only.
const (
	tmpfs    = 0x01021994
	ramfs    = 0x858458f6
	readOnly = 1
)

// isMount reports whether a file is on a mount in memory or one that is read-only.
func isMount(f *os.File) bool {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &st); err != nil {
		return false
	}
	return uint32(st.Type) == tmpfs || uint32(st.Type) == ramfs || st.Flags&readOnly != 0
}

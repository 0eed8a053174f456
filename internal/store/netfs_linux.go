package store

import (
	"fmt"
	"syscall"
)

// networkFS are the magic numbers, from statfs(2), of file systems on which
// SQLite's locks and its shared memory do not work between machines.
var networkFS = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x5346414f: "AFS",
	0x00c36400: "Ceph",
}

func refuseNetworkFS(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	if name, ok := networkFS[uint32(st.Type)]; ok {
		return fmt.Errorf("%s is on %s, where SQLite loses data: use a local disk or PostgreSQL", dir, name)
	}
	return nil
}

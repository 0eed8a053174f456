package chaostest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// disk is a file system, a single directory, that keeps for certain only what was
// synced. When its power is cut, each sector written since is there or not, in no
// order, and each file made, removed or cut short since is so or not. Nothing in
// this process may open its files: the kernel would ask the process itself.
type disk struct {
	t   *testing.T
	dir string // where it is mounted

	mu     sync.Mutex
	server *fuse.Server
	names  map[string]*stored // as programs see it
	kept   map[string]*stored // as a cut would leave it
	after  int                // changes until the cut; 0: none is planned
	cut    func()             // ends whatever uses the disk
	at     string             // what was being done then
}

// stored is a file.
type stored struct {
	fs.Inode
	disk    *disk
	now     []byte
	kept    []byte
	pending []change // since the last sync, oldest first
}

// change is a write at off, or a new size.
type change struct {
	off  int64
	data []byte // nil: off is the new size
}

type folder struct {
	fs.Inode
	disk *disk
}

var (
	_ fs.NodeCreater   = (*folder)(nil)
	_ fs.NodeUnlinker  = (*folder)(nil)
	_ fs.NodeFsyncer   = (*folder)(nil)
	_ fs.NodeStatfser  = (*folder)(nil)
	_ fs.NodeOpener    = (*stored)(nil)
	_ fs.NodeReader    = (*stored)(nil)
	_ fs.NodeWriter    = (*stored)(nil)
	_ fs.NodeGetattrer = (*stored)(nil)
	_ fs.NodeSetattrer = (*stored)(nil)
	_ fs.NodeFlusher   = (*stored)(nil)
	_ fs.NodeFsyncer   = (*stored)(nil)
	_ fs.NodeStatfser  = (*stored)(nil)
)

// newDisk mounts an empty disk, or skips the test where that is not possible.
func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{t: t, dir: t.TempDir(), names: map[string]*stored{}, kept: map[string]*stored{}}
	if err := d.mount(); err != nil {
		t.Skipf("a disk that loses power is a FUSE file system, which cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { d.unmount() })
	return d
}

// mount shows the files as they are kept.
func (d *disk) mount() error {
	// The library's own way lets the processes that are started here inherit the
	// connection, and the kernel waits for whoever holds it.
	conn, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d", conn, syscall.S_IFDIR, os.Geteuid(), os.Getegid())
	if err := syscall.Mount("mdebot-disk", d.dir, "fuse", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		return errors.Join(err, syscall.Close(conn))
	}
	root := &folder{disk: d}
	d.server, err = fs.Mount(fmt.Sprintf("/dev/fd/%d", conn), root, &fs.Options{
		OnAdd: func(ctx context.Context) {
			for name, f := range d.names {
				root.AddChild(name, root.NewPersistentInode(ctx, f, fs.StableAttr{Mode: fuse.S_IFREG}), true)
			}
		},
		MountOptions: fuse.MountOptions{DisableXAttrs: true},
	})
	return err
}

func (d *disk) unmount() {
	d.t.Helper()
	// The kernel may still hold a file of a process that has just been killed.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Unmount(d.dir, 0)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			d.t.Fatalf("unmount the disk: %v", err)
		}
	}
	d.server.Wait()
}

// cutAfter plans a cut at the nth change from now: end is called, and nothing that
// comes later reaches the disk.
func (d *disk) cutAfter(n int, end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.after, d.cut, d.at = n, end, ""
}

// change counts one change. It tells whether the change is on its way to the disk,
// and whether the program is told that it was made. d.mu is held.
func (d *disk) change(what string) (onItsWay, told bool) {
	switch {
	case d.at != "":
		return false, false
	case d.after == 0:
		return true, true
	}
	if d.after--; d.after > 0 {
		return true, true
	}
	d.at = what
	d.cut()
	return true, false
}

// restore cuts the power, lets draw decide what is left of what was not synced, and
// mounts the disk again. Nothing may use it meanwhile. It returns what the cut
// interrupted, or "" when it came at rest, and how many changes were not synced.
func (d *disk) restore(draw *rand.Rand) (at string, unsynced int) {
	d.t.Helper()
	d.unmount()
	d.mu.Lock()
	defer d.mu.Unlock()
	left := map[string]*stored{}
	all := maps.Clone(d.names)
	maps.Copy(all, d.kept)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := d.kept[name]
		if d.names[name] != f {
			unsynced++
			if draw.IntN(2) == 0 {
				f = d.names[name]
			}
		}
		if f != nil {
			unsynced += len(f.pending)
			left[name] = &stored{disk: d, now: f.left(draw)}
			left[name].kept = slices.Clone(left[name].now)
		}
	}
	d.names, d.kept = left, maps.Clone(left)
	at, d.at, d.after = d.at, "", 0
	if err := d.mount(); err != nil {
		d.t.Fatalf("mount the disk again: %v", err)
	}
	return at, unsynced
}

// left is what a cut leaves of the file.
func (f *stored) left(draw *rand.Rand) []byte {
	content := f.kept
	for _, c := range f.pending {
		if c.data == nil {
			if draw.IntN(2) == 0 {
				content = resized(content, c.off)
			}
			continue
		}
		// Most writes arrive whole or not at all.
		odds := []int{0, 2, 4}[draw.IntN(3)]
		for from := 0; from < len(c.data); {
			off := c.off + int64(from)
			to := min(from+int(sector-off%sector), len(c.data))
			if draw.IntN(4) < odds {
				content = written(content, off, c.data[from:to])
			}
			from = to
		}
	}
	return content
}

func written(b []byte, off int64, data []byte) []byte {
	if end := off + int64(len(data)); end > int64(len(b)) {
		b = resized(b, end)
	}
	copy(b[off:], data)
	return b
}

func resized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// Create implements [fs.NodeCreater].
func (n *folder) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	onItsWay, told := n.disk.change("a file made")
	f := &stored{disk: n.disk}
	if onItsWay {
		n.disk.names[name] = f
	}
	if !told {
		return nil, nil, 0, syscall.EIO
	}
	f.attr(&out.Attr)
	return n.NewPersistentInode(ctx, f, fs.StableAttr{Mode: fuse.S_IFREG}), nil, 0, fs.OK
}

// Unlink implements [fs.NodeUnlinker].
func (n *folder) Unlink(_ context.Context, name string) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	onItsWay, told := n.disk.change("a file removed")
	if onItsWay {
		delete(n.disk.names, name)
	}
	return outcome(told)
}

// Fsync implements [fs.NodeFsyncer] for the directory.
func (n *folder) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	_, told := n.disk.change("a directory synced")
	if told {
		n.disk.kept = maps.Clone(n.disk.names)
	}
	return outcome(told)
}

func outcome(told bool) syscall.Errno {
	if told {
		return fs.OK
	}
	return syscall.EIO
}

// Statfs implements [fs.NodeStatfser]: there is room enough.
func (n *folder) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno { return room(out) }

// Statfs implements [fs.NodeStatfser].
func (f *stored) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno { return room(out) }

func room(out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	out.Blocks, out.Bfree, out.Bavail = 1<<20, 1<<20, 1<<20
	out.Files, out.Ffree = 1<<20, 1<<20
	return fs.OK
}

func (f *stored) attr(out *fuse.Attr) {
	out.Mode, out.Size, out.Nlink = fuse.S_IFREG|0o600, uint64(len(f.now)), 1
	out.Blksize, out.Blocks = 4096, (out.Size+511)/512
}

// Open implements [fs.NodeOpener].
func (f *stored) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, fs.OK
}

// Read implements [fs.NodeReader].
func (f *stored) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	from := min(off, int64(len(f.now)))
	to := min(from+int64(len(dest)), int64(len(f.now)))
	return fuse.ReadResultData(slices.Clone(f.now[from:to])), fs.OK
}

// Write implements [fs.NodeWriter].
func (f *stored) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	onItsWay, told := f.disk.change("a write")
	if onItsWay {
		f.now = written(f.now, off, data)
		f.pending = append(f.pending, change{off: off, data: slices.Clone(data)})
	}
	return uint32(len(data)), outcome(told)
}

// Getattr implements [fs.NodeGetattrer].
func (f *stored) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.attr(&out.Attr)
	return fs.OK
}

// Setattr implements [fs.NodeSetattrer]: files are cut short, and little else.
func (f *stored) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if size, ok := in.GetSize(); ok && int64(size) != int64(len(f.now)) {
		onItsWay, told := f.disk.change("a new size")
		if onItsWay {
			f.now = resized(f.now, int64(size))
			f.pending = append(f.pending, change{off: int64(size)})
		}
		if !told {
			return syscall.EIO
		}
	}
	f.attr(&out.Attr)
	return fs.OK
}

// Flush implements [fs.NodeFlusher]: closing a file syncs nothing.
func (f *stored) Flush(context.Context, fs.FileHandle) syscall.Errno { return fs.OK }

// Fsync implements [fs.NodeFsyncer]. As with the usual file systems, the name of a
// new file is kept with its content.
func (f *stored) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if _, told := f.disk.change("a sync"); !told {
		return syscall.EIO
	}
	for _, c := range f.pending {
		if c.data == nil {
			f.kept = resized(f.kept, c.off)
		} else {
			f.kept = written(f.kept, c.off, c.data)
		}
	}
	f.pending = nil
	for name, named := range f.disk.names {
		if named == f {
			f.disk.kept[name] = f
		}
	}
	return fs.OK
}

// cutPower starts the bot over and over and cuts the power of the machine at a
// change of its disk, also while it starts, until the round has its cuts.
func (r *round) cutPower(ctx context.Context, p *process, draw *rand.Rand) {
	for ctx.Err() == nil && r.count("") < r.kills {
		// One in four while it starts, the others at some moment of its work.
		starting := draw.IntN(4) == 0
		if starting {
			r.disk.cutAfter(1+draw.IntN(600), p.end)
		}
		p.start("")
		if p.ready() {
			pause(ctx, time.Duration(draw.Int64N(int64(3*time.Second))))
			if !starting {
				r.disk.cutAfter(1+draw.IntN(60), p.end)
			}
			if !p.ended(2 * time.Second) {
				p.kill()
			}
		}
		if signal := p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); signal != syscall.SIGKILL {
			r.Errorf("%s ended by itself: %v", p.name, p.cmd.ProcessState)
		}
		at, unsynced := r.disk.restore(draw)
		switch {
		case at == "":
			at = "at rest"
		case unsynced > 0:
			at = "at " + at + ", others not synced"
		default:
			at = "at " + at
		}
		r.Logf("%6s the power fails %s", time.Since(r.began).Round(time.Millisecond), at)
		r.count(at)
	}
}

// cutDatabase cuts the power of the database's machine over and over, every other
// time together with the replicas', and starts it again a moment later, or lets its
// standby take over.
func (r *round) cutDatabase(ctx context.Context, draw *rand.Rand) {
	for _, p := range r.processes {
		p.serve()
	}
	for ctx.Err() == nil && r.count("") < r.kills {
		pause(ctx, time.Duration(draw.Int64N(int64(3*time.Second))))
		r.postgres.Crash()
		together := draw.IntN(2) == 0
		if together {
			for _, p := range r.processes {
				p.kill()
			}
		}
		pause(ctx, time.Duration(draw.Int64N(int64(time.Second))))
		if r.standby != nil {
			r.standby.Promote()
			r.postgres, r.standby = r.standby, nil
		} else {
			r.postgres.Start()
		}
		if !together {
			r.count("of the database")
			continue
		}
		for _, p := range r.processes {
			p.serve()
		}
		r.count("of everything")
	}
	for _, p := range r.processes {
		p.kill()
	}
}

// The power fails, and of what was not synced a part is lost, torn or out of order.
// What people were told is kept all the same, and the database is whole.
func TestPower_sqlite(t *testing.T) {
	t.Parallel()
	runRounds(t, shape{power: true, kills: 40, wishes: 22, alarms: 12}, shape{power: true, kills: 10, wishes: 10, alarms: 4})
}

// The power of the database fails, and its machine starts again with what was committed.
func TestPower_postgresTwoReplicas(t *testing.T) {
	t.Parallel()
	runRounds(t, shape{replicas: 2, power: true, kills: 40, wishes: 22, alarms: 12}, shape{replicas: 2, power: true, kills: 6, wishes: 8, alarms: 4})
}

// The database's machine is gone for good and its standby takes over.
func TestFailOver_postgresTwoReplicas(t *testing.T) {
	t.Parallel()
	s := shape{replicas: 2, power: true, standby: true, kills: 1, wishes: 8, alarms: 4}
	runRounds(t, s, s)
}

// The disk is worth its name: what was synced stays, and the rest is lost in parts.
func TestDisk_losesWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	content := make([]byte, 64*sector)
	for i := range content {
		content[i] = 1
	}
	lost, torn := 0, 0
	for seed := range uint64(100) {
		f := &stored{kept: make([]byte, 3), pending: []change{{off: 3, data: content}}}
		got := f.left(rand.New(rand.NewPCG(seed, 0)))
		kept := 0
		for _, b := range got {
			kept += int(b)
		}
		switch kept {
		case 0:
			lost++
		case len(content):
		default:
			torn++
		}
		if string(got[:3]) != "\x00\x00\x00" {
			t.Fatalf("seed %d: what was synced is gone", seed)
		}
	}
	if lost < 10 || torn < 10 || lost+torn > 90 {
		t.Errorf("of 100 writes %d are lost and %d torn", lost, torn)
	}
}

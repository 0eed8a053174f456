//go:build unix

package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// lockWait is how long a start waits for the previous process to leave, which
// covers a restart that overlaps a draining one.
const lockWait = 30 * time.Second

// fileLock makes one process the owner of a SQLite file. It is a lock of the
// kernel on a file beside the database, so it ends with the process however that
// ends. The file is never removed: a waiter may already hold it open.
type fileLock struct {
	file *os.File
	// clean says that the last owner closed the database properly.
	clean bool
}

// acquireLock waits for the lock until lockWait is over or ctx is done. While it
// is held the file names its owner; an owner that leaves properly empties it.
func acquireLock(ctx context.Context, path string) (*fileLock, error) {
	_, err := os.Stat(path)
	existed := err == nil
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := waitLock(ctx, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l := &fileLock{file: f, clean: existed && info.Size() == 0}
	if err := l.write(fmt.Sprintf("process %d, since %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339))); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func waitLock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			owner, _ := io.ReadAll(io.LimitReader(f, 200))
			return fmt.Errorf("the database is in use by %s: stop that process, or use PostgreSQL to run several: %w",
				cmp.Or(strings.TrimSpace(string(owner)), "another process"), ctx.Err())
		}
	}
}

// release gives the lock up. An unclean release makes the next owner check the
// whole database.
func (l *fileLock) release(clean bool) error {
	var err error
	if clean {
		err = l.write("")
	}
	return errors.Join(err, l.file.Close())
}

func (l *fileLock) write(owner string) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(owner), 0)
	return err
}

package anchor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/tenant"
)

// file is JSON lines that only grow. Its directory has to be there: a volume that
// is not mounted must not be mistaken for an empty one.
type file string

var _ Reader = file("")

func (f file) String() string { return "file:" + string(f) }

func (file) Every() time.Duration { return interval }

func (f file) Send(_ context.Context, a audit.Anchor) (err error) {
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(string(f), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	// A crash may have left half a line.
	if size, err := out.Seek(0, io.SeekEnd); err != nil {
		return err
	} else if size > 0 {
		var last [1]byte
		if _, err := out.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = append([]byte("\n"), line...)
		}
	}
	if _, err := out.Write(append(line, '\n')); err != nil {
		return err
	}
	return out.Sync()
}

func (f file) Newest(_ context.Context, id tenant.ID, public string) (audit.Anchor, bool, error) {
	in, err := os.Open(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return audit.Anchor{}, false, nil
	}
	if err != nil {
		return audit.Anchor{}, false, err
	}
	defer in.Close()
	newest, _, err := Newest(in, public)
	if err != nil {
		return audit.Anchor{}, false, err
	}
	a, ok := newest[id]
	return a, ok, nil
}

// Newest reads anchors as JSON lines and returns the last of each tenant that the
// key signed; an empty key accepts every anchor. Lines that are no anchor are
// passed over: a crash may have cut one. The error is [audit.ErrSignature] when a
// tenant has anchors and none of them counts. Restores are those that replace an
// anchor because people accepted a database that had been put back.
func Newest(r io.Reader, public string) (newest map[tenant.ID]audit.Anchor, restores []audit.Anchor, err error) {
	newest = map[tenant.ID]audit.Anchor{}
	refused := map[tenant.ID]error{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var a audit.Anchor
		if json.Unmarshal(lines.Bytes(), &a) != nil || a.Seq <= 0 || a.Hash == "" {
			continue
		}
		if public != "" {
			if err := a.SignedBy(public); err != nil {
				refused[a.Tenant] = err
				continue
			}
		}
		newest[a.Tenant] = a
		if a.Replaces != nil {
			restores = append(restores, a)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, fmt.Errorf("read anchors: %w", err)
	}
	for id, err := range refused {
		if _, ok := newest[id]; !ok {
			return nil, nil, fmt.Errorf("tenant %s: %w", id, err)
		}
	}
	return newest, restores, nil
}

package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mdebot/mdebot/internal/durable"
)

// sentFiles remembers the files that went to people, so that results of hunts do
// not lie about for ever (threat-model H-05).
type sentFiles struct {
	db     durable.DB
	now    func() time.Time
	log    *slog.Logger
	delete func(ctx context.Context, file string) error // nil: no platform keeps files of ours
}

// filesAtOnce is how many files one purge deletes at most: the platform counts
// each as a call.
const filesAtOnce = 200

func (s sentFiles) sent(ctx context.Context, file string) {
	err := s.db.InTx(ctx, func(tx durable.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO sent_files (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, file, durable.Micros(s.now()))
		return err
	})
	if err != nil {
		s.log.ErrorContext(ctx, "a file was sent that will not be deleted by itself", "file", file, "error", err)
	}
}

// purge deletes what was sent before old. What the platform does not delete now is
// tried again with the next purge.
func (s sentFiles) purge(ctx context.Context, old time.Time) error {
	if s.delete == nil {
		return nil
	}
	files, err := s.before(ctx, old)
	if err != nil {
		return fmt.Errorf("find old files: %w", err)
	}
	var faults []error
	for _, file := range files {
		if err := s.delete(ctx, file); err != nil {
			faults = append(faults, err)
			continue
		}
		if err := s.db.InTx(ctx, func(tx durable.Tx) error {
			_, err := tx.Exec(ctx, `DELETE FROM sent_files WHERE id = $1`, file)
			return err
		}); err != nil {
			return errors.Join(append(faults, err)...)
		}
	}
	return errors.Join(faults...)
}

func (s sentFiles) before(ctx context.Context, old time.Time) ([]string, error) {
	rows, err := s.db.Read().Query(ctx, `SELECT id FROM sent_files WHERE at < $1 ORDER BY at LIMIT $2`, durable.Micros(old), filesAtOnce)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var files []string
	for rows.Next() {
		var file string
		if err := rows.Scan(&file); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, rows.Err()
}

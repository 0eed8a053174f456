package store_test

import (
	"path/filepath"
	"testing"

	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/store/storetest"
)

func TestOpenReader_readsBesideTheOwner(t *testing.T) {
	t.Parallel()
	for name, newURL := range map[string]func(testing.TB) string{"sqlite": storetest.SQLiteURL, "postgres": storetest.PostgresURL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newURL(t)
			owner := storetest.Open(t, url)
			r, err := store.OpenReader(t.Context(), url)
			if err != nil {
				t.Fatalf("OpenReader() = %v", err)
			}
			t.Cleanup(func() { _ = r.Close() })
			err = owner.InTx(t.Context(), func(tx durable.Tx) error {
				_, err := tx.Exec(t.Context(), `INSERT INTO audit_heads (tenant, seq, hash) VALUES ('t', 7, 'h')`)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			var seq int64
			if err := r.QueryRow(t.Context(), `SELECT seq FROM audit_heads WHERE tenant = 't'`).Scan(&seq); err != nil || seq != 7 {
				t.Errorf("the reader sees %d, %v, want what the owner has committed", seq, err)
			}
			if err := r.QueryRow(t.Context(), `DELETE FROM audit_heads RETURNING seq`).Scan(&seq); err == nil {
				t.Error("the reader could delete")
			}
		})
	}
}

func TestOpenReader_refusesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"no file":        "sqlite:" + filepath.Join(t.TempDir(), "none.db"),
		"another engine": "mysql://localhost",
	} {
		if r, err := store.OpenReader(t.Context(), url); err == nil {
			t.Errorf("%s: opened", name)
			_ = r.Close()
		}
	}
}

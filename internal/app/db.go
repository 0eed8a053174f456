package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/notify"
	"github.com/mdebot/mdebot/internal/store"
)

// dbCommand looks after the database. Its commands read MDEBOT_DATABASE_URL and
// no other setting, so that they work where no secret is at hand.
func dbCommand(p *process) *cobra.Command {
	var to string
	move := leaf("move --to URL", "Move a SQLite database to an empty PostgreSQL database while the bot is stopped.", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return moveDatabase(ctx, p, to) })
	move.Flags().StringVar(&to, "to", "", "`URL` of an empty PostgreSQL database (postgres://…). Give the password in PGPASSWORD or a PGPASSFILE, not here, where other users of this machine see it.")
	required(move, "to")
	return group("db", "Look after the database: migrate, status, backup, check, move.",
		leaf("migrate", "Bring the database to this program's schema, then stop. serve does the same at start.", cobra.NoArgs,
			func(ctx context.Context, _ []string) error { return migrateDatabase(ctx, p) }),
		leaf("status", "Print engine, schema, row counts and the oldest waiting message.", cobra.NoArgs,
			func(ctx context.Context, _ []string) error { return printDatabaseStatus(ctx, p) }),
		leaf("backup FILE", "Copy a SQLite database to a new file, also while the bot runs.", cobra.ExactArgs(1),
			func(ctx context.Context, args []string) error { return backUpDatabase(ctx, p, args[0]) }),
		leaf("check", "Verify the database's structure and every tenant's audit chain, also while the bot runs.", cobra.NoArgs,
			func(ctx context.Context, _ []string) error { return checkDatabase(ctx, p) }),
		move)
}

func databaseURL(p *process) string {
	return settingOr(p.environ, "MDEBOT_DATABASE_URL", "sqlite:mdebot.db")
}

func migrateDatabase(ctx context.Context, p *process) error {
	db, err := store.Open(ctx, databaseURL(p), store.Options{})
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	return printDatabaseStatus(ctx, p)
}

func printDatabaseStatus(ctx context.Context, p *process) error {
	return withView(ctx, p, func(v *store.View) error {
		st, err := v.Status(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "engine\t%s\n", st.Engine)
		schema := fmt.Sprint(st.Schema)
		if len(st.Missing) > 0 {
			schema += fmt.Sprintf(", without %v: run mdebot db migrate", st.Missing)
		}
		fmt.Fprintf(w, "schema\t%s\n", schema)
		for _, t := range st.Tables {
			fmt.Fprintf(w, "%s\t%d rows\n", t.Table, t.Rows)
		}
		if len(st.Missing) == 0 {
			waiting, err := notify.Waiting(ctx, v.Read())
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "messages\t%s\n", pendingLine(waiting, time.Now()).Detail)
		}
		return w.Flush()
	})
}

func backUpDatabase(ctx context.Context, p *process, file string) error {
	return withView(ctx, p, func(v *store.View) error {
		if err := v.Backup(ctx, file); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "wrote %s; it holds everything the database does, so keep it as safe\n", file)
		return err
	})
}

func checkDatabase(ctx context.Context, p *process) error {
	return withView(ctx, p, func(v *store.View) error {
		if err := v.Check(ctx); err != nil {
			return err
		}
		fmt.Fprintln(p.stdout, "structure: ok")
		heads, err := verifyChains(ctx, v.Read())
		for _, h := range heads {
			fmt.Fprintf(p.stdout, "audit chain of %s: ok, %d records\n", h.Tenant, h.Seq)
		}
		return err
	})
}

// verifyChains verifies the audit chain of every tenant that has one. The error
// joins those that are broken.
func verifyChains(ctx context.Context, db durable.DBTX) (intact []audit.Head, err error) {
	tenants, err := audit.Tenants(ctx, db)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, id := range tenants {
		head, err := audit.Verify(ctx, db, id)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		intact = append(intact, head)
	}
	return intact, errors.Join(errs...)
}

func moveDatabase(ctx context.Context, p *process, to string) error {
	var chains []audit.Head
	moved, err := store.Move(ctx, store.MoveInput{
		From: databaseURL(p), To: to,
		Verify: func(ctx context.Context, copied durable.DBTX) (err error) {
			chains, err = verifyChains(ctx, copied)
			return err
		},
	})
	if err != nil {
		return err
	}
	var rows int64
	for _, t := range moved {
		rows += t.Rows
	}
	from, _, _ := strings.Cut(strings.TrimPrefix(databaseURL(p), "sqlite:"), "?")
	_, err = fmt.Fprintf(p.stdout, `moved %d rows of %d tables; %d audit chain(s) verified
Set MDEBOT_DATABASE_URL to the PostgreSQL database and start mdebot: it takes up what was going on.
Keep %s as a backup where no mdebot starts on it.
`, rows, len(moved), len(chains), from)
	return err
}

func withView(ctx context.Context, p *process, fn func(*store.View) error) (err error) {
	v, err := store.OpenView(ctx, databaseURL(p))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	return fn(v)
}

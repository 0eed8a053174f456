package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mdebot/mdebot/internal/anchor"
	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/csv"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/notify"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/tenant"
)

// auditCommand reads the audit log, also while the bot runs. Like the commands
// for the database it needs no setting but the database's address.
func auditCommand(p *process) *cobra.Command {
	var verify auditVerify
	verifying := leaf("verify [flags]", "Verify every tenant's chain; exit code 1 names the first bad record.", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return verify.run(ctx, p) })
	f := verifying.Flags()
	f.StringVar(&verify.anchor, "anchor", "", "`FILE` of anchors that were written elsewhere; the newest of each tenant must lie on its chain.")
	f.StringVar(&verify.publicKey, "public-key", "", "Accept only anchors signed by this key, in `BASE64`. MDEBOT_AUDIT_KEY serves as well.")

	var export auditExport
	exporting := leaf("export [flags]", "Print records, or one decision record per request.", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return export.run(ctx, p) })
	f = exporting.Flags()
	f.StringVar(&export.format, "format", "jsonl", "jsonl has the exact columns, to be verified elsewhere; csv is for spreadsheets.")
	f.StringVar(&export.since, "since", "", "First `DATE` or moment, such as 2026-11-01 or 2026-11-01T08:00:00Z.")
	f.StringVar(&export.until, "until", "", "First `DATE` or moment no longer included.")
	f.BoolVar(&export.requests, "requests", false, "One decision record for each request opened in that time, as JSON lines.")
	f.StringVar(&export.tenant, "tenant", "", "Only the tenant with this `ID`.")

	var report auditReport
	reporting := leaf("report --month YYYY-MM [flags]", "Print a month's figures.", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return report.run(ctx, p) })
	f = reporting.Flags()
	f.StringVar(&report.month, "month", "", "The month, as `YYYY-MM`, in UTC.")
	f.StringVar(&report.tenant, "tenant", "", "Only the tenant with this `ID`.")
	required(reporting, "month")

	var only string
	request := leaf("request NUMBER [flags]", "Print everything about one request as one JSON document.", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error { return printDecision(ctx, p, args[0], only) })
	request.Flags().StringVar(&only, "tenant", "", "`ID` of the tenant; needed when the database holds several.")

	return group("audit", "Verify, export and report the audit log; also while the bot runs.", verifying, exporting, reporting, request)
}

type auditVerify struct{ anchor, publicKey string }

func (c *auditVerify) run(ctx context.Context, p *process) error {
	known, err := c.anchors(p)
	if err != nil {
		return err
	}
	return withView(ctx, p, func(v *store.View) error {
		tenants, err := audit.Tenants(ctx, v.Read())
		if err != nil {
			return err
		}
		for _, a := range known {
			if !slices.Contains(tenants, a.Tenant) {
				tenants = append(tenants, a.Tenant) // a chain that is gone altogether
			}
		}
		var errs []error
		for _, id := range tenants {
			errs = append(errs, verifyChain(ctx, p, v.Read(), id, known))
		}
		return errors.Join(errs...)
	})
}

// anchors are the newest of each tenant in the file, their signatures verified.
func (c *auditVerify) anchors(p *process) (map[tenant.ID]audit.Anchor, error) {
	if c.anchor == "" {
		return nil, nil
	}
	public := c.publicKey
	if text := settingOr(p.environ, "MDEBOT_AUDIT_KEY", ""); public == "" && text != "" {
		key, err := audit.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("MDEBOT_AUDIT_KEY: %w", err)
		}
		public = key.Public()
	}
	f, err := os.Open(c.anchor)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	newest, restores, err := anchor.Newest(f, public)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.anchor, err)
	}
	for _, a := range restores {
		fmt.Fprintf(p.stdout, "%s: at %s people accepted a restored database; it lacked what had been anchored up to %d\n",
			a.Tenant, a.At.UTC().Format(time.RFC3339), a.Replaces.Seq)
	}
	if len(newest) == 0 {
		return nil, fmt.Errorf("%s holds no anchor", c.anchor)
	}
	return newest, nil
}

func verifyChain(ctx context.Context, p *process, db durable.DBTX, id tenant.ID, known map[tenant.ID]audit.Anchor) error {
	var heads []audit.Head
	a, anchored := known[id]
	if anchored {
		heads = append(heads, a.Head)
	}
	head, err := audit.Verify(ctx, db, id, heads...)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s: ok, %d records, head %s\n", id, head.Seq, head.Hash)
	if anchored {
		fmt.Fprintf(p.stdout, "%s: contains the anchor of %s at %d\n", id, a.At.UTC().Format(time.RFC3339), a.Seq)
	}
	return nil
}

type auditExport struct {
	format, since, until, tenant string
	requests                     bool
}

func (c *auditExport) run(ctx context.Context, p *process) error {
	since, err := parseMoment(c.since)
	if err != nil {
		return err
	}
	until, err := parseMoment(c.until)
	if err != nil {
		return err
	}
	if c.format != "jsonl" && c.format != "csv" {
		return fmt.Errorf("--format %s: write jsonl or csv", c.format)
	}
	if c.requests && c.format == "csv" {
		return errors.New("decision records are nested; export them as jsonl")
	}
	return withView(ctx, p, func(v *store.View) error {
		tenants, err := auditTenants(ctx, v.Read(), c.tenant)
		if err != nil {
			return err
		}
		out := bufio.NewWriter(p.exact)
		write := exportJSON(out)
		switch {
		case c.requests:
			write = exportDecisions(ctx, v.Read(), out)
		case c.format == "csv":
			if write, err = exportCSV(out); err != nil {
				return err
			}
		}
		for _, id := range tenants {
			for r, err := range audit.Between(ctx, v.Read(), id, since, until) {
				if err != nil {
					return err
				}
				if err := write(r); err != nil {
					return err
				}
			}
		}
		return out.Flush()
	})
}

func exportJSON(out *bufio.Writer) func(audit.Record) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return func(r audit.Record) error { return enc.Encode(r.Columns()) }
}

func exportDecisions(ctx context.Context, db durable.DBTX, out *bufio.Writer) func(audit.Record) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return func(r audit.Record) error {
		if r.Kind != "request.opened" {
			return nil
		}
		d, err := approvals.ReadDecision(ctx, db, r.Tenant, r.Request)
		if err != nil {
			return err
		}
		return enc.Encode(d)
	}
}

func exportCSV(out *bufio.Writer) (func(audit.Record) error, error) {
	w := csv.Writer{W: out}
	header := []string{
		"tenant", "seq", "at", "kind", "outcome", "person", "person_name", "account", "conversation", "delivery",
		"request", "digest", "policy_hash", "detail", "prev", "hash",
	}
	return func(r audit.Record) error {
		c := r.Columns()
		return w.Write([]string{
			c.Tenant, strconv.FormatInt(c.Seq, 10), r.At.UTC().Format(time.RFC3339Nano), c.Kind, c.Outcome, c.Person, c.PersonName,
			c.Account, c.Conversation, c.Delivery, c.Request, c.Digest, c.PolicyHash, c.Detail, c.Prev, c.Hash,
		})
	}, w.Write(header)
}

// parseMoment reads a day or a moment in UTC; empty is no bound.
func parseMoment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no day such as 2026-11-01 and no moment such as 2026-11-01T08:00:00Z", s)
}

func auditTenants(ctx context.Context, db durable.DBTX, only string) ([]tenant.ID, error) {
	if only != "" {
		return []tenant.ID{tenant.ID(only)}, nil
	}
	return audit.Tenants(ctx, db)
}

func printDecision(ctx context.Context, p *process, request, only string) error {
	number, err := strconv.ParseInt(request, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no number of a request", request)
	}
	return withView(ctx, p, func(v *store.View) error {
		tenants, err := auditTenants(ctx, v.Read(), only)
		if err != nil {
			return err
		}
		if len(tenants) != 1 {
			return fmt.Errorf("the database holds %d tenants; name one with --tenant", len(tenants))
		}
		id, err := approvals.RequestID(ctx, v.Read(), tenants[0], number)
		if err != nil {
			return err
		}
		d, err := approvals.ReadDecision(ctx, v.Read(), tenants[0], id)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(p.exact)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(d)
	})
}

type auditReport struct{ month, tenant string }

func (c *auditReport) run(ctx context.Context, p *process) error {
	since, err := time.Parse("2006-01", c.month)
	if err != nil {
		return fmt.Errorf("%q is no month such as 2026-11", c.month)
	}
	until := since.AddDate(0, 1, 0)
	return withView(ctx, p, func(v *store.View) error {
		tenants, err := auditTenants(ctx, v.Read(), c.tenant)
		if err != nil {
			return err
		}
		for _, id := range tenants {
			f, err := approvals.ReadFigures(ctx, v.Read(), id, since, until)
			if err != nil {
				return err
			}
			delays, err := notify.PostDelays(ctx, v.Read(), id, since, until)
			if err != nil {
				return err
			}
			if err := printFigures(p, id, c.month, f, delays); err != nil {
				return err
			}
		}
		return nil
	})
}

func printFigures(p *process, id tenant.ID, month string, f approvals.Figures, delays []time.Duration) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "tenant\t%s\nmonth\t%s\n", id, month)
	for _, line := range []struct {
		what string
		n    int
	}{
		{"alerts posted", len(delays)},
		{"requests opened", f.Opened},
		{"requests over a limit", f.OverLimit},
		{"targets done", f.Succeeded},
		{"denied", f.Denied},
		{"withdrawn", f.Withdrawn},
		{"expired", f.Expired},
		{"refused self-approvals", f.SelfApproved},
	} {
		fmt.Fprintf(w, "%s\t%d\n", line.what, line.n)
	}
	for _, line := range []struct {
		what string
		d    time.Duration
	}{
		{"median alert to post", approvals.Median(delays)},
		{"median ask to approve", f.AskToApprove},
		{"median approve to isolated", f.ApproveToDone},
		{"median ask to isolated", f.AskToDone},
	} {
		text := "–"
		if line.d != 0 {
			text = line.d.Round(100 * time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\n", line.what, text)
	}
	return w.Flush()
}

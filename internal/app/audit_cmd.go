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

	"github.com/mdebot/mdebot/internal/anchor"
	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/audit"
	"github.com/mdebot/mdebot/internal/csv"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/notify"
	"github.com/mdebot/mdebot/internal/store"
	"github.com/mdebot/mdebot/internal/tenant"
)

// auditCmd reads the audit log, also while the bot runs. Like the commands for
// the database it needs no setting but the database's address.
type auditCmd struct {
	Verify  auditVerifyCmd  `cmd:"" help:"Verify every tenant's chain; exit code 1 names the first bad record."`
	Export  auditExportCmd  `cmd:"" help:"Print records, or one decision record per request."`
	Report  auditReportCmd  `cmd:"" help:"Print a month's figures."`
	Request auditRequestCmd `cmd:"" help:"Print everything about one request as one JSON document."`
}

type auditVerifyCmd struct {
	Anchor    string `placeholder:"FILE" help:"Anchors that were written elsewhere; the newest of each tenant must lie on its chain."`
	PublicKey string `placeholder:"BASE64" help:"Accept only anchors signed by this key. MDEBOT_AUDIT_KEY serves as well."`
}

func (c auditVerifyCmd) Run(ctx context.Context, p *process) error {
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
func (c auditVerifyCmd) anchors(p *process) (map[tenant.ID]audit.Anchor, error) {
	if c.Anchor == "" {
		return nil, nil
	}
	public := c.PublicKey
	if text := settingOr(p.environ, "MDEBOT_AUDIT_KEY", ""); public == "" && text != "" {
		key, err := audit.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("MDEBOT_AUDIT_KEY: %w", err)
		}
		public = key.Public()
	}
	f, err := os.Open(c.Anchor)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	newest, restores, err := anchor.Newest(f, public)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Anchor, err)
	}
	for _, a := range restores {
		fmt.Fprintf(p.stdout, "%s: at %s people accepted a restored database; it lacked what had been anchored up to %d\n",
			a.Tenant, a.At.UTC().Format(time.RFC3339), a.Replaces.Seq)
	}
	if len(newest) == 0 {
		return nil, fmt.Errorf("%s holds no anchor", c.Anchor)
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

type auditExportCmd struct {
	Format   string `enum:"jsonl,csv" default:"jsonl" help:"jsonl has the exact columns, to be verified elsewhere; csv is for spreadsheets."`
	Since    string `placeholder:"DATE" help:"First day or moment, such as 2026-11-01 or 2026-11-01T08:00:00Z."`
	Until    string `placeholder:"DATE" help:"First day or moment no longer included."`
	Requests bool   `help:"One decision record for each request opened in that time, as JSON lines."`
	Tenant   string `placeholder:"ID" help:"Only this tenant."`
}

func (c auditExportCmd) Run(ctx context.Context, p *process) error {
	since, err := parseMoment(c.Since)
	if err != nil {
		return err
	}
	until, err := parseMoment(c.Until)
	if err != nil {
		return err
	}
	if c.Requests && c.Format == "csv" {
		return errors.New("decision records are nested; export them as jsonl")
	}
	return withView(ctx, p, func(v *store.View) error {
		tenants, err := auditTenants(ctx, v.Read(), c.Tenant)
		if err != nil {
			return err
		}
		out := bufio.NewWriter(p.stdout)
		write := exportJSON(out)
		switch {
		case c.Requests:
			write = exportDecisions(ctx, v.Read(), out)
		case c.Format == "csv":
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

type auditRequestCmd struct {
	Number string `arg:"" help:"Number of the request, such as 142."`
	Tenant string `placeholder:"ID" help:"Needed when the database holds several tenants."`
}

func (c auditRequestCmd) Run(ctx context.Context, p *process) error {
	number, err := strconv.ParseInt(c.Number, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no number of a request", c.Number)
	}
	return withView(ctx, p, func(v *store.View) error {
		tenants, err := auditTenants(ctx, v.Read(), c.Tenant)
		if err != nil {
			return err
		}
		if len(tenants) != 1 {
			return fmt.Errorf("the database holds %d tenants; name one with --tenant", len(tenants))
		}
		request, err := approvals.RequestID(ctx, v.Read(), tenants[0], number)
		if err != nil {
			return err
		}
		d, err := approvals.ReadDecision(ctx, v.Read(), tenants[0], request)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(p.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(d)
	})
}

type auditReportCmd struct {
	Month  string `required:"" placeholder:"YYYY-MM" help:"The month, in UTC."`
	Tenant string `placeholder:"ID" help:"Only this tenant."`
}

func (c auditReportCmd) Run(ctx context.Context, p *process) error {
	since, err := time.Parse("2006-01", c.Month)
	if err != nil {
		return fmt.Errorf("%q is no month such as 2026-11", c.Month)
	}
	until := since.AddDate(0, 1, 0)
	return withView(ctx, p, func(v *store.View) error {
		tenants, err := auditTenants(ctx, v.Read(), c.Tenant)
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
			if err := printFigures(p, id, c.Month, f, delays); err != nil {
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

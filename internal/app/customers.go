package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/commands"
	"github.com/mdebot/mdebot/internal/containment"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/durable"
	"github.com/mdebot/mdebot/internal/identity"
	"github.com/mdebot/mdebot/internal/notify"
	"github.com/mdebot/mdebot/internal/policy"
	"github.com/mdebot/mdebot/internal/tenant"
)

// customer is one Defender tenant that the bot serves, with all that must not be
// shared with another: client, tokens, quota, connections, what was learnt of
// permissions, watches (threat-model M-04, M-05).
type customer struct {
	id   tenant.ID
	name string // "" where there is only one
	// entry is the one of the file, with credentials of its own or none; empty for
	// the tenant of the settings.
	entry policy.Tenant

	cfg         defender.Config
	client      *defender.Client
	actor       *defender.Actor
	permissions *permissions
	expiry      *expiry
	containment *containment.Runner
	misuse      *containment.Watch
}

// tenantConfig is how the bot gets into a tenant of the file: as into its own,
// but for what the entry says.
func (c Config) tenantConfig(t policy.Tenant) (defender.Config, error) {
	cfg := c.Defender
	cfg.TenantID = t.ID
	cfg.Cloud = cmp.Or(t.Cloud, cfg.Cloud)
	if t.Cloud != "" && !strings.EqualFold(t.Cloud, c.Defender.Cloud) {
		// Addresses of another cloud are of no use here.
		cfg.BaseURL, cfg.XDRURL, cfg.GraphURL, cfg.AuthorityURL = "", "", "", ""
		cfg.Audience, cfg.XDRAudience, cfg.GraphAudience = "", "", ""
	}
	if !t.OwnCredential() {
		return cfg, nil
	}
	// An application of the customer's own reads and acts.
	cfg.ClientID = cmp.Or(t.ClientID, cfg.ClientID)
	cfg.ActionClientID, cfg.ActionClientSecret, cfg.ActionCertificateFile, cfg.ActionAuth = "", "", "", ""
	var faults []error
	read := func(file string) string {
		content, err := os.ReadFile(file)
		if err != nil {
			faults = append(faults, fmt.Errorf("tenant %s: %w", t.Name, err))
		}
		return strings.TrimRight(string(content), "\r\n")
	}
	switch {
	case t.CertificateFile != "":
		cfg.Auth, cfg.ClientSecret, cfg.CertificateFile, cfg.CertificatePassword = "certificate", "", t.CertificateFile, ""
		if t.CertificatePasswordFile != "" {
			cfg.CertificatePassword = read(t.CertificatePasswordFile)
		}
	case t.SecretFile != "":
		cfg.Auth, cfg.CertificateFile, cfg.CertificatePassword = "secret", "", ""
		cfg.ClientSecret = read(t.SecretFile)
	}
	return cfg, errors.Join(faults...)
}

// customersOf makes the tenants that p lists, or the one of the settings. Nobody
// is called.
func (a *App) customersOf(p *policy.Policy, transport *http.Transport, actor *defender.Actor) ([]*customer, error) {
	own := &customer{id: a.tenant, cfg: a.cfg.Defender, client: a.defender, actor: actor}
	listed := p.Tenants()
	if len(listed) == 0 {
		return []*customer{own}, nil
	}
	var all []*customer
	var faults []error
	var secrets []string
	for _, t := range listed {
		if t.ID == a.tenant {
			own.name = t.Name
			all = append(all, own)
			if t.OwnCredential() {
				faults = append(faults, fmt.Errorf("tenant %s: it is the one of MDE_TENANT_ID, whose application is that of the settings; leave client_id and the files out", t.Name))
			}
			continue
		}
		c := &customer{id: t.ID, name: t.Name, entry: t}
		var err error
		if c.cfg, err = a.cfg.tenantConfig(t); err == nil {
			secrets = append(secrets, c.secrets()...)
			if c.client, err = defender.New(c.cfg, defender.WithTransport(transport), defender.WithLogger(a.log),
				defender.WithObserver(a.metrics.called), defender.WithDates(a.skew.measure)); err == nil {
				c.actor, err = defender.NewActor(c.cfg, c.client)
			}
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("tenant %s: %w", t.Name, err))
			continue
		}
		all = append(all, c)
	}
	if len(faults) > 0 {
		return nil, &ConfigError{Faults: faults}
	}
	if len(secrets) > 0 {
		a.cfg.masks.add(secrets)
	}
	return all, nil
}

// secrets are those of the customer's own files.
func (c *customer) secrets() []string {
	return slices.DeleteFunc([]string{c.cfg.ClientSecret, c.cfg.CertificatePassword}, func(s string) bool { return s == "" })
}

// files are those of the customer's entry whose content is kept.
func (c *customer) files() []string {
	return slices.DeleteFunc([]string{c.entry.SecretFile, c.entry.CertificatePasswordFile}, func(s string) bool { return s == "" })
}

// rotate signs in with the credential that the settings and the customer's files
// hold now. Tokens in use go on.
func (c *customer) rotate(now Config) error {
	next, err := now.Defender, error(nil)
	if c.entry.ID != "" {
		next, err = now.tenantConfig(c.entry)
	}
	if err == nil {
		err = errors.Join(c.client.Rotate(next), c.actor.Rotate(next))
	}
	switch {
	case err == nil:
		c.cfg = next
		return nil
	case c.name == "":
		return err
	}
	return fmt.Errorf("tenant %s: %w", c.name, err)
}

// equip gives a customer what is made after the notifier.
func (a *App) equip(c *customer, dir identity.Directory, people identity.People) {
	c.containment = containment.New(containment.Config{
		Approvals: a.approvals, Reader: c.client.For(defender.LaneAction).Fresh(), Indicators: c.actor.Indicators(defender.LaneAction), Actor: c.actor, Directory: dir, People: people, Hold: a.mixedVersions, Now: a.now, Logger: a.log,
	})
	c.misuse = containment.NewWatch(containment.WatchConfig{
		DB: a.store, Approvals: a.approvals, Audit: a.audit, Alarm: a.notify, Tenant: c.id,
		Actions:      c.client.For(defender.LaneAlerts),
		Indicators:   c.actor.Indicators(defender.LaneAlerts),
		Applications: []string{c.cfg.ClientID, c.cfg.ActingID()},
		Off:          func() string { return c.permissions.without(defender.PermissionMachineRead) },
		Now:          a.now, Logger: a.log,
	})
	c.expiry = &expiry{
		tenant: c.id, client: c.client, now: a.now, log: a.log,
		credentials: []watchedCredential{{"the application that reads", c.cfg.Credential()}},
		announce: func(ctx context.Context, about string, m chat.Message) error {
			return a.notify.Announce(ctx, c.id, about, m)
		},
	}
	if c.cfg.ActsApart() {
		c.expiry.credentials = append(c.expiry.credentials, watchedCredential{"the application that acts", c.cfg.ActionCredential()})
	}
}

// reading is the client that commands read with.
func (c *customer) reading() defenderOf {
	d := defenderOf{Client: c.client.For(defender.LaneInteractive)}
	if c.cfg.ActsApart() {
		d.actor = c.actor
	}
	return d
}

// watched is the customer as the notifier sees it.
func (c *customer) watched() notify.Watched {
	return notify.Watched{
		Tenant: c.id, Name: c.name, Source: c.client.For(defender.LaneAlerts), Portal: c.client.Portal(),
		Off:        func() string { return c.permissions.without(defender.PermissionAlertRead) },
		MayUpdate:  func() bool { return c.permissions.has(defender.PermissionAlertWrite) },
		MayIsolate: func() bool { return c.permissions.has(defender.PermissionIsolate) },
		MayHunt: func() bool {
			return c.permissions.has(defender.PermissionHuntGraph) || c.permissions.has(defender.PermissionHuntDefender)
		},
	}
}

// commanded is the customer as commands see it.
func (c *customer) commanded() commands.Tenant {
	return commands.Tenant{
		ID: c.id, Name: c.name, Defender: c.reading(), Hunter: c.client.For(defender.LaneHunt), Background: defenderOf{Client: c.client.For(defender.LaneScheduled)}, Indicators: c.actor.Indicators(defender.LaneInteractive), Portal: c.client.Portal(),
		Pages: c.client.Portal().Page,
	}
}

// shareQuota tells the clients how many replicas there are.
func (a *App) shareQuota(ctx context.Context) error {
	n, err := a.store.Replicas(ctx)
	if err != nil {
		return fmt.Errorf("count the replicas: %w", err)
	}
	for _, c := range a.customers {
		c.client.SetReplicas(n)
	}
	return nil
}

// customer finds one by its tenant.
func (a *App) customer(t tenant.ID) (*customer, bool) {
	for _, c := range a.customers {
		if c.id == t {
			return c, true
		}
	}
	return nil, false
}

// errNotServed ends jobs of a tenant that has left the file; a sweep finds what
// they were about when it comes back.
var errNotServed = errors.New("the tenant is not served by this configuration")

// of runs a job of approvals with the customer whose request it is about.
func (a *App) of(run func(*containment.Runner, context.Context, durable.Job) error) func(context.Context, durable.Job) error {
	return func(ctx context.Context, job durable.Job) error {
		ref, err := approvals.ParseRef(job)
		if err != nil {
			return err
		}
		c, ok := a.customer(ref.Tenant)
		if !ok {
			return fmt.Errorf("%s: %w", ref.Tenant, errNotServed)
		}
		return run(c.containment, ctx, job)
	}
}

// tenantLines are for status, where there are several tenants.
func (a *App) tenantLines(ctx context.Context) []cards.StatusLine {
	if len(a.customers) == 1 {
		return nil
	}
	var lines []cards.StatusLine
	for _, c := range a.customers {
		l := cards.StatusLine{Part: "Tenant " + c.name, Good: true, Detail: "works"}
		health, err := a.notify.Health(ctx, c.id)
		switch off := c.permissions.without(defender.PermissionAlertRead); {
		case c.permissions.problem() != nil:
			l.Good, l.Detail = false, defender.Reason(c.permissions.problem())
		case off != "":
			l.Detail = "alerts are " + off
		case err != nil:
			l.Good, l.Detail = false, "the database cannot be read"
		default:
			w := watchingLine(health, a.now())
			l.Good, l.Detail = w.Good, w.Detail
		}
		lines = append(lines, l)
	}
	return lines
}

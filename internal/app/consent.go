package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/mdebot/mdebot/internal/defender"
)

func consentCommand(p *process) *cobra.Command {
	var name string
	cmd := leaf("consent --tenant NAME", "Print the link with which an administrator of a tenant consents to the application.", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return printConsent(ctx, p, name) })
	cmd.Flags().StringVar(&name, "tenant", "", "`NAME` of a tenant in mdebot.yaml, or a tenant ID.")
	required(cmd, "tenant")
	return cmd
}

// printConsent makes the link for the cloud of the tenant. A tenant that is not
// in the file yet is one in the cloud of the settings.
func printConsent(ctx context.Context, p *process, name string) error {
	cfg, err := LoadConfig(ctx, p.environ)
	if err != nil {
		return err
	}
	into := cfg.Defender
	pol, err := cfg.loadPolicy()
	switch {
	case err != nil:
		return &ConfigError{Faults: appendFault(nil, err)}
	case uuid.Validate(name) == nil:
		into.TenantID = defender.TenantID(strings.ToLower(name))
	}
	if t, ok := pol.TenantNamed(name); ok {
		if into, err = cfg.tenantConfig(t); err != nil {
			return err
		}
	} else if uuid.Validate(name) != nil {
		return fmt.Errorf("--tenant: %q is neither a tenant of %s nor a tenant ID", name, cfg.File)
	}
	e, err := into.Endpoints()
	if err != nil {
		return err
	}
	links := []struct{ what, client string }{{"the application that reads", into.ClientID}}
	if into.ActsApart() {
		links = append(links, struct{ what, client string }{"the application that acts", into.ActionClientID})
	}
	var errs []error
	for _, l := range links {
		link := e.Authority + "/" + url.PathEscape(string(into.TenantID)) + "/adminconsent?" + url.Values{"client_id": {l.client}, "redirect_uri": {"https://portal.azure.com"}}.Encode()
		_, err := fmt.Fprintf(p.stdout, "Consent to %s:\n%s\n", l.what, link)
		errs = append(errs, err)
	}
	_, err = fmt.Fprintln(p.stdout, "Send it to an administrator of that tenant. Afterwards: mdebot doctor --tenant "+name)
	return errors.Join(append(errs, err)...)
}

package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/mdebot/mdebot/internal/sandbox/entrasim"
)

// The programs that Teams is for Entra.
const (
	TeamsDesktop = "1fec8e78-bce4-4aaf-ab1b-5451cc387264"
	TeamsWeb     = "5e3ce6c0-2b1f-4285-8d4b-75ee78787346"
)

// teamsTab is the web tab of the app that is installed in Teams.
type teamsTab struct {
	name, address, origin string
	resource              string // what its token is for
}

// InstallTab uploads a manifest of the Teams app, of which the page takes the tab, and
// exposes the API that its administrator would.
func (w *World) InstallTab(manifest []byte) error {
	var m struct {
		StaticTabs []struct {
			EntityID, Name, ContentURL string
		}
		ValidDomains       []string
		WebApplicationInfo struct{ ID, Resource string }
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return fmt.Errorf("install a tab: %w", err)
	}
	for _, t := range m.StaticTabs {
		if t.ContentURL == "" {
			continue
		}
		u, err := url.Parse(t.ContentURL)
		if err != nil {
			return fmt.Errorf("install a tab: %w", err)
		}
		if !slices.Contains(m.ValidDomains, u.Host) {
			return fmt.Errorf("install a tab: %s is not among the valid domains", u.Host)
		}
		w.Entra.Change(TenantID, m.WebApplicationInfo.ID, func(a *entrasim.App) {
			a.API = &entrasim.API{URI: m.WebApplicationInfo.Resource, Scopes: []string{"access_as_user"}, Clients: []string{TeamsDesktop, TeamsWeb}, TokenVersion: 2}
		})
		w.tab.Store(&teamsTab{name: t.Name, address: t.ContentURL, origin: u.Scheme + "://" + u.Host, resource: m.WebApplicationInfo.Resource})
		return nil
	}
	return errors.New("install a tab: the manifest has none")
}

// TabToken is what Teams gives the tab for somebody: a token that Entra gives Teams.
func (w *World) TabToken(who Person) (string, error) {
	tab := w.tab.Load()
	if tab == nil {
		return "", errors.New("no tab is installed")
	}
	return w.Entra.PersonToken(entrasim.PersonAsk{
		Authority: w.addresses["entra"], Tenant: TenantID, Client: TeamsWeb, Resource: tab.resource, Scope: "access_as_user", User: who.Object,
	})
}

type tokenIn struct {
	Origin string `json:"origin"` // of the tab that asks
}

// teamsToken is what Teams does when a tab asks who looks at it: it answers only the
// tab that its manifest names.
func (w *World) teamsToken(_ context.Context, me Person, in tokenIn) (any, error) {
	tab := w.tab.Load()
	if tab == nil || in.Origin != tab.origin {
		return nil, refused("App resource defined in manifest and iframe origin do not match")
	}
	token, err := w.TabToken(me)
	var no *entrasim.RefusedError
	if errors.As(err, &no) {
		return nil, refused("resourceRequiresConsent: %s", no.Error())
	}
	return map[string]string{"token": token}, err
}

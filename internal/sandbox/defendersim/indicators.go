package defendersim

import (
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/sandbox/estate"
)

// FamilyIndicators is listing, setting and deleting indicators.
const FamilyIndicators Family = "indicators"

// Indicator is an indicator as the API shows it.
type Indicator struct {
	ID             string       `json:"id"`
	Value          string       `json:"indicatorValue"`
	Type           string       `json:"indicatorType"`
	Action         string       `json:"action"`
	Application    *string      `json:"application"`
	Title          string       `json:"title"`
	Description    string       `json:"description"`
	Severity       *string      `json:"severity"`
	SourceType     string       `json:"sourceType"`
	CreatedBy      string       `json:"createdBy"`
	UpdatedBy      string       `json:"lastUpdatedBy"`
	Created        estate.Time  `json:"creationTimeDateTimeUtc"`
	Updated        estate.Time  `json:"lastUpdateTime"`
	Expires        *estate.Time `json:"expirationTime"`
	GenerateAlert  bool         `json:"generateAlert"`
	RbacGroupNames []string     `json:"rbacGroupNames"`
}

var indicatorTypes = map[string]func(string) bool{
	"FileSha1":              regexp.MustCompile(`^[0-9a-fA-F]{40}$`).MatchString,
	"FileSha256":            regexp.MustCompile(`^[0-9a-fA-F]{64}$`).MatchString,
	"FileMd5":               regexp.MustCompile(`^[0-9a-fA-F]{32}$`).MatchString,
	"CertificateThumbprint": regexp.MustCompile(`^[0-9a-fA-F]{40}$`).MatchString,
	"IpAddress":             func(s string) bool { _, err := netip.ParseAddr(s); return err == nil },
	"DomainName":            domainPattern.MatchString,
	"Url":                   func(s string) bool { return strings.Contains(s, "://") && !strings.ContainsAny(s, " \t") },
}

var indicatorEntity = entity[Indicator]{
	typeName: "Microsoft.Windows.Security.PublicApi.Indicator",
	properties: []property[Indicator]{
		textOf("indicatorValue", func(i Indicator) string { return i.Value }),
		enumOf("indicatorType", func(i Indicator) string { return i.Type },
			"FileSha1", "FileSha256", "FileMd5", "CertificateThumbprint", "IpAddress", "DomainName", "Url"),
		enumOf("action", func(i Indicator) string { return i.Action }, "Allowed", "Audit", "Warn", "Block", "BlockAndRemediate"),
		textOf("title", func(i Indicator) string { return i.Title }),
		textOf("createdBy", func(i Indicator) string { return i.CreatedBy }),
	},
	unfilterable: []string{"id", "description", "sourceType", "lastUpdateTime", "lastUpdatedBy"},
	natural:      func(a, b Indicator) int { return strings.Compare(a.ID, b.ID) },
}

func listIndicators(w http.ResponseWriter, c call) error {
	q, err := indicatorEntity.parse(c.URL.Query())
	if err != nil {
		return err
	}
	return serveList(w, c, "Indicators", c.tenant.Indicators(), q, func(found []Indicator) any {
		if found == nil {
			return []Indicator{}
		}
		return found
	})
}

func setIndicator(w http.ResponseWriter, c call) error {
	var i Indicator
	var expires *time.Time
	var recommended *string
	if err := decodeBody(c.Request, map[string]any{
		"indicatorValue": &i.Value, "indicatorType": &i.Type, "action": &i.Action, "application": &i.Application, "title": &i.Title,
		"description": &i.Description, "severity": &i.Severity, "expirationTime": &expires, "generateAlert": &i.GenerateAlert,
		"recommendedActions": &recommended, "rbacGroupNames": &i.RbacGroupNames,
	}); err != nil {
		return err
	}
	is, known := indicatorTypes[i.Type]
	switch {
	case i.Value == "" || i.Title == "" || i.Description == "":
		return badRequest("MissingRequiredParameter", "Required parameter is missing: indicatorValue, title or description")
	case !known || !is(i.Value):
		return badRequest("InvalidInput", "Indicator value '%s' is not valid for type %s", i.Value, i.Type)
	case !slices.Contains([]string{"Allowed", "Audit", "Warn", "Block", "BlockAndRemediate"}, i.Action):
		return badRequest("InvalidInput", "Action '%s' is not valid", i.Action)
	case i.Action == "Audit" && !i.GenerateAlert:
		return badRequest("InvalidInput", "generateAlert must be true when action is Audit")
	case expires != nil && !expires.After(c.tenant.server.now()):
		return badRequest("InvalidInput", "expirationTime must be in the future")
	}
	if expires != nil {
		at := estate.At(*expires)
		i.Expires = &at
	}
	if pretend(c) {
		i.ID = "0"
		return writeJSON(w, http.StatusOK, i)
	}
	set, err := c.tenant.setIndicator(i, c.app, "AadApp")
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, set)
}

func deleteIndicator(w http.ResponseWriter, c call) error {
	if pretend(c) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err := c.tenant.deleteIndicator(c.PathValue("id"), c.app); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxIndicators is how many a tenant may have.
const maxIndicators = 15_000

func (t *Tenant) setIndicator(i Indicator, by, source string) (Indicator, error) {
	now, unlock := t.lock()
	defer unlock()
	i.Updated, i.UpdatedBy = estate.At(now), by
	if i.RbacGroupNames == nil {
		i.RbacGroupNames = []string{}
	}
	at := slices.IndexFunc(t.indicators, func(o Indicator) bool { return o.Type == i.Type && strings.EqualFold(o.Value, i.Value) })
	switch {
	case at >= 0:
		old := t.indicators[at]
		i.ID, i.Created, i.CreatedBy, i.SourceType = old.ID, old.Created, old.CreatedBy, old.SourceType
		t.indicators[at] = i
	case len(t.indicators)+t.indicatorsBeside >= maxIndicators:
		return Indicator{}, badRequest("BadRequest", "Maximum number of indicators reached. The limit is %d per tenant", maxIndicators)
	default:
		t.serial++
		i.ID, i.Created, i.CreatedBy, i.SourceType = strconv.Itoa(int(t.serial)+990), estate.At(now), by, source
		t.indicators = append(t.indicators, i)
	}
	t.effects = append(t.effects, Effect{At: now, Kind: EffectIndicator, App: by, Portal: source == "User", ActionID: i.ID, Comment: i.Description, Detail: i.Action + " " + i.Value})
	return i, nil
}

func (t *Tenant) deleteIndicator(id, by string) error {
	now, unlock := t.lock()
	defer unlock()
	at := slices.IndexFunc(t.indicators, func(i Indicator) bool { return i.ID == id })
	if at < 0 {
		return notFound("Indicator", id)
	}
	t.effects = append(t.effects, Effect{At: now, Kind: EffectUnindicator, App: by, ActionID: id, Detail: t.indicators[at].Value})
	t.indicators = slices.Delete(t.indicators, at, at+1)
	return nil
}

// Indicators returns those in force. Expired ones are gone.
func (t *Tenant) Indicators() []Indicator {
	now, unlock := t.lock()
	defer unlock()
	t.indicators = slices.DeleteFunc(t.indicators, func(i Indicator) bool { return i.Expires != nil && !i.Expires.After(now) })
	return slices.Clone(t.indicators)
}

// PortalIndicator sets an indicator as a person does in the portal.
func (t *Tenant) PortalIndicator(kind, value, action, person, description string) (Indicator, error) {
	return t.setIndicator(Indicator{Type: kind, Value: value, Action: action, Title: value, Description: description}, person, "User")
}

// FillIndicators makes the tenant have n more indicators than it lists, for its
// limit alone.
func (t *Tenant) FillIndicators(n int) {
	_, unlock := t.lock()
	defer unlock()
	t.indicatorsBeside = n
}

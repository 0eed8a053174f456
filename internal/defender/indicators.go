package defender

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// IndicatorType is what an indicator is about.
type IndicatorType string

// The indicator types.
const (
	IndicatorSHA1        IndicatorType = "FileSha1"
	IndicatorSHA256      IndicatorType = "FileSha256"
	IndicatorMD5         IndicatorType = "FileMd5"
	IndicatorCertificate IndicatorType = "CertificateThumbprint"
	IndicatorIP          IndicatorType = "IpAddress"
	IndicatorDomain      IndicatorType = "DomainName"
	IndicatorURL         IndicatorType = "Url"
)

// IndicatorAction is what Defender does where it meets an indicator.
type IndicatorAction string

// The indicator actions that are set from chat. Others are passed through.
const (
	IndicatorBlock IndicatorAction = "Block"
	IndicatorWarn  IndicatorAction = "Warn"
	IndicatorAudit IndicatorAction = "Audit"
)

// MaxIndicators is how many active indicators a tenant may have.
const MaxIndicators = 15_000

// Indicator is something that Defender blocks, warns of, audits or allows wherever
// it meets it. Every text in it may come from outside.
type Indicator struct {
	ID          string
	Tenant      TenantID
	Type        IndicatorType
	Value       string
	Action      IndicatorAction
	Title       string
	Description string
	Severity    string
	CreatedBy   string // a person, or the ID of an application
	CreatorID   string // the same, never as a name
	UpdatedBy   string // the ID of who changed it last; "" where Defender does not say
	Source      string // User, AadApp
	Created     time.Time
	Updated     time.Time
	Expires     time.Time // zero: never
	Groups      []string  // device groups it is for; none = all
}

type wireIndicator struct {
	ID          text    `json:"id"`
	Type        text    `json:"indicatorType"`
	Value       text    `json:"indicatorValue"`
	Action      text    `json:"action"`
	Title       text    `json:"title"`
	Description text    `json:"description"`
	Severity    text    `json:"severity"`
	CreatedBy   text    `json:"createdBy"`
	UpdatedBy   text    `json:"lastUpdatedBy"`
	DisplayName text    `json:"createdByDisplayName"`
	Source      text    `json:"sourceType"`
	Created     instant `json:"creationTimeDateTimeUtc"`
	Updated     instant `json:"lastUpdateTime"`
	Expires     instant `json:"expirationTime"`
	Groups      texts   `json:"rbacGroupNames"`
}

func (c *core) indicator(w wireIndicator) (string, Indicator) {
	by := string(w.DisplayName)
	if by == "" {
		by = string(w.CreatedBy)
	}
	return string(w.ID), Indicator{
		ID: string(w.ID), Tenant: c.tenant, Value: string(w.Value),
		Type:   canonical(w.Type, IndicatorSHA1, IndicatorSHA256, IndicatorMD5, IndicatorCertificate, IndicatorIP, IndicatorDomain, IndicatorURL),
		Action: canonical(w.Action, IndicatorBlock, IndicatorWarn, IndicatorAudit, "Allowed", "BlockAndRemediate"),
		Title:  string(w.Title), Description: string(w.Description), Severity: string(w.Severity),
		CreatedBy: by, CreatorID: string(w.CreatedBy), UpdatedBy: string(w.UpdatedBy), Source: string(w.Source),
		Created: time.Time(w.Created), Updated: time.Time(w.Updated), Expires: time.Time(w.Expires), Groups: w.Groups,
	}
}

// IndicatorReader lists indicators. Defender has no permission to read them that
// does not also allow to set them, so it reads with the acting application, and
// can do nothing but read.
type IndicatorReader struct{ client *Client }

// Indicators is a's view for whoever only has to read indicators.
func (a *Actor) Indicators(lane Lane) IndicatorReader {
	shared := *a.client.core
	shared.tokens = map[api]*tokens{apiDefender: a.tokens}
	return IndicatorReader{client: &Client{core: &shared, lane: lane, fresh: true}}
}

// Indicators lists those of one value, or all when it is empty.
func (r IndicatorReader) Indicators(ctx context.Context, value string) iter.Seq2[Indicator, error] {
	l := listCall{op: "list indicators", family: familyIndicators, path: "/api/indicators", pageSize: 10_000}
	if value != "" {
		l.filter = eq(indicatorValue, textLiteral(value))
	}
	return list(ctx, r.client, l, r.client.indicator)
}

// IndicatorInput is an indicator to be set.
type IndicatorInput struct {
	Type   IndicatorType
	Value  string
	Action IndicatorAction
	Title  string
	// Description is what it is found by again and all that Defender knows about the
	// people behind it: at most 1,000 characters.
	Description string
	Expires     time.Time // zero: never
}

type indicatorBody struct {
	Value       string `json:"indicatorValue"`
	Type        string `json:"indicatorType"`
	Action      string `json:"action"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Severity    string `json:"severity"`
	Application string `json:"application"`
	Expires     string `json:"expirationTime,omitempty"`
	Alert       bool   `json:"generateAlert"`
}

// SetIndicator creates the indicator of a value, or changes the one there is.
func (a *Actor) SetIndicator(ctx context.Context, in IndicatorInput) (Indicator, error) {
	const op = "set indicator"
	if in.Value == "" || in.Title == "" || strings.TrimSpace(in.Description) == "" || utf8.RuneCountInString(in.Description) > maxComment {
		return Indicator{}, fmt.Errorf("%s: %w: value, title and a description of at most %d characters are required", op, ErrInvalid, maxComment)
	}
	b := indicatorBody{
		Value: in.Value, Type: string(in.Type), Action: string(in.Action), Title: in.Title, Description: in.Description,
		// Defender demands alerts with Audit; somebody who asks for the others wants
		// to see them take effect.
		Severity: "Medium", Application: "mdebot", Alert: true,
	}
	if !in.Expires.IsZero() {
		b.Expires = in.Expires.UTC().Format(time.RFC3339)
	}
	body, err := a.order(ctx, call{op: op, family: familyActions, method: http.MethodPost, path: "/api/indicators", body: b}, PermissionIndicators)
	if err != nil {
		return Indicator{}, err
	}
	var w wireIndicator
	if err := decode(body, &w); err != nil {
		return Indicator{}, fmt.Errorf("%s: %w: %w", op, ErrUnclear, err)
	}
	_, got := a.client.indicator(w)
	for _, f := range []struct{ name, want, got string }{
		{"indicator ID", got.ID, got.ID}, {"value", in.Value, got.Value}, {"type", string(in.Type), string(got.Type)}, {"action", string(in.Action), string(got.Action)},
	} {
		if f.got == "" || !strings.EqualFold(f.want, f.got) {
			return got, &MismatchError{Op: op, Field: f.name, Want: f.want, Got: f.got, kind: ErrUnclear}
		}
	}
	return got, nil
}

var indicatorIDPattern = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// DeleteIndicator takes an indicator away. One that is gone already is ErrNotFound.
func (a *Actor) DeleteIndicator(ctx context.Context, id string) error {
	const op = "delete indicator"
	if !indicatorIDPattern.MatchString(id) {
		return fmt.Errorf("%s: %w: an indicator ID has letters, digits and - alone", op, ErrInvalid)
	}
	_, err := a.order(ctx, call{op: op, family: familyActions, method: http.MethodDelete, path: "/api/indicators/" + id}, PermissionIndicators)
	return err
}

// order sends one call that changes something, if the token permits it.
func (a *Actor) order(ctx context.Context, c call, permission string) ([]byte, error) {
	token, err := a.tokens.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.op, err)
	}
	if !token.claims.has(permission) {
		a.tokens.age(token)
		return nil, missingPermission(c.op, permission)
	}
	req, err := c.request(ctx, a.client.base)
	if err != nil {
		return nil, err
	}
	if err := a.client.quota.admit(a.client.now(), a.client.lane, c.op, c.family); err != nil {
		a.client.observe(c.op, http.StatusTooManyRequests)
		return nil, err
	}
	defer a.client.cache.forget()
	return a.post(ctx, c, req, token)
}

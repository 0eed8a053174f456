package defender

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// File is what Defender knows about a file anywhere.
type File struct {
	SHA1, SHA256       string
	GlobalPrevalence   int64
	GlobalFirst        time.Time
	GlobalLast         time.Time
	Size               int64
	Type               string
	Publisher, Product string
	Signer, Issuer     string
	ValidCertificate   bool
	Determination      string // Unknown, Clean, Pua, Malware, …
	DeterminationName  string // of the threat, or ""
}

// Sightings is how often something was seen in the tenant. A prevalence of 0
// means not at all in the time asked about.
type Sightings struct {
	Prevalence  int64 // machines
	First, Last time.Time
	FileNames   []string // of files: the most frequent
}

// SightingsWithin is how far back prevalence is counted, the most that Defender
// allows.
const SightingsWithin = 30 * 24 * time.Hour

var (
	sha1Pattern = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)
	hashPattern = regexp.MustCompile(`^([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$`)
	cvePattern  = regexp.MustCompile(`^(?i)CVE-[0-9]{4}-[0-9]{4,}$`)
	// domainPattern admits no separator of a path.
	domainPattern = regexp.MustCompile(`^[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)+$`)
	// accountPattern is an account name without its domain. One of dots alone would
	// lead to another place in a path.
	accountPattern  = regexp.MustCompile(`^[^\\/:*?"<>|@\x00-\x1f]*[^\\/:*?"<>|@\x00-\x1f.]$`)
	softwarePattern = regexp.MustCompile(`^[^\\/?#\x00-\x1f]+$`)
)

type wireFile struct {
	SHA1              text    `json:"sha1"`
	SHA256            text    `json:"sha256"`
	GlobalPrevalence  integer `json:"globalPrevalence"`
	GlobalFirst       instant `json:"globalFirstObserved"`
	GlobalLast        instant `json:"globalLastObserved"`
	Size              integer `json:"size"`
	Type              text    `json:"fileType"`
	Publisher         text    `json:"filePublisher"`
	Product           text    `json:"fileProductName"`
	Signer            text    `json:"signer"`
	Issuer            text    `json:"issuer"`
	Valid             boolean `json:"isValidCertificate"`
	Determination     text    `json:"determinationType"`
	DeterminationName text    `json:"determinationValue"`
}

func (w wireFile) file() (string, File) {
	return string(w.SHA1) + string(w.SHA256), File{
		SHA1: strings.ToLower(string(w.SHA1)), SHA256: strings.ToLower(string(w.SHA256)),
		GlobalPrevalence: int64(w.GlobalPrevalence), GlobalFirst: time.Time(w.GlobalFirst), GlobalLast: time.Time(w.GlobalLast),
		Size: int64(w.Size), Type: string(w.Type), Publisher: string(w.Publisher), Product: string(w.Product),
		Signer: string(w.Signer), Issuer: string(w.Issuer), ValidCertificate: bool(w.Valid),
		Determination: string(w.Determination), DeterminationName: string(w.DeterminationName),
	}
}

// File reads what is known about a file by its SHA-1 or SHA-256.
func (c *Client) File(ctx context.Context, hash string) (File, error) {
	const op = "get file"
	if !hashPattern.MatchString(hash) {
		return File{}, fmt.Errorf("%s: %w: give a SHA-1 or SHA-256", op, ErrInvalid)
	}
	return get(ctx, c, call{op: op, family: familyEnrichment, path: "/api/files/" + hash}, wireFile.file)
}

type wireSightings struct {
	SHA1       text    `json:"sha1"`
	IP         text    `json:"ipAddress"`
	Host       text    `json:"host"`
	Prevalence integer `json:"organizationPrevalence"`
	Same       integer `json:"orgPrevalence"` // as a text, in some answers instead
	First      instant `json:"orgFirstSeen"`
	Last       instant `json:"orgLastSeen"`
	Names      texts   `json:"topFileNames"`
}

func (w wireSightings) sightings() (string, Sightings) {
	return string(w.SHA1) + string(w.IP) + string(w.Host), Sightings{
		Prevalence: int64(max(w.Prevalence, w.Same)), First: time.Time(w.First), Last: time.Time(w.Last), FileNames: w.Names,
	}
}

func (c *Client) sightings(ctx context.Context, op, path string) (Sightings, error) {
	hours := strconv.Itoa(int(SightingsWithin / time.Hour))
	return get(ctx, c, call{
		op: op, family: familyEnrichment, path: path + "/stats", query: url.Values{"lookBackHours": {hours}},
	}, wireSightings.sightings)
}

// FileSightings counts a file by its SHA-1 or SHA-256.
func (c *Client) FileSightings(ctx context.Context, hash string) (Sightings, error) {
	const op = "get file statistics"
	if !hashPattern.MatchString(hash) {
		return Sightings{}, fmt.Errorf("%s: %w: give a SHA-1 or SHA-256", op, ErrInvalid)
	}
	return c.sightings(ctx, op, "/api/files/"+hash)
}

// IPSightings counts the machines that connected to an address.
func (c *Client) IPSightings(ctx context.Context, ip string) (Sightings, error) {
	const op = "get IP statistics"
	path, ok := ipPath(ip)
	if !ok {
		return Sightings{}, fmt.Errorf("%s: %w: give an IP address", op, ErrInvalid)
	}
	return c.sightings(ctx, op, path)
}

func ipPath(ip string) (path string, ok bool) {
	at, err := netip.ParseAddr(ip)
	return "/api/ips/" + url.PathEscape(at.String()), err == nil && at.Zone() == ""
}

// DomainSightings counts the machines that talked to a host name.
func (c *Client) DomainSightings(ctx context.Context, host string) (Sightings, error) {
	const op = "get domain statistics"
	if !domainPattern.MatchString(host) {
		return Sightings{}, fmt.Errorf("%s: %w: give a host name", op, ErrInvalid)
	}
	return c.sightings(ctx, op, "/api/domains/"+host)
}

// Observable is what alerts and machines can be related to.
type Observable struct {
	Kind  ObservableKind
	Value string
}

// ObservableKind is the collection that an observable is in.
type ObservableKind string

// The kinds of observable.
const (
	ObservableFile   ObservableKind = "files" // by SHA-1 alone
	ObservableIP     ObservableKind = "ips"
	ObservableDomain ObservableKind = "domains"
)

func (o Observable) path() (string, bool) {
	switch o.Kind {
	case ObservableFile:
		return "/api/files/" + o.Value, sha1Pattern.MatchString(o.Value)
	case ObservableIP:
		return ipPath(o.Value)
	case ObservableDomain:
		return "/api/domains/" + o.Value, domainPattern.MatchString(o.Value)
	}
	return "", false
}

// RelatedAlerts lists the alerts in which something was seen, the newest first.
func (c *Client) RelatedAlerts(ctx context.Context, o Observable) ([]Alert, error) {
	const op = "list related alerts"
	path, ok := o.path()
	if !ok {
		return nil, fmt.Errorf("%s: %w: it cannot be asked for by this", op, ErrInvalid)
	}
	alerts, err := collect(list(ctx, c, listCall{op: op, family: familyAlerts, path: path + "/alerts", plain: true}, c.alert))
	slices.SortStableFunc(alerts, func(a, b Alert) int { return b.Created.Compare(a.Created) })
	return alerts, err
}

// RelatedMachines lists the machines on which a file or host name was seen. For
// an address Defender has no such list.
func (c *Client) RelatedMachines(ctx context.Context, o Observable) ([]Machine, error) {
	const op = "list related machines"
	path, ok := o.path()
	if !ok || o.Kind == ObservableIP {
		return nil, fmt.Errorf("%s: %w: it cannot be asked for by this", op, ErrInvalid)
	}
	return collect(list(ctx, c, listCall{op: op, family: familyMachines, path: path + "/machines", plain: true}, c.machine))
}

// UserMachines lists the machines an account was seen on. The account is a name
// without its domain.
func (c *Client) UserMachines(ctx context.Context, account string) ([]Machine, error) {
	const op = "list machines of user"
	if utf8.RuneCountInString(account) > maxAccount || !accountPattern.MatchString(account) {
		return nil, fmt.Errorf("%s: %w: give an account name", op, ErrInvalid)
	}
	return collect(list(ctx, c, listCall{op: op, family: familyUsers, path: "/api/users/" + url.PathEscape(account) + "/machines", plain: true}, c.machine))
}

// UserAlerts lists the alerts of an account, the newest first.
func (c *Client) UserAlerts(ctx context.Context, account string) ([]Alert, error) {
	const op = "list alerts of user"
	if utf8.RuneCountInString(account) > maxAccount || !accountPattern.MatchString(account) {
		return nil, fmt.Errorf("%s: %w: give an account name", op, ErrInvalid)
	}
	alerts, err := collect(list(ctx, c, listCall{op: op, family: familyUsers, path: "/api/users/" + url.PathEscape(account) + "/alerts", plain: true}, c.alert))
	slices.SortStableFunc(alerts, func(a, b Alert) int { return b.Created.Compare(a.Created) })
	return alerts, err
}

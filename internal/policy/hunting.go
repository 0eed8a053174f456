package policy

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/mdebot/mdebot/internal/identity"
)

// DeviceTables is the family of tables that everybody with the role hunter may
// read. Other families hold what people write and where they sign in, and are
// granted.
const DeviceTables = "device"

// families are the tables of advanced hunting by what they are about. A table
// that Microsoft adds is unknown, and denied, until it is named or listed here.
var families = map[string][]string{
	DeviceTables: strings.Fields(`DeviceBaselineComplianceAssessment DeviceBaselineComplianceAssessmentKB DeviceBaselineComplianceProfiles
		DeviceEvents DeviceFileCertificateInfo DeviceFileEvents DeviceImageLoadEvents DeviceInfo DeviceLogonEvents
		DeviceNetworkEvents DeviceNetworkInfo DeviceProcessEvents DeviceRegistryEvents DeviceTvmBrowserExtensions
		DeviceTvmBrowserExtensionsKB DeviceTvmCertificateInfo DeviceTvmHardwareFirmware DeviceTvmInfoGathering
		DeviceTvmInfoGatheringKB DeviceTvmSecureConfigurationAssessment DeviceTvmSecureConfigurationAssessmentKB
		DeviceTvmSoftwareEvidenceBeta DeviceTvmSoftwareInventory DeviceTvmSoftwareVulnerabilities
		DeviceTvmSoftwareVulnerabilitiesKB`),
	"alert": strings.Fields(`AlertEvidence AlertInfo BehaviorEntities BehaviorInfo`),
	"identity": strings.Fields(`AADSignInEventsBeta AADSpnSignInEventsBeta EntraIdSignInEvents EntraIdSpnSignInEvents
		IdentityAccountInfo IdentityDirectoryEvents IdentityEvents IdentityInfo IdentityLogonEvents IdentityQueryEvents`),
	"email": strings.Fields(`EmailAttachmentInfo EmailEvents EmailPostDeliveryEvents EmailUrlInfo MessageEvents
		MessagePostDeliveryEvents MessageUrlInfo UrlClickEvents`),
	"cloud":    strings.Fields(`CloudAppEvents CloudAuditEvents CloudProcessEvents CloudStorageAggregatedEvents OAuthAppInfo`),
	"exposure": strings.Fields(`ExposureGraphEdges ExposureGraphNodes`),
}

// HuntGrant lets people hunt in more than the device tables.
type HuntGrant struct {
	// For names groups.
	For []string
	// Tables are families (device, alert, identity, email, cloud, exposure) or
	// tables by their exact name.
	Tables []string
}

// HuntTables is what one person may read by hunting. The zero value is nothing.
type HuntTables struct{ granted []string }

// Allows reports whether table may be read. Names are compared exactly, as KQL
// does.
func (t HuntTables) Allows(table string) bool { return slices.Contains(t.granted, table) }

// KnownTable is the catalogued table that name is apart from letter case, or "".
func KnownTable(name string) string {
	for _, tables := range families {
		for _, t := range tables {
			if strings.EqualFold(t, name) {
				return t
			}
		}
	}
	return ""
}

// HuntTables lists what person may read. The error says which memberships could
// not be read; they count as none.
func (p *Policy) HuntTables(ctx context.Context, source GroupSource, person identity.Person) (HuntTables, error) {
	current, known := p.book.Person(person.ID)
	if !known || !current.Has(identity.Hunter) {
		return HuntTables{}, nil
	}
	t := HuntTables{granted: slices.Clone(families[DeviceTables])}
	var faults []error
	for _, g := range p.hunting {
		granted := false
		for _, name := range g.For {
			in, err := p.inGroup(ctx, source, name, current)
			granted = granted || in
			if err != nil {
				faults = append(faults, err)
			}
		}
		for _, name := range g.Tables {
			if family, ok := families[name]; granted && ok {
				t.granted = append(t.granted, family...)
			} else if granted {
				t.granted = append(t.granted, name)
			}
		}
	}
	return t, errors.Join(faults...)
}

const maxTableName = 100

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (f *fileReader) huntGrant(n ast.Node) {
	g := HuntGrant{}
	line := lineOf(n)
	f.object(n, "hunting", keys{
		"for": func(n ast.Node) {
			f.list(n, "for", func(item ast.Node) {
				if group, ok := f.text(item, "for"); ok {
					g.For = append(g.For, group)
					f.groupUses = append(f.groupUses, f.use(group, item))
				}
			})
		},
		"tables": func(n ast.Node) {
			f.list(n, "tables", func(item ast.Node) {
				table, ok := f.text(item, "tables")
				switch _, family := families[table]; {
				case !ok:
				case family || KnownTable(table) == table:
					g.Tables = append(g.Tables, table)
				case len(table) > maxTableName || !tableName.MatchString(table):
					f.fault(lineOf(item), "tables: %q is neither a family (alert, cloud, device, email, exposure, identity) nor the name of a table", table)
				case KnownTable(table) != "":
					f.fault(lineOf(item), "tables: %q is written %s", table, KnownTable(table))
				default:
					f.warnAt(lineOf(item), "hunting: table %s is not one that Microsoft documents; it is granted as written", table)
					g.Tables = append(g.Tables, table)
				}
			})
		},
	})
	for _, key := range []string{"for", "tables"} {
		if !has(n, key) || empty(n, key) {
			f.fault(line, "hunting: %q is missing or empty", key)
		}
	}
	f.policy.hunting = append(f.policy.hunting, g)
}

package commands

import (
	"fmt"
	"slices"
	"strings"
)

// counterpart is what the widest integration of Defender has, and what does the
// same here.
type counterpart struct {
	theirs []string // without "microsoft-atp-"
	ours   string   // names of Specs with commas, or ""
	note   string
}

// counterparts are the commands of Cortex XSOAR's pack for Defender for Endpoint,
// the 57 that its README lists and those that its integration has beside.
var counterparts = []counterpart{
	{[]string{"isolate-machine"}, "isolate, contain", "contain is its type UnManagedDevice; the API does not say how that ends, so it is ended in the portal"},
	{[]string{"unisolate-machine"}, "release", ""},
	{[]string{"restrict-app-execution"}, "restrict", ""},
	{[]string{"remove-app-restriction"}, "unrestrict", ""},
	{[]string{"run-antivirus-scan"}, "scan", ""},
	{[]string{"stop-and-quarantine-file"}, "quarantine", ""},
	{[]string{"collect-investigation-package"}, "package", ""},
	{[]string{"get-investigation-package-sas-uri", "request-and-download-investigation-package"}, "download", "the link goes to the requester alone; mdebot never holds the package"},
	{[]string{"list-machine-actions-details"}, "actions, action, isolated", "also those started in the portal, told apart"},
	{[]string{"live-response-cancel-action"}, "cancel", "of every kind but live response and offboarding"},
	{[]string{"offboard-machine"}, "offboard", "left out: the machine leaves Defender, and with that everything that could be followed or undone"},
	{[]string{"live-response-run-script", "live-response-get-file", "live-response-put-file", "live-response-result"}, "live", "left out: a session runs any command, and approvers could not see what they approve"},
	{[]string{"get-machines", "endpoint"}, "machines", ""},
	{[]string{"get-machine-details", "get-machine-users", "get-machine-alerts"}, "machine", "one card"},
	{[]string{"add-remove-machine-tag"}, "tag", ""},
	{[]string{"get-user-machines", "get-user-alerts"}, "user", ""},
	{[]string{"list-alerts"}, "alerts", ""},
	{[]string{"get-alert-by-id", "get-alert-related-user", "get-alert-related-files", "get-alert-related-ips", "get-alert-related-domains"}, "alert", "one card with its evidence"},
	{[]string{"update-alert"}, "ack, assign, resolve, comment", ""},
	{[]string{"create-alert"}, "", "left out: an alert is Defender's word, not a responder's"},
	{[]string{"start-investigation", "list-investigations"}, "", "left out: Microsoft ends this API"},
	{[]string{"advanced-hunting"}, "hunt", ""},
	{[]string{
		"advanced-hunting-lateral-movement-evidence", "advanced-hunting-persistence-evidence", "advanced-hunting-process-details",
		"advanced-hunting-network-connections", "advanced-hunting-cover-up", "advanced-hunting-file-origin",
		"advanced-hunting-privilege-escalation", "advanced-hunting-tampering",
	}, "hunt", "each is a query; written out, it shows what it reads"},
	{[]string{"sc-indicator-list", "sc-indicator-get-by-id", "indicator-list", "indicator-get-by-id"}, "indicators", ""},
	{[]string{
		"sc-indicator-create", "sc-indicator-update", "indicator-batch-update", "indicator-create-network", "indicator-create-file", "indicator-update-network",
	}, "block", "up to 25 in one request; the same value again changes it"},
	{[]string{"sc-indicator-delete", "indicator-delete"}, "unblock", ""},
	{[]string{
		"get-file-info", "get-file-statistics", "get-domain-statistics", "get-ip-statistics", "get-file-related-machines", "get-domain-machines",
		"get-file-alerts", "get-domain-alerts", "get-ip-alerts",
	}, "lookup", "one answer for all"},
	{[]string{"list-machines-by-vulnerability", "list-vulnerabilities", "list-vulnerabilities-by-machine", "list-vulnerabilities-by-software"}, "cve", "by its ID; lists of all are the portal's"},
	{[]string{"list-software", "list-software-version-distribution", "list-machines-by-software"}, "software", ""},
	{[]string{"list-missing-kb-by-software"}, "", "left out: patching is planned elsewhere"},
	{[]string{"test"}, "status, whoami", ""},
	{[]string{"generate-login-url"}, "", "not needed: mdebot signs in as an application alone"},
}

// Comparison is docs/commands.md: every command, and XSOAR's beside ours.
func Comparison() string {
	var b strings.Builder
	b.WriteString("# Commands\n\nMade from the commands themselves by `make generate`.\n\n")
	b.WriteString(Markdown())
	b.WriteString("\n## Beside Cortex XSOAR\n\n" +
		"The commands of XSOAR's pack for Defender for Endpoint, the widest integration there is, each without `microsoft-atp-`.\n\n" +
		"| XSOAR | mdebot | Second person | |\n|---|---|---|---|\n")
	specs := Specs()
	for _, c := range counterparts {
		ours, second := "–", "–"
		var named []string
		for _, name := range strings.Split(c.ours, ", ") {
			i := slices.IndexFunc(specs, func(s Spec) bool { return s.Name == name })
			if i < 0 {
				continue
			}
			named = append(named, "`/mde "+name+"`")
			switch {
			case specs[i].SecondPerson:
				second = "yes"
			case specs[i].SecondByRule:
				second = "by rule"
			}
		}
		if len(named) > 0 {
			ours = strings.Join(named, ", ")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", strings.Join(c.theirs, "`, `"), ours, second, c.note)
	}
	b.WriteString("\nWhat XSOAR has not: `/mde requests`, `approve`, `deny`, `withdraw`, `settle`, `freeze` and `unfreeze`, which are the two-person rule itself.\n")
	return b.String()
}

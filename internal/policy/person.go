package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mdebot/mdebot/internal/identity"
)

// PersonYAML is the entry that would make account a person: the lines to add
// under `people:`. name comes from outside and cannot add lines of its own. A
// Slack account does not tell the object ID, so it is left to fill in, and the
// file is refused until it is.
func PersonYAML(account identity.Principal, name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if utf8.RuneCountInString(name) > 80 {
		name = string([]rune(name)[:80])
	}
	var b strings.Builder
	if account.Platform == identity.Teams {
		fmt.Fprintf(&b, "  - person: %s\n", scalar(account.Key()))
	} else {
		b.WriteString("  - person: <object ID of this person in Entra>\n")
	}
	fmt.Fprintf(&b, "    name: %s\n", strconv.Quote(name))
	if account.Platform == identity.Slack {
		fmt.Fprintf(&b, "    slack: [%s]\n", scalar(account.Key()))
	}
	b.WriteString("    roles: [viewer]\n")
	return b.String()
}

// scalar quotes s unless it is an identifier that YAML reads as itself.
func scalar(s string) string {
	if _, err := identity.ParsePersonID(s); err == nil {
		return s
	}
	if _, err := identity.ParseSlackAccount(s); err == nil {
		return s
	}
	return strconv.Quote(s)
}

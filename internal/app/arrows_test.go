package app

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows is the package map of docs/architecture.md: what each package may
// import of this module, tests aside.
var arrows = map[string][]string{
	"cmd/mdebot":              {"app"},
	"tenant":                  {},
	"failpoint":               {},
	"chaostest":               {},
	"wire":                    {},
	"csv":                     {},
	"fault":                   {},
	"seal":                    {"durable", "failpoint"},
	"anchor":                  {"audit", "chat", "failpoint", "fault", "identity", "durable", "tenant"},
	"identity":                {},
	"directory":               {"defender", "policy", "identity"},
	"links":                   {"chat", "failpoint", "fault", "policy", "audit", "identity", "durable", "seal", "tenant"},
	"durable":                 {"tenant"},
	"chat":                    {"identity"},
	"audit":                   {"identity", "durable", "tenant"},
	"policy":                  {"identity", "tenant"},
	"dial":                    {},
	"entra":                   {},
	"defender":                {"dial", "entra", "tenant"},
	"approvals":               {"policy", "failpoint", "fault", "audit", "identity", "durable", "tenant"},
	"approvals/approvalstest": {"approvals", "policy", "audit", "identity", "durable", "tenant", "store", "store/storetest"},
	"containment":             {"approvals", "failpoint", "fault", "defender", "audit", "durable", "policy", "identity", "tenant"},
	"cards":                   {"chat", "approvals", "defender", "policy", "identity", "tenant"},
	"commands":                {"cards", "chat", "csv", "approvals", "links", "defender", "policy", "audit", "identity", "tenant"},
	"pager":                   {"chat"},
	"notify":                  {"failpoint", "pager", "cards", "chat", "csv", "approvals", "defender", "policy", "seal", "durable", "identity", "tenant"},
	"slackbot":                {"chat", "identity", "wire"},
	"teamsbot":                {"chat", "entra", "identity", "wire"},
	"store":                   {"durable", "failpoint", "tenant"},
	"store/storetest":         {"store", "durable", "sandbox/freeport"},
	"sandbox/fault":           {},
	"sandbox/freeport":        {},
	"sandbox/estate":          {},
	"sandbox/entrasim":        {"sandbox/fault"},
	"sandbox/defendersim":     {"sandbox/fault", "sandbox/estate", "sandbox/entrasim"},
	"sandbox/slacksim":        {"sandbox/fault"},
	"sandbox/teamssim":        {"sandbox/fault"},
	"sandbox/pagersim":        {"sandbox/fault"},
	"sandbox":                 {"sandbox/pagersim", "sandbox/fault", "sandbox/estate", "sandbox/entrasim", "sandbox/defendersim", "sandbox/slacksim", "sandbox/teamssim"},
	"app":                     nil, // sees them all
}

func TestPackageArrows(t *testing.T) {
	t.Parallel()
	const module = "github.com/mdebot/mdebot/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		name := short(p.ImportPath, module)
		allowed, known := arrows[name]
		if !known {
			t.Errorf("package %s is not in the package map: add it here and to docs/architecture.md", name)
			continue
		}
		seen++
		if name == "app" {
			continue
		}
		for _, i := range p.Imports {
			if strings.HasPrefix(i, module) && !slices.Contains(allowed, short(i, module)) {
				t.Errorf("%s imports %s, which the package map does not allow", name, short(i, module))
			}
		}
	}
	if seen != len(arrows) {
		t.Errorf("found %d packages, want the %d of the package map", seen, len(arrows))
	}
}

func short(path, module string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "internal/")
}

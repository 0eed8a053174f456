package policy

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	section   = regexp.MustCompile(`(?m)^([a-z]+):`)
	anyKey    = regexp.MustCompile(`(?m)^[ -]*([a-z][a-z0-9_]+):`)
)

func readDoc(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// sections splits a file by its top-level keys.
func sections(text string) map[string]string {
	parts := make(map[string]string)
	starts := section.FindAllStringSubmatchIndex(text, -1)
	for i, s := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		parts[text[s[2]:s[3]]] = text[s[0]:end]
	}
	return parts
}

// TestDocs_examplesLoad reads each example of the manual as somebody would use
// it: in the sample file, in place of the section that it shows.
func TestDocs_examplesLoad(t *testing.T) {
	t.Parallel()
	blocks := yamlBlock.FindAllStringSubmatch(readDoc(t), -1)
	if len(blocks) < 6 {
		t.Fatalf("found %d YAML examples in docs/configuration.md, want one for each section", len(blocks))
	}
	for _, block := range blocks {
		file := sections(Example())
		shown := sections(block[1])
		// An example of people does not list everybody that the sample's groups name.
		if _, ok := shown["people"]; ok {
			delete(file, "groups")
			delete(file, "approvals")
			delete(file, "hunting")
		}
		maps.Copy(file, shown)
		text := strings.Join(slices.Collect(maps.Values(file)), "\n")
		if _, err := Parse("mdebot.yaml", []byte(text), Options{HomeTenant: testTenant}); err != nil {
			t.Errorf("example does not load: %v\n%s", err, block[1])
		}
	}
}

func TestDocs_explainEveryKeyOfTheExample(t *testing.T) {
	t.Parallel()
	doc := readDoc(t)
	for _, key := range anyKey.FindAllStringSubmatch(Example(), -1) {
		if file := sections(Example()); file[key[1]] != "" || file["groups"] != "" && strings.Contains(file["groups"], "\n  "+key[1]+":") {
			continue // sections have headings, group names are the reader's own
		}
		if !strings.Contains(doc, "`"+key[1]+"`") && !strings.Contains(doc, key[1]+":") {
			t.Errorf("docs/configuration.md does not explain %q", key[1])
		}
	}
}

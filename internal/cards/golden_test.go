package cards

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mdebot/mdebot/internal/chat"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

// checkGolden compares m with testdata/<name>.json.
func checkGolden(t *testing.T, name string, m chat.Message) {
	t.Helper()
	got := readable(t, m)
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run go test ./internal/cards -update", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs from the golden file (-want +got):\n%s", name, diff)
	}
}

// readable is m as JSON with its empty fields left out and each Text as one
// string, in which the kind of every span can still be told.
func readable(t *testing.T, m chat.Message) []byte {
	t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(condense(v)); err != nil {
		t.Fatal(err)
	}
	// Editors and diffs would obey a raw direction override.
	return bytes.ReplaceAll(out.Bytes(), []byte("\u202e"), []byte(`\u202e`))
}

func condense(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, field := range v {
			field = condense(field)
			v[k] = field
			if field == nil || field == "" || field == false || field == json.Number("0") {
				delete(v, k)
			}
		}
	case []any:
		if len(v) > 0 {
			if first, ok := v[0].(map[string]any); ok && first["Kind"] != nil && first["Mention"] != nil {
				return spans(v)
			}
		}
		for i := range v {
			v[i] = condense(v[i])
		}
	}
	return v
}

func spans(all []any) string {
	var b strings.Builder
	for _, s := range all {
		span := s.(map[string]any)
		value := span["Value"].(string)
		switch kind, _ := span["Kind"].(json.Number).Int64(); chat.SpanKind(kind) {
		case chat.SpanPlain:
			b.WriteString(value)
		case chat.SpanBold:
			fmt.Fprintf(&b, "*%s*", value)
		case chat.SpanUntrusted:
			fmt.Fprintf(&b, "«%s»", value)
		case chat.SpanCode:
			fmt.Fprintf(&b, "`%s`", value)
		case chat.SpanLink:
			fmt.Fprintf(&b, "[%s](%s)", value, span["URL"])
		case chat.SpanTime:
			fmt.Fprintf(&b, "<%s>", span["At"])
		case chat.SpanMention:
			fmt.Fprintf(&b, "@%v", span["Mention"])
		}
	}
	return b.String()
}

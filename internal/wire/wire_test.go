package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestStrictJSON(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want error
	}{
		{"an object", `{"a":1,"b":[{"a":1},{"a":2}],"c":{"a":"a"}}`, nil},
		{"a bare value", `"text"`, nil},
		{"a value equal to a key", `{"a":"a","b":"a"}`, nil},
		{"the same key in sibling objects", `[{"k":1},{"k":2}]`, nil},
		{"surrounding space", " {\"a\":1}\n", nil},
		{"deep but allowed", strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), nil},
		{"nothing", ``, ErrNotJSON},
		{"two documents", `{} {}`, ErrNotJSON},
		{"trailing text", `{}x`, ErrNotJSON},
		{"a comment", `{/**/}`, ErrNotJSON},
		{"a trailing comma", `{"a":1,}`, ErrNotJSON},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", ErrNotJSON},
		{"a repeated key", `{"a":1,"b":2,"a":3}`, ErrDuplicateKey},
		{"a repeated key with null between", `{"a":null,"a":3}`, ErrDuplicateKey},
		{"a repeated key after a nested object", `{"a":{"b":1},"a":3}`, ErrDuplicateKey},
		{"a repeated key in a nested array", `{"x":[[{"a":1,"a":2}]]}`, ErrDuplicateKey},
		{"a key repeated through an escape", `{"a":1,"\u0061":2}`, ErrDuplicateKey},
		{"keys that differ in case", `{"type":1,"Type":2}`, ErrDuplicateKey},
		{"keys equal after Unicode folding", `{"k":1,"\u212a":2}`, ErrDuplicateKey},
		{"too deep", strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), ErrTooDeep},
		{"too deep in objects", strings.Repeat(`{"a":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1), ErrTooDeep},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := StrictJSON([]byte(tt.in)); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("StrictJSON(%.60q) = %v, want %v", tt.in, err, tt.want)
			}
		})
	}
}

// FuzzStrictJSON holds the checker to the decoder it protects: what passes
// decodes, and re-encoding what was decoded passes too.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, `{"a":1,"A":2}`, `[[[]]]`, `"x"`, `{"a":{"a":{}}}`, ` `, `{"":0}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if StrictJSON(data) != nil {
			return
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatalf("accepted %q, which does not decode: %v", data, err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("re-encode %q: %v", data, err)
		}
		if err := StrictJSON(again); err != nil {
			t.Fatalf("accepted %q but not the same document re-encoded as %q: %v", data, again, err)
		}
	})
}

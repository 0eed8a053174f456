package teamsbot

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// plainly is what encoding/json makes of v.
func plainly(t interface{ Fatal(...any) }, v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// Whatever a card holds, it is written as encoding/json writes it.
func TestEncode_isThatOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	var values func(depth int) *rapid.Generator[any]
	values = func(depth int) *rapid.Generator[any] {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom(hostile), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		simple := []*rapid.Generator[any]{
			text.AsAny(), rapid.Bool().AsAny(), rapid.Int().AsAny(), rapid.Just[any](nil), rapid.SliceOf(text).AsAny(), rapid.Int64().AsAny(),
		}
		if depth == 0 {
			return rapid.OneOf(simple...)
		}
		objects := rapid.Map(rapid.MapOf(text, values(depth-1)), func(m map[string]any) object { return m })
		return rapid.OneOf(append(simple, objects.AsAny(), rapid.SliceOf(objects).AsAny(), rapid.SliceOf(values(depth-1)).AsAny())...)
	}
	rapid.Check(t, func(t *rapid.T) {
		v := values(3).Draw(t, "value")
		if got, want := string(encode(v)), plainly(t, v); got != want {
			t.Errorf("encode(%#v) =\n%s\nwant\n%s", v, got, want)
		}
	})
	for _, m := range []any{card(full("web-01")), object(nil), []object(nil), []string(nil), "a\u2028\u2029\x7f<>&"} {
		if got, want := string(encode(m)), plainly(t, m); got != want {
			t.Errorf("encode() =\n%s\nwant\n%s", got, want)
		}
	}
}

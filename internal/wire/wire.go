// Package wire holds the checks that every message from a chat platform passes
// before it is decoded.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// maxDepth is far above what Slack and Teams send (about 20 levels) and far
// below what costs memory.
const maxDepth = 64

// Why a document is refused.
var (
	ErrNotJSON      = errors.New("not one JSON document in UTF-8")
	ErrDuplicateKey = errors.New("a key occurs twice in one object")
	ErrTooDeep      = fmt.Errorf("nested deeper than %d levels", maxDepth)
)

// StrictJSON reports why data must not be decoded with encoding/json, which
// accepts keys without regard to case and lets the last duplicate win, so that
// two readers of one document can see different values (threat-model W-06). It
// refuses anything but exactly one JSON document in valid UTF-8, keys of one
// object that are equal or equal after case folding, and deep nesting. Errors
// never repeat the data.
func StrictJSON(data []byte) error {
	if !utf8.Valid(data) || !json.Valid(data) {
		return ErrNotJSON
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var open []object
	for {
		token, err := dec.Token()
		if err != nil {
			return nil // json.Valid has seen the whole document: this is its end
		}
		switch t := token.(type) {
		case json.Delim:
			switch t {
			case '{', '[':
				if len(open) == maxDepth {
					return ErrTooDeep
				}
				open = append(open, object{isObject: t == '{', wantKey: t == '{'})
				continue
			default:
				open = open[:len(open)-1]
			}
		case string:
			if len(open) > 0 && open[len(open)-1].wantKey {
				if !open[len(open)-1].add(t) {
					return ErrDuplicateKey
				}
				continue
			}
		}
		// A value has ended: in an object a key comes next.
		if len(open) > 0 {
			open[len(open)-1].wantKey = open[len(open)-1].isObject
		}
	}
}

// object is one open object or array.
type object struct {
	isObject bool
	wantKey  bool
	keys     map[string]struct{}
}

// add records a key and reports whether it is new.
func (o *object) add(key string) bool {
	o.wantKey = false
	folded := fold(key)
	if _, seen := o.keys[folded]; seen {
		return false
	}
	if o.keys == nil {
		o.keys = map[string]struct{}{}
	}
	o.keys[folded] = struct{}{}
	return true
}

// fold maps strings that encoding/json takes for the same key to one string.
func fold(s string) string {
	out := make([]rune, 0, len(s))
	for _, r := range s {
		smallest := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			smallest = min(smallest, other)
		}
		out = append(out, smallest)
	}
	return string(out)
}

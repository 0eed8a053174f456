package defender

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// The types below decode what Defender sends rather than what it documents: a
// number where a text was promised, an empty object for a list, null anywhere.
// None of them fails on valid JSON, so one odd field never costs an alert.

// text is a string; numbers and booleans are taken as written, everything else
// as "".
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(t))
	case '{', '[', 'n':
		return nil
	}
	*t = text(b)
	return nil
}

// integer is a whole number, also inside a string; everything else is 0.
type integer int64

func (i *integer) UnmarshalJSON(b []byte) error {
	var t text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	*i = 0
	s := strings.TrimSpace(string(t))
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		*i = integer(n)
	} else if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<53 {
		*i = integer(f)
	}
	return nil
}

// decimal is a number, also inside a string; everything else is 0.
type decimal float64

func (d *decimal) UnmarshalJSON(b []byte) error {
	var t text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	*d = 0
	if f, err := strconv.ParseFloat(strings.TrimSpace(string(t)), 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		*d = decimal(f)
	}
	return nil
}

// boolean is true for true, "true" and 1.
type boolean bool

func (v *boolean) UnmarshalJSON(b []byte) error {
	var t text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	*v = boolean(strings.EqualFold(string(t), "true") || t == "1")
	return nil
}

// texts is a list of strings; a lone string is a list of one.
type texts []string

func (l *texts) UnmarshalJSON(b []byte) error {
	*l = nil
	if b[0] != '[' {
		var t text
		if err := t.UnmarshalJSON(b); err != nil {
			return err
		}
		if t != "" {
			*l = texts{string(t)}
		}
		return nil
	}
	var all []text
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for _, t := range all {
		if t != "" {
			*l = append(*l, string(t))
		}
	}
	return nil
}

// records is a list of objects; anything else is an empty list, and elements
// that are no objects are left out.
type records[T any] []T

func (l *records[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	if b[0] != '[' {
		return nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for _, raw := range all {
		if raw = bytes.TrimSpace(raw); raw[0] != '{' {
			continue
		}
		var t T
		if err := json.Unmarshal(raw, &t); err != nil {
			return err
		}
		*l = append(*l, t)
	}
	return nil
}

// record is one object; anything else is its zero value.
type record[T any] struct{ is T }

func (r *record[T]) UnmarshalJSON(b []byte) error {
	var none T
	r.is = none
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, &r.is)
}

// instant is a time; "", null, the year 1 and what cannot be read are zero.
type instant time.Time

func (i *instant) UnmarshalJSON(b []byte) error {
	var t text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	*i = instant(parseTime(string(t)))
	return nil
}

// parseTime reads what Defender writes: any number of fractional digits, and at
// times no zone, which means UTC.
func parseTime(s string) time.Time {
	s = strings.TrimSpace(s)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 1 {
			return t.UTC()
		}
	}
	return time.Time{}
}

// canonical returns the known spelling of s, or s itself when it is not known.
func canonical[S ~string](s text, known ...S) S {
	for _, k := range known {
		if strings.EqualFold(string(s), string(k)) {
			return k
		}
	}
	return S(s)
}

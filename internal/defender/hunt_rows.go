package defender

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// rowReader hands the rows of a hunting answer to a sink one by one. Only the
// current row is in memory.
type rowReader struct {
	sink HuntSink
	max  int
	rows int

	columns []Column
	index   map[string]int
	cells   []string
}

// read consumes an answer of Defender ("Schema", "Results") or Graph ("schema",
// "results"). It stops early at the row limit, and at the end of what the body
// is willing to give.
func (r *rowReader) read(body io.Reader) (Truncation, error) {
	dec := json.NewDecoder(body)
	truncated, err := r.object(dec)
	var fromSink *sinkError
	switch {
	case errors.Is(err, errTooLong):
		return TruncatedByBytes, nil
	case errors.As(err, &fromSink):
		return truncated, fromSink.err
	case err != nil:
		return truncated, fmt.Errorf("%w: read rows: %w", ErrUnavailable, withoutURL(err))
	}
	return truncated, nil
}

// sinkError marks an error of the sink, which is not one of the answer.
type sinkError struct{ err error }

func (e *sinkError) Error() string { return e.err.Error() }

func (r *rowReader) object(dec *json.Decoder) (Truncation, error) {
	if err := expect(dec, '{'); err != nil {
		return Complete, err
	}
	answered := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return Complete, err
		}
		name, _ := key.(string)
		switch strings.ToLower(name) {
		case "schema":
			if err := r.schema(dec); err != nil {
				return Complete, err
			}
			answered = true
		case "results":
			truncated, err := r.results(dec)
			if err != nil || truncated != Complete {
				return truncated, err
			}
			answered = true
		default:
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return Complete, err
			}
		}
	}
	// More is also false when the body cannot be read, and only this tells.
	if err := expect(dec, '}'); err != nil {
		return Complete, err
	}
	if !answered {
		return Complete, errors.New("the answer has no result")
	}
	return Complete, nil
}

func expect(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("the answer has %v where %v was expected", t, want)
	}
	return nil
}

func (r *rowReader) schema(dec *json.Decoder) error {
	var schema records[struct {
		Name text `json:"name"`
		Type text `json:"type"`
	}]
	if err := dec.Decode(&schema); err != nil {
		return err
	}
	if r.index != nil { // the rows came first
		return nil
	}
	columns := make([]Column, len(schema))
	for i, c := range schema {
		columns[i] = Column{Name: string(c.Name), Type: string(c.Type)}
	}
	return r.start(columns)
}

// start announces the columns.
func (r *rowReader) start(columns []Column) error {
	r.columns, r.cells, r.index = columns, make([]string, len(columns)), make(map[string]int, len(columns))
	for i, c := range columns {
		r.index[c.Name] = i
	}
	if err := r.sink.Columns(columns); err != nil {
		return &sinkError{err}
	}
	return nil
}

func (r *rowReader) results(dec *json.Decoder) (Truncation, error) {
	t, err := dec.Token()
	if err != nil || t == nil {
		return Complete, err
	}
	if t != json.Delim('[') {
		return Complete, errors.New("the rows are not a list")
	}
	var raw json.RawMessage
	for dec.More() {
		if r.rows == r.max {
			return TruncatedByRows, nil
		}
		raw = raw[:0]
		if err := dec.Decode(&raw); err != nil {
			return Complete, err
		}
		if err := r.row(raw); err != nil {
			return Complete, err
		}
	}
	return Complete, expect(dec, ']')
}

func (r *rowReader) row(raw []byte) error {
	if r.index == nil {
		var columns []Column
		if err := eachField(raw, func(name, _ []byte) error {
			key, err := cellText(name)
			columns = append(columns, Column{Name: key})
			return err
		}); err != nil {
			return err
		}
		if err := r.start(columns); err != nil {
			return err
		}
	}
	clear(r.cells)
	if err := eachField(raw, func(name, value []byte) error {
		i, ok := r.column(name)
		if !ok {
			return nil
		}
		cell, err := cellText(value)
		r.cells[i] = cell
		return err
	}); err != nil {
		return err
	}
	if err := r.sink.Row(r.cells); err != nil {
		return &sinkError{err}
	}
	r.rows++
	return nil
}

// column finds a quoted name without allocating, as it does so for every cell.
func (r *rowReader) column(quoted []byte) (int, bool) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		i, ok := r.index[string(quoted[1:len(quoted)-1])]
		return i, ok
	}
	name, err := cellText(quoted)
	i, ok := r.index[name]
	return i, ok && err == nil
}

// cellText is a value as people read it.
func cellText(value []byte) (string, error) {
	switch value[0] {
	case 'n':
		return "", nil
	case '"':
		if plain := value[1 : len(value)-1]; bytes.IndexByte(plain, '\\') < 0 {
			return strings.ToValidUTF8(string(plain), "\uFFFD"), nil
		}
		var s string
		err := json.Unmarshal(value, &s)
		return s, err
	case '{', '[':
		var compact bytes.Buffer
		err := json.Compact(&compact, value)
		return strings.ToValidUTF8(compact.String(), "\uFFFD"), err
	}
	return string(value), nil
}

var errNotRow = errors.New("a row is not an object")

// eachField splits one object that is known to be valid JSON, because a
// json.Decoder has just read it, into its names (with quotes) and values.
// Unlike a map it keeps their order and allocates nothing.
func eachField(object []byte, fn func(name, value []byte) error) error {
	rest := bytes.TrimSpace(object)
	if len(rest) == 0 || rest[0] != '{' {
		return errNotRow
	}
	rest = bytes.TrimSpace(rest[1:])
	for len(rest) > 0 && rest[0] != '}' {
		n := valueEnd(rest)
		name := rest[:n]
		rest = bytes.TrimSpace(rest[n:])
		rest = bytes.TrimSpace(rest[1:]) // the colon
		n = valueEnd(rest)
		if err := fn(name, rest[:n]); err != nil {
			return err
		}
		rest = bytes.TrimSpace(rest[n:])
		if len(rest) > 0 && rest[0] == ',' {
			rest = bytes.TrimSpace(rest[1:])
		}
	}
	return nil
}

// valueEnd is the length of the value at the start of valid JSON.
func valueEnd(b []byte) int {
	switch b[0] {
	case '"':
		return stringEnd(b)
	case '{', '[':
		depth := 0
		for i := 0; i < len(b); i++ {
			switch b[i] {
			case '"':
				i += stringEnd(b[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return len(b)
	}
	if i := bytes.IndexAny(b, ",}] \t\r\n"); i >= 0 {
		return i
	}
	return len(b)
}

func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

package defendersim

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTop is the page cap of alerts, machines and machine actions.
const maxTop = 10000

// property is something a collection can be filtered and ordered by.
type property[T any] struct {
	name string
	kind string // the EDM type of what get returns when it is not nil
	get  func(T) any
	// enum lists the values when they are not free text. They can be compared
	// only for equality.
	enum []string
}

// The EDM types in use and what get returns for them.
const (
	edmString = "Edm.String"             // string
	edmInt    = "Edm.Int64"              // int64
	edmTime   = "Edm.DateTimeOffset"     // time.Time, or nil
	edmList   = "Collection(Edm.String)" // []string
)

func textOf[T any](name string, get func(T) string) property[T] {
	return property[T]{name: name, kind: edmString, get: func(v T) any { return get(v) }}
}

// optional is text that may be null.
func optional[T any](name string, get func(T) *string) property[T] {
	return property[T]{name: name, kind: edmString, get: func(v T) any {
		if p := get(v); p != nil {
			return *p
		}
		return nil
	}}
}

func enumOf[T any](name string, get func(T) string, values ...string) property[T] {
	p := textOf(name, get)
	p.enum = values
	return p
}

func numberOf[T any](name string, get func(T) int64) property[T] {
	return property[T]{name: name, kind: edmInt, get: func(v T) any { return get(v) }}
}

func timeOf[T any](name string, get func(T) time.Time) property[T] {
	return property[T]{name: name, kind: edmTime, get: func(v T) any {
		if t := get(v); !t.IsZero() {
			return t
		}
		return nil
	}}
}

func listOf[T any](name string, get func(T) []string) property[T] {
	return property[T]{name: name, kind: edmList, get: func(v T) any { return get(v) }}
}

// entity describes a collection to the query parser.
type entity[T any] struct {
	typeName   string
	properties []property[T]
	// unfilterable are properties that exist but cannot be used in a filter.
	unfilterable []string
	expand       []string
	// natural is the order without $orderby.
	natural func(a, b T) int
}

// query is what the options of a list call ask for.
type query[T any] struct {
	match  func(T) bool
	order  func(a, b T) int
	top    int // -1 = not given
	skip   int
	expand bool
	count  bool
}

// odataError is a refusal of query options.
type odataError struct{ message string }

func (e odataError) Error() string { return e.message }

func odataErrorf(format string, args ...any) error {
	return odataError{fmt.Sprintf(format, args...)}
}

func (e entity[T]) parse(values url.Values) (query[T], error) {
	q := query[T]{match: func(T) bool { return true }, order: e.natural, top: -1}
	for name, given := range values {
		if !strings.HasPrefix(name, "$") {
			continue
		}
		if len(given) != 1 {
			return q, odataErrorf("Query option '%s' was specified more than once, but it must be specified at most once.", name)
		}
		value := given[0]
		var err error
		switch name {
		case "$filter":
			q.match, err = e.filter(value)
		case "$orderby":
			q.order, err = e.orderBy(value)
		case "$top":
			q.top, err = natural(name, value)
			if err == nil && q.top > maxTop {
				err = odataErrorf("The limit of '%d' for Top query has been exceeded. The value from the incoming request is '%d'.", maxTop, q.top)
			}
		case "$skip":
			q.skip, err = natural(name, value)
		case "$expand":
			q.expand = slices.Contains(e.expand, value)
			if !q.expand {
				err = odataErrorf("Could not find a property named '%s' on type '%s'.", value, e.typeName)
			}
		case "$count":
			q.count, err = strconv.ParseBool(value)
			if err != nil {
				err = odataErrorf("Invalid value '%s' for $count query option found.", value)
			}
		default:
			err = odataErrorf("Query option '%s' is not allowed.", name)
		}
		if err != nil {
			return q, err
		}
	}
	return q, nil
}

func natural(name, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return 0, odataErrorf("Invalid value '%s' for %s query option found. The %s query option requires a non-negative integer value.", value, name, name)
	}
	return n, nil
}

func (e entity[T]) property(name string) (property[T], error) {
	for _, p := range e.properties {
		if strings.EqualFold(p.name, name) {
			return p, nil
		}
	}
	for _, p := range e.unfilterable {
		if strings.EqualFold(p, name) {
			return property[T]{}, odataErrorf("The property '%s' cannot be used in the $filter query option.", name)
		}
	}
	return property[T]{}, odataErrorf("Could not find a property named '%s' on type '%s'.", name, e.typeName)
}

func (e entity[T]) orderBy(text string) (func(a, b T) int, error) {
	var by []func(a, b T) int
	for part := range strings.SplitSeq(text, ",") {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 2 {
			return nil, odataErrorf("Syntax error in '$orderby=%s'.", text)
		}
		p, err := e.property(words[0])
		if err != nil {
			return nil, err
		}
		sign := 1
		if len(words) == 2 {
			switch words[1] {
			case "asc":
			case "desc":
				sign = -1
			default:
				return nil, odataErrorf("Syntax error in '$orderby=%s'.", text)
			}
		}
		by = append(by, func(a, b T) int { return sign * compare(p.get(a), p.get(b)) })
	}
	return func(a, b T) int {
		for _, c := range by {
			if d := c(a, b); d != 0 {
				return d
			}
		}
		return 0
	}, nil
}

// compare orders two values of the same property; nil comes first.
func compare(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	switch a := a.(type) {
	case string:
		return cmp.Compare(a, b.(string))
	case int64:
		return cmp.Compare(a, b.(int64))
	case time.Time:
		return a.Compare(b.(time.Time))
	}
	return 0
}

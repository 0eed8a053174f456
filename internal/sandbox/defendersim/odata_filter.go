package defendersim

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// filter compiles a $filter. The grammar is the part of OData that Defender's
// documentation uses:
//
//	or      = and { "or" and }
//	and     = primary { "and" primary }
//	primary = "(" or ")" | "startswith" "(" name "," string ")"
//	        | name "/any" "(" x ":" x "eq" string ")"
//	        | name operator literal | name "in" "(" literal { "," literal } ")"
func (e entity[T]) filter(text string) (func(T) bool, error) {
	tokens, err := lexFilter(text)
	if err != nil {
		return nil, err
	}
	p := &filterParser[T]{entity: e, text: text, tokens: tokens}
	match, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.peek().kind != endToken {
		return nil, p.syntaxError()
	}
	return match, nil
}

type tokenKind int

const (
	endToken tokenKind = iota
	wordToken
	stringToken
	punctToken
)

type filterToken struct {
	kind tokenKind
	text string
	at   int
}

func lexFilter(text string) ([]filterToken, error) {
	var tokens []filterToken
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ':
			i++
		case strings.IndexByte("(),", c) >= 0:
			tokens = append(tokens, filterToken{punctToken, string(c), i})
			i++
		case c == '\'':
			value, next, ok := quoted(text, i)
			if !ok {
				return nil, odataErrorf("There is an unterminated string literal at position %d in '%s'.", len(text), text)
			}
			tokens = append(tokens, filterToken{stringToken, value, i})
			i = next
		default:
			start := i
			for i < len(text) && strings.IndexByte(" (),'", text[i]) < 0 {
				i++
			}
			word := text[start:i]
			name, lambda := strings.CutSuffix(word, ":")
			tokens = append(tokens, filterToken{wordToken, name, start})
			if lambda {
				tokens = append(tokens, filterToken{punctToken, ":", i - 1})
			}
		}
	}
	return append(tokens, filterToken{endToken, "", len(text)}), nil
}

// quoted reads the string literal that starts at i; a doubled quote stands for
// one.
func quoted(text string, i int) (value string, next int, ok bool) {
	var b strings.Builder
	for i++; i < len(text); i++ {
		if text[i] != '\'' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", i, false
}

type filterParser[T any] struct {
	entity entity[T]
	text   string
	tokens []filterToken
	next   int
}

func (p *filterParser[T]) peek() filterToken { return p.tokens[p.next] }

func (p *filterParser[T]) take() filterToken {
	t := p.tokens[p.next]
	if t.kind != endToken {
		p.next++
	}
	return t
}

func (p *filterParser[T]) word(w string) bool {
	if t := p.peek(); t.kind == wordToken && t.text == w {
		p.next++
		return true
	}
	return false
}

func (p *filterParser[T]) punct(s string) bool {
	if t := p.peek(); t.kind == punctToken && t.text == s {
		p.next++
		return true
	}
	return false
}

func (p *filterParser[T]) syntaxError() error {
	return odataErrorf("Syntax error at position %d in '%s'.", p.peek().at, p.text)
}

func (p *filterParser[T]) or() (func(T) bool, error) {
	left, err := p.and()
	for err == nil && p.word("or") {
		l, r := left, (func(T) bool)(nil)
		if r, err = p.and(); err == nil {
			left = func(v T) bool { return l(v) || r(v) }
		}
	}
	return left, err
}

func (p *filterParser[T]) and() (func(T) bool, error) {
	left, err := p.primary()
	for err == nil && p.word("and") {
		l, r := left, (func(T) bool)(nil)
		if r, err = p.primary(); err == nil {
			left = func(v T) bool { return l(v) && r(v) }
		}
	}
	return left, err
}

func (p *filterParser[T]) primary() (func(T) bool, error) {
	if p.punct("(") {
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		if !p.punct(")") {
			return nil, p.syntaxError()
		}
		return inner, nil
	}
	name := p.peek()
	if name.kind != wordToken {
		return nil, p.syntaxError()
	}
	p.next++
	if collection, ok := strings.CutSuffix(name.text, "/any"); ok {
		return p.any(collection)
	}
	if p.punct("(") {
		if name.text != "startswith" {
			return nil, odataErrorf("An unknown function with name '%s' was found. This may also be a function import or a key lookup on a navigation property, which is not allowed.", name.text)
		}
		return p.startsWith()
	}
	prop, err := p.entity.property(name.text)
	if err != nil {
		return nil, err
	}
	if p.word("in") {
		return p.in(prop)
	}
	op := p.peek()
	if op.kind != wordToken || !slices.Contains([]string{"eq", "ne", "gt", "ge", "lt", "le"}, op.text) {
		return nil, p.syntaxError()
	}
	p.next++
	want, err := p.literal(prop)
	if err != nil {
		return nil, err
	}
	return comparison(prop, op.text, want)
}

func (p *filterParser[T]) startsWith() (func(T) bool, error) {
	prop, err := p.entity.property(p.take().text)
	if err != nil {
		return nil, err
	}
	if !p.punct(",") || p.peek().kind != stringToken {
		return nil, p.syntaxError()
	}
	prefix := p.take().text
	if !p.punct(")") {
		return nil, p.syntaxError()
	}
	return func(v T) bool {
		s, ok := prop.get(v).(string)
		return ok && strings.HasPrefix(s, prefix)
	}, nil
}

// any is the lambda form that tags are filtered with.
func (p *filterParser[T]) any(collection string) (func(T) bool, error) {
	prop, err := p.entity.property(collection)
	if err != nil {
		return nil, err
	}
	if !p.punct("(") {
		return nil, p.syntaxError()
	}
	variable := p.take().text
	if !p.punct(":") || !p.word(variable) || !p.word("eq") || p.peek().kind != stringToken {
		return nil, p.syntaxError()
	}
	want := p.take().text
	if !p.punct(")") {
		return nil, p.syntaxError()
	}
	return func(v T) bool {
		list, _ := prop.get(v).([]string)
		return slices.Contains(list, want)
	}, nil
}

func (p *filterParser[T]) in(prop property[T]) (func(T) bool, error) {
	if !p.punct("(") {
		return nil, p.syntaxError()
	}
	var want []any
	for {
		v, err := p.literal(prop)
		if err != nil {
			return nil, err
		}
		want = append(want, v)
		if p.punct(")") {
			break
		}
		if !p.punct(",") {
			return nil, p.syntaxError()
		}
	}
	return func(v T) bool {
		got := prop.get(v)
		return slices.ContainsFunc(want, func(w any) bool { return same(got, w) })
	}, nil
}

// literal reads a value. Strings are quoted, everything else is not.
func (p *filterParser[T]) literal(prop property[T]) (any, error) {
	t := p.take()
	switch t.kind {
	case stringToken:
		if prop.enum == nil {
			return p.typed(prop, edmString, t.text)
		}
		i := slices.IndexFunc(prop.enum, func(v string) bool { return strings.EqualFold(v, t.text) })
		if i < 0 {
			return nil, odataErrorf("The string '%s' is not a valid enumeration type constant.", t.text)
		}
		return prop.enum[i], nil
	case wordToken:
		if t.text == "null" {
			return nil, nil
		}
		if n, err := strconv.ParseInt(t.text, 10, 64); err == nil {
			return p.typed(prop, edmInt, n)
		}
		if at, err := time.Parse(time.RFC3339Nano, t.text); err == nil {
			return p.typed(prop, edmTime, at)
		}
	}
	return nil, odataErrorf("Syntax error at position %d in '%s'.", t.at, p.text)
}

func (p *filterParser[T]) typed(prop property[T], kind string, value any) (any, error) {
	if kind != prop.kind {
		return nil, odataErrorf("A binary operator with incompatible types was detected. Found operand types '%s' and '%s' for the property '%s'.",
			prop.kind, kind, prop.name)
	}
	return value, nil
}

func comparison[T any](prop property[T], op string, want any) (func(T) bool, error) {
	if prop.enum != nil && op != "eq" && op != "ne" {
		return nil, odataErrorf("A binary operator with incompatible types was detected. Found operand types 'Edm.Enum' and 'Edm.String' for operator kind '%s'.", op)
	}
	return func(v T) bool {
		got := prop.get(v)
		switch op {
		case "eq":
			return same(got, want)
		case "ne":
			return !same(got, want)
		}
		if got == nil || want == nil {
			return false
		}
		d := compare(got, want)
		switch op {
		case "gt":
			return d > 0
		case "ge":
			return d >= 0
		case "lt":
			return d < 0
		default:
			return d <= 0
		}
	}, nil
}

// same compares values of one property, so that their types agree.
func same(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return compare(a, b) == 0
}

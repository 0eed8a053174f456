package commands

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxParam bounds a value in a saved hunt, in characters.
const maxParam = 200

var (
	hashText   = regexp.MustCompile(`^[0-9a-fA-F]+$`)
	domainText = regexp.MustCompile(`^[A-Za-z0-9_./:%?=&~-]+$`)
	userText   = regexp.MustCompile(`^[\p{L}\p{N}._$@\\ -]+$`)
)

// kqlString is s as one string literal of KQL, whatever s holds (threat-model
// H-01). What cannot be seen is refused beforehand by [paramLiteral].
func kqlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// kqlSpan is d as a timespan literal.
func kqlSpan(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
}

// paramLiteral is a typed value as a literal of KQL: one token, whatever was
// typed. problem says in a sentence what does not fit.
func paramLiteral(kind, value string) (literal, problem string) {
	value = strings.TrimSpace(value)
	switch {
	case value == "":
		return "", "is empty"
	case !utf8.ValidString(value), utf8.RuneCountInString(value) > maxParam:
		return "", fmt.Sprintf("is longer than %d characters, or not text", maxParam)
	case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", "holds characters that cannot be seen"
	}
	switch kind {
	case "ip":
		addr, err := netip.ParseAddr(value)
		if err != nil || addr.Zone() != "" {
			return "", "is no IP address"
		}
		return kqlString(addr.String()), ""
	case "hash":
		if n := len(value); !hashText.MatchString(value) || n != 32 && n != 40 && n != 64 {
			return "", "is no MD5, SHA-1 or SHA-256"
		}
		return kqlString(strings.ToLower(value)), ""
	case "number":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return "", "is no whole number"
		}
		return strconv.FormatInt(n, 10), ""
	case "domain":
		if !domainText.MatchString(value) {
			return "", "is no domain or part of a URL"
		}
	case "user":
		if !userText.MatchString(value) {
			return "", "is no account name"
		}
	case "machine", "file", "text":
	default:
		return "", "has a type that is not known"
	}
	return kqlString(value), ""
}

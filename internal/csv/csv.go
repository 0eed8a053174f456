// Package csv writes tables that a spreadsheet opens as text: RFC 4180, every
// cell in quotes, and no cell that is taken for a formula. encoding/csv leaves
// many cells unquoted, and a quoted cell that begins with a formula character is
// still run, so both are done here.
package csv

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Writer writes records to W. It is not safe for concurrent use.
type Writer struct {
	W io.Writer

	buf []byte
}

// Write writes one record.
func (c *Writer) Write(cells []string) error {
	c.buf = c.buf[:0]
	for i, cell := range cells {
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		c.buf = appendCell(c.buf, cell)
	}
	c.buf = append(c.buf, '\r', '\n')
	_, err := c.W.Write(c.buf)
	return err
}

// appendCell appends cell in quotes. An apostrophe before a formula character
// makes spreadsheets read text (threat-model X-10).
func appendCell(buf []byte, cell string) []byte {
	buf = append(buf, '"')
	if startsFormula(cell) {
		buf = append(buf, '\'')
	}
	for i := 0; i < len(cell); i++ {
		switch cell[i] {
		case '"':
			buf = append(buf, '"', '"')
		case 0:
			buf = append(buf, "\ufffd"...)
		default:
			buf = append(buf, cell[i])
		}
	}
	return append(buf, '"')
}

// startsFormula reports cells whose first visible character could start a
// formula, also in full width and behind blanks, controls and marks that draw
// nothing. Numbers keep their sign.
func startsFormula(cell string) bool {
	if isNumber(cell) {
		return false
	}
	for i, r := range cell {
		switch {
		case strings.ContainsRune("=+-@|%＝＋－＠｜％−", r):
			return true
		case r == '\t' || r == '\r' || r == '\n':
			if i == 0 {
				return true
			}
		case unicode.IsSpace(r), unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Mn, unicode.Zs), r == utf8.RuneError, r == '\'', r == '"':
		default:
			return false
		}
	}
	return false
}

// isNumber reports a plain decimal number, with sign and fraction.
func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	whole, fraction, dotted := strings.Cut(s, ".")
	return isDigits(whole) && (!dotted || isDigits(fraction))
}

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

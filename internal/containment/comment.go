package containment

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/defender"
)

const (
	// maxComment keeps below the length that Defender is known to take, in UTF-16
	// units.
	maxComment = 990
	maxName    = 80
	maxNames   = 300
	// clockSkew is how much Defender's clock may differ from ours.
	clockSkew = 5 * time.Minute
)

// marker is how a machine action is recognised as this request's. It is always
// the very beginning of the comment, where no words of people come.
func marker(r approvals.Request) string { return "[mdebot:" + r.ID + "]" }

// comment is what Defender records about the people behind an action.
func comment(a approvals.Attempt) string {
	var approvers []string
	for _, v := range a.Approvers {
		approvers = append(approvers, clean(v.Name, maxName))
	}
	decided := "approved by " + clip(strings.Join(approvers, ", "), maxNames)
	if len(approvers) == 0 {
		decided = "no second person needed"
	}
	head := fmt.Sprintf("%s #%d asked by %s, %s. Reason: ", marker(a.Request), a.Request.Number, clean(a.Request.RequesterName, maxName), decided)
	return head + clean(a.Request.Reason, maxComment-width(head))
}

// hasMarker reports whether m was started for r.
func hasMarker(m defender.MachineAction, r approvals.Request) bool {
	return strings.HasPrefix(strings.TrimSpace(m.Comment), marker(r))
}

// clean makes outside text one line without controls and without the brackets of
// a marker, at most max UTF-16 units long.
func clean(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '[':
			return '('
		case r == ']':
			return ')'
		case unicode.IsSpace(r):
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	return clip(strings.Join(strings.Fields(s), " "), max)
}

func clip(s string, max int) string {
	if width(s) <= max {
		return s
	}
	n := 0
	for i, r := range s {
		if n += utf16.RuneLen(r); n > max-1 {
			return s[:i] + "…"
		}
	}
	return s
}

func width(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// words is an error of Defender for people and records: what the service said,
// cleaned, with the ID that Microsoft's support asks for.
func words(err error) string {
	var api *defender.APIError
	if !errors.As(err, &api) {
		return clean(err.Error(), 300)
	}
	text := fmt.Sprintf("Defender refused it (HTTP %d %s)", api.StatusCode, clean(api.Code, 60))
	if api.Message != "" {
		text += ": " + clean(api.Message, 200)
	}
	if api.Permission != "" {
		text += ". The application needs the permission " + clean(api.Permission, 60)
	}
	if api.RequestID != "" {
		text += ". Request ID " + clean(api.RequestID, 60)
	}
	return text + "."
}

package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
	"github.com/mdebot/mdebot/internal/links"
)

// sorry is an error that is meant for the person who asked: what is not done,
// and what to do instead.
type sorry struct {
	sentence chat.Text
	next     chat.Text
	lines    []chat.Text // between the two
	// full replaces both when the answer is a whole card.
	full *chat.Message
}

func (s *sorry) Error() string { return s.sentence.String() }

func (s *sorry) message() chat.Message {
	if s.full != nil {
		return *s.full
	}
	m := chat.Message{Title: s.sentence, Tone: chat.Warning, Note: s.next}
	if len(s.lines) > 0 {
		m.Sections = []chat.Section{{Lines: s.lines}}
	}
	return m
}

// say is a *sorry in our own words.
func say(sentence, next string) error {
	return &sorry{sentence: chat.Plain(sentence), next: chat.Plain(next)}
}

// sayOf is a *sorry about outside text: before, the text, after.
func sayOf(before, outside, after, next string) error {
	return &sorry{sentence: chat.Join(chat.Plain(before), chat.Untrusted(outside), chat.Plain(after)), next: chat.Plain(next)}
}

// instead is a *sorry that is a whole card.
func instead(m chat.Message) error { return &sorry{sentence: m.Title, full: &m} }

func usageError(c *call, sentence string) error {
	return &sorry{sentence: chat.Plain(sentence), next: chat.Join(chat.Plain("Usage: "), chat.Code(c.usage()))}
}

func (r *Router) unknownCommand(inv chat.Invocation, typed string) error {
	var names []string
	for name := range r.byName {
		names = append(names, name)
	}
	slices.Sort(names)
	sentence := chat.Join(chat.Plain("There is no command "), chat.Untrusted(typed), chat.Plain("."))
	if near := nearest(typed, names); near != "" {
		usage := withPrefix(prefix(inv), r.byName[near].Usage)
		return &sorry{sentence: sentence, next: chat.Join(chat.Plain("Did you mean "), chat.Code(usage), chat.Plain("?"))}
	}
	return &sorry{sentence: sentence, next: chat.Join(chat.Code(withPrefix(prefix(inv), "help")), chat.Plain(" lists them."))}
}

func unknownFlag(c *call, typed string) error {
	var names []string
	for _, f := range c.spec.Flags {
		names = append(names, f.Name)
	}
	next := chat.Join(chat.Plain("Usage: "), chat.Code(c.usage()))
	if near := nearest(typed, names); near != "" {
		next = chat.Join(chat.Plain("Did you mean --"+near+"? "), next)
	}
	return &sorry{sentence: chat.Join(chat.Plain(c.spec.Name+" has no flag --"), chat.Untrusted(typed), chat.Plain(".")), next: next}
}

// known turns the errors of neighbours that people can do something about into
// their sentences; nil for all others.
func (r *Router) known(c *call, err error) *sorry {
	var refusal *approvals.Refusal
	if errors.As(err, &refusal) {
		return r.refused(refusal)
	}
	var unlinked *links.Refusal
	if errors.As(err, &unlinked) {
		return plainSorry(unlinked.Sentence, unlinked.Next)
	}
	if sentence, next, ok := defender.Explain(err); ok {
		return plainSorry(sentence, next)
	}
	var throttled *defender.ThrottledError
	var api *defender.APIError
	switch {
	case errors.As(err, &throttled):
		return plainSorry("Defender's quota for this is used up.", again(throttled.RetryAfter))
	case errors.Is(err, defender.ErrForbidden):
		return forbidden(c, err)
	case errors.Is(err, defender.ErrUnauthorized):
		return plainSorry("Defender or Entra refuses mdebot itself.", "An admin checks the application's secret and consent; status tells more.")
	case errors.Is(err, defender.ErrNotFound):
		return plainSorry("Defender does not know that ID.", "Check it for a typing mistake; something minutes old may not be visible yet.")
	case errors.Is(err, defender.ErrInvalid):
		s := &sorry{sentence: chat.Plain("Defender does not accept that."), next: chat.Plain("Check what you typed.")}
		if errors.As(err, &api) && api.Message != "" {
			s.next = chat.Join(chat.Plain("It says: "), chat.Untrusted(api.Message))
		}
		return s
	case errors.Is(err, context.DeadlineExceeded):
		return plainSorry("That took too long and was stopped.", "Try again in a moment.")
	case errors.Is(err, defender.ErrUnavailable):
		return plainSorry("Defender cannot be reached.", "Try again in a moment; status tells whether it is back.")
	}
	return nil
}

func plainSorry(sentence, next string) *sorry {
	return &sorry{sentence: chat.Plain(sentence), next: chat.Plain(next)}
}

// again says when to try again, never too early.
func again(after time.Duration) string {
	n, unit := max(int64((after+time.Second-1)/time.Second), 1), "second"
	if n >= 60 {
		n, unit = (n+59)/60, "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("Try again in %d %s.", n, unit)
}

// refused shows a refusal of the approvals side with the request as it is now.
func (r *Router) refused(refusal *approvals.Refusal) *sorry {
	s := &sorry{sentence: chat.Untrusted(refusal.Sentence), next: chat.Untrusted(refusal.Next)}
	if refusal.Next == "" {
		s.next = nil
	}
	if refusal.Request.ID != "" {
		m := s.message()
		m.Facts = []chat.Fact{{Label: "Request", Value: cards.RequestReply(refusal.Request).Title}}
		m.Buttons = cards.RequestReply(refusal.Request).Buttons
		s.full = &m
	}
	return s
}

func forbidden(c *call, err error) *sorry {
	var api *defender.APIError
	if errors.As(err, &api) && api.Permission != "" {
		return &sorry{
			sentence: chat.Join(chat.Plain("Defender does not permit this: it needs "), chat.Untrusted(api.Permission), chat.Plain(".")),
			next:     chat.Plain("An administrator grants it in Entra under API permissions of mdebot's app registration. If it is granted there already, the audience of the token is wrong: leave MDE_AUDIENCE out."),
		}
	}
	if c != nil && len(c.spec.Permissions) > 0 {
		return notPermitted(c.spec, c.spec.Permissions)
	}
	return plainSorry("Defender does not permit this.", "An admin checks the application's permissions; status lists them.")
}

// notPermitted says which permissions are missing, each with its API.
func notPermitted(s *Spec, missing [][]string) *sorry {
	return plainSorry(fmt.Sprintf("%s needs %s.", s.Name, permissionText(missing)), grantText(missing))
}

// grantText says who can grant what is missing, and where, in few words: a long
// note is cut. A permission on Graph takes the higher role alone.
func grantText(missing [][]string) string {
	who := defender.GrantedBy(missing[0][0])
	for _, anyOf := range missing[1:] {
		if by := defender.GrantedBy(anyOf[0]); len(by) < len(who) {
			who = by
		}
	}
	return who + " grants it in Entra: API permissions, Grant admin consent."
}

func permissionText(needs [][]string) string {
	var all []string
	for _, anyOf := range needs {
		var names []string
		for _, p := range anyOf {
			names = append(names, p+" on "+defender.ResourceOf(p))
		}
		all = append(all, strings.Join(names, " or "))
	}
	return strings.Join(all, " and ")
}

// whyUnread says in a few words why a fact could not be read.
func whyUnread(err error, permission string) string {
	var throttled *defender.ThrottledError
	switch {
	case errors.Is(err, defender.ErrForbidden):
		return "not permitted: " + permission
	case errors.As(err, &throttled):
		return "Defender's quota is used up"
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	case errors.Is(err, defender.ErrUnauthorized):
		return "Defender or Entra refuses mdebot itself"
	case errors.Is(err, defender.ErrInvalid):
		return "Defender does not accept that"
	case errors.Is(err, defender.ErrNotFound):
		return "Defender does not know that"
	}
	return "Defender cannot be reached"
}

func isNotFound(err error) bool { return errors.Is(err, defender.ErrNotFound) }

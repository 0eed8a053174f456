package commands

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/tenant"
)

// call is one command on its way: as parsed, then with who asks.
type call struct {
	spec *Spec
	inv  chat.Invocation
	args []token
	// text is what was typed, with args and flags by position in it.
	text  string
	flags map[string]string
	who   caller
	out   chat.Replier
	run   handler
	form  func(r *Router, ctx context.Context, c *call) (*chat.Form, error)

	personal    bool      // the answer is for whoever clicked alone
	boundTo     tenant.ID // of a button, "" when it names none
	anyTenant   bool      // of a button that is about no tenant
	tenantBy    tenantBy
	everyTenant bool
	scoped      bool // the asker may see some machines only

	share string        // the key of the answer that everyone shall see
	kept  *chat.Message // that answer, when it is kept
	// among is set on the call to each of several tenants asked at once.
	among *among
}

// prefix is how mdebot is called where the invocation came from; in a direct
// chat plain text will do.
func prefix(inv chat.Invocation) string {
	switch {
	case inv.Slash:
		return "/mde"
	case inv.In.Direct:
		return ""
	}
	return "@mdebot"
}

// usage is c's command as it would be typed there.
func (c *call) usage() string { return withPrefix(prefix(c.inv), c.spec.Usage) }

// arg is the text of argument i, or "".
func (c *call) arg(i int) string {
	if i < len(c.args) {
		return c.args[i].text
	}
	return ""
}

// words is what was typed from argument i on, up to the first flag after it, as
// one line.
func (c *call) words(i int) string {
	if i >= len(c.args) {
		return ""
	}
	return wordsOf(c.args[i:])
}

func wordsOf(tokens []token) string {
	parts := make([]string, len(tokens))
	for i, t := range tokens {
		parts[i] = t.text
	}
	return strings.Join(parts, " ")
}

// parse finds the command that inv's text names, its arguments and flags.
func (r *Router) parse(inv chat.Invocation) (*call, error) {
	text := withoutPrefix(inv.Text)
	name, rest := firstWord(text)
	if name == "" {
		name = "help"
	}
	spec, ok := r.byName[strings.ToLower(name)]
	if !ok {
		return nil, r.unknownCommand(inv, name)
	}
	if spec.Name == "hunt" {
		spec, rest = r.huntVerb(spec, rest)
	}
	c := &call{spec: spec, inv: inv, text: rest, flags: map[string]string{}, run: spec.run}
	if spec.verbatim {
		c.text = unfenced(strings.TrimSpace(r.leadingTenant(c, rest)))
		if c.spec.asks != nil && c.spec.asks(c) {
			c.form = c.spec.form
		}
		return c, nil
	}
	tokens, err := split(rest)
	if err != nil {
		return c, usageError(c, "A quotation mark has no partner. Close it, or leave it out.")
	}
	if spec.Name == "alert" {
		c.spec, tokens = r.alertVerb(spec, tokens)
		c.run = c.spec.run
	}
	if spec.Name == "incident" {
		c.spec, tokens = r.incidentVerb(spec, tokens)
		c.run = c.spec.run
	}
	if err := c.take(tokens); err != nil {
		return c, err
	}
	if c.spec.asks != nil && c.spec.asks(c) {
		c.form = c.spec.form
	}
	return c, nil
}

// leadingTenant takes --tenant off the front of text that is not split.
func (r *Router) leadingTenant(c *call, text string) string {
	word, rest := firstWord(text)
	name, isFlag := flagName(word)
	if !r.several() || !isFlag {
		return text
	}
	flag, value, hasValue := strings.Cut(name, "=")
	if !strings.EqualFold(flag, tenantFlag.Name) {
		return text
	}
	if !hasValue {
		value, rest = firstWord(rest)
	}
	c.flags[tenantFlag.Name] = value
	return rest
}

// alertVerb turns "alert <id> ack …" into "ack <id> …", and "alert ack" in an
// alert's thread into "ack".
func (r *Router) alertVerb(alert *Spec, tokens []token) (*Spec, []token) {
	for i := range tokens[:min(len(tokens), 2)] {
		verb, ok := r.byName[strings.ToLower(tokens[i].text)]
		if ok && tokens[i].flag == "" && !tokens[i].quoted && isAlertVerb(verb.Name) {
			return verb, append(append([]token{}, tokens[:i]...), tokens[i+1:]...)
		}
	}
	return alert, tokens
}

// incidentVerb turns "incident <id> assign …" into "incident-assign <id> …".
func (r *Router) incidentVerb(incident *Spec, tokens []token) (*Spec, []token) {
	if len(tokens) < 2 || tokens[1].flag != "" || tokens[1].quoted {
		return incident, tokens
	}
	verb, ok := r.byName["incident-"+strings.ToLower(tokens[1].text)]
	if !ok {
		return incident, tokens
	}
	return verb, slices.Delete(slices.Clone(tokens), 1, 2)
}

func isAlertVerb(name string) bool {
	switch name {
	case "ack", "assign", "resolve", "comment":
		return true
	}
	return false
}

// take sorts tokens into arguments and flags.
func (c *call) take(tokens []token) error {
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		if t.flag == "" {
			c.args = append(c.args, t)
			continue
		}
		f, ok := c.spec.flag(t.flag)
		if !ok {
			return unknownFlag(c, t.flag)
		}
		if _, twice := c.flags[f.Name]; twice {
			return usageError(c, "--"+f.Name+" is given twice.")
		}
		switch {
		case f.Value == "" && t.hasValue:
			return usageError(c, "--"+f.Name+" takes no value.")
		case f.Value == "":
			c.flags[f.Name] = "true"
		case f.rest && (!t.hasValue || t.text != ""):
			var words []string
			if t.hasValue {
				words = append(words, t.text)
			}
			for i+1 < len(tokens) && tokens[i+1].flag == "" {
				i++
				words = append(words, tokens[i].text)
			}
			c.flags[f.Name] = strings.Join(words, " ")
		case t.hasValue:
			c.flags[f.Name] = t.text
		case i+1 < len(tokens) && tokens[i+1].flag == "":
			i++
			c.flags[f.Name] = tokens[i].text
		}
		if f.Value != "" && c.flags[f.Name] == "" {
			return usageError(c, "--"+f.Name+" needs a value: --"+f.Name+" "+f.Value+".")
		}
	}
	return nil
}

// firstWord cuts the first word off.
func firstWord(s string) (word, rest string) {
	s = strings.TrimSpace(s)
	end := strings.IndexFunc(s, unicode.IsSpace)
	if end < 0 {
		return s, ""
	}
	return s[:end], s[skipSpace(s, end):]
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

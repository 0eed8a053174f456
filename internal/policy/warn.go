package policy

import (
	"fmt"
	"strings"
)

func (f *fileReader) warnAt(line int, format string, args ...any) {
	f.warnings = append(f.warnings, Fault{Line: line, Text: fmt.Sprintf(format, args...)})
}

// warn collects what is allowed but probably not meant.
func (f *fileReader) warn() {
	p := f.policy
	if len(f.people) == 0 {
		f.warnAt(0, "nobody is listed under people, so nobody may do anything")
	}
	for _, person := range f.people {
		if len(person.Roles) == 0 {
			f.warnAt(f.personLine[person.ID], "%s has no role and may do nothing", person.Name)
		}
	}
	f.warnRules()
	for _, pr := range p.protected {
		f.warnUndocumented(pr.line, "protected", pr.when)
		if facts := pr.when.readsOutsideText(); len(facts) > 0 {
			f.warnAt(pr.line, "protected: whoever controls a machine chooses %s and could protect it from being isolated; a tag is safer", strings.Join(facts, " and "))
		}
	}
	f.warnRoutes()
	f.warnDigests()
}

func (f *fileReader) warnRules() {
	catchAll := ""
	for _, r := range f.policy.rules {
		switch {
		case catchAll != "":
			f.warnAt(r.Line, "rule %q is never reached: rule %q above it matches everything", r.Name, catchAll)
		case r.when.program == nil:
			catchAll = r.Name
		default:
			f.warnUndocumented(r.Line, fmt.Sprintf("rule %q", r.Name), r.when)
		}
		f.warnThen(r)
	}
}

func (f *fileReader) warnRoutes() {
	p := f.policy
	if p.ops == "" {
		f.warnAt(0, "notify.ops is not set: alarms about the bot itself go to the log alone")
	}
	if p.fallback == "" {
		f.warnAt(0, "notify.fallback is not set: alerts that no route takes, or whose channel cannot be reached, are posted nowhere")
	}
	if len(p.routes) == 0 {
		f.warnAt(0, "notify.routes is empty: no alert has a channel of its own")
	}
	for _, r := range p.routes {
		if r.when.program == nil {
			continue
		}
		f.warnUndocumented(r.Line, fmt.Sprintf("route %q", r.Name), r.when)
		if r.when.textCanHide() {
			f.warnAt(r.Line, "route %q: whoever controls a machine chooses %s and could keep alerts from this route",
				r.Name, strings.Join(r.when.readsOutsideText(), " and "))
		}
	}
}

func (f *fileReader) warnUndocumented(line int, what string, when condition) {
	for _, text := range when.undocumented() {
		f.warnAt(line, "%s: %s", what, text)
	}
}

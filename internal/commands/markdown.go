package commands

import (
	"fmt"
	"strings"
)

// Markdown is the table of commands for the README.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| Command | Does | Role | Defender permission |\n|---|---|---|---|\n")
	for _, s := range Specs() {
		role := string(s.Role)
		switch {
		case s.Access == Anybody, s.Access == AnyMember:
			role = "anybody"
		case role == "":
			role = "any linked person"
		}
		summary := s.Summary
		if s.SecondPerson {
			summary += " **→2**"
		}
		if s.SecondByRule {
			summary += " **→2 by rule**"
		}
		needs := "–"
		if len(s.Permissions) > 0 {
			needs = permissionNames(s.Permissions)
		}
		fmt.Fprintf(&b, "| `/mde %s` | %s | %s | %s |\n", cell(s.Usage), cell(summary), role, needs)
	}
	b.WriteString("\n**→2**: a second person decides; **by rule**: only where a rule of `mdebot.yaml` about the action asks for one. Every command also works after a mention of the bot and as plain text in a direct chat.\n")
	return b.String()
}

func permissionNames(needs [][]string) string {
	var all []string
	for _, anyOf := range needs {
		all = append(all, "`"+strings.Join(anyOf, "` or `")+"`")
	}
	return strings.Join(all, ", ")
}

// cell keeps a pipe from ending a table cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

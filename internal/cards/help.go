package cards

import (
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
)

// HelpEntry is one command as help shows it. Every word in it is ours.
type HelpEntry struct {
	Usage    string
	Summary  string
	Role     string
	Aliases  []string
	Flags    []HelpFlag
	Examples []string
	// Missing names the permissions that the token lacks.
	Missing []string
}

// HelpFlag is one flag of a command.
type HelpFlag struct{ Name, Summary string }

// HelpTopic are the commands about one thing.
type HelpTopic struct {
	Name    string
	Entries []HelpEntry
}

// Help lists the commands. More is how to ask for more about one.
func Help(topics []HelpTopic, more string) chat.Message {
	m := chat.Message{
		Title: chat.Plain("What mdebot does"),
		Note:  chat.Plain("More about one command: " + more + ". Commands that change a machine wait for a second person."),
	}
	for _, t := range topics {
		s := chat.Section{Heading: t.Name}
		for _, e := range t.Entries {
			line := chat.Join(chat.Code(e.Usage), chat.Plain(" – "+e.Summary))
			if len(e.Missing) > 0 {
				line = chat.Join(line, chat.Bold(" Not permitted here: needs "+strings.Join(e.Missing, " and ")+"."))
			}
			s.Lines = append(s.Lines, line)
		}
		m.Sections = append(m.Sections, s)
	}
	return m
}

// HelpCommand explains one command.
func HelpCommand(e HelpEntry) chat.Message {
	m := chat.Message{
		Title: chat.Plain(e.Summary),
		Facts: []chat.Fact{{Label: "Usage", Value: chat.Code(e.Usage)}, {Label: "Role", Value: chat.Plain(e.Role)}},
	}
	if len(e.Aliases) > 0 {
		m.Facts = append(m.Facts, chat.Fact{Label: "Also", Value: chat.Plain(strings.Join(e.Aliases, ", "))})
	}
	if len(e.Missing) > 0 {
		m.Facts = append(m.Facts, chat.Fact{Label: "Not permitted here", Value: chat.Plain("needs " + strings.Join(e.Missing, " and ") + "; an admin grants it in Entra")})
	}
	if len(e.Flags) > 0 {
		s := chat.Section{Heading: "Flags"}
		for _, f := range e.Flags {
			s.Lines = append(s.Lines, chat.Join(chat.Code(f.Name), chat.Plain(" "+f.Summary)))
		}
		m.Sections = append(m.Sections, s)
	}
	if len(e.Examples) > 0 {
		s := chat.Section{Heading: "Examples"}
		for _, x := range e.Examples {
			s.Lines = append(s.Lines, chat.Code(x))
		}
		m.Sections = append(m.Sections, s)
	}
	return m
}

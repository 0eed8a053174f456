package cards

import (
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/identity"
)

// WhoamiView is what mdebot believes about the asker, and why.
type WhoamiView struct {
	Account  identity.Principal
	Standing identity.Standing
	// StandingUnread says why the platform could not be asked.
	StandingUnread string
	// Person is nil when the account is not linked to one.
	Person *identity.Person
	Groups []string
	// Link is how the account came to stand for a person; also when mdebot.yaml
	// does not name that person.
	Link *identity.Link
	// ReadsHere says that full members may use reads in this conversation.
	ReadsHere bool
	// Problem says in a sentence why the account is not a person.
	Problem string
	// Lines are ready to be pasted into mdebot.yaml.
	Lines string
}

// Whoami says who mdebot takes the asker for, why, and what follows from it.
func Whoami(v WhoamiView) chat.Message {
	m := chat.Message{
		Title: chat.Plain("You are not linked to a person"),
		Tone:  chat.Warning,
		Facts: []chat.Fact{{Label: "Account", Value: dotted(chat.Code(v.Account.String()), outside(v.Account.Name))}},
	}
	standing := chat.Plain(string(v.Standing))
	if v.StandingUnread != "" {
		standing = notRead(v.StandingUnread)
	}
	m.Facts = append(m.Facts, chat.Fact{Label: "Standing", Value: standing})
	if p := v.Person; p != nil {
		m.Title = chat.Join(chat.Plain("You are "), outside(p.Name))
		m.Tone = chat.Neutral
		m.Facts = append(m.Facts,
			chat.Fact{Label: "Person", Value: chat.Code(p.ID.String())},
			chat.Fact{Label: "Roles", Value: roles(p.Roles)},
			chat.Fact{Label: "Groups", Value: list(v.Groups)},
		)
	}
	m.Facts = append(m.Facts, linkFacts(v.Link)...)
	if v.Problem != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "Why", Value: chat.Plain(v.Problem)})
	}
	if v.ReadsHere {
		m.Facts = append(m.Facts, chat.Fact{Label: "Here", Value: chat.Plain("full members of this conversation may use reads other than hunt and user")})
	}
	if v.Lines != "" {
		m.Sections = append(m.Sections, personLines(v.Lines))
	}
	m.Note = chat.Plain("Names and e-mail addresses are never compared; only the IDs above count.")
	return m
}

// personLines are the lines that would make an account a person.
func personLines(yaml string) chat.Section {
	return chat.Section{Heading: "An admin adds this under people: in mdebot.yaml", Lines: codeLines(yaml)}
}

// Unlinked refuses an account that is no person, with the lines that would make
// it one. Whoami is the command that tells more.
func Unlinked(account identity.Principal, yaml, whoami string) chat.Message {
	return chat.Message{
		Title:    chat.Plain("This chat account is not linked to a person, so nothing is done."),
		Tone:     chat.Warning,
		Facts:    []chat.Fact{{Label: "Account", Value: chat.Code(account.String())}},
		Sections: []chat.Section{personLines(yaml)},
		Note:     chat.Join(chat.Plain("What mdebot believes about you: "), chat.Code(whoami)),
	}
}

func roles(all []identity.Role) chat.Text {
	if len(all) == 0 {
		return chat.Plain("none")
	}
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = string(r)
	}
	return list(names)
}

// StatusLine is the health of one part.
type StatusLine struct {
	Part string // our words
	Good bool
	// Detail may hold outside text.
	Detail string
}

// Status is the health of mdebot, part by part, and what the token permits.
func Status(parts []StatusLine, permissions []StatusLine) chat.Message {
	bad := 0
	section := func(heading string, lines []StatusLine, good, poor string) chat.Section {
		s := chat.Section{Heading: heading}
		for _, l := range lines {
			word := good
			if !l.Good {
				word = poor
				bad++
			}
			line := labelled(l.Part, chat.Plain(word))
			if l.Detail != "" {
				line = dotted(line, chat.Untrusted(l.Detail))
			}
			s.Lines = append(s.Lines, line)
		}
		return s
	}
	m := chat.Message{Sections: []chat.Section{section("Parts", parts, "works", "does not work")}}
	attention := bad
	m.Sections = append(m.Sections, section("Commands", permissions, "permitted", "not permitted"))
	m.Title, m.Tone = chat.Plain("Everything works"), chat.Good
	if attention > 0 { // what is not permitted may be left out on purpose
		m.Title, m.Tone = chat.Plain(plural(attention, "thing needs", "things need")+" attention"), chat.Warning
	}
	return m
}

package cards

import (
	"bytes"
	"encoding/csv"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/tenant"
)

// tenantMark separates the tenant of a button from its own value. IDs of tenants
// are GUIDs, so it is in none.
const tenantMark = "|"

// ForTenant shows whose data a message is about, and binds its buttons, menu and
// so the answers to them to that tenant. It is for bots that serve several.
func ForTenant(m chat.Message, t tenant.ID, name string) chat.Message {
	if name == "" {
		return m
	}
	m.Facts = append([]chat.Fact{{Label: "Tenant", Value: chat.Untrusted(name)}}, m.Facts...)
	m.Buttons = slices.Clone(m.Buttons)
	for i := range m.Buttons {
		if m.Buttons[i].Action != "" {
			m.Buttons[i].Value = BindTenant(t, m.Buttons[i].Value)
		}
	}
	if m.Views != nil {
		views := *m.Views
		views.Value = BindTenant(t, views.Value)
		m.Views = &views
	}
	if m.Menu != nil {
		menu := *m.Menu
		menu.Options = slices.Clone(menu.Options)
		for i := range menu.Options {
			menu.Options[i].Value = BindTenant(t, menu.Options[i].Value)
		}
		m.Menu = &menu
	}
	return m
}

// BindTenant puts the tenant before a value.
func BindTenant(t tenant.ID, value string) string { return string(t) + tenantMark + value }

// TenantOfValue takes it off again; t is "" for a value without one.
func TenantOfValue(value string) (t tenant.ID, rest string) {
	id, rest, ok := strings.Cut(value, tenantMark)
	if !ok || len(id) != 36 {
		return "", value
	}
	return tenant.ID(id), rest
}

// TenantView is what /mde tenant shows.
type TenantView struct {
	Here   string // the tenant that this channel is bound to, or ""
	Chosen string // chosen for reads, or ""
	Until  string
	Mine   []string // those the person may work on
	All    string   // the commands that may be asked of all at once, or ""
	Choose string   // how to choose one
}

// Tenants says which tenant is meant here.
func Tenants(v TenantView) chat.Message {
	m := chat.Message{
		Title: chat.Plain("No tenant is bound to this conversation"),
		Facts: []chat.Fact{{Label: "You may work on", Value: list(v.Mine)}},
		Note:  chat.Plain("What changes something needs a bound channel or --tenant. To choose one for reading, for 30 minutes: " + v.Choose),
	}
	if v.Here != "" {
		m.Title = chat.Join(chat.Plain("This channel is bound to "), chat.Untrusted(v.Here))
	}
	if v.Chosen != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "Chosen for reading", Value: chat.Join(chat.Untrusted(v.Chosen), chat.Plain(", until "+v.Until))})
	}
	if v.All != "" {
		m.Facts = append(m.Facts, chat.Fact{Label: "All at once", Value: chat.Plain("--tenant all works for " + v.All)})
	}
	return m
}

// TenantAnswer is one tenant's part of an answer about several.
type TenantAnswer struct {
	Name    string
	Message chat.Message
	Failed  bool
}

// OfAllTenants puts the answers of several tenants together, a section each, and
// names those that failed. Their files, which begin with the same line, become one.
func OfAllTenants(what string, answers []TenantAnswer) chat.Message {
	failed := 0
	m := chat.Message{}
	var queries []chat.Section
	for _, a := range answers {
		s := chat.Section{Heading: "Tenant", Lines: []chat.Text{chat.Join(chat.Untrusted(a.Name), chat.Plain(": "), a.Message.Title)}}
		if a.Failed {
			failed++
			m.Tone = chat.Warning
			s.Lines = append(s.Lines, a.Message.Note)
		}
		for _, f := range a.Message.Facts {
			if slices.Contains(factsOfEach, f.Label) {
				s.Lines = append(s.Lines, labelled(f.Label, f.Value))
			}
		}
		for _, inner := range a.Message.Sections {
			if inner.Heading == queryHeading {
				queries = append(queries, inner)
				continue
			}
			s.Lines = append(s.Lines, inner.Lines...)
		}
		if t := a.Message.Table; t != nil {
			for _, row := range t.Rows {
				cells := make([]chat.Text, len(row))
				for i, cell := range row {
					cells[i] = outside(cell)
				}
				s.Lines = append(s.Lines, dotted(cells...))
			}
		}
		m.Sections = append(m.Sections, s)
		m.Files = joined(m.Files, a.Message.Files)
	}
	if len(queries) > 0 {
		one := queries[0]
		if slices.ContainsFunc(queries, func(q chat.Section) bool { return !reflect.DeepEqual(q, one) }) {
			one.Lines = append(slices.Clone(one.Lines), chat.Plain("Each tenant was asked with its own machine's ID."))
		}
		m.Sections = append(m.Sections, one)
	}
	m.Title = chat.Plain(what + " of " + plural(len(answers), "tenant", "tenants"))
	if failed > 0 {
		m.Title = chat.Join(m.Title, chat.Plain("; "+strconv.Itoa(failed)+" failed"))
	}
	return m
}

// factsOfEach are the facts of an answer that stand beside its rows.
var factsOfEach = []string{"Cut", "Quota", "Endpoint"}

// joined is one file with the lines of all: tables of one question, each with the
// tenant in its first column.
func joined(into, more []chat.File) []chat.File {
	for _, f := range more {
		if len(into) == 0 {
			f.Content = slices.Clone(f.Content)
			into = append(into, f)
			continue
		}
		head := csv.NewReader(bytes.NewReader(f.Content))
		if _, err := head.Read(); err == nil {
			into[0].Content = append(into[0].Content, f.Content[head.InputOffset():]...)
		}
	}
	return into
}

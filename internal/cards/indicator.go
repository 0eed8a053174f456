package cards

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// IndicatorFacts is what an approver is told about an indicator: what it would
// hit, and what there is already.
type IndicatorFacts struct {
	Type  string `json:"type"`
	Value string `json:"value"`
	// File is set for hashes; Machines, First and Last for addresses and domains.
	File     *FileFacts `json:"file,omitempty"`
	Machines int64      `json:"machines,omitempty"`
	First    time.Time  `json:"first,omitzero"`
	Last     time.Time  `json:"last,omitzero"`
	// Unread says why what it would hit is not known, or is empty.
	Unread string `json:"unread,omitempty"`
	// Private and Own are as rules see them, OurMachine names the one it is.
	Private    bool   `json:"private,omitempty"`
	Own        bool   `json:"own,omitempty"`
	OurMachine string `json:"our_machine,omitempty"`
	// There is the indicator of that value that is in force, if any.
	There  *IndicatorThere `json:"there,omitempty"`
	ReadAt time.Time       `json:"read_at"`
}

// IndicatorThere is an indicator in force.
type IndicatorThere struct {
	ID      string    `json:"id"`
	Action  string    `json:"action"`
	By      string    `json:"by,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
}

// There condenses an indicator that is in force.
func There(i defender.Indicator) *IndicatorThere {
	return &IndicatorThere{ID: i.ID, Action: string(i.Action), By: i.CreatedBy, Since: i.Created, Expires: i.Expires}
}

// indicatorWords is what people call Defender's types.
var indicatorWords = map[string]string{
	"FileSha1": "file, by SHA-1", "FileSha256": "file, by SHA-256", "FileMd5": "file, by MD5", "CertificateThumbprint": "signing certificate",
	"IpAddress": "address", "DomainName": "domain and every name below it", "Url": "URL",
}

func indicatorFactLines(r approvals.Request, t approvals.Target, _ Portal) []chat.Text {
	var f IndicatorFacts
	if err := json.Unmarshal(t.Facts, &f); err != nil || f.ReadAt.IsZero() {
		return []chat.Text{chat.Bold("Facts about this indicator could not be read. Look at it in the Defender portal before you decide.")}
	}
	room := roomForFew / len(r.Targets)
	kind := chat.Untrusted(f.Type)
	if word, ok := indicatorWords[f.Type]; ok {
		kind = chat.Plain(word)
	}
	lines := []chat.Text{labelled("Kind", kind)}
	if !r.State.Resolved() {
		for _, beware := range f.bewares(r.Action) {
			lines = append(lines, chat.Bold("Beware: "+beware))
		}
	}
	if f.OurMachine != "" {
		lines = append(lines, labelled("Our machine", chat.Untrusted(within(f.OurMachine, room))))
	}
	switch {
	case f.File != nil:
		lines = append(lines, fileFactLines(*f.File, room)...)
	case f.Unread != "":
		lines = append(lines, labelled("What it would hit", notRead(f.Unread)))
	case f.Machines == 0:
		lines = append(lines, labelled("What it would hit", chat.Plain("no machine of ours met it within thirty days")))
	default:
		lines = append(lines, labelled("What it would hit", dotted(
			chat.Plain("met by "+plural(int(f.Machines), "machine", "machines")+" of ours within thirty days"),
			sentence(chat.Plain("first"), when(f.First)), sentence(chat.Plain("last"), when(f.Last)))))
	}
	if f.There != nil {
		lines = append(lines, labelled("In force at request", dotted(outside(within(f.There.Action, room)),
			sentence(chat.Plain("by"), outside(within(f.There.By, room))), sentence(chat.Plain("since"), when(f.There.Since)), expiryText(f.There.Expires))))
	}
	return append(lines, labelled("Facts read", chat.At(f.ReadAt)))
}

// manyMachines is from how many machines on a block is said to reach far.
const manyMachines = 50

// bewares is what speaks against blocking it, in our own words.
func (f IndicatorFacts) bewares(action string) []string {
	if action != approvals.Block {
		return nil
	}
	var all []string
	if f.Own {
		all = append(all, "it is part of our own estate, or of what Defender and mdebot need.")
	}
	if f.Private {
		all = append(all, "it is an address or name of private networks.")
	}
	if f.File != nil && f.File.Valid {
		all = append(all, "the file is validly signed; blocking it may stop a program that people need.")
	}
	if f.Machines >= manyMachines || f.File != nil && f.File.Machines >= manyMachines {
		all = append(all, "many of our machines have met it within thirty days.")
	}
	if f.There != nil && f.There.Action == "Allowed" {
		all = append(all, "somebody has allowed it, and this undoes that.")
	}
	return all
}

func expiryText(at time.Time) chat.Text {
	if at.IsZero() {
		return chat.Plain("without end")
	}
	return sentence(chat.Plain("until"), chat.At(at))
}

// IndicatorList is a list of indicators. What says which, all how many there are,
// and more that some are left out.
func IndicatorList(found []defender.Indicator, what chat.Text, all int, more bool) chat.Message {
	m := chat.Message{
		Title: sentence(chat.Plain(plural(len(found), "indicator", "indicators")), what),
		Note:  chat.Plain(fmt.Sprintf("%d of %d that Defender takes.", all, defender.MaxIndicators)),
	}
	if more {
		m.Note = chat.Join(m.Note, chat.Plain(" There are more; narrow the list with a filter."))
	}
	if len(found) == 0 {
		m.Title = sentence(chat.Plain("No indicators"), what)
		return m
	}
	m.Table = &chat.Table{Caption: "Indicators", Columns: []string{"Value", "Type", "Does", "Expires", "By", "Title", "ID"}, Total: len(found)}
	for _, i := range found {
		m.Table.Rows = append(m.Table.Rows, []string{i.Value, string(i.Type), string(i.Action), tableTime(i.Expires), i.CreatedBy, i.Title, i.ID})
	}
	return m
}

// IndicatorExpires tells that what people asked to block ends soon.
func IndicatorExpires(r approvals.Request, at time.Time) chat.Message {
	var names []string
	for _, t := range r.Targets {
		if t.State == approvals.Succeeded {
			names = append(names, within(t.Name, roomForName))
		}
	}
	return chat.Message{
		Title: chat.Join(chat.Plain("Ends soon: the block of "), list(names), chat.Plain(fmt.Sprintf(" (#%d)", r.Number))),
		Tone:  chat.Notice,
		Facts: []chat.Fact{
			{Label: "Ends", Value: chat.At(at)},
			{Label: "Asked by", Value: outside(r.RequesterName)},
			{Label: "Why it was blocked, in the requester's words", Value: outside(r.Reason)},
		},
		Note: chat.Plain("Defender takes it away by itself, unless somebody has changed it since. To keep it, ask for a block again."),
	}
}

package cards

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
	"github.com/mdebot/mdebot/internal/defender"
)

// evidenceShown is how many pieces of one kind of evidence a card lists; the rest
// is counted.
const evidenceShown = 10

// evidenceSection lists evidence by kind: processes as the tree that they are,
// then files, addresses, the registry and people.
func evidenceSection(v AlertView) (chat.Section, bool) {
	s := chat.Section{Heading: "Evidence", Folded: true}
	if v.EvidenceUnread != "" {
		s.Lines = []chat.Text{chat.Join(chat.Plain("Evidence "), notRead(v.EvidenceUnread))}
		return s, true
	}
	var counts []string
	for _, kind := range []struct {
		heading, one, many string
		types              []string
		lines              func([]defender.Evidence) []chat.Text
	}{
		{"Process tree", "process", "processes", []string{"Process"}, processTree},
		{"Files", "file", "files", []string{"File"}, eachLine(fileLine)},
		{"Addresses", "address", "addresses", []string{"Ip", "Url"}, eachLine(addressLine)},
		{"Registry", "registry key", "registry keys", []string{"Registry"}, eachLine(registryLine)},
		{"People", "account", "accounts", []string{"User"}, eachLine(userLine)},
	} {
		all := ofType(v.Alert.Evidence, kind.types...)
		if len(all) == 0 {
			continue
		}
		counts = append(counts, plural(len(all), kind.one, kind.many))
		s.Lines = append(append(s.Lines, chat.Bold(kind.heading)), kind.lines(all)...)
	}
	if others := otherTypes(v.Alert.Evidence); len(others) > 0 {
		s.Lines = append(s.Lines, labelled("Also", list(others)))
	}
	if len(counts) > 0 {
		s.Heading += ": " + strings.Join(counts, ", ")
	}
	return s, len(s.Lines) > 0
}

func ofType(all []defender.Evidence, types ...string) []defender.Evidence {
	var out []defender.Evidence
	for _, e := range all {
		if slices.Contains(types, e.Type) {
			out = append(out, e)
		}
	}
	return out
}

// otherTypes are the kinds of evidence that have no lines of their own.
func otherTypes(all []defender.Evidence) []string {
	var out []string
	for _, e := range all {
		if !slices.Contains([]string{"Process", "File", "Ip", "Url", "Registry", "User"}, e.Type) && !slices.Contains(out, e.Type) {
			out = append(out, e.Type)
		}
	}
	return out[:min(len(out), evidenceShown)]
}

// eachLine draws pieces of evidence one by one.
func eachLine(line func(defender.Evidence) chat.Text) func([]defender.Evidence) []chat.Text {
	return func(all []defender.Evidence) []chat.Text {
		var out []chat.Text
		for _, e := range all[:min(len(all), evidenceShown)] {
			out = append(out, dotted(line(e), optional(e.Status)))
		}
		return append(out, moreEvidence(len(all))...)
	}
}

func moreEvidence(n int) []chat.Text {
	if n <= evidenceShown {
		return nil
	}
	return []chat.Text{chat.Plain(fmt.Sprintf("and %d more, in the Defender portal", n-evidenceShown))}
}

func fileLine(e defender.Evidence) chat.Text {
	return dotted(code(joinPath(e.FilePath, e.FileName)), hash("SHA-1", e.SHA1), hash("SHA-256", e.SHA256))
}

func hash(name, value string) chat.Text {
	if value == "" {
		return nil
	}
	return sentence(chat.Plain(name), chat.Code(value))
}

func addressLine(e defender.Evidence) chat.Text {
	if e.Type == "Url" {
		return code(Defang(e.URL))
	}
	return code(e.IPAddress)
}

func registryLine(e defender.Evidence) chat.Text {
	line := code(strings.Trim(e.RegistryHive+`\`+e.RegistryKey, `\`))
	if e.RegistryValue != "" {
		line = sentence(line, chat.Plain("="), chat.Code(e.RegistryValue))
	}
	return line
}

func userLine(e defender.Evidence) chat.Text {
	if e.UserPrincipal != "" {
		return chat.Untrusted(e.UserPrincipal)
	}
	return outside(accountName(e.Account))
}

// processDeepest is how far a tree is indented; deeper processes stand below
// their parent all the same.
const processDeepest = 6

// node is a process: one of the evidence, or a parent that only its children name.
type node struct {
	evidence defender.Evidence
	children []*node
	drawn    bool
}

// processTree draws processes below those that started them. What Defender says
// about parents comes from outside: a process whose parents form a circle is
// drawn once, like any other.
func processTree(all []defender.Evidence) []chat.Text {
	shown := all[:min(len(all), evidenceShown)]
	byKey := map[processKey]*node{}
	own, order := make([]*node, len(shown)), make([]*node, len(shown))
	for i, e := range shown {
		own[i] = &node{evidence: e}
		order[i] = own[i]
		if k := keyOf(e.ProcessID, e.FileName); byKey[k] == nil {
			byKey[k] = own[i]
		}
	}
	child := map[*node]bool{}
	for i, e := range shown {
		if e.ParentFileName == "" {
			continue
		}
		k := keyOf(e.ParentProcessID, e.ParentFileName)
		parent := byKey[k]
		if parent == nil {
			parent = &node{evidence: defender.Evidence{FileName: e.ParentFileName, ProcessID: e.ParentProcessID}}
			byKey[k], order = parent, append(order, parent)
		}
		if parent != own[i] {
			parent.children, child[own[i]] = append(parent.children, own[i]), true
		}
	}
	var lines []chat.Text
	var draw func(n *node, depth int)
	draw = func(n *node, depth int) {
		if n.drawn {
			return
		}
		n.drawn = true
		lines = append(lines, processLine(n.evidence, depth))
		for _, c := range n.children {
			draw(c, depth+1)
		}
	}
	for _, n := range order {
		if !child[n] {
			draw(n, 0)
		}
	}
	for _, n := range order { // circles have no beginning
		draw(n, 0)
	}
	return append(lines, moreEvidence(len(all))...)
}

// processKey finds the parent that a process names.
type processKey struct {
	id   int64
	file string
}

func keyOf(id int64, file string) processKey { return processKey{id, strings.ToLower(file)} }

func processLine(e defender.Evidence, depth int) chat.Text {
	var id, indent chat.Text
	if e.ProcessID != 0 {
		id = chat.Plain(fmt.Sprintf("(%d)", e.ProcessID))
	}
	if depth > 0 {
		// Ordinary spaces at the beginning of a line would be lost.
		indent = chat.Plain(strings.Repeat("\u2003", min(depth, processDeepest)-1) + "└ ")
	}
	return chat.Join(indent, dotted(sentence(code(e.FileName), id), optionalCode(e.CommandLine), hash("SHA-1", e.SHA1), optional(e.Status)))
}

func optionalCode(s string) chat.Text {
	if s == "" {
		return nil
	}
	return chat.Code(s)
}

func joinPath(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "" || strings.HasSuffix(dir, name):
		return dir
	case strings.Contains(dir, "/"):
		return strings.TrimSuffix(dir, "/") + "/" + name
	default:
		return strings.TrimSuffix(dir, `\`) + `\` + name
	}
}

// Defang makes an address unusable by accident: no chat client turns it into a
// link (threat-model X-09).
func Defang(url string) string {
	url = strings.Replace(url, "http", "hxxp", 1)
	return strings.ReplaceAll(url, ".", "[.]")
}

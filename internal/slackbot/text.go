package slackbot

import "strings"

var entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// plainText turns message text as Slack delivers it into what the person typed:
// entities decoded, automatic links unwrapped, other mentions as "@U…" or
// "#name", and mentions of bot removed. Brackets that Slack did not write stay.
func plainText(s, bot string) string {
	var out strings.Builder
	for {
		start := strings.IndexByte(s, '<')
		if start < 0 {
			break
		}
		end := strings.IndexByte(s[start:], '>')
		if end < 0 {
			break
		}
		out.WriteString(entities.Replace(s[:start]))
		token := s[start+1 : start+end]
		text, ok := reference(token, bot)
		if !ok {
			out.WriteByte('<')
			s = s[start+1:]
			continue
		}
		out.WriteString(text)
		s = s[start+end+1:]
	}
	out.WriteString(entities.Replace(s))
	return strings.TrimSpace(out.String())
}

// reference is what stands for the inside of <…>, if Slack wrote it.
func reference(token, bot string) (string, bool) {
	target, label, labelled := strings.Cut(token, "|")
	target, label = entities.Replace(target), entities.Replace(label)
	switch {
	case strings.HasPrefix(target, "@"):
		if target == "@"+bot {
			return "", true
		}
		return target, len(target) > 1
	case strings.HasPrefix(target, "#"):
		if labelled && label != "" {
			return "#" + label, true
		}
		return target, len(target) > 1
	case strings.HasPrefix(target, "!"):
		if labelled {
			return label, true
		}
		return "@" + target[1:], len(target) > 1
	case strings.HasPrefix(target, "http://"), strings.HasPrefix(target, "https://"), strings.HasPrefix(target, "mailto:"):
		// Slack links host names and addresses by itself: the label is what was
		// typed. A label that says something else is somebody's decoration.
		if labelled && strings.TrimSuffix(withoutScheme(target), "/") == strings.TrimSuffix(withoutScheme(label), "/") {
			return label, true
		}
		return target, true
	}
	return "", false
}

func withoutScheme(s string) string {
	for _, scheme := range []string{"http://", "https://", "mailto:"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			return rest
		}
	}
	return s
}

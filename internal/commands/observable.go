package commands

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/mdebot/mdebot/internal/cards"
)

// refanged undoes what people do to indicators so that nobody clicks on them.
var refanged = strings.NewReplacer(
	"[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "(dot)", ".", "[DOT]", ".", "\\.", ".",
	"[:]", ":", "[://]", "://", "[/]", "/", "[@]", "@", "[at]", "@",
)

var (
	hexWord  = regexp.MustCompile(`^[0-9a-fA-F]+$`)
	scheme   = regexp.MustCompile(`^(?i)(h[tx]{2}ps?|ftp|fxp)(:|\[:)`)
	hostForm = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.[a-z][a-z0-9-]*[a-z0-9]$`)
)

// fileEndings are ends of file names that look like those of hosts.
var fileEndings = []string{
	"exe", "dll", "sys", "docm", "docx", "doc", "xlsm", "xlsx", "xls", "pptx", "ps1", "bat", "cmd", "vbs", "js", "hta",
	"lnk", "iso", "img", "msi", "tmp", "log", "txt", "pdf", "json", "xml", "html", "htm", "dat", "bin", "jar", "py", "dmp",
}

// observablesIn finds what can be looked up in pasted text, each once, and says
// of what looks like something else why it cannot. Words that are none of it are
// passed over.
func observablesIn(words []string) (found []cards.Observable, cannot []cards.NotLookedUp) {
	for _, word := range words {
		for _, part := range strings.FieldsFunc(word, func(r rune) bool { return r == ',' || r == ';' || r == '|' }) {
			o, why := observableOf(part)
			switch {
			case why != "":
				cannot = append(cannot, cards.NotLookedUp{Text: part, Why: why})
			case o.Value != "" && !slices.ContainsFunc(found, func(have cards.Observable) bool { return have.Kind == o.Kind && have.Value == o.Value }):
				found = append(found, o)
			}
		}
	}
	return found, cannot
}

// observableOf reads one word. Both results are empty for a word that is just a
// word.
func observableOf(word string) (o cards.Observable, why string) {
	typed := strings.Trim(word, `<>"'()*`)
	s := strings.Trim(refanged.Replace(typed), `<>"'.,;!?`)
	o.Typed = typed
	switch {
	case hexWord.MatchString(s) && len(s) == 32:
		return o, "it is an MD5, which Defender's file calls do not take; give the SHA-1 or SHA-256, or hunt in DeviceFileEvents"
	case hexWord.MatchString(s) && (len(s) == 40 || len(s) == 64):
		o.Kind, o.Value = cards.ObservableFile, strings.ToLower(s)
		return o, ""
	case strings.Contains(s, "/") && !strings.Contains(s, "://") && isPrefix(s):
		return o, "it is a range of addresses; Defender looks up single ones"
	case scheme.MatchString(s):
		return ofURL(o, s)
	case strings.Contains(s, "@"):
		return o, "it is an e-mail address; Defender for Endpoint knows files, addresses and hosts"
	}
	if ip, ok := addressOf(s); ok {
		o.Kind, o.Value = cards.ObservableIP, ip
		return o, ""
	}
	host := s
	if before, _, hasPath := strings.Cut(s, "/"); hasPath && strings.Contains(before, ".") {
		return ofURL(o, "http://"+s)
	}
	return ofHost(o, host)
}

func isPrefix(s string) bool {
	_, err := netip.ParsePrefix(s)
	return err == nil
}

// addressOf reads an address as people write it: in brackets, with a port or a
// zone, as IPv4 inside IPv6.
func addressOf(s string) (string, bool) {
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr().WithZone("").Unmap().String(), true
	}
	ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return "", false
	}
	return ip.WithZone("").Unmap().String(), true
}

// ofURL reduces an address to its host: Defender has no call for the rest.
func ofURL(o cards.Observable, s string) (cards.Observable, string) {
	_, rest, _ := strings.Cut(strings.Replace(s, "[:", ":", 1), ":")
	u, err := url.Parse("http://" + strings.TrimLeft(rest, "/"))
	if err != nil || u.Hostname() == "" {
		return o, "it is not an address that can be read"
	}
	o.FromURL = true
	if ip, ok := addressOf(u.Hostname()); ok {
		o.Kind, o.Value = cards.ObservableIP, ip
		return o, ""
	}
	out, why := ofHost(o, u.Hostname())
	if out.Value == "" && why == "" {
		why = "its host is not a name that can be read"
	}
	return out, why
}

func ofHost(o cards.Observable, host string) (cards.Observable, string) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	if len(host) > 253 || !hostForm.MatchString(host) {
		return o, ""
	}
	if end := host[strings.LastIndexByte(host, '.')+1:]; slices.Contains(fileEndings, end) && !o.FromURL {
		return o, "it is a file name; Defender looks files up by their hash, or hunt in DeviceFileEvents"
	}
	o.Kind, o.Value = cards.ObservableDomain, host
	return o, ""
}

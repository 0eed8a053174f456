package policy

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Indicator is what a rule may ask about something that is to be blocked wherever
// Defender meets it.
type Indicator struct {
	Type  string `cel:"type"` // as Defender writes it: DomainName, IpAddress, FileSha1, …
	Value string `cel:"value"`
	// Private: an address or name that means something else in every network.
	Private bool `cel:"private"`
	// Own: it is ours by approvals.own, is one of our machines, or is what the
	// machines, Defender and mdebot itself cannot do without.
	Own bool `cel:"own"`
}

// vital are domains that blocking would cut Defender, its machines and the chat
// platforms off from each other.
var vital = []string{
	"microsoft.com", "microsoftonline.com", "microsoftonline.us", "windows.com", "windows.net", "windowsupdate.com", "office.com", "office365.com",
	"office.net", "live.com", "azure.com", "azure.net", "azureedge.net", "msftauth.net", "msauth.net", "trafficmanager.net", "botframework.com",
	"slack.com", "slack-edge.com", "slack-msgs.com",
}

// privateNames are ends of names that no public registry gives out.
var privateNames = []string{"localhost", "local", "internal", "intranet", "lan", "corp", "home", "private", "home.arpa", "localdomain"}

var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

// IndicatorOf is an indicator as the file judges it, by its type and value alone.
func (p *Policy) IndicatorOf(kind, value string) Indicator {
	i := Indicator{Type: kind, Value: value}
	switch kind {
	case "IpAddress":
		p.judgeAddress(&i, value)
	case "DomainName":
		p.judgeHost(&i, value)
	case "Url":
		if u, err := url.Parse(value); err == nil {
			p.judgeHost(&i, u.Hostname())
		} else {
			i.Private = true // what cannot be read is not waved through
		}
	}
	return i
}

func (p *Policy) judgeAddress(i *Indicator, value string) {
	ip, err := netip.ParseAddr(value)
	if err != nil {
		i.Private = true
		return
	}
	ip = ip.Unmap()
	i.Private = !ip.IsGlobalUnicast() || ip.IsPrivate() || sharedAddresses.Contains(ip)
	for _, own := range p.ownRanges {
		i.Own = i.Own || own.Contains(ip)
	}
}

func (p *Policy) judgeHost(i *Indicator, host string) {
	if _, err := netip.ParseAddr(host); err == nil {
		p.judgeAddress(i, host)
		return
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	i.Private = !strings.Contains(host, ".")
	for _, end := range privateNames {
		i.Private = i.Private || under(host, end)
	}
	for _, list := range [][]string{p.ownDomains, vital} {
		for _, own := range list {
			// A block of a domain reaches every name below it.
			i.Own = i.Own || under(host, own) || under(own, host)
		}
	}
}

// under reports whether name is domain or lies below it.
func under(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// strongRule is how many people a rule must ask for to count as stronger.
const strongRule = 2

// DecideIndicator says which rule governs an action on an indicator: the first
// that matches and does not ask about a machine, or the strictest of the file. A
// private address or name and what is our own is refused unless that rule asks
// about the indicator and for two people besides the requester; refused says why.
func (p *Policy) DecideIndicator(action Action, i Indicator) (rule Applied, refused string) {
	facts := facts{action: &action, indicator: &i}.activation()
	decides := Rule{}
	rule = p.strictest().applied(whyNoMatch)
	for _, r := range p.rules {
		if r.when.reads("machine") {
			continue
		}
		verdict := r.when.eval(facts)
		if verdict == not {
			continue
		}
		if verdict == matches {
			decides, rule = r, r.applied("")
		}
		break
	}
	if !i.Private && !i.Own || decides.when.reads("indicator") && decides.Approvers >= strongRule {
		return rule, ""
	}
	what := "is an address or name of private networks, which means something else in each"
	if i.Own {
		what = "is part of our own estate, or of what Defender and mdebot need"
	}
	return rule, i.Value + " " + what
}

// own are the entries of approvals.own, for the hash.
func (p *Policy) own() []string {
	all := slices.Clone(p.ownDomains)
	for _, r := range p.ownRanges {
		all = append(all, r.String())
	}
	return slices.Sorted(slices.Values(all))
}

package policy

import (
	"strings"
	"testing"
)

func TestIndicatorOf(t *testing.T) {
	t.Parallel()
	p := mustParse(t, somePeople+`
approvals:
  own: [contoso.com, 198.51.100.0/24, "2001:db8::7"]
`)
	for _, tc := range []struct {
		kind, value  string
		private, own bool
	}{
		{"IpAddress", "203.0.113.9", false, false},
		{"IpAddress", "10.1.2.3", true, false},
		{"IpAddress", "127.0.0.1", true, false},
		{"IpAddress", "169.254.1.1", true, false},
		{"IpAddress", "100.64.1.1", true, false},
		{"IpAddress", "0.0.0.0", true, false},
		{"IpAddress", "224.0.0.1", true, false},
		{"IpAddress", "::ffff:10.0.0.1", true, false},
		{"IpAddress", "fd00::1", true, false},
		{"IpAddress", "fe80::1", true, false},
		{"IpAddress", "2606:4700::1111", false, false},
		{"IpAddress", "2001:db8::7", false, true},
		{"IpAddress", "198.51.100.200", false, true},
		{"IpAddress", "nonsense", true, false},
		{"DomainName", "evil.example", false, false},
		{"DomainName", "contoso.com", false, true},
		{"DomainName", "mail.contoso.com", false, true},
		{"DomainName", "notcontoso.com", false, false},
		{"DomainName", "contoso.com.evil.example", false, false},
		{"DomainName", "login.microsoftonline.com", false, true},
		{"DomainName", "hooks.slack.com", false, true},
		{"DomainName", "printer", true, false},
		{"DomainName", "dc.ad.internal", true, false},
		{"Url", "https://evil.example/a", false, false},
		{"Url", "https://www.contoso.com/login?x=1", false, true},
		{"Url", "http://10.0.0.1/x", true, false},
		{"Url", "http://[::1]/x", true, false},
		{"FileSha1", strings.Repeat("a", 40), false, false},
	} {
		if got := p.IndicatorOf(tc.kind, tc.value); got.Private != tc.private || got.Own != tc.own {
			t.Errorf("IndicatorOf(%s, %s) = private %t, own %t, want %t, %t", tc.kind, tc.value, got.Private, got.Own, tc.private, tc.own)
		}
	}
}

func TestDecideIndicator(t *testing.T) {
	t.Parallel()
	block := Action{Kind: "block", Family: "indicator"}
	p := mustParse(t, somePeople+`
approvals:
  own: [contoso.com]
  rules:
    - { name: controllers, when: '"tier0" in machine.tags', approvers: 2 }
    - { name: our own, when: 'action.kind == "block" && (indicator.own || indicator.private)', approvers: 2 }
    - { name: files, when: 'indicator.type == "FileSha1"', approvers: 2 }
    - { name: rest }
`)
	weak := mustParse(t, somePeople+"approvals:\n  own: [contoso.com]\n  rules:\n    - { name: own, when: indicator.own }\n    - { name: rest, approvers: 2 }\n")
	for _, tc := range []struct {
		p                 *Policy
		kind, value, rule string
		refused           bool
	}{
		{p, "DomainName", "evil.example", "rest", false},
		{p, "DomainName", "contoso.com", "our own", false},
		{p, "IpAddress", "10.0.0.1", "our own", false},
		{p, "FileSha1", strings.Repeat("a", 40), "files", false},
		{weak, "DomainName", "evil.example", "rest", false},
		{weak, "DomainName", "contoso.com", "own", true}, // one approver is not stronger
		{weak, "IpAddress", "10.0.0.1", "rest", true},    // the rule does not ask about indicators
	} {
		rule, refused := tc.p.DecideIndicator(block, tc.p.IndicatorOf(tc.kind, tc.value))
		if rule.Name != tc.rule || (refused != "") != tc.refused {
			t.Errorf("DecideIndicator(%s) = rule %q, refused %q, want %q, %t", tc.value, rule.Name, refused, tc.rule, tc.refused)
		}
	}
	// A rule about indicators says nothing about machines.
	if got := p.Decide(isolate, []*Machine{aMachine()}); got.Name != "rest" {
		t.Errorf("an isolation is decided by %q", got.Name)
	}
}

func TestParse_ownFaults(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"Contoso.com", "com", "0.0.0.0/0", "198.51.100.0/33", "a b"} {
		if _, err := Parse("mdebot.yaml", []byte(somePeople+"approvals:\n  own: ["+"\""+bad+"\"]\n"), Options{HomeTenant: testTenant}); err == nil || !strings.Contains(err.Error(), "own:") {
			t.Errorf("own: [%s] = %v, want a fault", bad, err)
		}
	}
}

package commands

import (
	"strings"
	"testing"
	"time"

	"github.com/mdebot/mdebot/internal/approvals"
	"github.com/mdebot/mdebot/internal/cards"
	"github.com/mdebot/mdebot/internal/defender"
)

func TestIndicatorOf(t *testing.T) {
	t.Parallel()
	thumb := "87662bc3d60e4200ceaf7aae249d1c343f4b83c9"
	for typed, want := range map[string]string{
		"evil.example":                          "DomainName evil.example",
		"EVIL[.]Example.":                       "DomainName evil.example",
		"evil(dot)example":                      "DomainName evil.example",
		"bücher.example":                        "DomainName xn--bcher-kva.example",
		"hxxps://Evil[.]example/A?b":            "Url https://evil.example/A?b",
		"http://evil.example":                   "Url http://evil.example/",
		"http://Bücher.example:8080/x":          "Url http://xn--bcher-kva.example:8080/x",
		"hxxp[:]//203.0.113[.]9/x":              "Url http://203.0.113.9/x",
		"203.0.113[.]9":                         "IpAddress 203.0.113.9",
		"[2001:DB8::1]":                         "IpAddress 2001:db8::1",
		"::ffff:203.0.113.9":                    "IpAddress 203.0.113.9",
		"203.0.113.9:443":                       "IpAddress 203.0.113.9",
		strings.ToUpper(thumb):                  "FileSha1 " + thumb,
		strings.Repeat("a", 64):                 "FileSha256 " + strings.Repeat("a", 64),
		strings.Repeat("b", 32):                 "FileMd5 " + strings.Repeat("b", 32),
		"cert:" + thumb:                         "CertificateThumbprint " + thumb,
		"Certificate:" + strings.ToUpper(thumb): "CertificateThumbprint " + thumb,
		"beaconing":                             " ",
		"because":                               " ",
	} {
		got, why := indicatorOf(typed)
		if s := string(got.kind) + " " + got.value; s != want || why != "" {
			t.Errorf("indicatorOf(%q) = %q, %q, want %q", typed, s, why, want)
		}
	}
	for typed, want := range map[string]string{
		"203.0.113.0/24":          "Defender takes single ones",
		"com":                     "",
		"co.uk":                   "public ending",
		"github.io":               "public ending",
		"ftp://evil.example/x":    "http and https alone",
		"http://u:p@evil.example": "no URL that can be read",
		"evil.example/path":       "write it with http",
		"riley@evil.example":      "e-mail address",
		"setup.exe":               "file name",
		strings.Repeat("a", 41):   "41 hexadecimal digits",
		"cert:1234":               "40 hexadecimal digits",
	} {
		if got, why := indicatorOf(typed); got.value != "" || !strings.Contains(why, want) || (want == "") != (why == "") {
			t.Errorf("indicatorOf(%q) = %+v, %q, want %q", typed, got, why, want)
		}
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustSay(t, "block", w.says(t, riley, "block evil[.]example, 203.0.113.9 beacon of the loader --expires 7d --warn"), "#1", "waits for approval")
	r := w.live(t)[0]
	if r.Action != approvals.Block || r.Reason != "beacon of the loader" || r.Params["effect"] != "warn" || r.Params["expires"] != w.clock.Add(7*24*time.Hour).Format(time.RFC3339) ||
		len(r.Targets) != 2 || r.Targets[0].ID != "DomainName:evil.example" || r.Targets[1].ID != "IpAddress:203.0.113.9" {
		t.Errorf("request = %+v %v", r, r.Targets)
	}
	mustSay(t, "the card", cards.Request(cards.RequestView{Request: r}), "block (warn) 2 indicators", "evil.example", "domain and every name below it", "met by 3 machines of ours", "ends by itself at")
	mustSay(t, "a file", w.says(t, riley, "block "+evilSHA256+" dropped"), "#2")
	mustSay(t, "its card", cards.Request(cards.RequestView{Request: w.live(t)[1]}), "signed by <b>Evil</b> Inc.", "3 machines here", "12 machines anywhere")
}

func TestBlock_badInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.machines[0].Name = "ws-042.evil.example"
	for text, wants := range map[string][]string{
		"block":                                   {"Which one?", "Usage: /mde block"},
		"block evil.example":                      {"A reason is needed"},
		"block nonsense because":                  {"cannot be an indicator", "nonsense: it is no hash"},
		"block 203.0.113.0/24 because":            {"Defender takes single ones"},
		"block co.uk because":                     {"public ending"},
		"block 10.1.2.3 because":                  {"10.1.2.3 is an address or name of private networks", "a rule of mdebot.yaml that asks about the indicator and for two people"},
		"block login.microsoftonline.com because": {"part of our own estate"},
		"block ws-042.evil.example because":       {"part of our own estate"},
		"block http://127.0.0.1/x because":        {"private networks"},
		"block evil.example x --expires soon":     {"--expires takes a time"},
		"block evil.example x --warn --audit":     {"Choose one of"},
		"unblock evil.example because":            {"There is no indicator of evil.example."},
		"unblock a.example,b.example because":     {"one at a time"},
	} {
		mustSay(t, text, w.says(t, riley, text), wants...)
	}
	w.estate.faults["indicators"] = defender.ErrForbidden
	mustSay(t, "without the permission", w.says(t, riley, "block evil.example because"), "Ti.ReadWrite.All")
	delete(w.estate.faults, "indicators")
	w.estate.beside = defender.MaxIndicators
	mustSay(t, "too many", w.says(t, riley, "block evil.example because"), "Defender takes 15000 indicators, and there are 15000 already.")
	if n := len(w.live(t)); n != 0 {
		t.Errorf("%d requests were opened", n)
	}
}

func TestBlock_tellsWhatIsThereAlready(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.indicators = []defender.Indicator{
		{ID: "7", Type: defender.IndicatorDomain, Value: "evil.example", Action: defender.IndicatorBlock, CreatedBy: "dana@contoso.com", Created: noon.Add(-time.Hour)},
		{ID: "8", Type: defender.IndicatorDomain, Value: "good.example", Action: "Allowed", CreatedBy: "dana@contoso.com"},
		{ID: "9", Type: defender.IndicatorDomain, Value: "old.example", Action: defender.IndicatorBlock, Expires: noon.Add(-time.Hour)},
	}
	mustSay(t, "the same", w.says(t, riley, "block EVIL[.]example because"), "is there already: Block, set by dana@contoso.com", "indicators evil.example")
	mustSay(t, "another effect", w.says(t, riley, "block evil.example because --audit"), "#1")
	mustSay(t, "one that was allowed", w.says(t, riley, "block good.example because"), "#2")
	mustSay(t, "its card", cards.Request(cards.RequestView{Request: w.live(t)[1]}), "somebody has allowed it", "Allowed", "dana@contoso.com")
	mustSay(t, "one that has expired", w.says(t, riley, "block old.example because"), "#3")
	list := w.says(t, viewer, "indicators evil")
	mustSay(t, "indicators evil", list, "1 indicator with evil", "dana@contoso.com", "3 of 15000")
	mustSay(t, "indicators", w.says(t, viewer, "indicators"), "3 indicators")
	mustSay(t, "none", w.says(t, viewer, "indicators nothing"), "No indicators with nothing")
}

func TestUnblock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.estate.indicators = []defender.Indicator{{ID: "7", Type: defender.IndicatorDomain, Value: "evil.example", Action: defender.IndicatorBlock, CreatedBy: "dana@contoso.com"}}
	mustSay(t, "unblock", w.says(t, riley, "unblock hxxp://evil.example/ wrong one"), "There is no indicator of http://evil.example/")
	mustSay(t, "unblock", w.says(t, riley, "unblock evil.example wrong one"), "#1")
	if r := w.live(t)[0]; r.Action != approvals.Unblock || r.Params["indicator"] != "7" {
		t.Errorf("request = %+v", r)
	}
}

package commands

import (
	"slices"
	"strings"

	"github.com/mdebot/mdebot/internal/chat"
)

// verdict is how an alert is resolved, in Defender's values.
type verdict struct {
	classification string
	determination  string // "" leaves it open
}

func (v verdict) String() string {
	if v.determination == "" {
		return v.classification
	}
	return v.classification + "/" + v.determination
}

// verdicts are Defender's classifications and determinations by how people write
// them. The determinations are the names that the change of an alert takes.
var verdicts = []struct {
	word, value, label string
	determinations     []determination
}{
	{"true-positive", "TruePositive", "True positive", []determination{
		{"multi-stage-attack", "MultiStagedAttack", "multi-stage attack"},
		{"malicious-user", "MaliciousUserActivity", "malicious user"},
		{"compromised-account", "CompromisedUser", "compromised account"},
		{"malware", "Malware", "malware"},
		{"phishing", "Phishing", "phishing"},
		{"unwanted-software", "UnwantedSoftware", "unwanted software"},
		{"other", "Other", "other"},
	}},
	{"informational", "InformationalExpectedActivity", "Expected", []determination{
		{"security-test", "SecurityTesting", "security test"},
		{"line-of-business", "LineOfBusinessApplication", "line of business application"},
		{"confirmed-activity", "ConfirmedActivity", "confirmed activity"},
		{"other", "Other", "other"},
	}},
	{"false-positive", "FalsePositive", "False positive", []determination{
		{"not-malicious", "NotMalicious", "not malicious"},
		{"not-enough-data", "InsufficientData", "not enough data"},
		{"other", "Other", "other"},
	}},
}

type determination struct{ word, value, label string }

// verdictWords are short forms that people type.
var verdictWords = map[string]string{"tp": "truepositive", "fp": "falsepositive", "info": "informational", "expected": "informational", "benign": "informational"}

// plainWord is a word without case and joints.
func plainWord(s string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "", "/", "").Replace(strings.ToLower(s))
}

// verdictOf reads a classification and, after it, a determination. problem says
// what to write instead.
func verdictOf(words string) (_ verdict, problem string) {
	typed := plainWord(words)
	if first, rest, _ := strings.Cut(strings.TrimSpace(strings.ToLower(words)), " "); verdictWords[first] != "" {
		typed = verdictWords[first] + plainWord(rest)
	}
	for _, v := range verdicts {
		rest, ok := strings.CutPrefix(typed, plainWord(v.value))
		if !ok {
			rest, ok = strings.CutPrefix(typed, plainWord(v.word))
		}
		if !ok {
			continue
		}
		if rest == "" {
			return verdict{classification: v.value}, ""
		}
		var known []string
		for _, d := range v.determinations {
			if rest == plainWord(d.word) || rest == plainWord(d.value) {
				return verdict{v.value, d.value}, ""
			}
			known = append(known, d.word)
		}
		return verdict{}, "After " + v.word + " say one of: " + strings.Join(known, ", ") + "."
	}
	return verdict{}, "Say how: true-positive, false-positive or informational."
}

// verdictOptions are the choices of a form. The value is that of [verdict.String].
func verdictOptions() []chat.Option {
	var out []chat.Option
	for _, v := range verdicts {
		for _, d := range v.determinations {
			out = append(out, chat.Option{Label: v.label + ": " + d.label, Value: verdict{v.value, d.value}.String()})
		}
	}
	return out
}

// chosenVerdict is what was chosen in a form; what is none of its options came
// from no form of ours.
func chosenVerdict(value string) (verdict, bool) {
	if !slices.ContainsFunc(verdictOptions(), func(o chat.Option) bool { return o.Value == value }) {
		return verdict{}, false
	}
	classification, determination, _ := strings.Cut(value, "/")
	return verdict{classification, determination}, true
}

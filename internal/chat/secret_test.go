package chat_test

import (
	"strings"
	"testing"

	"github.com/mdebot/mdebot/internal/chat"
)

func TestSecrets_areKnownByTheirShape(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{
		"Slack bot token":        "xoxb-123456789012-abcdefABCDEF",
		"Slack app token":        "xapp-1-A0123456789-abcdef0123456789",
		"Slack response address": "https://hooks.slack.com/commands/T0/1/abcdef",
		"signed token":           "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiJhYmMifQ.c2lnbmF0dXJl",
		"Entra client secret":    "abc8Q~" + strings.Repeat("x", 34),
		"AWS key":                "AKIAIOSFODNN7EXAMPLE",
		"GitHub token":           "ghp_" + strings.Repeat("a1", 18),
		"private key":            "-----BEGIN EC PRIVATE KEY-----",
	} {
		said := "see " + secret + " there"
		if got := chat.WithoutSecrets(said); !chat.HoldsSecret(said) || strings.Contains(got, secret) || !strings.HasPrefix(got, "see ") || !strings.HasSuffix(got, " there") {
			t.Errorf("%s: %q becomes %q", name, said, got)
		}
	}
	for _, harmless := range []string{
		"beaconing to https://203.0.113.9/a, alert da637472900382838869_1364969609",
		"sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"DeviceNetworkEvents | where RemoteUrl has \"hooks.slack.com\"", "machine 5c2e7d9041fb4a8c96e30d8b5f7a1e650000000a",
	} {
		if chat.HoldsSecret(harmless) {
			t.Errorf("%q is taken for a secret", harmless)
		}
	}
}

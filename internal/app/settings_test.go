package app

import (
	"strings"
	"testing"
)

func TestEnvironment_placeholderForAnySecretIsRefused(t *testing.T) {
	t.Parallel()
	secrets := 0
	for _, s := range Settings() {
		if !s.Secret {
			continue
		}
		secrets++
		for _, value := range []string{"changeme", "<client secret>", "your-secret-here", "${SECRET}", "Placeholder"} {
			_, err := newEnvironment([]string{s.Name + "=" + value})
			if err == nil || !strings.Contains(err.Error(), s.Name) {
				t.Errorf("%s=%s: newEnvironment() = %v, want a fault that names it", s.Name, value, err)
			} else if strings.Contains(err.Error(), value) {
				t.Errorf("%s: the fault repeats the value: %v", s.Name, err)
			}
		}
		if _, err := newEnvironment([]string{s.Name + "=Zx8Q~a.7-kLw_93b"}); err != nil {
			t.Errorf("%s: a real secret is refused: %v", s.Name, err)
		}
	}
	if secrets == 0 {
		t.Error("no setting is marked as a secret")
	}
}

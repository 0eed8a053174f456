package app

import (
	"bytes"
	"os"
	"path/filepath"
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

func TestEnvironment_secretsFile(t *testing.T) {
	t.Parallel()
	write := func(name, content string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	one := write("secret", "from the file of its own\n")
	all := write("secrets.json", "\xef\xbb\xbf"+`{"mde_tenant_id":"from the secrets file","mde_client_id":"x","mde_client_secret":"y","slack_bot_token":"","other_program":{"a":1}}`)
	env, err := newEnvironment([]string{
		"MDE_SECRETS_FILE=" + all, "MDE_CLIENT_ID=from the environment", "MDE_CLIENT_SECRET_FILE=" + one,
	})
	if err != nil {
		t.Fatalf("newEnvironment() = %v", err)
	}
	for name, want := range map[string]string{
		"MDE_TENANT_ID": "from the secrets file", "MDE_CLIENT_ID": "from the environment", "MDE_CLIENT_SECRET": "from the file of its own",
	} {
		if got, _ := env.Lookup(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	var out bytes.Buffer
	printOrigins(&out, []string{"MDE_SECRETS_FILE=" + all, "MDE_CLIENT_ID=the-canary", "MDE_CLIENT_SECRET_FILE=" + one})
	want := "MDE_TENANT_ID: from the file in MDE_SECRETS_FILE\nMDE_CLIENT_ID: from the environment\n" +
		"MDE_CLIENT_SECRET: from the file in MDE_CLIENT_SECRET_FILE\nMDE_SECRETS_FILE: from the environment\n"
	if out.String() != want {
		t.Errorf("the origins are\n%s\nwant\n%s", out.String(), want)
	}
}

func TestEnvironment_secretsFileWithFaults(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		`["the-canary"]`:                      "no JSON object",
		`{"mde_client_secret": "the-canary"`:  "no JSON object",
		`{"mde_client_secrt": "the-canary"}`:  "did you mean mde_client_secret?",
		`{"MDE_CLIENT_SECRET": "the-canary"}`: "in lower case",
		`{"mde_client_secret": 4711471147}`:   "text in quotes",
		`{"mde_secrets_file": "the-canary"}`:  "names no other",
	} {
		file := filepath.Join(t.TempDir(), "secrets.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := newEnvironment([]string{"MDE_SECRETS_FILE=" + file})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "MDE_SECRETS_FILE") {
			t.Errorf("%s: newEnvironment() = %v, want %q", content, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "the-canary") || strings.Contains(err.Error(), "4711471147")) {
			t.Errorf("the fault repeats a value: %v", err)
		}
	}
	if _, err := newEnvironment([]string{"MDE_SECRETS_FILE=/nowhere/secrets.json"}); err == nil || !strings.Contains(err.Error(), "MDE_SECRETS_FILE") {
		t.Errorf("a file that is not there: %v", err)
	}
}

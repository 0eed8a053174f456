package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever comes from outside into a log stays inside one line that parses, and
// moves nothing on the terminal that shows it.
func TestLogger_linesCannotBeForged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := newLogger(Config{LogLevel: "debug"}, &out)
	corpus := []string{
		"\n{\"level\":\"INFO\",\"msg\":\"approved\"}", "\r\nforged", "a\x1b[2K\x1b[1Aforged", "\x9b2J", "\u009b2J", "\x00\x07\x08",
		"gpj.\u202eexe", "\u2066x\u2069", "zero\u200bwidth\ufeff", "\u2028\u2029\u0085", "\U000e0041", strings.Repeat("\u0301", 50), "\xff\xfe", `","msg":"forged`,
	}
	for _, text := range corpus {
		log.Info("seen", "name", text, "error", errors.New(text), "group", slog.GroupValue(slog.String(text, text)))
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(corpus) {
		t.Fatalf("%d lines for %d events:\n%s", len(lines), len(corpus), &out)
	}
	for i, line := range lines {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil || event["msg"] != "seen" {
			t.Errorf("%q: %v in %s", corpus[i], err, line)
		}
		if strings.ContainsFunc(line, moves) {
			t.Errorf("%q reaches the log as it is: %q", corpus[i], line)
		}
	}
}

func TestScrubber_masksWhatIsConfiguredAndWhatLooksLikeIt(t *testing.T) {
	t.Parallel()
	secrets := []string{"hunter2-hunter2", "hunter2-hunter2-longer", `quo"ted\secret<>`, "short"}
	var out bytes.Buffer
	log := newLogger(Config{LogLevel: "info", masks: newMasks(secrets)}, &out)
	for _, s := range secrets[:3] {
		log.Error("call failed", "error", fmt.Errorf("get https://x/?secret=%s: refused", s), "token", s)
	}
	log.Error("call failed", "error", "Bearer eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiJhYmMifQ.c2lnbmF0dXJl and xoxb-123456789-abcdefgh", "short", "short")
	text := out.String()
	for _, s := range []string{"hunter2", "longer", "ted", "eyJ", "xoxb"} {
		if strings.Contains(text, s) {
			t.Errorf("%q is in\n%s", s, text)
		}
	}
	if !strings.Contains(text, `"short":"short"`) || strings.Count(text, "[secret]") != 8 {
		t.Errorf("%d masks in\n%s", strings.Count(text, "[secret]"), text)
	}
}

func TestSecretFiles_haveSafeModes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		mode            fs.FileMode
		secret, mounted bool
		refused         string
	}{
		{0o600, true, false, ""},
		{0o400, true, false, ""},
		{0o640, true, false, ""}, // a group of its own is how services share
		{0o644, true, false, "read by everybody"},
		{0o444, true, false, "read by everybody"},
		{0o644, true, true, ""},
		{0o444, true, true, ""},
		{0o660, true, false, "changed by others"},
		{0o602, true, false, "changed by others"},
		{0o666, true, true, "changed by others"},
		{0o644, false, false, ""},
		{0o664, false, false, ""},
		{0o666, false, false, "changed by others"},
	} {
		if why := exposed(tc.mode, tc.secret, func() bool { return tc.mounted }); (why != "") != (tc.refused != "") || !strings.Contains(why, tc.refused) {
			t.Errorf("mode %04o, secret %v, on a mount of its own %v: %q, want %q", tc.mode, tc.secret, tc.mounted, why, tc.refused)
		}
	}

	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("abcdefgh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, refused := range map[fs.FileMode]bool{0o600: false, 0o666: true} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		env, err := newEnvironment([]string{"SLACK_SIGNING_SECRET_FILE=" + file})
		if value, _ := env.Lookup("SLACK_SIGNING_SECRET"); (err != nil) != refused || (value == "") != refused {
			t.Errorf("mode %04o: value of %d characters, error %v; want refused: %v", mode, len(value), err, refused)
		}
	}
}

package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func repositoryFile(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every module that is chosen here has its reason, none is replaced by another
// place, and all of them have sums that the go command checks.
func TestModules_areJustifiedAndPinned(t *testing.T) {
	t.Parallel()
	mod, reasons, sums := repositoryFile(t, "go.mod"), repositoryFile(t, "docs", "dependencies.md"), repositoryFile(t, "go.sum")
	if regexp.MustCompile(`(?m)^replace\b`).MatchString(mod) {
		t.Error("go.mod takes modules from elsewhere")
	}
	direct := 0
	for _, m := range regexp.MustCompile(`(?m)^\s*(?:require )?(\S+\.\S+/?\S*) (v\S+)( // indirect)?$`).FindAllStringSubmatch(mod, -1) {
		path, version := m[1], m[2]
		if !strings.Contains(sums, path+" "+version+" h1:") {
			t.Errorf("%s %s has no sum", path, version)
		}
		if m[3] != "" {
			continue
		}
		direct++
		if !justified(reasons, path) {
			t.Errorf("docs/dependencies.md gives no reason for %s", path)
		}
	}
	if direct < 10 || direct > 60 {
		t.Errorf("%d modules are chosen here; either this does not read go.mod any more, or they have become many", direct)
	}
}

// justified reports whether the page names a module, or the one that it is part of.
func justified(reasons, module string) bool {
	for path := module; strings.Count(path, "/") >= 2; path = path[:strings.LastIndexByte(path, '/')] {
		if strings.Contains(reasons, "`"+path+"`") {
			return true
		}
	}
	return strings.Contains(reasons, "`"+module+"`") || strings.Contains(reasons, "`"+module[strings.LastIndexByte(module, '/')+1:]+"`")
}

// What a change must pass: the tests with the race detector, the linters that hold
// the rules of this repository, and the list of known holes.
func TestChecks_runForEveryChange(t *testing.T) {
	t.Parallel()
	ci, mk, lint := repositoryFile(t, ".ci", "run"), repositoryFile(t, "Makefile"), repositoryFile(t, ".golangci.yml")
	for _, step := range []string{"make test", "make lint", "make vuln"} {
		if !regexp.MustCompile(`(?m)^` + step + `$`).MatchString(ci) {
			t.Errorf(".ci/run has no %q", step)
		}
	}
	for _, part := range []string{"-race", "govulncheck", "golangci-lint\" run ./...", "vet ./..."} {
		if !strings.Contains(mk, part) {
			t.Errorf("the Makefile runs no %s", part)
		}
	}
	for _, linter := range []string{"bodyclose", "errorlint", "exhaustive", "forbidigo", "gosec", "noctx", "rowserrcheck", "sqlclosecheck", "sloglint"} {
		if !strings.Contains(lint, "    - "+linter+"\n") {
			t.Errorf(".golangci.yml does not enable %s", linter)
		}
	}
	if !strings.Contains(lint, "FormValue") || !strings.Contains(lint, "DefaultClient") {
		t.Error(".golangci.yml does not forbid merged form values and the client without limits")
	}
}

// Two builds of the same source in two places are the same file, and the file says
// which modules it holds.
func TestBuild_isReproducibleAndNamesItsModules(t *testing.T) {
	t.Parallel()
	elsewhere := t.TempDir()
	for _, part := range []string{"cmd", "internal", "manifests"} {
		copyTree(t, filepath.Join(root, part), filepath.Join(elsewhere, part))
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		if err := os.WriteFile(filepath.Join(elsewhere, file), []byte(repositoryFile(t, file)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sums := map[string]string{}
	var binary string
	for _, dir := range []string{root, elsewhere} {
		binary = filepath.Join(t.TempDir(), "mdebot")
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, "./cmd/mdebot")
		build.Dir = dir
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build in %s: %v: %s", dir, err, out)
		}
		content, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		sums[hex.EncodeToString(sum[:])] = dir
		if bytes.Contains(content, []byte(elsewhere)) {
			t.Errorf("the binary holds the path of its source")
		}
	}
	if len(sums) != 1 {
		t.Errorf("two builds of one source differ: %v", sums)
	}
	out, err := exec.CommandContext(t.Context(), "go", "version", "-m", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"github.com/slack-go/slack", "modernc.org/sqlite", "golang.org/x/oauth2"} {
		if !regexp.MustCompile(`(?m)^\tdep\t` + regexp.QuoteMeta(module) + `\tv\S+\th1:\S+$`).Match(out) {
			t.Errorf("the binary does not name %s with its sum", module)
		}
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testdata") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Scripts of others that browsers get are what the page about them says, and their
// licence stands beside them.
func TestScripts_areThoseThatWereChosen(t *testing.T) {
	t.Parallel()
	reasons := repositoryFile(t, "docs", "dependencies.md")
	found := 0
	for _, dir := range []string{"internal/teamsbot/web", "internal/sandbox/web"} {
		err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(dir)), func(file string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".min.js") {
				return err
			}
			found++
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(content)
			if !strings.Contains(reasons, hex.EncodeToString(sum[:])) {
				t.Errorf("docs/dependencies.md does not name the sum %x of %s", sum, file)
			}
			licence, err := os.ReadFile(strings.TrimSuffix(file, ".min.js") + ".LICENSE.txt")
			if err != nil || !strings.Contains(string(licence), "MIT License") {
				t.Errorf("%s has no licence beside it: %v", file, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found != 1 {
		t.Errorf("%d scripts of others, want 1", found)
	}
}

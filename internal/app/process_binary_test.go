package app

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mdebot/mdebot/internal/fault"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// binary builds mdebot as it is shipped, once for all tests.
func binary(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "mdebot-test-"); built.err != nil {
			return
		}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(built.dir, "mdebot"), "./cmd/mdebot")
		cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("%s", out)
			built.err = err
		}
	})
	if built.err != nil {
		t.Fatalf("build mdebot: %v", built.err)
	}
	return filepath.Join(built.dir, "mdebot")
}

func removeBinary() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // a temporary directory
	}
}

// A call of a method whose name is known only at run time makes the linker keep
// every exported method: six megabytes of the binary, four of resident memory.
func TestBinary_callsNoMethodByARunTimeName(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-dumpdep", "-o", os.DevNull, "./cmd/mdebot")
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("link mdebot: %v\n%.2000s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if from, _, ok := strings.Cut(line, " <ReflectMethod> -> "); ok {
			t.Fatalf("%s makes the linker keep every method; see docs/dependencies.md", from)
		}
	}
}

// The deliberate faults of the model test are in no binary that anybody runs.
func TestBinary_holdsNoFault(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range fault.All() {
		if bytes.Contains(text, []byte(name)) {
			t.Errorf("the binary holds %q", name)
		}
	}
}

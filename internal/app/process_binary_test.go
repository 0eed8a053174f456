package app

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
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

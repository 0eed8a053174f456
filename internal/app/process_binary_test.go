package app

import (
	"os"
	"os/exec"
	"path/filepath"
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

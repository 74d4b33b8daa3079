package hostlane_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestBuildWithoutCgoSaysWhatIsMissing(t *testing.T) {
	cmd := exec.Command("go", "build", "-o", os.DevNull, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("built without cgo")
	}
	if !strings.Contains(string(out), "hostlane_needs_cgo__set_CGO_ENABLED_1") {
		t.Errorf("the compiler says only:\n%s", out)
	}
}

func TestBuildWithoutTheLibrarySaysHowToGetIt(t *testing.T) {
	module := t.TempDir()
	must(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "lib":
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(module, path), 0o700)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(module, path), text, 0o600)
	}))
	cmd := exec.CommandContext(testCtx(t), "go", "build", "-o", os.DevNull, ".")
	cmd.Dir = module
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("built without the library")
	}
	if !strings.Contains(string(out), "is not built; in the checkout of hostlane run: cargo build --release -p hostlane-c") {
		t.Errorf("the compiler says only:\n%s", out)
	}
}

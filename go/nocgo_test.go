package hostlane_test

import (
	"os"
	"os/exec"
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

// Package examples tests the programs in this directory.
package examples

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds what must happen.
const patience = 20 * time.Second

// program builds one of the programs, and returns what runs it.
func program(t *testing.T, name string) func(arguments ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	t.Cleanup(cancel)
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	running, stop := context.WithTimeout(context.Background(), patience)
	t.Cleanup(stop)
	return func(arguments ...string) *exec.Cmd { return exec.CommandContext(running, binary, arguments...) }
}

func TestStreamAddsUp(t *testing.T) {
	stream := program(t, "stream")
	out, err := stream(filepath.Join(t.TempDir(), "s")).Output()
	if want := "101 so far\n103 so far\n106 so far\nthe sum is 106\n"; err != nil || string(out) != want {
		t.Fatalf("%q, %v", out, err)
	}
}

func TestTwoLinksGreetEachOther(t *testing.T) {
	link := program(t, "link")
	addr := filepath.Join(t.TempDir(), "s")
	var roles, told []string
	var sides []*exec.Cmd
	var inputs []io.Closer
	var outputs []*bufio.Scanner
	for _, name := range []string{"a", "b"} {
		side := link(addr, name)
		input, err := side.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		output, err := side.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := side.Start(); err != nil {
			t.Fatal(err)
		}
		sides, inputs, outputs = append(sides, side), append(inputs, input), append(outputs, bufio.NewScanner(output))
	}
	for _, output := range outputs {
		output.Scan()
		roles = append(roles, output.Text())
		output.Scan()
		told = append(told, output.Text())
	}
	for i, side := range sides {
		inputs[i].Close()
		if err := side.Wait(); err != nil {
			t.Error(err)
		}
	}
	if told[0] != "b got: hello from a" || told[1] != "a got: hello from b" {
		t.Errorf("told %q", told)
	}
	if pair := roles[0] + " " + roles[1]; pair != "serving connected" && pair != "connected serving" {
		t.Errorf("they are %s", pair)
	}
}

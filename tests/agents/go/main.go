// Command agent is the Go side of the cross-language runs and benchmarks.
//
//	agent files  ADDR                 stdin: paths; echoes every file through ADDR
//	agent bench  ADDR SIZE SECONDS    request and reply, one at a time
//	agent stream ADDR SIZE SECONDS    one-way messages to a sink
//	agent batch  ADDR SIZE SECONDS    the same, many with one call
//	agent flight ADDR SIZE SECONDS    request and reply, 64 at a time
//	agent sink   ADDR                 counts messages, tells the count on request
//
// raw-echo, raw-bench, raw-sink and raw-stream do the same over a bare net.UnixConn:
// the floor to compare with.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// deadline bounds every single operation.
const deadline = 5 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: agent MODE ADDR [SIZE SECONDS]")
	}
	mode, addr := args[0], args[1]
	switch mode {
	case "files":
		return files(addr, os.Stdin, os.Stdout)
	case "sink":
		return sink(addr)
	case "raw-echo":
		return rawServe(addr, rawEcho)
	case "raw-sink":
		return rawServe(addr, rawSink)
	}
	if len(args) != 4 {
		return fmt.Errorf("usage: agent %s ADDR SIZE SECONDS", mode)
	}
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseFloat(args[3], 64)
	if err != nil {
		return err
	}
	span := time.Duration(seconds * float64(time.Second))
	switch mode {
	case "bench":
		return bench(addr, size, span)
	case "stream":
		return stream(addr, size, span)
	case "batch":
		return batch(addr, size, span)
	case "flight":
		return flight(addr, size, span)
	case "raw-bench":
		return rawBench(addr, size, span)
	case "raw-stream":
		return rawStream(addr, size, span)
	}
	return fmt.Errorf("unknown mode %q", mode)
}

// Command raw-blocking is a raw net.UnixConn: one write and one read for a message.
package main

import (
	"github.com/hostlane/hostlane/bench/go/frame"
	"github.com/hostlane/hostlane/bench/go/framing"
)

func main() { frame.Main(framing.Server(false), framing.Connector(false)) }

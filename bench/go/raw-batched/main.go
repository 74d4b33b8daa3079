// Command raw-batched is a raw net.UnixConn: writes and reads batched by hand.
package main

import (
	"github.com/hostlane/hostlane/bench/go/frame"
	"github.com/hostlane/hostlane/bench/go/framing"
)

func main() { frame.Main(framing.Server(true), framing.Connector(true)) }

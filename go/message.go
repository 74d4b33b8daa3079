package hostlane

import "context"

// Channel numbers one of the lanes of a connection. 0 belongs to the protocol,
// 5 to 255 are reserved, 256 and up are the program's own.
type Channel uint16

// The channels that every connection offers by default.
const (
	// ChannelCommand carries requests and their replies.
	ChannelCommand Channel = 1
	// ChannelData carries one-way messages.
	ChannelData Channel = 2
	// ChannelTelemetry carries measurements.
	ChannelTelemetry Channel = 3
	// ChannelError carries error reports, by convention.
	ChannelError Channel = 4
)

// Message is one received message. Data belongs to the caller.
type Message struct {
	// Channel is the channel it arrived on.
	Channel Channel
	// Data is the payload; empty, never nil, for an empty message.
	Data []byte

	peer *Peer
}

// Reply sends data back on the message's channel: the answer to a call when the
// message came by Request, a plain message otherwise. It waits as Send does and
// fails with the same errors; a Message that was not received gives
// ErrInvalidArgument.
func (m Message) Reply(ctx context.Context, data []byte) error {
	if m.peer == nil {
		return &Error{Code: CodeInvalidArgument, Msg: "only a received message can be replied to"}
	}
	return m.peer.Send(ctx, m.Channel, data)
}

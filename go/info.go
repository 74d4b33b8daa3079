package hostlane

import (
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// Info is what was agreed in the handshake and who the other side is. It does not
// change while the connection lives.
type Info struct {
	// PID, UID and GID identify the other process, from the kernel and never from
	// the wire; 0 and twice the largest number where it does not tell, as over TCP. A
	// process id may be reused: decide by the user and group.
	PID int
	UID uint32
	GID uint32
	// Level is the wire level (docs/protocol.md).
	Level int
	// MaxMessage is the largest payload that was agreed on, in bytes.
	MaxMessage int
	// MaxCalls is how many calls of this side the other side serves at a time.
	MaxCalls int
	// PeerKeepalive is how long the other side hears nothing before it asks for a sign of
	// life; 0 when it does not.
	PeerKeepalive time.Duration
	// PeerID is the name the accepting side gave to the connecting one, such as
	// "peer-7"; the same on both sides.
	PeerID string
	// Instance is the random id of this endpoint, 32 hexadecimal digits.
	Instance string
	// PeerInstance is the other side's id; empty when it told none.
	PeerInstance string
	// Carrier is what moves the bytes: "unix", "tcp", "inproc", "fd", "stdio" or "spawn".
	Carrier string
	// Address is the address connected to, or the listener's.
	Address string
	// Features are the agreed features beyond the level.
	Features []string
	// Channels are the agreed channels, in the order the connecting side asked.
	Channels []Channel
}

// Stats counts what a connection did since its handshake, over all channels. Bytes
// are payload bytes.
type Stats struct {
	// MessagesSent and BytesSent count what was accepted for sending.
	MessagesSent, BytesSent uint64
	// MessagesReceived and BytesReceived count what arrived, replies among them.
	MessagesReceived, BytesReceived uint64
	// Calls counts the requests this side put on the wire: the operating system took a byte
	// of them. OpenCalls are those that have a place at the other side now: no answer has
	// come, also of those that were given up. The next four are 0 on level 0.
	Calls, OpenCalls uint64
	// CallsServed counts the requests of the other side that got a place, OpenServed those
	// that have it now: unanswered, answered and not yet sent, or given up and still handled.
	CallsServed, OpenServed uint64
	// CallsCancelled counts the calls that had left and ended without an answer because this side
	// gave them up or their time was over; not those that were lost with the connection.
	CallsCancelled uint64
	// Late counts what came for calls that had ended; it is dropped.
	Late uint64
	// PendingOperations is the number of operations that wait now.
	PendingOperations uint64
	// ReceiveQueue holds received messages that wait for the program.
	ReceiveQueue Depth
	// SendQueue holds messages that wait for the operating system.
	SendQueue Depth
}

// ChannelStats counts what one channel did since the handshake. All but the first
// four and ReceiveQueue.Messages is 0 on level 0.
type ChannelStats struct {
	// MessagesSent and BytesSent count what was accepted for sending.
	MessagesSent, BytesSent uint64
	// MessagesReceived and BytesReceived count what arrived, replies among them.
	MessagesReceived, BytesReceived uint64
	// ReceiveQueue holds received messages that wait for the program.
	ReceiveQueue Depth
	// SendQueue holds messages that wait to be sent.
	SendQueue Depth
	// SendCredit is how many bytes, each message charged 64 beside its payload and
	// 4096 for each descriptor, the other side would take now.
	SendCredit uint64
	// Dropped counts the messages this side dropped by the policy of the channel,
	// DroppedByPeer those the other side says it dropped.
	Dropped, DroppedByPeer uint64
}

// Depth is the state of a bounded queue.
type Depth struct {
	// Messages and Bytes are in it now; each message is charged 64 bytes beside its
	// payload and 4096 for each descriptor.
	Messages, Bytes uint64
	// PeakBytes is the most it was ever charged for.
	PeakBytes uint64
}

// ListenerStats counts what a listener did so far.
type ListenerStats struct {
	// Connections counts what was taken from the kernel.
	Connections uint64
	// Accepted counts handshakes that ended well.
	Accepted uint64
	// Refused counts handshakes that did not, for whatever reason.
	Refused uint64
	// HalfOpen is the number of handshakes running now.
	HalfOpen uint64
	// Ready is the number of connections that wait for Accept now.
	Ready uint64
	// Pauses counts how often accepting stopped for want of descriptors or memory.
	Pauses uint64
}

// Refusal is a client that was turned away before it became a Peer.
type Refusal struct {
	// Code tells why, such as CodeAuthenticationFailed or CodeTimeout.
	Code Code
	// PID, UID and GID identify the client; 0 and twice the largest number when the
	// system does not tell.
	PID int
	UID uint32
	GID uint32
}

func infoOf(raw capi.Info) Info {
	channels := make([]Channel, len(raw.Channels))
	for i, c := range raw.Channels {
		channels[i] = Channel(c)
	}
	return Info{
		PID: raw.PID, UID: raw.UID, GID: raw.GID,
		Level: raw.Level, MaxMessage: raw.MaxMessage, MaxCalls: raw.MaxCalls,
		PeerKeepalive: time.Duration(raw.KeepaliveMS) * time.Millisecond,
		PeerID:        raw.PeerID, Instance: raw.Instance, PeerInstance: raw.PeerInstance,
		Carrier: raw.Carrier, Address: raw.Address,
		Features: raw.Features, Channels: channels,
	}
}

func statsOf(raw capi.Stats) Stats {
	return Stats{
		MessagesSent: raw.MessagesSent, BytesSent: raw.BytesSent,
		MessagesReceived: raw.MessagesReceived, BytesReceived: raw.BytesReceived,
		Calls: raw.Calls, OpenCalls: raw.OpenCalls,
		CallsServed: raw.CallsServed, OpenServed: raw.OpenServed,
		CallsCancelled: raw.CallsCancelled, Late: raw.Late,
		PendingOperations: raw.PendingOperations,
		ReceiveQueue:      Depth(raw.ReceiveQueue), SendQueue: Depth(raw.SendQueue),
	}
}

func channelStatsOf(raw capi.ChannelStats) ChannelStats {
	return ChannelStats{
		MessagesSent: raw.MessagesSent, BytesSent: raw.BytesSent,
		MessagesReceived: raw.MessagesReceived, BytesReceived: raw.BytesReceived,
		ReceiveQueue: Depth(raw.ReceiveQueue), SendQueue: Depth(raw.SendQueue),
		SendCredit: raw.SendCredit,
		Dropped:    raw.Dropped, DroppedByPeer: raw.DroppedByPeer,
	}
}

func refusalsOf(raw []capi.Refusal) []Refusal {
	refusals := make([]Refusal, len(raw))
	for i, r := range raw {
		refusals[i] = Refusal{Code: Code(r.Status), PID: int(r.PID), UID: r.UID, GID: r.GID}
	}
	return refusals
}

package hostlane

import (
	"context"
	"os"

	"github.com/hostlane/hostlane/go/internal/capi"
)

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

// Message is one received message. Data belongs to the caller. Copies of a Message
// are the same message.
type Message struct {
	// Channel is the channel it arrived on.
	Channel Channel
	// Data is the payload; empty, never nil, for an empty message.
	Data []byte
	// Extra is what its sender gave along by [Trace] and the like; nil for nothing.
	Extra *Extra

	peer  *Peer // or
	link  *Link
	call  *call
	lease *capi.Lease
}

// Extra is what came with a message beside its payload.
type Extra struct {
	// IdempotencyKey says that the call may be sent again under this key; empty for
	// none.
	IdempotencyKey string
	// Trace is what the sender gave along to follow the message by.
	Trace string
	// Files are open files of the sender, now the receiver's to close.
	Files []*os.File
}

// newMessage takes over what arrived at a peer. parent is what the Context of a request
// descends from.
func newMessage(p *Peer, r *capi.Received, parent context.Context) Message {
	m := messageOf(r)
	m.peer = p
	if !r.Message.IsZero() {
		m.call = newCall(r, parent)
		m.call.peer = p
	}
	return m
}

func messageOf(r *capi.Received) Message {
	m := Message{Channel: Channel(r.Channel), Data: r.Data, lease: r.Lease}
	if d := r.Details; d != nil {
		m.Extra = &Extra{IdempotencyKey: string(d.Key), Trace: string(d.Trace)}
		for _, fd := range d.FDs {
			m.Extra.Files = append(m.Extra.Files, os.NewFile(uintptr(fd), "hostlane"))
		}
	}
	return m
}

// IsRequest reports whether somebody waits for an answer: Reply or Fail, once, by any
// goroutine. On level 0, which has no call ids, nothing is a request, and a call is
// answered by a message: Reply does the right thing on both.
//
// A request that is let go without an answer gives its caller ErrCallAbandoned: by
// Abandon, or when the garbage collector finds it.
func (m Message) IsRequest() bool { return m.call != nil }

// IsStream reports whether the request opened a stream; see Stream.
func (m Message) IsStream() bool { return m.call != nil && m.call.streams }

// CallID is the number of the call, unique in its connection; 0 for a one-way message.
func (m Message) CallID() uint64 {
	if m.call == nil {
		return 0
	}
	return m.call.id
}

// Context is done when the answer is no longer wanted: given, or its caller left, ran
// out of time or lost the connection. Its deadline is how long the caller waits, and its
// error is DeadlineExceeded once that has passed, however that becomes known; of a call
// that ended before it is Canceled, and the cause [ErrCallEnded]. A call that ends in the
// last 20 ms of its time, or the last half of a shorter one, has run out of it. Pass the
// context to the calls made on behalf of this one, which inherit both. In a handler it
// descends from the context given to Serve. That of a one-way message is never done by
// itself.
func (m Message) Context() context.Context {
	switch {
	case m.call != nil:
		return m.call
	default:
		return context.Background()
	}
}

// Reply answers a request with data; to another message it sends data back on its
// channel. It waits as Send does and fails with the same errors, and with ErrCallEnded
// when the answer is no longer wanted. After another error the request can still be
// answered. A Message that was not received gives ErrInvalidArgument.
func (m Message) Reply(ctx context.Context, data []byte) error {
	if m.call != nil {
		return m.call.answer(ctx, capi.Op{Kind: capi.Reply, Data: data})
	}
	if m.link != nil {
		return m.link.Send(ctx, data, OnChannel(m.Channel))
	}
	if m.peer == nil {
		return &Error{Code: CodeInvalidArgument, Msg: "only a received message can be replied to"}
	}
	return m.peer.Send(ctx, m.Channel, data)
}

// Fail answers a request with an error: code and data, both the program's own, reach
// the caller as a [*RemoteError]. It fails as Reply does; with ErrInvalidArgument when
// the message is no request, and with ErrUnsupported on level 0.
func (m Message) Fail(ctx context.Context, code uint32, data []byte) error {
	if m.call != nil {
		return m.call.answer(ctx, capi.Op{Kind: capi.Fail, Code: code, Data: data})
	}
	if m.peer != nil && m.peer.info.Level == 0 {
		return &Error{Code: CodeUnsupported, Msg: "wire level 0 has no form for failing a call"}
	}
	return &Error{Code: CodeInvalidArgument, Msg: "only a request can be failed"}
}

// Abandon lets a request go without an answer: its caller gets ErrCallAbandoned. It is
// idempotent, and does nothing to an answered request or another message.
func (m Message) Abandon() {
	if m.call != nil {
		m.call.abandon()
	}
}

// Release lets the memory of Data be used for another message. Nobody has to call it, and
// nobody may use Data after it; it spares programs that receive many large messages much
// of the garbage collector's work.
func (m Message) Release() {
	if m.lease != nil {
		m.lease.Return()
	}
}

// Stream gives the stream that a request opened: items both ways until it is answered
// by Reply or Fail. It fails with ErrInvalidArgument for another message, and with
// ErrUnsupported for one of a Link.
func (m Message) Stream() (*Stream, error) {
	if !m.IsStream() {
		return nil, &Error{Code: CodeInvalidArgument, Msg: "the message opened no stream"}
	}
	return m.call.openStream()
}

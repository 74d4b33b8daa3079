package hostlane

import (
	"context"
	"io"
	"iter"
	"runtime"
	"sync"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// Stream is the items of one call, both ways, each direction with room of its own: a
// stream that nobody reads stops nobody else. One goroutine may send while another
// receives.
type Stream struct {
	peer    *Peer
	handle  capi.Stream
	id      uint64
	cleanup runtime.Cleanup
	// forget ends the watch over the context of OpenStream.
	forget func() bool

	mu    sync.Mutex
	reply []byte
}

// OpenStream opens a stream by a request with data; the other side finds it by
// [Message.Stream]. It does not wait. ctx is that of the whole call: its deadline is
// told to the other side, and its end gives the stream up as Close does. It fails with
// ErrUnsupported on level 0, and as Request does.
func (p *Peer) OpenStream(ctx context.Context, data []byte, opts ...CallOption) (*Stream, error) {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return nil, err
	}
	o := collectCall(opts)
	with, done, err := o.with()
	if err != nil {
		return nil, err
	}
	if with == nil {
		with = &capi.With{Channel: uint16(o.channel)}
	}
	with.DeadlineMS = max(ms, 0) // 0 is none
	handle, failure := p.handle.OpenStream(data, with)
	done()
	runtime.KeepAlive(p)
	if failure != nil {
		return nil, errorOf(failure)
	}
	s := newStream(p, handle)
	if ctx.Done() != nil {
		// Not s itself: the context must not keep a forgotten stream alive.
		s.forget = context.AfterFunc(ctx, func() { handle.Close() })
	}
	return s, nil
}

func newStream(p *Peer, handle capi.Stream) *Stream {
	s := &Stream{peer: p, handle: handle, id: handle.CallID()}
	s.cleanup = runtime.AddCleanup(s, func(handle capi.Stream) { handle.Close() }, handle)
	return s
}

// CallID is the number of the call, unique in its connection; the same that
// [Message.CallID] tells on the other side.
func (s *Stream) CallID() uint64 { return s.id }

// Send sends one item. It waits while the other side has no room for it; when ctx ends
// before the first byte left, nothing was sent. It fails with ErrCallEnded when the call
// is over, with ErrInvalidArgument after CloseSend, and as Peer.Send does.
func (s *Stream) Send(ctx context.Context, item []byte) error {
	ev, err := s.do(ctx, capi.Op{Kind: capi.StreamSend, Data: item})
	if err != nil {
		return err
	}
	return s.end(ctx, &ev)
}

// CloseSend says that this side sends no more items; the other direction goes on. It
// waits and fails as Send does.
func (s *Stream) CloseSend(ctx context.Context) error {
	ev, err := s.do(ctx, capi.Op{Kind: capi.StreamFinish})
	if err != nil {
		return err
	}
	return s.end(ctx, &ev)
}

// Recv returns the next item. At the end it gives io.EOF: for the side that opened the
// stream when the call was answered, after which Reply has the answer; for the other
// side when the opener called CloseSend. When ctx ends first, nothing is lost.
//
// It fails with a [*RemoteError] when the call was failed, with ErrCallAbandoned when
// it was let go, with ErrCallEnded when it was given up, and as Peer.Recv does.
func (s *Stream) Recv(ctx context.Context) ([]byte, error) {
	ev, err := s.do(ctx, capi.Op{Kind: capi.StreamRecv})
	if err != nil {
		return nil, err
	}
	if err := s.end(ctx, &ev); err != nil {
		return nil, err
	}
	if !ev.Ended {
		return ev.Data, nil
	}
	if ev.Data != nil {
		s.mu.Lock()
		s.reply = ev.Data
		s.mu.Unlock()
	}
	return nil, io.EOF
}

// Items iterates over what Recv returns, up to the end of the stream; an error is
// yielded once as the last element.
func (s *Stream) Items(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			item, err := s.Recv(ctx)
			if err == io.EOF {
				return
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// Reply returns the answer that ended the call, for the side that opened the stream,
// once Recv gave io.EOF; nil before, and on the other side.
func (s *Stream) Reply() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reply
}

// Close gives the stream back. The side that opened it gives the call up unless it has
// ended, and waiting goroutines get ErrCancelled; on the other side the call goes on
// until its message is answered. It is idempotent and never waits.
func (s *Stream) Close() error {
	s.cleanup.Stop()
	if s.forget != nil {
		s.forget()
	}
	failure := s.handle.Close()
	runtime.KeepAlive(s)
	return closeError(failure)
}

func (s *Stream) do(ctx context.Context, op capi.Op) (capi.Event, error) {
	ms, err := timeoutOf(ctx)
	if err != nil {
		return capi.Event{}, err
	}
	op.Peer, op.Stream, op.TimeoutMS = s.peer.handle, s.handle, ms
	return s.peer.loop.Do(ctx, &op), nil
}

// end keeps s alive to here, as Peer.end does.
func (s *Stream) end(ctx context.Context, ev *capi.Event) error {
	runtime.KeepAlive(s)
	return s.peer.end(ctx, ev)
}

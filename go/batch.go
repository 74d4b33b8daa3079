package hostlane

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/hostlane/hostlane/go/internal/capi"
)

const (
	// sendMost is the most messages, and sendBytes about the most payload bytes, that go
	// into C in one call.
	sendMost  = 256
	sendBytes = 256 << 10
	// recvMost is the most messages that come out of C in one call.
	recvMost = 1024
)

var (
	batches = sync.Pool{New: func() any { return new(capi.Batch) }}
	inboxes = sync.Pool{New: func() any { return capi.NewInbox(recvMost) }}
)

// SendBatch sends many messages on one channel, in order, in as few system calls as they
// allow, and returns once all are sent or queued for the kernel; what is sent later on
// another channel may overtake what is queued. When it fails, sent is
// how many of the first went before, and none of the others did. It fails as Send does.
func (p *Peer) SendBatch(ctx context.Context, channel Channel, payloads [][]byte) (sent int, err error) {
	if channel == 0 {
		return 0, noChannel()
	}
	b := batches.Get().(*capi.Batch)
	defer batches.Put(b)
	for len(payloads) > 0 {
		if _, err := timeoutOf(ctx); err != nil {
			return sent, err
		}
		b.Reset()
		// Few have to wait: submit sees to it that ctx ends those.
		// One that is refused at once is the end of those behind it.
		op := capi.Op{Kind: capi.SendNext, Channel: int32(channel), Peer: p.handle, TimeoutMS: capi.Forever}
		for _, data := range payloads {
			if b.Len() == sendMost || b.Len() > 0 && b.Bytes()+len(data) > sendBytes {
				break
			}
			op.Data = data
			b.Add(&op)
		}
		n, err := p.submit(ctx, b)
		sent += n
		if err != nil {
			return sent, err
		}
		payloads = payloads[n:]
	}
	return sent, nil
}

// submit sends what is in b and tells how many of the first went well.
func (p *Peer) submit(ctx context.Context, b *capi.Batch) (sent int, err error) {
	defer runtime.KeepAlive(p)
	if failure := p.loop.Context.Submit(b); failure != nil {
		return 0, errorOf(failure)
	}
	n := b.Len()
	for sent < n && b.Sent(sent) {
		sent++
	}
	if sent == n {
		return n, nil
	}
	// What has to wait does so in order; the first failure is the end of all behind it.
	rest := make([]capi.Event, 0, n-sent)
	for i := sent; i < n; i++ {
		rest = append(rest, b.Take(i))
	}
	giveUp := func() {
		for _, ev := range slices.Backward(rest) {
			if ev.Pending() {
				p.loop.Context.Cancel(ev.Op)
			}
		}
	}
	defer context.AfterFunc(ctx, giveUp)()
	for i := range rest {
		ev := p.loop.Await(context.Background(), rest[i])
		switch failed := failureOf(ctx, &ev); {
		case err != nil:
		case failed == nil:
			sent++
		default:
			err = failed
			giveUp()
		}
	}
	return sent, err
}

// RecvBatch waits for a message and returns all that are there, at most most of them
// and 1024. Their payloads share memory: one that is kept for long keeps up to 64 KiB of
// its neighbours. It fails as Recv does, and with ErrInvalidArgument when most is not
// positive.
func (p *Peer) RecvBatch(ctx context.Context, most int) ([]Message, error) {
	if most <= 0 {
		return nil, &Error{Code: CodeInvalidArgument, Msg: "no message could be received"}
	}
	in := inboxes.Get().(*capi.Inbox)
	defer inboxes.Put(in)
	if err := p.fill(ctx, in, most); err != nil {
		return nil, err
	}
	messages := make([]Message, 0, in.Len())
	in.Each(false, func(r capi.Received) { messages = append(messages, p.received(&r)) })
	return messages, nil
}

// fill receives at least one message into in.
func (p *Peer) fill(ctx context.Context, in *capi.Inbox, most int) error {
	defer runtime.KeepAlive(p)
	for {
		ms, err := timeoutOf(ctx)
		if err != nil {
			return err
		}
		ev := p.loop.Await(ctx, p.loop.Context.RecvBatch(p.handle, in, most, ms))
		if err := failureOf(ctx, &ev); err != nil {
			return err
		}
		if in.Len() > 0 {
			return nil
		}
	}
}

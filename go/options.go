package hostlane

import (
	"log/slog"
	"math"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// Option changes one default of Dial or Listen.
type Option func(*options)

type options struct {
	capi   capi.Options
	logger *slog.Logger
}

// WithChannels sets the channels this side offers in the handshake, in order of
// preference; the connection carries those that both sides offer. The default is
// ChannelCommand, ChannelData, ChannelTelemetry and ChannelError. At most 256;
// user channels start at 256.
func WithChannels(channels ...Channel) Option {
	numbers := make([]uint16, len(channels))
	for i, c := range channels {
		numbers[i] = uint16(c)
	}
	return func(o *options) { o.capi.Channels, o.capi.HasChannels = numbers, true }
}

// WithAuthToken sets the token of stock level-0 peers, 1 to 4096 bytes; programs of
// hostlane have [WithSecret]. A listener accepts only clients that present it (others get
// ErrAuthenticationFailed); a dialler presents it. It travels in clear, so it is accepted
// on private local sockets only.
func WithAuthToken(token string) Option {
	return func(o *options) { o.capi.AuthToken, o.capi.HasAuthToken = token, true }
}

// WithSecret sets a secret that both sides prove to each other without sending it, 1
// to 4096 bytes of UTF-8. It demands level 1, and addresses of the form tcp: demand
// it; a side without it, or with another, gets ErrAuthenticationFailed.
func WithSecret(secret string) Option {
	return func(o *options) { o.capi.Secret, o.capi.HasSecret = secret, true }
}

// Level says which wire levels (docs/protocol.md) may be agreed on.
type Level int32

const (
	// LevelAuto is the highest that both sides speak: the default.
	LevelAuto = Level(capi.LevelAuto)
	// LevelZero is level 0 alone, as a stock ipcprims peer.
	LevelZero = Level(capi.LevelZero)
	// LevelOne is level 1 or ErrVersionMismatch.
	LevelOne = Level(capi.LevelOne)
)

// WithLevel sets which wire levels may be agreed on.
func WithLevel(level Level) Option {
	return func(o *options) { o.capi.Level = int32(level) }
}

// WithMaxCalls sets how many requests of the other side may be unanswered at a time, those it
// gave up and a handler still has among them; more wait there. The default, also for 0, is 1024,
// the most 16384. Level 1 only.
func WithMaxCalls(calls int) Option {
	return func(o *options) { o.capi.MaxCalls = uint64(calls) }
}

// WithKeepalive pings the other side when nothing came from it for so long, and ends
// the connection with ErrPeerUnresponsive when nothing comes for twice as long again.
// It is rounded up to a millisecond, of which there must be 50. The default, also for
// 0, is never. Level 1 only.
func WithKeepalive(d time.Duration) Option {
	return func(o *options) { o.capi.KeepaliveMS = millisecondsUp(d) }
}

// Policy is what a send does on a channel on which the other side has no room for
// more, which happens on level 1.
type Policy int32

const (
	// PolicyBlock waits for room: the default, except for ChannelTelemetry.
	PolicyBlock = Policy(capi.PolicyBlock)
	// PolicyError fails with ErrWouldBlock.
	PolicyError = Policy(capi.PolicyError)
	// PolicyDropOldest drops the oldest messages that have not been sent: the default
	// of ChannelTelemetry. Stats and the other side's Stats count them.
	PolicyDropOldest = Policy(capi.PolicyDropOldest)
	// PolicyLatest keeps only the newest message that has not been sent.
	PolicyLatest = Policy(capi.PolicyLatest)
)

// WithPolicy sets the policy of one channel, which this side offers.
func WithPolicy(channel Channel, policy Policy) Option {
	return func(o *options) {
		// A new list each time: an Option may be used for many connections.
		o.capi.Policies = append(o.capi.Policies[:len(o.capi.Policies):len(o.capi.Policies)],
			capi.Policy{Channel: uint16(channel), Policy: int32(policy)})
	}
}

// WithFiles lets messages carry open files, where the other side agrees too; see
// [Files]. Level 1 over Unix-domain sockets only.
func WithFiles() Option {
	return func(o *options) { o.capi.FDs = true }
}

// WithCommand sets the program and its arguments, word for word, that Dial starts for
// the address "spawn:". It means nothing to Listen.
func WithCommand(words ...string) Option {
	command := append([]string(nil), words...)
	return func(o *options) { o.capi.Command, o.capi.HasCommand = command, true }
}

// WithHandshakeTimeout bounds the whole handshake, however the bytes arrive, and
// is rounded up to a millisecond. The default, also for 0, is 5 seconds.
func WithHandshakeTimeout(d time.Duration) Option {
	return func(o *options) { o.capi.HandshakeTimeoutMS = millisecondsUp(d) }
}

// WithMaxMessage sets the largest payload in bytes, sent or received. The default,
// also for 0, is 16 MiB, which is also the most.
func WithMaxMessage(bytes int) Option {
	return func(o *options) { o.capi.MaxMessage = uint64(bytes) }
}

// WithAllowUIDs accepts only other sides that run as one of these users, by the
// kernel's word; none named admits nobody. The default is this user and root for a
// per-user name, elsewhere whoever the file mode of the socket lets in; an abstract
// address (unix:@name) has no file mode and needs this option.
func WithAllowUIDs(uids ...uint32) Option {
	ids := append([]uint32(nil), uids...)
	return func(o *options) { o.capi.AllowUIDs, o.capi.HasAllowUIDs = ids, true }
}

// WithBacklog sets how many connections the kernel holds before they are accepted,
// at most 65535. The default, also for 0, is 1024; the kernel may lower it. It means
// nothing to Dial.
func WithBacklog(connections int) Option {
	backlog := uint32(math.MaxUint32) // for the core to refuse
	if connections >= 0 && connections < math.MaxUint32 {
		backlog = uint32(connections)
	}
	return func(o *options) { o.capi.Backlog = backlog }
}

// WithLogger makes the library warn about peers, listeners and links that were never
// closed and had to be closed by the garbage collector, which nobody is told by default,
// and names the logger for handlers that panic.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) { o.logger = logger }
}

func collect(opts []Option) options {
	var o options
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	return o
}

// millisecondsUp rounds up. A negative time stays one however small it is, for the core
// to refuse.
func millisecondsUp(d time.Duration) int64 {
	if d < 0 {
		return min(int64(d/time.Millisecond), -1)
	}
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

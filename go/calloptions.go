package hostlane

import (
	"os"
	"runtime"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// CallOption goes with one request, stream or message. All but OnChannel need level 1
// and give ErrUnsupported on level 0.
type CallOption func(*callOptions)

type callOptions struct {
	channel Channel
	// named tells that the program chose the channel, whatever its number.
	named bool
	key   []byte
	trace []byte
	files []*os.File
}

// OnChannel makes the call on another channel than ChannelCommand. It means nothing to
// Send, which names its channel.
func OnChannel(channel Channel) CallOption {
	return func(o *callOptions) { o.channel, o.named = channel, true }
}

// IdempotencyKey says that the call may be sent again under the same key, 1 to 64
// bytes. Not for Send.
func IdempotencyKey(key string) CallOption {
	return func(o *callOptions) { o.key = append([]byte{}, key...) }
}

// Trace is handed to the other program as it is, to follow the message by: 1 to 64
// bytes.
func Trace(trace string) CallOption {
	return func(o *callOptions) { o.trace = append([]byte{}, trace...) }
}

// Files sends open files along, at most 4. They are duplicated: the caller's stay open
// and its own. It needs [WithFiles] on both sides.
func Files(files ...*os.File) CallOption {
	return func(o *callOptions) { o.files = append(o.files, files...) }
}

// with gives what the core is told beside the channel, nil for nothing. Call done when
// the operation has started.
func (o *callOptions) with() (with *capi.With, done func(), err error) {
	if o.named && o.channel == 0 {
		return nil, nil, &Error{Code: CodeInvalidChannel, Msg: "channel 0 carries the protocol's own messages"}
	}
	if o.key == nil && o.trace == nil && o.files == nil {
		return nil, func() {}, nil
	}
	with = &capi.With{Channel: uint16(o.channel), Key: o.key, Trace: o.trace}
	for _, file := range o.files {
		fd, err := descriptor(file)
		if err != nil {
			return nil, nil, err
		}
		with.FDs = append(with.FDs, fd)
	}
	return with, func() { runtime.KeepAlive(o.files) }, nil
}

// descriptor tells the number without making the file blocking, as File.Fd would.
func descriptor(file *os.File) (fd int32, err error) {
	conn, err := file.SyscallConn()
	if err == nil {
		err = conn.Control(func(own uintptr) { fd = int32(own) })
	}
	return fd, err
}

func collectCall(opts []CallOption) callOptions {
	var o callOptions
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	return o
}

// Command grpc is grpc-go over a Unix socket: unary calls, and a client's stream for
// one-way messages. The bytes are the messages: no schema, no serializer.
package main

import (
	"bytes"
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/hostlane/hostlane/bench/go/frame"
)

// window lets 1 MiB through without a stop.
const window = 4 << 20

// raw passes bytes as they are.
type raw struct{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

var works = grpc.ServiceDesc{
	ServiceName: "bench.Works",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Ask", Handler: ask}},
	Streams:     []grpc.StreamDesc{{StreamName: "Tell", Handler: tell, ClientStreams: true}},
}

func ask(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var message []byte
	if err := decode(&message); err != nil {
		return nil, err
	}
	reply, err := new(frame.Service).Handle(message)
	return &reply, err
}

func tell(_ any, stream grpc.ServerStream) error {
	var service frame.Service
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		report, err := service.Handle(message)
		if err != nil {
			return err
		}
		if report != nil {
			return stream.SendMsg(&report)
		}
	}
}

type client struct {
	conn *grpc.ClientConn
	// told is the stream of one-way messages, made for the first.
	told grpc.ClientStream
}

func connect(addr string) (frame.Client, error) {
	conn, err := grpc.NewClient("unix://"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})),
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
	)
	return &client{conn: conn}, err
}

func (c *client) Call(request []byte) ([]byte, error) {
	var reply []byte
	err := c.conn.Invoke(context.Background(), "/bench.Works/Ask", &request, &reply)
	return reply, err
}

func (c *client) Send(message []byte) error {
	if c.told == nil {
		told, err := c.conn.NewStream(context.Background(), &works.Streams[0], "/bench.Works/Tell")
		if err != nil {
			return err
		}
		c.told = told
	}
	// It is written later.
	copied := bytes.Clone(message)
	return c.told.SendMsg(&copied)
}

func (c *client) Finish(message []byte) ([]byte, error) {
	if err := c.Send(message); err != nil {
		return nil, err
	}
	told := c.told
	c.told = nil
	if err := told.CloseSend(); err != nil {
		return nil, err
	}
	var report []byte
	err := told.RecvMsg(&report)
	return report, err
}

func (c *client) Close() error { return c.conn.Close() }

func serve(addr string) error {
	listener, err := net.Listen("unix", addr)
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(raw{}),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
	)
	server.RegisterService(&works, nil)
	frame.Ready(addr)
	return server.Serve(listener)
}

func main() { frame.Main(serve, connect) }

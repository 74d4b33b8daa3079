package capi

// #include "hostlane.h"
import "C"

import "strings"

// Info is what does not change while a connection lives.
type Info struct {
	PID          int
	UID, GID     uint32
	Level        int
	MaxMessage   int
	MaxCalls     int
	KeepaliveMS  int64
	PeerID       string
	Instance     string
	PeerInstance string
	Carrier      string
	Address      string
	Features     []string
	Channels     []uint16
}

// Info tells who is on the other side.
func (p Peer) Info() (Info, *Failure) {
	var raw C.hostlane_info_t
	var cerr *C.hostlane_error_t
	if f := failure(C.hostlane_info(p.id, &raw, &cerr), &cerr); f != nil {
		return Info{}, f
	}
	address, f := p.address()
	if f != nil {
		return Info{}, f
	}
	return info(&raw, address), nil
}

func info(raw *C.hostlane_info_t, address string) Info {
	channels := make([]uint16, raw.channels_len)
	for i := range channels {
		channels[i] = uint16(raw.channels[i])
	}
	return Info{
		PID: int(raw.pid), UID: uint32(raw.uid), GID: uint32(raw.gid),
		Level:        int(raw.level),
		MaxMessage:   int(raw.max_message),
		MaxCalls:     int(raw.max_calls),
		KeepaliveMS:  int64(raw.peer_keepalive_ms),
		PeerID:       C.GoString(&raw.peer_id[0]),
		Instance:     C.GoString(&raw.instance[0]),
		PeerInstance: C.GoString(&raw.peer_instance[0]),
		Carrier:      C.GoString(&raw.carrier[0]),
		Address:      address,
		Features:     strings.Fields(C.GoString(&raw.features[0])),
		Channels:     channels,
	}
}

func (p Peer) address() (string, *Failure) {
	return text(func(buf *C.char, room C.size_t, size *C.size_t, cerr **C.hostlane_error_t) C.hostlane_status_t {
		return C.hostlane_peer_address(p.id, buf, room, size, cerr)
	})
}

// text reads a text that the library copies into the caller's buffer: once for its
// length, once for itself.
func text(read func(*C.char, C.size_t, *C.size_t, **C.hostlane_error_t) C.hostlane_status_t) (string, *Failure) {
	var cerr *C.hostlane_error_t
	var size C.size_t
	if f := failure(read(nil, 0, &size, &cerr), &cerr); f != nil {
		return "", f
	}
	buf := make([]C.char, size+1) // one more, so that there is a first element to point to
	if f := failure(read(&buf[0], size, &size, &cerr), &cerr); f != nil {
		return "", f
	}
	return C.GoStringN(&buf[0], C.int(size)), nil
}

// Depth is the state of a bounded queue.
type Depth struct{ Messages, Bytes, PeakBytes uint64 }

func depth(raw C.hostlane_depth_t) Depth {
	return Depth{uint64(raw.messages), uint64(raw.bytes), uint64(raw.peak_bytes)}
}

// Stats are the counters of a connection.
type Stats struct {
	MessagesSent, BytesSent         uint64
	MessagesReceived, BytesReceived uint64
	Calls, OpenCalls                uint64
	CallsServed, OpenServed         uint64
	CallsCancelled, Late            uint64
	PendingOperations               uint64
	ReceiveQueue, SendQueue         Depth
}

// Stats reads the counters of the connection.
func (p Peer) Stats() (Stats, *Failure) {
	var raw C.hostlane_stats_t
	var cerr *C.hostlane_error_t
	if f := failure(C.hostlane_stats(p.id, &raw, &cerr), &cerr); f != nil {
		return Stats{}, f
	}
	return stats(&raw), nil
}

func stats(raw *C.hostlane_stats_t) Stats {
	return Stats{
		MessagesSent: uint64(raw.messages_sent), BytesSent: uint64(raw.bytes_sent),
		MessagesReceived: uint64(raw.messages_received), BytesReceived: uint64(raw.bytes_received),
		Calls: uint64(raw.calls), OpenCalls: uint64(raw.open_calls),
		CallsServed: uint64(raw.calls_served), OpenServed: uint64(raw.open_served),
		CallsCancelled: uint64(raw.calls_cancelled), Late: uint64(raw.late),
		PendingOperations: uint64(raw.pending_operations),
		ReceiveQueue:      depth(raw.receive_queue),
		SendQueue:         depth(raw.send_queue),
	}
}

// ChannelStats are the counters of one channel.
type ChannelStats struct {
	MessagesSent, BytesSent         uint64
	MessagesReceived, BytesReceived uint64
	ReceiveQueue, SendQueue         Depth
	SendCredit                      uint64
	Dropped, DroppedByPeer          uint64
}

// StatsOn reads the counters of one channel.
func (p Peer) StatsOn(channel uint16) (ChannelStats, *Failure) {
	var raw C.hostlane_channel_stats_t
	var cerr *C.hostlane_error_t
	if f := failure(C.hostlane_stats_on(p.id, C.uint16_t(channel), &raw, &cerr), &cerr); f != nil {
		return ChannelStats{}, f
	}
	return channelStats(&raw), nil
}

func channelStats(raw *C.hostlane_channel_stats_t) ChannelStats {
	return ChannelStats{
		MessagesSent: uint64(raw.messages_sent), BytesSent: uint64(raw.bytes_sent),
		MessagesReceived: uint64(raw.messages_received), BytesReceived: uint64(raw.bytes_received),
		ReceiveQueue: Depth{uint64(raw.queued), uint64(raw.queued_bytes), uint64(raw.queued_bytes_peak)},
		SendQueue:    Depth{uint64(raw.send_queued), uint64(raw.send_queued_bytes), uint64(raw.send_queued_bytes_peak)},
		SendCredit:   uint64(raw.send_credit),
		Dropped:      uint64(raw.dropped), DroppedByPeer: uint64(raw.dropped_by_peer),
	}
}

// ListenerStats are the counters of a listener.
type ListenerStats struct{ Connections, Accepted, Refused, HalfOpen, Ready, Pauses uint64 }

// Stats reads the counters of the listener.
func (l Listener) Stats() (ListenerStats, *Failure) {
	var raw C.hostlane_listener_stats_t
	var cerr *C.hostlane_error_t
	if f := failure(C.hostlane_listener_stats(l.id, &raw, &cerr), &cerr); f != nil {
		return ListenerStats{}, f
	}
	return ListenerStats{
		Connections: uint64(raw.connections),
		Accepted:    uint64(raw.accepted),
		Refused:     uint64(raw.refused),
		HalfOpen:    uint64(raw.half_open),
		Ready:       uint64(raw.ready),
		Pauses:      uint64(raw.pauses),
	}, nil
}

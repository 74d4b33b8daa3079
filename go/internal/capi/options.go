package capi

// #include "hostlane.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Options are what Connect and Listen may be told; the zero value is the defaults.
// A list or token that is set but empty is passed on for the core to judge.
type Options struct {
	Channels           []uint16
	HasChannels        bool
	AuthToken          string
	HasAuthToken       bool
	AllowUIDs          []uint32
	HasAllowUIDs       bool
	HandshakeTimeoutMS int64
	MaxMessage         uint64
	// Backlog is for Listen alone.
	Backlog uint32
}

// nothing is what an empty list points to: a null pointer would mean "not set".
var nothing uint64

func (o *Options) connect() (raw C.hostlane_connect_options_t, unpin func()) {
	C.hostlane_connect_options_init(&raw)
	var pin runtime.Pinner
	raw.channels, raw.channels_len = (*C.uint16_t)(keep(&pin, o.HasChannels, o.Channels)), C.size_t(len(o.Channels))
	raw.auth_token, raw.auth_token_len = (*C.char)(keep(&pin, o.HasAuthToken, []byte(o.AuthToken))), C.size_t(len(o.AuthToken))
	raw.allow_uids, raw.allow_uids_len = (*C.uint32_t)(keep(&pin, o.HasAllowUIDs, o.AllowUIDs)), C.size_t(len(o.AllowUIDs))
	raw.handshake_timeout_ms = C.int64_t(o.HandshakeTimeoutMS)
	raw.max_message = C.uint64_t(o.MaxMessage)
	return raw, pin.Unpin
}

func (o *Options) listen() (raw C.hostlane_listen_options_t, unpin func()) {
	C.hostlane_listen_options_init(&raw)
	common, unpin := o.connect()
	raw.channels, raw.channels_len = common.channels, common.channels_len
	raw.auth_token, raw.auth_token_len = common.auth_token, common.auth_token_len
	raw.allow_uids, raw.allow_uids_len = common.allow_uids, common.allow_uids_len
	raw.handshake_timeout_ms = common.handshake_timeout_ms
	raw.max_message = common.max_message
	raw.backlog = C.uint32_t(o.Backlog)
	return raw, unpin
}

// keep pins a list that is set, so that a C struct may point to it during a call.
func keep[T any](pin *runtime.Pinner, set bool, list []T) unsafe.Pointer {
	if !set {
		return nil
	}
	if len(list) == 0 {
		return unsafe.Pointer(&nothing)
	}
	first := unsafe.SliceData(list)
	pin.Pin(first)
	return unsafe.Pointer(first)
}

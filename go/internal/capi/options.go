package capi

// #include "hostlane.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Options are what Connect and Listen may be told; the zero value is the defaults.
// A list or text that is set but empty is passed on for the core to judge.
type Options struct {
	Channels           []uint16
	HasChannels        bool
	AuthToken          string
	HasAuthToken       bool
	Secret             string
	HasSecret          bool
	AllowUIDs          []uint32
	HasAllowUIDs       bool
	HandshakeTimeoutMS int64
	KeepaliveMS        int64
	MaxMessage         uint64
	MaxCalls           uint64
	Level              int32
	FDs                bool
	Policies           []Policy
	// Backlog is for Listen alone.
	Backlog uint32
	// Command is for Connect alone.
	Command    []string
	HasCommand bool
}

// Policy is what sends on a channel do without room at the other side.
type Policy struct {
	Channel uint16
	Policy  int32
}

// What a Level and a Policy may be.
const (
	LevelAuto = int32(C.HOSTLANE_LEVEL_AUTO)
	LevelZero = int32(C.HOSTLANE_LEVEL_ZERO)
	LevelOne  = int32(C.HOSTLANE_LEVEL_ONE)

	PolicyBlock      = int32(C.HOSTLANE_POLICY_BLOCK)
	PolicyError      = int32(C.HOSTLANE_POLICY_ERROR)
	PolicyDropOldest = int32(C.HOSTLANE_POLICY_DROP_OLDEST)
	PolicyLatest     = int32(C.HOSTLANE_POLICY_LATEST)
)

// nothing is what an empty list points to: a null pointer would mean "not set".
var nothing uint64

func (o *Options) connect() (raw C.hostlane_connect_options_t, unpin func()) {
	C.hostlane_connect_options_init(&raw, C.sizeof_hostlane_connect_options_t)
	var pin runtime.Pinner
	raw.channels, raw.channels_len = (*C.uint16_t)(keep(&pin, o.HasChannels, o.Channels)), C.size_t(len(o.Channels))
	raw.auth_token, raw.auth_token_len = (*C.char)(keep(&pin, o.HasAuthToken, []byte(o.AuthToken))), C.size_t(len(o.AuthToken))
	raw.secret, raw.secret_len = (*C.char)(keep(&pin, o.HasSecret, []byte(o.Secret))), C.size_t(len(o.Secret))
	raw.allow_uids, raw.allow_uids_len = (*C.uint32_t)(keep(&pin, o.HasAllowUIDs, o.AllowUIDs)), C.size_t(len(o.AllowUIDs))
	raw.handshake_timeout_ms = C.int64_t(o.HandshakeTimeoutMS)
	raw.keepalive_ms = C.int64_t(o.KeepaliveMS)
	raw.max_message = C.uint64_t(o.MaxMessage)
	raw.max_calls = C.uint64_t(o.MaxCalls)
	raw.level = C.int32_t(o.Level)
	if o.FDs {
		raw.fds = 1
	}
	policies := make([]C.hostlane_policy_t, len(o.Policies))
	for i, p := range o.Policies {
		policies[i].channel, policies[i].policy = C.uint16_t(p.Channel), C.int32_t(p.Policy)
	}
	raw.policies, raw.policies_len = (*C.hostlane_policy_t)(keep(&pin, len(policies) > 0, policies)), C.size_t(len(policies))
	command := make([]C.hostlane_bytes_t, len(o.Command))
	for i, word := range o.Command {
		command[i].data, command[i].len = keep(&pin, true, []byte(word)), C.size_t(len(word))
	}
	raw.command, raw.command_len = (*C.hostlane_bytes_t)(keep(&pin, o.HasCommand, command)), C.size_t(len(command))
	return raw, pin.Unpin
}

func (o *Options) listen() (raw C.hostlane_listen_options_t, unpin func()) {
	C.hostlane_listen_options_init(&raw, C.sizeof_hostlane_listen_options_t)
	common, unpin := o.connect()
	raw.channels, raw.channels_len = common.channels, common.channels_len
	raw.auth_token, raw.auth_token_len = common.auth_token, common.auth_token_len
	raw.secret, raw.secret_len = common.secret, common.secret_len
	raw.allow_uids, raw.allow_uids_len = common.allow_uids, common.allow_uids_len
	raw.handshake_timeout_ms = common.handshake_timeout_ms
	raw.keepalive_ms = common.keepalive_ms
	raw.max_message = common.max_message
	raw.max_calls = common.max_calls
	raw.level = common.level
	raw.fds = common.fds
	raw.policies, raw.policies_len = common.policies, common.policies_len
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

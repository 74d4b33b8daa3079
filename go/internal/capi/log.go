package capi

// #include "hostlane.h"
import "C"

import "unsafe"

// The levels of the log.
const (
	LogOff   = int32(C.HOSTLANE_LOG_OFF)
	LogError = int32(C.HOSTLANE_LOG_ERROR)
	LogWarn  = int32(C.HOSTLANE_LOG_WARN)
	LogInfo  = int32(C.HOSTLANE_LOG_INFO)
	LogDebug = int32(C.HOSTLANE_LOG_DEBUG)
)

// EnableLog keeps the events of level and of what matters more.
func EnableLog(level int32) *Failure {
	var cerr *C.hostlane_error_t
	return failure(C.hostlane_log_enable(C.int32_t(level), &cerr), &cerr)
}

// LogLevel tells what is kept.
func LogLevel() int32 { return int32(C.hostlane_log_level()) }

// LogEvent is one event of the log.
type LogEvent struct {
	UnixMicros                 uint64
	Level                      int32
	Code                       int32
	Event, Peer, Address, Text string
}

// DrainLog takes at most BatchSize events and tells how many were dropped before.
func DrainLog() (events []LogEvent, dropped uint64, f *Failure) {
	var raw [BatchSize]C.hostlane_log_event_t
	var n C.size_t
	var lost C.uint64_t
	var cerr *C.hostlane_error_t
	if f := failure(C.hostlane_log_drain(&raw[0], BatchSize, &n, &lost, &cerr), &cerr); f != nil {
		return nil, 0, f
	}
	for i := range raw[:n] {
		e := &raw[i]
		events = append(events, LogEvent{
			UnixMicros: uint64(e.unix_micros),
			Level:      int32(e.level),
			Code:       int32(e.code),
			Event:      C.GoString(e.event),
			Peer:       C.GoStringN(e.peer, C.int(e.peer_len)),
			Address:    C.GoStringN(e.address, C.int(e.address_len)),
			Text:       C.GoStringN(e.text, C.int(e.text_len)),
		})
	}
	C.hostlane_log_events_free((*C.hostlane_log_event_t)(unsafe.Pointer(&raw[0])), n)
	return events, uint64(lost), nil
}

// Package capi is the C interface of hostlane in Go clothes, and the only package
// of the module that imports "C".
//
// Every function makes one or two short calls that never wait: waiting is the
// business of package loop. C memory never leaves the package, except for the
// requests that are still to be answered; Go memory is only lent for the length of
// a call.
package capi

/*
#cgo linux,amd64 LDFLAGS: ${SRCDIR}/lib/linux_amd64/libhostlane.a
#cgo linux,arm64 LDFLAGS: ${SRCDIR}/lib/linux_arm64/libhostlane.a
#cgo linux LDFLAGS: -lpthread -ldl -lm
#cgo noescape hostlane_error_free
#cgo nocallback hostlane_error_free
#include "hostlane.h"

// The linker would name a file and not where it comes from.
#if defined(__linux__) && defined(__x86_64__)
#if !__has_include("lib/linux_amd64/libhostlane.a")
#error hostlane: lib/linux_amd64/libhostlane.a is not built; in the checkout of hostlane run: cargo build --release -p hostlane-c --target-dir target && mkdir -p go/internal/capi/lib/linux_amd64 && cp target/release/libhostlane.a go/internal/capi/lib/linux_amd64/
#endif
#elif defined(__linux__) && defined(__aarch64__)
#if !__has_include("lib/linux_arm64/libhostlane.a")
#error hostlane: lib/linux_arm64/libhostlane.a is not built; in the checkout of hostlane run: cargo build --release -p hostlane-c --target-dir target && mkdir -p go/internal/capi/lib/linux_arm64 && cp target/release/libhostlane.a go/internal/capi/lib/linux_arm64/
#endif
#endif

// NULL for no bytes: the address of an empty array may be one that Go faults at.
static const void *hostlane_go_error_data(const hostlane_error_t *error, size_t *len) {
	const void *data = hostlane_error_data(error, len);
	return *len == 0 ? NULL : data;
}
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Forever is the timeout of an operation without a deadline.
const Forever = int64(C.HOSTLANE_FOREVER)

// HandlerFailed is the code of calls whose handler failed.
const HandlerFailed = uint32(C.HOSTLANE_HANDLER_FAILED)

// Failure is what a failed call reported.
type Failure struct {
	Status    int32
	Message   string
	MaybeSent bool
	// RemoteStatus and RemoteData are what the program on the other side failed a
	// call with.
	RemoteStatus uint32
	RemoteData   []byte
}

// CheckVersion compares the library that was linked with the header this package
// was written for.
func CheckVersion() *Failure {
	have, want := uint32(C.hostlane_abi_version()), uint32(C.HOSTLANE_ABI_VERSION)
	if have == want {
		return nil
	}
	return &Failure{
		Status: C.HOSTLANE_E_INTERNAL,
		Message: fmt.Sprintf("the linked libhostlane.a (version %s) has binary interface %d, this module needs %d",
			C.GoString(C.hostlane_version()), have, want),
	}
}

// OSFailure reports an operating-system error that happened on the Go side.
func OSFailure(doing string, err error) *Failure {
	return &Failure{Status: C.HOSTLANE_E_IO, Message: doing + ": " + err.Error()}
}

// Faulted is called, from any goroutine, when a fault inside the library was caught: an
// object is gone then, which may be the context.
var Faulted = func() {}

// Lost reports that a fault inside the library took the context along.
func Lost() *Failure {
	return &Failure{Status: C.HOSTLANE_E_PANIC, Message: "a fault inside the library took the context along", MaybeSent: true}
}

// failure turns a status and the error that came with it into Go memory and frees
// the error; nil for success.
func failure(status C.hostlane_status_t, cerr **C.hostlane_error_t) *Failure {
	if status == C.HOSTLANE_OK {
		return nil
	}
	f := describe(status, *cerr)
	C.hostlane_error_free(cerr)
	if status == C.HOSTLANE_E_PANIC {
		Faulted()
	}
	return f
}

func describe(status C.hostlane_status_t, cerr *C.hostlane_error_t) *Failure {
	var text *C.char
	var size C.size_t
	C.hostlane_error_message(cerr, &text, &size)
	f := &Failure{
		Status:    int32(status),
		Message:   C.GoStringN(text, C.int(size)),
		MaybeSent: C.hostlane_error_sent(cerr) == C.HOSTLANE_SENT_MAYBE,
	}
	if status == C.HOSTLANE_E_REMOTE_ERROR {
		f.RemoteStatus = uint32(C.hostlane_error_remote_status(cerr))
		data := C.hostlane_go_error_data(cerr, &size)
		f.RemoteData = append([]byte{}, unsafe.Slice((*byte)(data), int(size))...)
	}
	return f
}

// lend gives C the bytes for the length of one call.
func lend(data []byte) (unsafe.Pointer, C.size_t) {
	return unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data))
}

// lendText gives C the text for the length of one call.
func lendText(text string) (*C.char, C.size_t) {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(text))), C.size_t(len(text))
}

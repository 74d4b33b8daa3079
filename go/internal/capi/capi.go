// Package capi is the C interface of hostlane in Go clothes, and the only package
// of the module that imports "C".
//
// Every function makes one or two short calls that never wait: waiting is the
// business of package loop. C memory never leaves the package, Go memory is only
// lent for the length of a call.
package capi

/*
#cgo linux,amd64 LDFLAGS: ${SRCDIR}/lib/linux_amd64/libhostlane.a
#cgo linux,arm64 LDFLAGS: ${SRCDIR}/lib/linux_arm64/libhostlane.a
#cgo linux LDFLAGS: -lpthread -ldl -lm
#cgo noescape hostlane_error_free
#cgo nocallback hostlane_error_free
#include "hostlane.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Forever is the timeout of an operation without a deadline.
const Forever = int64(C.HOSTLANE_FOREVER)

// Failure is what a failed call reported.
type Failure struct {
	Status    int32
	Message   string
	MaybeSent bool
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

// failure turns a status and the error that came with it into Go memory and frees
// the error; nil for success.
func failure(status C.hostlane_status_t, cerr **C.hostlane_error_t) *Failure {
	if status == C.HOSTLANE_OK {
		return nil
	}
	f := describe(status, *cerr)
	C.hostlane_error_free(cerr)
	return f
}

func describe(status C.hostlane_status_t, cerr *C.hostlane_error_t) *Failure {
	var text *C.char
	var size C.size_t
	C.hostlane_error_message(cerr, &text, &size)
	return &Failure{
		Status:    int32(status),
		Message:   C.GoStringN(text, C.int(size)),
		MaybeSent: C.hostlane_error_sent(cerr) == C.HOSTLANE_SENT_MAYBE,
	}
}

// lend gives C the bytes for the length of one call.
func lend(data []byte) (unsafe.Pointer, C.size_t) {
	return unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data))
}

// lendText gives C the text for the length of one call.
func lendText(text string) (*C.char, C.size_t) {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(text))), C.size_t(len(text))
}

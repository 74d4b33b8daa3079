//go:build hostlanedebug

package capi

import "runtime"

// forceGC collects garbage at every operation, so that an object that is used and
// not kept alive is found by any test that uses it.
func forceGC() { runtime.GC() }

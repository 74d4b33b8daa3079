//go:build !hostlanedebug

package capi

// forceGC does nothing; see gc_debug.go.
func forceGC() {}

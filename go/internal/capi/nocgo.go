//go:build !cgo

package capi

// Without cgo there is no C interface to reach: the next line stops the build with
// its own text, instead of a list of missing names.
var _ = hostlane_needs_cgo__set_CGO_ENABLED_1_and_install_a_C_compiler

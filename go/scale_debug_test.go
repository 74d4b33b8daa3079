//go:build hostlanedebug

package hostlane_test

// many is small, because every operation collects garbage.
const many = 50

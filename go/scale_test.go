//go:build !hostlanedebug

package hostlane_test

// many is how many calls, items and the like a test of many makes.
const many = 1000

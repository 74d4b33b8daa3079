package capi

import (
	"bytes"
	"math/bits"
	"sync"
	"sync/atomic"
)

// Lease is the memory of one large payload, which may be given back to be used again.
// Nobody has to.
type Lease struct {
	memory   []byte
	pool     *sync.Pool
	returned atomic.Bool
}

const (
	// leaseFrom is the smallest payload with a lease: less is cheaper to allocate.
	leaseFrom = 64 << 10
	// leaseBits is the binary logarithm of the largest payload.
	leaseBits = 24
)

// leases holds what was given back, in eight sizes for each power of two.
var leases [leaseBits + 1][8]sync.Pool

// clone copies a payload into Go memory.
func clone(payload []byte) ([]byte, *Lease) {
	n := len(payload)
	if n < leaseFrom || n > 1<<leaseBits {
		return bytes.Clone(payload), nil
	}
	power := bits.Len(uint(n - 1))
	step := 1 << (power - 4)
	steps := (n + step - 1) / step // 9 to 16
	l := &Lease{pool: &leases[power][steps-9]}
	if old, ok := l.pool.Get().(*Lease); ok {
		l.memory = old.memory
	} else {
		l.memory = make([]byte, steps*step)
	}
	copy(l.memory, payload)
	return l.memory[:n], l
}

// Return gives the memory back. Only the first time counts.
func (l *Lease) Return() {
	if l.returned.CompareAndSwap(false, true) {
		l.pool.Put(l)
	}
}

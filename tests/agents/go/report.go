package main

import (
	"encoding/json"
	"os"
	"slices"
	"time"
)

type roundTrips struct {
	MedianNS int64 `json:"median_ns"`
	P99NS    int64 `json:"p99_ns"`
	Count    int   `json:"count"`
}

type throughput struct {
	Messages int     `json:"messages"`
	Seconds  float64 `json:"seconds"`
	Bytes    int     `json:"bytes"`
}

func report(value any) error { return json.NewEncoder(os.Stdout).Encode(value) }

// pingPong repeats call for span and reports the times of the single calls.
func pingPong(span time.Duration, call func() error) error {
	times := make([]time.Duration, 0, 1<<20)
	for end := time.Now().Add(span); ; {
		start := time.Now()
		if err := call(); err != nil {
			return err
		}
		now := time.Now()
		times = append(times, now.Sub(start))
		if now.After(end) {
			break
		}
	}
	slices.Sort(times)
	return report(roundTrips{int64(percentile(times, 50)), int64(percentile(times, 99)), len(times)})
}

func percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*percent/100]
}

package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/hostlane/hostlane/go"
)

// wait is how long an operation may take that names no limit.
const wait = 10 * time.Second

// asked is an operation and what it is asked to do.
type asked struct {
	Op, End, Address, Text, Key, Trace, Secret, Policy string
	Chain, How                                         string
	ID, Count, Size                                    int
	Bits, Seed                                         uint32
	Level, Serve, Finish                               *int
	TimeoutMS                                          *int               `json:"timeout_ms"`
	ItemSize                                           int                `json:"item_size"`
	KeepaliveMS                                        int                `json:"keepalive_ms"`
	MaxCalls                                           int                `json:"max_calls"`
	MaxMessage                                         int                `json:"max_message"`
	PolicyChannel                                      hostlane.Channel   `json:"policy_channel"`
	Channel                                            hostlane.Channel   `json:"channel"`
	Channels                                           []hostlane.Channel `json:"channels"`
}

// within gives an operation its limit.
func (a *asked) within() (context.Context, context.CancelFunc) {
	limit := wait
	if a.TimeoutMS != nil {
		limit = time.Duration(*a.TimeoutMS) * time.Millisecond
	}
	return context.WithTimeout(context.Background(), limit)
}

// options are those of both sides.
func (a *asked) options() []hostlane.Option {
	options := []hostlane.Option{
		hostlane.WithMaxCalls(a.MaxCalls), hostlane.WithMaxMessage(a.MaxMessage),
		hostlane.WithKeepalive(time.Duration(a.KeepaliveMS) * time.Millisecond),
	}
	if a.Level != nil {
		options = append(options, hostlane.WithLevel([]hostlane.Level{hostlane.LevelZero, hostlane.LevelOne}[*a.Level]))
	}
	if a.Secret != "" {
		options = append(options, hostlane.WithSecret(a.Secret))
	}
	if a.Channels != nil {
		options = append(options, hostlane.WithChannels(a.Channels...))
	}
	if a.Policy != "" {
		policies := map[string]hostlane.Policy{
			"block": hostlane.PolicyBlock, "error": hostlane.PolicyError,
			"drop_oldest": hostlane.PolicyDropOldest, "latest": hostlane.PolicyLatest,
		}
		options = append(options, hostlane.WithPolicy(a.PolicyChannel, policies[a.Policy]))
	}
	return options
}

// payload is the text, made as long as asked.
func (a *asked) payload() []byte {
	data := []byte(a.Text)
	for at := 0; len(data) < a.Size; at++ {
		data = append(data, byte(at%251))
	}
	return data
}

func (a *asked) callOptions() []hostlane.CallOption {
	var options []hostlane.CallOption
	if a.Channel != 0 {
		options = append(options, hostlane.OnChannel(a.Channel))
	}
	if a.Key != "" {
		options = append(options, hostlane.IdempotencyKey(a.Key))
	}
	if a.Trace != "" {
		options = append(options, hostlane.Trace(a.Trace))
	}
	return options
}

// numbered is a message that begins with its number.
func numbered(number, size int) []byte {
	head := strconv.Itoa(number) + "."
	return []byte(head + strings.Repeat(".", max(0, size-len(head))))
}

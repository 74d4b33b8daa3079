package hostlane

import (
	"context"
	"log/slog"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// drainEvery is how long an event waits for [DrainLog] at most.
const drainEvery = 50 * time.Millisecond

// EnableLog keeps the events of level and of what matters more from now on, for the whole
// process, until [DrainLog] takes them; at most 1024. Nothing is kept before.
func EnableLog(level slog.Level) { capi.EnableLog(logLevel(level)) }

// DisableLog keeps nothing from now on.
func DisableLog() { capi.EnableLog(capi.LogOff) }

// logLevel is the least that includes level.
func logLevel(level slog.Level) int32 {
	switch {
	case level <= slog.LevelDebug:
		return capi.LogDebug
	case level <= slog.LevelInfo:
		return capi.LogInfo
	case level <= slog.LevelWarn:
		return capi.LogWarn
	default:
		return capi.LogError
	}
}

func slogLevel(level int32) slog.Level {
	switch level {
	case capi.LogDebug:
		return slog.LevelDebug
	case capi.LogInfo:
		return slog.LevelInfo
	case capi.LogWarn:
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}

// DrainLog hands what [EnableLog] keeps to logger, oldest first, until ctx ends, whose
// error it returns; what was kept by then is handed over before. Run it in a goroutine of
// the program's: the library has none that logs. An event waits 50 milliseconds for it at
// most. Each event is taken by one DrainLog.
//
// The message of a record is the text for people. Its attributes are event, such as
// "connected", the same in every language; peer and address, where there are any; and
// code, the name of an error, where there is a reason. Events that were dropped, because
// there were more than could be kept, are counted in a warning with the attribute dropped.
func DrainLog(ctx context.Context, logger *slog.Logger) error {
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := drain(ctx, logger); err != nil {
				return err
			}
		case <-ctx.Done():
			if err := drain(context.WithoutCancel(ctx), logger); err != nil {
				return err
			}
			return ctx.Err()
		}
	}
}

// drain hands over everything that is kept now.
func drain(ctx context.Context, logger *slog.Logger) error {
	for {
		events, dropped, failure := capi.DrainLog()
		if failure != nil {
			return errorOf(failure)
		}
		if dropped > 0 {
			logger.LogAttrs(ctx, slog.LevelWarn, "events were dropped", slog.Uint64("dropped", dropped))
		}
		for i := range events {
			record(ctx, logger, &events[i])
		}
		if len(events) < capi.BatchSize {
			return nil
		}
	}
}

func record(ctx context.Context, logger *slog.Logger, e *capi.LogEvent) {
	level := slogLevel(e.Level)
	if !logger.Enabled(ctx, level) {
		return
	}
	// The time is that of the event, not of its hand-over.
	r := slog.NewRecord(time.UnixMicro(int64(e.UnixMicros)), level, e.Text, 0)
	r.AddAttrs(slog.String("event", e.Event))
	if e.Peer != "" {
		r.AddAttrs(slog.String("peer", e.Peer))
	}
	if e.Address != "" {
		r.AddAttrs(slog.String("address", e.Address))
	}
	if e.Code != 0 {
		r.AddAttrs(slog.String("code", Code(e.Code).String()))
	}
	// What a handler fails with is its own matter, as everywhere in slog.
	_ = logger.Handler().Handle(ctx, r)
}

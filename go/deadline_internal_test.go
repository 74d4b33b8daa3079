package hostlane

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/hostlane/hostlane/go/internal/capi"
)

// A caller may wait for longer than a time.Duration or a time.Time can say.
func TestADeadlineThatIsFarAwayIsNotInThePast(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, ms := range []int64{int64(60 * year / time.Millisecond), 9_300_000_000_000, 1 << 53, math.MaxInt64 - 1, math.MaxInt64} {
		c := newCall(&capi.Received{TimeoutMS: ms}, context.Background())
		if left := time.Until(c.deadline); left < 59*year || c.late.After(c.deadline) {
			t.Errorf("%d ms: the deadline is in %v", ms, left)
		}
	}
}

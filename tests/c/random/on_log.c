/* The log of the process. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

static bool drain_log(run *r) {
    const size_t most = cap(r);
    hostlane_log_event_t *events = output(r, sizeof(*events) * EVENTS);
    size_t *n = output(r, sizeof(*n));
    uint64_t *dropped = optional_output(r, sizeof(*dropped));
    if (!judge(r, hostlane_log_drain(events, most, n, dropped, err(r)))) {
        return false;
    }
    HOLDS(r, *n <= most);
    for (size_t at = 0; at < *n; ++at) {
        HOLDS(r, events[at].level >= HOSTLANE_LOG_ERROR && events[at].level <= HOSTLANE_LOG_DEBUG);
        HOLDS(r, strlen(events[at].peer) == events[at].peer_len);
        HOLDS(r, strlen(events[at].address) == events[at].address_len);
        HOLDS(r, strlen(events[at].text) == events[at].text_len && see_text(r, events[at].event));
    }
    hostlane_log_events_free(events, *n);
    hostlane_log_events_free(events, *n);
    return true;
}

bool on_the_log(run *r) {
    if (r->what == ACT_log_drain) {
        return drain_log(r);
    }
    const int32_t level = r->act->object % 8 - 1;
    r->wrong |= level < HOSTLANE_LOG_OFF || level > HOSTLANE_LOG_DEBUG ? WRONG_ARGUMENT : 0;
    return judge(r, hostlane_log_enable(level, err(r)));
}

/* Functions that are called on a message and have a status. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

#include <unistd.h>

static bool take_fds(run *r) {
    const hostlane_message_t *of = message(r);
    int32_t *fds = output(r, sizeof(*fds) * HOSTLANE_MAX_FDS);
    size_t *n = output(r, sizeof(*n));
    if (!judge(r, hostlane_message_take_fds(of, fds, n, err(r)))) {
        return false;
    }
    HOLDS(r, *n <= HOSTLANE_MAX_FDS);
    for (size_t at = 0; at < *n; ++at) {
        HOLDS(r, close(fds[at]) == 0);
    }
    return true;
}

bool on_a_message(run *r) {
    size_t len;
    switch (r->what) {
    case ACT_message_take_fds:
        return take_fds(r);
    case ACT_message_wait_cancelled:
        return judge(r, hostlane_message_wait_cancelled(message_with(r, HOSTLANE_MESSAGE_REQUEST), timeout(r), err(r)));
    case ACT_message_stream: {
        const hostlane_message_t *of = message_with(r, HOSTLANE_MESSAGE_STREAM);
        hostlane_stream_t *made = output(r, sizeof(*made));
        return new_handle(r, hostlane_message_stream(of, made, err(r)), STREAM, made);
    }
    case ACT_reply: {
        const hostlane_message_t *to = message_with(r, HOSTLANE_MESSAGE_REQUEST);
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_reply(to, data, len, timeout(r), err(r)));
    }
    default: {
        const hostlane_message_t *to = message_with(r, HOSTLANE_MESSAGE_REQUEST);
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_fail(to, r->act->more, data, len, timeout(r), err(r)));
    }
    }
}

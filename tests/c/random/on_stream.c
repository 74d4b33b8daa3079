/* Functions that are called on a stream. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

bool on_a_stream(run *r) {
    size_t len;
    if (r->what == ACT_stream_close) {
        return ended(r, STREAM);
    }
    const hostlane_stream_t on = stream(r, r->act->object);
    switch (r->what) {
    case ACT_stream_call_id: {
        uint64_t *id = output(r, sizeof(*id));
        return judge(r, hostlane_stream_call_id(on, id, err(r)));
    }
    case ACT_stream_send: {
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_stream_send(on, data, len, timeout(r), err(r)));
    }
    case ACT_stream_finish:
        return judge(r, hostlane_stream_finish(on, timeout(r), err(r)));
    default:
        break;
    }
    hostlane_message_t **item = output(r, sizeof(hostlane_message_t *));
    hostlane_status_t status;
    if (r->what == ACT_stream_recv) {
        status = hostlane_stream_recv(on, timeout(r), item, err(r));
    } else {
        status = hostlane_stream_reply(on, item, err(r));
    }
    if (judge(r, status)) {
        keep_message(*item, r->act->other); /* NULL: the end */
        return true;
    }
    return false;
}

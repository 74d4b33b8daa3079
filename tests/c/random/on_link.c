/* Functions that are called on a link, and the one that makes it. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

bool on_a_link(run *r) {
    const act *a = r->act;
    size_t len;
    switch (r->what) {
    case ACT_link_open: {
        const char *at = address(r, &len);
        const hostlane_link_options_t *options = link_options(r);
        hostlane_link_t *made = output(r, sizeof(*made));
        r->wrong |= r->wrong != 0 && options != NULL ? WRONG_OTHERWISE : 0;
        return new_handle(r, hostlane_link_open(at, len, options, made, err(r)), LINK, made);
    }
    case ACT_link_close:
        return ended(r, LINK);
    default:
        break;
    }
    const hostlane_link_t on = lane_link(r);
    switch (r->what) {
    case ACT_link_next: {
        hostlane_event_t *event = output(r, sizeof(*event));
        return one_event(r, hostlane_link_next(on, timeout(r), event, err(r)), event);
    }
    case ACT_link_request: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        hostlane_message_t **answer = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_link_request(on, data, len, options, timeout(r), answer, err(r)), answer);
    }
    case ACT_link_send: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        return judge(r, hostlane_link_send(on, data, len, options, err(r)));
    }
    case ACT_link_reply: {
        const hostlane_message_t *to = message_with(r, HOSTLANE_MESSAGE_REQUEST);
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_link_reply(on, to, data, len, err(r)));
    }
    case ACT_link_fail: {
        const hostlane_message_t *to = message_with(r, HOSTLANE_MESSAGE_REQUEST);
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_link_fail(on, to, a->more, data, len, err(r)));
    }
    case ACT_link_is_serving: {
        int32_t *serving = output(r, sizeof(*serving));
        return judge(r, hostlane_link_is_serving(on, serving, err(r)));
    }
    case ACT_link_info: {
        hostlane_info_t *info = output(r, sizeof(*info));
        if (judge(r, hostlane_link_info(on, info, err(r)))) {
            see_info(r, info);
            return true;
        }
        return false;
    }
    case ACT_link_stats: {
        hostlane_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_link_stats(on, stats, err(r)));
    }
    case ACT_link_stats_on: {
        hostlane_channel_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_link_stats_on(on, channel(r), stats, err(r)));
    }
    case ACT_link_fd: {
        int32_t *fd = output(r, sizeof(*fd));
        return judge(r, hostlane_link_fd(on, fd, err(r)));
    }
    case ACT_link_start: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        uint64_t *op = output(r, sizeof(*op));
        if (judge(r, hostlane_link_start(on, data, len, options, timeout(r), op, err(r)))) {
            keep_op(*op);
            return true;
        }
        return false;
    }
    case ACT_link_cancel:
        return judge(r, hostlane_link_cancel(on, draw_op(a->other), err(r)));
    case ACT_link_call_ended: {
        const hostlane_message_t *of = message_with(r, HOSTLANE_MESSAGE_REQUEST);
        uint64_t *op = output(r, sizeof(*op));
        if (judge(r, hostlane_link_call_ended(on, of, op, err(r)))) {
            keep_op(*op);
            return true;
        }
        return false;
    }
    default:
        break;
    }
    /* What is left hands out events. */
    const size_t most = cap(r);
    void *room = buffer(r, &len);
    if (room == NULL) { /* payloads stay in their messages */
        len = 0;
        r->wrong &= ~(unsigned)WRONG_ARGUMENT;
        r->wrong |= most == 0 ? WRONG_ARGUMENT : 0;
    }
    hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
    size_t *n = output(r, sizeof(*n));
    bool *more = optional_output(r, sizeof(*more));
    hostlane_status_t status;
    if (r->what == ACT_link_process) {
        status = hostlane_link_process(on, room, len, events, most, n, more, err(r));
    } else if (r->what == ACT_link_turn) {
        bool *waiting = optional_output(r, sizeof(*waiting));
        status = hostlane_link_turn(on, room, len, events, most, n, more, waiting, err(r));
    } else {
        status = hostlane_link_events(on, room, len, events, most, n, more, err(r));
    }
    return many_events(r, status, events, n, most);
}

/* Functions that are called on a context, and the one that makes it. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

static bool submit(run *r) {
    static const uint8_t choices[] = {0, 3, 5, 17, 31, 90, 160, 215, 229, 255};
    hostlane_submission_t submissions[EVENTS];
    const act *a = r->act;
    const size_t n = a->length % (EVENTS + 1);
    const hostlane_context_t context = {draw(r, CONTEXT, a->object)};
    hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
    r->wrong &= n > 0 || r->wrong != WRONG_ARGUMENT ? ~0u : ~(unsigned)WRONG_ARGUMENT; /* no events, no array */
    r->wrong |= n == 0 && events == NULL ? WRONG_OTHERWISE : 0;
    const unsigned wrong = r->wrong;
    const hostlane_call_options_t *options = call_options(r);
    hold(r, true);
    hostlane_message_t **slot = held(r);
    size_t last = EVENTS;
    memset(submissions, 0, sizeof(submissions));
    for (size_t at = 0; at < n; ++at) {
        hostlane_submission_t *one = &submissions[at];
        const uint8_t mixed = (uint8_t)(a->more * 7 + at * 31 + a->channel);
        one->kind = mixed % 14;
        one->code = mixed;
        one->peer = peer(r, (uint8_t)(a->other + at * (a->wait % 3)));
        one->stream = stream(r, (uint8_t)(mixed + at));
        one->message = slot == NULL ? NULL : *slot;
        one->channel = mixed % 5 == 0 ? HOSTLANE_ANY_CHANNEL : mixed % 7;
        one->options = mixed % 3 == 0 ? options : NULL;
        one->timeout_ms = timeout(r);
        one->len = choices[mixed % sizeof(choices)];
        one->offset = choices[(mixed >> 3) % sizeof(choices)];
        one->data = mixed % 2 != 0 ? r->buffer : NULL;
        if (one->message != NULL && (one->kind == HOSTLANE_SUBMIT_REPLY || one->kind == HOSTLANE_SUBMIT_FAIL)) {
            last = at;
        }
    }
    if (last < EVENTS) { /* nobody may name it behind the one that frees it */
        submissions[last].free_message = 1;
        for (size_t at = last + 1; at < n; ++at) {
            submissions[at].message = NULL;
        }
    }
    r->wrong = wrong; /* what is wrong with one operation is its event */
    const bool room = a->wait % 4 != 0;
    if (!judge(r, hostlane_context_submit(context, submissions, n, room ? r->buffer : NULL, room ? 200 : 0, events,
                                          err(r)))) {
        return false;
    }
    if (last < EVENTS) {
        *slot = NULL;
    }
    if (events != NULL) {
        take_events(r, events, n);
    }
    return true;
}

bool on_a_context(run *r) {
    const act *a = r->act;
    size_t len;
    size_t most;
    switch (r->what) {
    case ACT_context_new: {
        hostlane_context_t *made = output(r, sizeof(*made));
        return new_handle(r, hostlane_context_new(made, err(r)), CONTEXT, made);
    }
    case ACT_context_close:
        return ended(r, CONTEXT);
    case ACT_context_submit:
        return submit(r);
    default:
        break;
    }
    const hostlane_context_t driver = context(r);
    switch (r->what) {
    case ACT_context_fd: {
        int32_t *fd = output(r, sizeof(*fd));
        return judge(r, hostlane_context_fd(driver, fd, err(r)));
    }
    case ACT_context_cancel:
        return judge(r, hostlane_context_cancel(driver, draw_op(a->other), err(r)));
    case ACT_context_process: {
        most = cap(r);
        hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        bool *more = optional_output(r, sizeof(*more));
        return many_events(r, hostlane_context_process(driver, events, most, n, more, err(r)), events, n, most);
    }
    case ACT_context_process_batch: {
        most = cap(r);
        void *room = buffer(r, &len);
        hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        bool *more = optional_output(r, sizeof(*more));
        const hostlane_status_t status =
            hostlane_context_process_batch(driver, room, len, events, most, n, more, err(r));
        return many_events(r, status, events, n, most);
    }
    case ACT_context_next_batch: {
        most = cap(r);
        void *room = buffer(r, &len);
        hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        const hostlane_status_t status =
            hostlane_context_next_batch(driver, timeout(r), room, len, events, most, n, err(r));
        return many_events(r, status, events, n, most);
    }
    case ACT_context_recv_batch: {
        const hostlane_peer_t from = peer(r, a->other);
        most = cap(r);
        void *room = buffer(r, &len);
        hostlane_entry_t *entries = output(r, sizeof(*entries) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        hostlane_event_t *event = output(r, sizeof(*event));
        if (judge(r,
                  hostlane_context_recv_batch(driver, from, timeout(r), room, len, entries, most, n, event, err(r)))) {
            HOLDS(r, *n <= most);
            take_entries(r, entries, *n, len);
            take_events(r, event, 1);
            return true;
        }
        return false;
    }
    default:
        break;
    }
    /* What is left writes one event. */
    hostlane_event_t *event = output(r, sizeof(*event));
    hostlane_status_t status;
    switch (r->what) {
    case ACT_context_next:
        status = hostlane_context_next(driver, timeout(r), event, err(r));
        break;
    case ACT_context_connect: {
        const char *to = address(r, &len);
        const hostlane_connect_options_t *options = connect_options(r);
        status = hostlane_context_connect(driver, to, len, options, timeout(r), event, err(r));
        break;
    }
    case ACT_context_accept:
        status = hostlane_context_accept(driver, listener(r, a->other), timeout(r), event, err(r));
        break;
    case ACT_context_recv: {
        const hostlane_peer_t from = peer(r, a->other);
        const int32_t on = a->more % 2 != 0 ? HOSTLANE_ANY_CHANNEL : a->more % 3 == 0 ? a->more * 1000 : channel(r);
        r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0;
        status = hostlane_context_recv(driver, from, on, timeout(r), event, err(r));
        break;
    }
    case ACT_context_send: {
        const hostlane_peer_t to = peer(r, a->other);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_send(driver, to, channel(r), data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_send_with: {
        const hostlane_peer_t to = peer(r, a->other);
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        status = hostlane_context_send_with(driver, to, data, len, options, timeout(r), event, err(r));
        break;
    }
    case ACT_context_request: {
        const hostlane_peer_t to = peer(r, a->other);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_request(driver, to, data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_request_with: {
        const hostlane_peer_t to = peer(r, a->other);
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        status = hostlane_context_request_with(driver, to, data, len, options, timeout(r), event, err(r));
        break;
    }
    case ACT_context_reply: {
        const hostlane_message_t *to = message_with(r, HOSTLANE_MESSAGE_REQUEST);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_reply(driver, to, data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_fail: {
        const hostlane_message_t *to = message_with(r, HOSTLANE_MESSAGE_REQUEST);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_fail(driver, to, a->more, data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_call_ended:
        status =
            hostlane_context_call_ended(driver, message_with(r, HOSTLANE_MESSAGE_REQUEST), timeout(r), event, err(r));
        break;
    case ACT_context_readable:
        status = hostlane_context_readable(driver, peer(r, a->other), timeout(r), event, err(r));
        break;
    case ACT_context_stream_send: {
        const hostlane_stream_t on = stream(r, a->other);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_stream_send(driver, on, data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_stream_finish:
        status = hostlane_context_stream_finish(driver, stream(r, a->other), timeout(r), event, err(r));
        break;
    case ACT_context_stream_recv:
        status = hostlane_context_stream_recv(driver, stream(r, a->other), timeout(r), event, err(r));
        break;
    case ACT_context_timer:
        r->wrong |= a->more % 8 == 0 ? WRONG_ARGUMENT : 0;
        status = hostlane_context_timer(driver, a->more % 8 == 0 ? -1 : timeout(r), event, err(r));
        break;
    case ACT_context_ping:
        status = hostlane_context_ping(driver, peer(r, a->other), timeout(r), event, err(r));
        break;
    default:
        status = hostlane_context_drain(driver, peer(r, a->other), timeout(r), event, err(r));
    }
    return one_event(r, status, event);
}

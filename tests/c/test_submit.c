/* The context on wire level 1: batches of operations, events into the caller's memory, streams, cancelling. */

#include "driven.h"

#include <poll.h>

#define MANY 64

static hostlane_submission_t submission(int32_t kind, hostlane_peer_t peer) {
    hostlane_submission_t one;
    memset(&one, 0, sizeof(one));
    one.kind = kind;
    one.peer = peer;
    one.timeout_ms = LONG;
    return one;
}

static void submit(hostlane_context_t context, const hostlane_submission_t *submissions, size_t n,
                   hostlane_event_t *events) {
    CHECK_OK(hostlane_context_submit(context, submissions, n, NULL, 0, events, NULL));
}

TEST(many_calls_in_a_few_calls) {
    driven all = driven_open();
    hostlane_submission_t requests[MANY];
    hostlane_event_t events[MANY];
    uint64_t ops[MANY];
    uint32_t numbers[MANY];
    hostlane_entry_t entries[MANY];
    char buffer[4096];
    for (uint32_t at = 0; at < MANY; ++at) {
        numbers[at] = at * 3;
        requests[at] = submission(HOSTLANE_SUBMIT_REQUEST, all.client);
        requests[at].offset = at * sizeof(numbers[0]);
        requests[at].len = sizeof(numbers[0]);
    }
    CHECK_OK(hostlane_context_submit(all.context, requests, MANY, numbers, sizeof(numbers), events, NULL));
    for (size_t at = 0; at < MANY; ++at) {
        CHECK_EQ(events[at].kind, HOSTLANE_EVENT_PENDING);
        ops[at] = events[at].op;
    }

    /* The server: one receive, one submit of all answers, which are freed by it. */
    size_t served = 0;
    while (served < MANY) {
        size_t n = 0;
        hostlane_submission_t replies[MANY];
        CHECK_OK(hostlane_context_recv_batch(all.context, all.server, LONG, buffer, sizeof(buffer), entries, MANY, &n,
                                             events, NULL));
        if (n == 0) {
            CHECK_EQ(finish(all.context, &events[0]).kind, HOSTLANE_EVENT_READABLE);
            continue;
        }
        for (size_t at = 0; at < n; ++at) {
            CHECK_EQ(entries[at].flags, HOSTLANE_MESSAGE_REQUEST);
            CHECK(entries[at].timeout_ms > 0);
            replies[at] = submission(HOSTLANE_SUBMIT_REPLY, all.server);
            replies[at].message = entries[at].message;
            replies[at].free_message = 1;
            replies[at].offset = entries[at].offset;
            replies[at].len = entries[at].len;
        }
        CHECK_OK(hostlane_context_submit(all.context, replies, n, buffer, sizeof(buffer), events, NULL));
        for (size_t at = 0; at < n; ++at) {
            CHECK_EQ(events[at].kind, HOSTLANE_EVENT_SENT);
        }
        served += n;
    }

    /* The replies: payloads in the caller's memory, nothing to free. */
    struct pollfd ready = {-1, POLLIN, 0};
    CHECK_OK(hostlane_context_fd(all.context, &ready.fd, NULL));
    for (size_t replied = 0; replied < MANY;) {
        size_t n = 0;
        bool more = false;
        CHECK_OK(hostlane_context_process_batch(all.context, buffer, sizeof(buffer), events, MANY, &n, &more, NULL));
        for (size_t at = 0; at < n; ++at) {
            uint32_t number;
            CHECK_EQ(events[at].kind, HOSTLANE_EVENT_REPLY);
            CHECK_EQ(events[at].len, sizeof(number));
            CHECK(events[at].message == NULL && events[at].error == NULL);
            CHECK((const char *)events[at].data >= buffer && (const char *)events[at].data < buffer + sizeof(buffer));
            memcpy(&number, events[at].data, sizeof(number));
            CHECK_EQ(events[at].op, ops[number / 3]);
        }
        replied += n;
        CHECK(n > 0 || more || poll(&ready, 1, LONG) == 1);
    }
    hostlane_stats_t stats;
    CHECK_OK(hostlane_stats(all.server, &stats, NULL));
    CHECK_EQ(stats.calls_served, MANY);
    CHECK_EQ(stats.open_served, 0);
    driven_close(&all);
}

TEST(what_finds_no_room_stays_in_its_message) {
    driven all = driven_open();
    hostlane_event_t events[4];
    hostlane_submission_t sends[2] = {submission(HOSTLANE_SUBMIT_SEND, all.client),
                                      submission(HOSTLANE_SUBMIT_SEND, all.client)};
    hostlane_submission_t recvs[2] = {submission(HOSTLANE_SUBMIT_RECV, all.server),
                                      submission(HOSTLANE_SUBMIT_RECV, all.server)};
    char buffer[4];
    recvs[0].channel = HOSTLANE_ANY_CHANNEL;
    recvs[1].channel = 2;
    submit(all.context, recvs, 2, events);
    CHECK(events[0].kind == HOSTLANE_EVENT_PENDING && events[1].kind == HOSTLANE_EVENT_PENDING);
    sends[0].data = "four";
    sends[0].len = 4;
    sends[1].data = "too long";
    sends[1].len = 8;
    sends[1].channel = 2;
    submit(all.context, sends, 2, events);
    CHECK(events[0].kind == HOSTLANE_EVENT_SENT && events[1].kind == HOSTLANE_EVENT_SENT);
    for (size_t total = 0, n = 0; total < 2; total += n) {
        CHECK_OK(
            hostlane_context_next_batch(all.context, LONG, buffer, total == 0 ? 4 : 0, &events[total], 2, &n, NULL));
        CHECK(n == 1 || n == 2);
    }
    CHECK(events[0].message == NULL && events[0].data == (uint8_t *)buffer && memcmp(buffer, "four", 4) == 0);
    CHECK(events[1].message != NULL && events[1].len == 8 && memcmp(events[1].data, "too long", 8) == 0);
    CHECK_EQ(events[1].channel, 2);
    hostlane_events_free(events, 2);
    driven_close(&all);
}

TEST(the_failure_of_one_is_an_event) {
    driven all = driven_open();
    const hostlane_peer_t nobody = {0};
    hostlane_event_t events[7];
    hostlane_submission_t wrong[7];
    for (size_t at = 0; at < 7; ++at) {
        wrong[at] = submission(HOSTLANE_SUBMIT_SEND, all.client);
    }
    wrong[0].peer = nobody;
    wrong[1].kind = 99;
    wrong[2].len = 1; /* nothing in payloads */
    wrong[3].kind = HOSTLANE_SUBMIT_REPLY;
    wrong[3].free_message = 1;
    wrong[4].channel = 9;
    wrong[5].kind = HOSTLANE_SUBMIT_STREAM_RECV;
    wrong[6].channel = 2; /* and one that is right */
    submit(all.context, wrong, 7, events);
    const hostlane_status_t expected[] = {HOSTLANE_E_INVALID_HANDLE,
                                          HOSTLANE_E_INVALID_ARGUMENT,
                                          HOSTLANE_E_INVALID_ARGUMENT,
                                          HOSTLANE_E_INVALID_ARGUMENT,
                                          HOSTLANE_E_INVALID_CHANNEL,
                                          HOSTLANE_E_INVALID_HANDLE,
                                          HOSTLANE_OK};
    for (size_t at = 0; at < 7; ++at) {
        CHECK_STATUS(events[at].status, expected[at]);
        CHECK_EQ(events[at].kind, at == 6 ? HOSTLANE_EVENT_SENT : HOSTLANE_EVENT_FAILED);
        CHECK_EQ(events[at].op, 0);
    }
    hostlane_events_free(events, 7);
    CHECK_STATUS(hostlane_context_submit(all.context, NULL, 1, NULL, 0, events, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_submit(all.context, wrong, 1, NULL, 0, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_OK(hostlane_context_submit(all.context, NULL, 0, NULL, 0, events, NULL));
    driven_close(&all);
}

TEST(a_send_behind_one_that_was_refused_is_not_started) {
    driven all = driven_open();
    hostlane_event_t events[5];
    hostlane_submission_t sends[5];
    hostlane_stats_t stats;
    for (size_t at = 0; at < 5; ++at) {
        sends[at] = submission(HOSTLANE_SUBMIT_SEND_NEXT, all.client);
        sends[at].data = "x";
        sends[at].len = 1;
        sends[at].channel = 2;
    }
    sends[1].channel = 9;
    sends[4].kind = HOSTLANE_SUBMIT_SEND;
    submit(all.context, sends, 5, events);
    const int32_t expected[] = {HOSTLANE_EVENT_SENT, HOSTLANE_EVENT_FAILED, HOSTLANE_EVENT_FAILED,
                                HOSTLANE_EVENT_FAILED, HOSTLANE_EVENT_SENT};
    for (size_t at = 0; at < 5; ++at) {
        CHECK_EQ(events[at].kind, expected[at]);
        CHECK_STATUS(events[at].status, expected[at] == HOSTLANE_EVENT_SENT ? HOSTLANE_OK : HOSTLANE_E_INVALID_CHANNEL);
    }
    hostlane_events_free(events, 5);
    CHECK_OK(hostlane_stats(all.client, &stats, NULL));
    CHECK_EQ(stats.messages_sent, 2);
    driven_close(&all);
}

/* A request of the client's, as the server gets it. */
static hostlane_event_t ask(const driven *all, const hostlane_call_options_t *options, hostlane_event_t *asked) {
    hostlane_event_t receiving;
    CHECK_OK(hostlane_context_recv(all->context, all->server, HOSTLANE_ANY_CHANNEL, LONG, &receiving, NULL));
    CHECK_OK(hostlane_context_request_with(all->context, all->client, "x", 1, options, LONG, asked, NULL));
    CHECK_EQ(asked->kind, HOSTLANE_EVENT_PENDING);
    const hostlane_event_t message = finish(all->context, &receiving);
    CHECK_EQ(message.kind, HOSTLANE_EVENT_MESSAGE);
    CHECK(message.flags & HOSTLANE_MESSAGE_REQUEST);
    CHECK_EQ(message.call_id, hostlane_message_call_id(message.message));
    CHECK(message.timeout_ms > 0 && message.timeout_ms <= LONG);
    return message;
}

TEST(a_cancelled_call_ends_for_the_server) {
    driven all = driven_open();
    hostlane_event_t asked;
    hostlane_event_t watching;
    hostlane_event_t message = ask(&all, NULL, &asked);
    CHECK_OK(hostlane_context_call_ended(all.context, message.message, LONG, &watching, NULL));
    CHECK_EQ(watching.kind, HOSTLANE_EVENT_PENDING);
    CHECK_OK(hostlane_context_cancel(all.context, asked.op, NULL));
    hostlane_event_t cancelled = finish(all.context, &asked);
    CHECK_STATUS(cancelled.status, HOSTLANE_E_CANCELLED);
    CHECK_EQ(finish(all.context, &watching).kind, HOSTLANE_EVENT_CALL_ENDED);
    CHECK(hostlane_message_is_cancelled(message.message));
    hostlane_events_free(&cancelled, 1);
    hostlane_events_free(&message, 1);
    driven_close(&all);
}

TEST(a_call_is_failed_with_data) {
    driven all = driven_open();
    hostlane_event_t asked;
    hostlane_event_t failing;
    hostlane_call_options_t options;
    hostlane_call_options_init(&options, sizeof(options));
    options.idempotency_key = "k";
    options.idempotency_key_len = 1;
    options.trace = "t";
    options.trace_len = 1;
    hostlane_event_t message = ask(&all, &options, &asked);
    CHECK_EQ(message.flags, HOSTLANE_MESSAGE_REQUEST | HOSTLANE_MESSAGE_KEY | HOSTLANE_MESSAGE_TRACE);
    CHECK_OK(hostlane_context_fail(all.context, message.message, 77, "why", 3, LONG, &failing, NULL));
    CHECK_EQ(finish(all.context, &failing).kind, HOSTLANE_EVENT_SENT);
    hostlane_event_t failed = finish(all.context, &asked);
    CHECK_STATUS(failed.status, HOSTLANE_E_REMOTE_ERROR);
    CHECK_EQ(hostlane_error_remote_status(failed.error), 77);
    size_t len = 0;
    CHECK(memcmp(hostlane_error_data(failed.error, &len), "why", 3) == 0 && len == 3);
    hostlane_events_free(&failed, 1);
    hostlane_events_free(&message, 1);
    driven_close(&all);
}

TEST(a_stream_by_context) {
    driven all = driven_open();
    hostlane_stream_t opened;
    hostlane_stream_t served;
    hostlane_event_t receiving;
    hostlane_event_t started;
    CHECK_OK(hostlane_context_recv(all.context, all.server, HOSTLANE_ANY_CHANNEL, LONG, &receiving, NULL));
    CHECK_OK(hostlane_stream_open(all.client, "open", 4, NULL, &opened, NULL));
    hostlane_event_t request = finish(all.context, &receiving);
    CHECK_EQ(request.flags, HOSTLANE_MESSAGE_REQUEST | HOSTLANE_MESSAGE_STREAM);
    CHECK_OK(hostlane_message_stream(request.message, &served, NULL));
    hostlane_message_t *none = NULL;
    CHECK_STATUS(hostlane_stream_recv(served, LONG, &none, NULL), HOSTLANE_E_WRONG_DRIVER);

    CHECK_OK(hostlane_context_stream_recv(all.context, served, LONG, &receiving, NULL));
    CHECK_EQ(receiving.kind, HOSTLANE_EVENT_PENDING);
    hostlane_submission_t sends[2] = {submission(HOSTLANE_SUBMIT_STREAM_SEND, all.client),
                                      submission(HOSTLANE_SUBMIT_STREAM_FINISH, all.client)};
    hostlane_event_t events[2];
    sends[0].stream = sends[1].stream = opened;
    sends[0].data = "item";
    sends[0].len = 4;
    submit(all.context, sends, 2, events);
    bool sent[2] = {events[0].kind == HOSTLANE_EVENT_SENT, events[1].kind == HOSTLANE_EVENT_SENT};
    for (bool item = false; !item || !sent[0] || !sent[1];) {
        hostlane_event_t event;
        CHECK_OK(hostlane_context_next(all.context, LONG, &event, NULL));
        CHECK_OK(event.status);
        item |= event.op == receiving.op;
        CHECK(event.op != receiving.op || (event.kind == HOSTLANE_EVENT_ITEM && event.len == 4 &&
                                           memcmp(event.data, "item", 4) == 0 && event.message != NULL));
        for (size_t at = 0; at < 2; ++at) {
            sent[at] |= event.op == events[at].op;
        }
        hostlane_events_free(&event, 1);
    }
    CHECK_OK(hostlane_context_stream_recv(all.context, served, LONG, &receiving, NULL));
    hostlane_event_t end = finish(all.context, &receiving);
    CHECK(end.kind == HOSTLANE_EVENT_STREAM_END && end.message == NULL);

    CHECK_OK(hostlane_context_stream_recv(all.context, opened, LONG, &receiving, NULL));
    CHECK_EQ(receiving.kind, HOSTLANE_EVENT_PENDING);
    CHECK_OK(hostlane_context_reply(all.context, request.message, "total", 5, LONG, &started, NULL));
    CHECK_EQ(finish(all.context, &started).kind, HOSTLANE_EVENT_SENT);
    end = finish(all.context, &receiving);
    CHECK_EQ(end.kind, HOSTLANE_EVENT_STREAM_END);
    CHECK(end.len == 5 && memcmp(end.data, "total", 5) == 0);
    hostlane_events_free(&end, 1);
    hostlane_events_free(&request, 1);
    CHECK_OK(hostlane_stream_close(opened, NULL));
    CHECK_OK(hostlane_stream_close(served, NULL));
    driven_close(&all);
}

TEST(the_end_is_told_after_what_had_arrived) {
    driven all = driven_open();
    hostlane_event_t event;
    hostlane_entry_t entry;
    char buffer[8];
    size_t n = 7;
    CHECK_OK(hostlane_context_recv_batch(all.context, all.server, LONG, buffer, 8, &entry, 1, &n, &event, NULL));
    CHECK_EQ(n, 0);
    hostlane_event_t sending;
    CHECK_OK(hostlane_context_send(all.context, all.client, 2, "last", 4, LONG, &sending, NULL));
    CHECK_EQ(finish(all.context, &event).kind, HOSTLANE_EVENT_READABLE);
    CHECK_OK(hostlane_close(all.client, NULL));
    CHECK_OK(hostlane_context_recv_batch(all.context, all.server, LONG, buffer, 8, &entry, 1, &n, &event, NULL));
    CHECK(n == 1 && entry.len == 4 && memcmp(buffer + entry.offset, "last", 4) == 0);
    const hostlane_status_t status =
        hostlane_context_recv_batch(all.context, all.server, LONG, buffer, 8, &entry, 1, &n, &event, NULL);
    if (status == HOSTLANE_OK) {
        CHECK_EQ(n, 0);
        hostlane_event_t end = finish(all.context, &event);
        CHECK_STATUS(end.status, HOSTLANE_E_PEER_CLOSED);
        hostlane_events_free(&end, 1);
    } else {
        CHECK_STATUS(status, HOSTLANE_E_PEER_CLOSED);
    }
    driven_close(&all);
}

TEST(a_timer_rings) {
    driven all = driven_open();
    hostlane_event_t timer;
    const int64_t start = lane_now();
    CHECK_OK(hostlane_context_timer(all.context, 30, &timer, NULL));
    CHECK_EQ(finish(all.context, &timer).kind, HOSTLANE_EVENT_TIMER);
    CHECK(lane_now() - start >= 29);
    CHECK_OK(hostlane_context_timer(all.context, LONG, &timer, NULL));
    CHECK_OK(hostlane_context_cancel(all.context, timer.op, NULL));
    hostlane_event_t cancelled = finish(all.context, &timer);
    CHECK_STATUS(cancelled.status, HOSTLANE_E_CANCELLED);
    hostlane_events_free(&cancelled, 1);
    CHECK_STATUS(hostlane_context_timer(all.context, HOSTLANE_FOREVER, &timer, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    driven_close(&all);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

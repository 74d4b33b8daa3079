/* Streams: items both ways, credit, and every way to end. */

#include "lane.h"

#define ITEM 65536

static bool says(const hostlane_message_t *message, const char *text) {
    size_t len;
    const uint8_t *data = hostlane_message_data(message, &len);
    return len == strlen(text) && memcmp(data, text, len) == 0;
}

/* Both ends of a stream: what was opened, and the request of it. */
typedef struct {
    lane lane;
    hostlane_stream_t opened;
    hostlane_message_t *request;
    hostlane_stream_t served;
} both;

static both both_open(void) {
    both both;
    both.lane = lane_open();
    both.request = NULL;
    CHECK_OK(hostlane_stream_open(both.lane.client, "open", 4, NULL, &both.opened, NULL));
    CHECK_OK(hostlane_recv(both.lane.server, LONG, &both.request, NULL));
    CHECK(says(both.request, "open"));
    CHECK_EQ(hostlane_message_flags(both.request), HOSTLANE_MESSAGE_REQUEST | HOSTLANE_MESSAGE_STREAM);
    CHECK_OK(hostlane_message_stream(both.request, &both.served, NULL));
    return both;
}

static void both_close(both *both) {
    hostlane_stream_close(both->opened, NULL);
    hostlane_stream_close(both->served, NULL);
    hostlane_message_free(&both->request);
    lane_close(&both->lane);
}

static void put(hostlane_stream_t stream, const char *text) {
    CHECK_OK(hostlane_stream_send(stream, text, strlen(text), LONG, NULL));
}

static void expect(hostlane_stream_t stream, const char *text) {
    hostlane_message_t *item = NULL;
    CHECK_OK(hostlane_stream_recv(stream, LONG, &item, NULL));
    CHECK(item != NULL && says(item, text));
    CHECK_EQ(hostlane_message_channel(item), 0);
    CHECK_EQ(hostlane_message_flags(item), 0);
    CHECK_STATUS(hostlane_reply(item, "x", 1, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    hostlane_message_free(&item);
}

static void expect_end(hostlane_stream_t stream) {
    hostlane_message_t *item = (hostlane_message_t *)&item;
    CHECK_OK(hostlane_stream_recv(stream, LONG, &item, NULL));
    CHECK(item == NULL);
}

TEST(items_go_both_ways_and_the_reply_ends_them) {
    both both = both_open();
    hostlane_message_t *reply = (hostlane_message_t *)&both;
    uint64_t ids[2] = {0, 0};
    CHECK_OK(hostlane_stream_call_id(both.opened, &ids[0], NULL));
    CHECK_OK(hostlane_stream_call_id(both.served, &ids[1], NULL));
    CHECK(ids[0] != 0 && ids[0] == ids[1] && ids[0] == hostlane_message_call_id(both.request));
    put(both.opened, "a");
    put(both.opened, "");
    put(both.opened, "c");
    CHECK_OK(hostlane_stream_finish(both.opened, LONG, NULL));
    CHECK_STATUS(hostlane_stream_send(both.opened, "d", 1, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    expect(both.served, "a");
    expect(both.served, "");
    expect(both.served, "c");
    expect_end(both.served);
    put(both.served, "1");
    put(both.served, "2");
    CHECK_OK(hostlane_stream_reply(both.opened, &reply, NULL));
    CHECK(reply == NULL);
    CHECK_OK(hostlane_reply(both.request, "sum", 3, LONG, NULL));
    CHECK_STATUS(hostlane_stream_send(both.served, "3", 1, LONG, NULL), HOSTLANE_E_CALL_ENDED);
    expect(both.opened, "1");
    expect(both.opened, "2");
    expect_end(both.opened);
    CHECK_OK(hostlane_stream_reply(both.opened, &reply, NULL));
    CHECK(reply != NULL && says(reply, "sum"));
    hostlane_message_free(&reply);
    both_close(&both);
}

TEST(a_sender_waits_for_credit_and_stops_nobody_else) {
    both both = both_open();
    char *item = calloc(1, ITEM);
    hostlane_message_t *message = NULL;
    hostlane_status_t status = HOSTLANE_OK;
    int sent = 0;
    CHECK(item != NULL);
    while (sent < 64 && status == HOSTLANE_OK) {
        status = hostlane_stream_send(both.opened, item, ITEM, 100, NULL);
        sent += status == HOSTLANE_OK;
    }
    CHECK_STATUS(status, HOSTLANE_E_TIMEOUT);
    CHECK(sent >= 3 && sent <= 5); /* a window of 256 KiB, and at most one item over it */
    CHECK_OK(hostlane_send(both.lane.client, 2, "past it", 7, LONG, NULL));
    CHECK_OK(hostlane_recv(both.lane.server, LONG, &message, NULL));
    CHECK(says(message, "past it"));
    hostlane_message_free(&message);
    for (int at = 0; at < sent; ++at) {
        size_t len;
        CHECK_OK(hostlane_stream_recv(both.served, LONG, &message, NULL));
        hostlane_message_data(message, &len);
        CHECK_EQ(len, ITEM);
        hostlane_message_free(&message);
    }
    CHECK_STATUS(hostlane_stream_recv(both.served, HOSTLANE_NO_WAIT, &message, NULL), HOSTLANE_E_TIMEOUT);
    put(both.opened, "credit came back");
    expect(both.served, "credit came back");
    free(item);
    both_close(&both);
}

static void *send_many(void *argument) {
    const hostlane_stream_t stream = *(hostlane_stream_t *)argument;
    static char item[4000];
    for (int at = 0; at < 500; ++at) {
        CHECK_OK(hostlane_stream_send(stream, item, (size_t)at * 7 % sizeof(item), LONG, NULL));
    }
    return NULL;
}

static void recv_many(hostlane_stream_t stream) {
    for (int at = 0; at < 500; ++at) {
        hostlane_message_t *item = NULL;
        size_t len;
        CHECK_OK(hostlane_stream_recv(stream, LONG, &item, NULL));
        CHECK(item != NULL && hostlane_message_data(item, &len) != NULL);
        CHECK_EQ(len, at * 7 % 4000);
        hostlane_message_free(&item);
    }
}

TEST(both_directions_flow_at_once) {
    both both = both_open();
    pthread_t threads[2];
    CHECK_EQ(pthread_create(&threads[0], NULL, send_many, &both.opened), 0);
    CHECK_EQ(pthread_create(&threads[1], NULL, send_many, &both.served), 0);
    recv_many(both.served);
    recv_many(both.opened);
    CHECK_EQ(pthread_join(threads[0], NULL), 0);
    CHECK_EQ(pthread_join(threads[1], NULL), 0);
    both_close(&both);
}

TEST(failing_ends_a_stream_with_the_data) {
    both both = both_open();
    hostlane_error_t *err = NULL;
    hostlane_message_t *item = NULL;
    size_t len;
    put(both.served, "first");
    CHECK_OK(hostlane_fail(both.request, 9, "broken", 6, LONG, NULL));
    expect(both.opened, "first");
    CHECK_STATUS(hostlane_stream_recv(both.opened, LONG, &item, &err), HOSTLANE_E_REMOTE_ERROR);
    CHECK_EQ(hostlane_error_remote_status(err), 9);
    CHECK(memcmp(hostlane_error_data(err, &len), "broken", 6) == 0 && len == 6);
    hostlane_error_free(&err);
    CHECK_STATUS(hostlane_stream_send(both.opened, "x", 1, LONG, NULL), HOSTLANE_E_CALL_ENDED);
    both_close(&both);
}

typedef struct {
    hostlane_stream_t stream;
    hostlane_status_t status;
} waiting;

static void *recv_thread(void *argument) {
    waiting *waiting = argument;
    hostlane_message_t *item = NULL;
    waiting->status = hostlane_stream_recv(waiting->stream, HOSTLANE_FOREVER, &item, NULL);
    return NULL;
}

TEST(closing_wakes_who_waits_and_the_other_side_is_told) {
    both both = both_open();
    waiting waiting = {both.opened, HOSTLANE_OK};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, recv_thread, &waiting), 0);
    lane_wait_pending(both.lane.client, 1);
    CHECK_OK(hostlane_stream_close(both.opened, NULL));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_STATUS(waiting.status, HOSTLANE_E_CANCELLED);
    CHECK_STATUS(hostlane_stream_close(both.opened, NULL), HOSTLANE_E_CLOSED);
    CHECK_OK(hostlane_message_wait_cancelled(both.request, LONG, NULL));
    CHECK_STATUS(hostlane_stream_send(both.served, "x", 1, LONG, NULL), HOSTLANE_E_CALL_ENDED);
    both_close(&both);
}

TEST(the_last_holder_of_the_duty_abandons_the_call) {
    both both = both_open();
    hostlane_message_t *item = NULL;
    hostlane_message_free(&both.request);
    put(both.served, "the stream still holds it");
    expect(both.opened, "the stream still holds it");
    CHECK_OK(hostlane_stream_close(both.served, NULL));
    CHECK_STATUS(hostlane_stream_recv(both.opened, LONG, &item, NULL), HOSTLANE_E_CALL_ABANDONED);
    both_close(&both);
}

TEST(a_plain_message_has_no_stream) {
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    hostlane_stream_t stream = {7};
    CHECK_OK(hostlane_send(lane.client, 2, "x", 1, LONG, NULL));
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    CHECK_STATUS(hostlane_message_stream(message, &stream, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_message_stream(NULL, &stream, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_EQ(stream.id, 7);
    hostlane_message_free(&message);
    lane_close(&lane);
}

TEST(the_end_of_the_connection_ends_streams) {
    both both = both_open();
    hostlane_message_t *item = NULL;
    put(both.served, "last");
    CHECK_OK(hostlane_close(both.lane.server, NULL));
    expect(both.opened, "last");
    const hostlane_status_t status = hostlane_stream_recv(both.opened, LONG, &item, NULL);
    CHECK(status == HOSTLANE_E_CONNECTION_LOST || status == HOSTLANE_E_PEER_CLOSED);
    both_close(&both);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

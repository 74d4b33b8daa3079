/* Waiting: deadlines, signals, and closing under somebody who waits. */

#include "lane.h"

typedef struct {
    hostlane_peer_t peer;
    int64_t timeout_ms;
    hostlane_status_t status;
    bool done;
} waiting;

static void *recv_thread(void *argument) {
    waiting *waiting = argument;
    hostlane_message_t *message = NULL;
    waiting->status = hostlane_recv(waiting->peer, waiting->timeout_ms, &message, NULL);
    hostlane_message_free(&message);
    __atomic_store_n(&waiting->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static void *request_thread(void *argument) {
    waiting *waiting = argument;
    hostlane_message_t *reply = NULL;
    waiting->status = hostlane_request(waiting->peer, "ask", 3, waiting->timeout_ms, &reply, NULL);
    hostlane_message_free(&reply);
    __atomic_store_n(&waiting->done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* Runs `wait` on `peer` in a thread, closes the peer under it, and gives what the thread got. */
static hostlane_status_t closed_under(void *(*wait)(void *), hostlane_peer_t peer) {
    waiting waiting = {peer, HOSTLANE_FOREVER, HOSTLANE_OK, false};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, wait, &waiting), 0);
    lane_wait_pending(peer, 1);
    CHECK_OK(hostlane_close(peer, NULL));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return waiting.status;
}

TEST(close_wakes_recv) {
    lane lane = lane_open();
    CHECK_STATUS(closed_under(recv_thread, lane.client), HOSTLANE_E_CLOSED);
    lane_close(&lane);
}

TEST(close_wakes_request) {
    lane lane = lane_open();
    CHECK_STATUS(closed_under(request_thread, lane.client), HOSTLANE_E_CLOSED);
    lane_close(&lane);
}

TEST(close_of_the_other_side_wakes_recv_and_request) {
    lane lane = lane_open();
    waiting receiving = {lane.client, HOSTLANE_FOREVER, HOSTLANE_OK, false};
    waiting requesting = {lane.client, HOSTLANE_FOREVER, HOSTLANE_OK, false};
    pthread_t threads[2];
    CHECK_EQ(pthread_create(&threads[0], NULL, recv_thread, &receiving), 0);
    CHECK_EQ(pthread_create(&threads[1], NULL, request_thread, &requesting), 0);
    lane_wait_pending(lane.client, 2);
    hostlane_message_t *message = NULL;
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    CHECK_OK(hostlane_close(lane.server, NULL));
    CHECK_EQ(pthread_join(threads[0], NULL), 0);
    CHECK_EQ(pthread_join(threads[1], NULL), 0);
    hostlane_message_free(&message);
    CHECK_STATUS(receiving.status, HOSTLANE_E_PEER_CLOSED);
    CHECK_STATUS(requesting.status, HOSTLANE_E_CONNECTION_LOST);
    lane_close(&lane);
}

TEST(recv_ends_at_its_deadline_and_loses_nothing) {
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    hostlane_error_t *err = NULL;
    int64_t start = lane_now();
    CHECK_STATUS(hostlane_recv(lane.client, HOSTLANE_NO_WAIT, &message, &err), HOSTLANE_E_TIMEOUT);
    CHECK(lane_now() - start < LONG / 4);
    CHECK(hostlane_error_retryable(err));
    hostlane_error_free(&err);
    start = lane_now();
    CHECK_STATUS(hostlane_recv_on(lane.client, 2, 50, &message, NULL), HOSTLANE_E_TIMEOUT);
    CHECK(lane_now() - start >= 50);
    CHECK(message == NULL);
    CHECK_OK(hostlane_send(lane.server, 2, "late", 4, LONG, NULL));
    CHECK_OK(hostlane_recv(lane.client, LONG, &message, NULL));
    hostlane_message_free(&message);
    lane_close(&lane);
}

TEST(the_largest_timeouts_are_for_ever) {
    lane lane = lane_open();
    const int64_t largest[] = {INT64_MAX, INT64_MAX / 2, -1, INT64_MIN};
    for (size_t at = 0; at < sizeof(largest) / sizeof(largest[0]); ++at) {
        hostlane_message_t *message = NULL;
        CHECK_OK(hostlane_send(lane.server, 2, "x", 1, largest[at], NULL));
        CHECK_OK(hostlane_recv(lane.client, largest[at], &message, NULL));
        hostlane_message_free(&message);
    }
    lane_close(&lane);
}

TEST(a_request_that_timed_out_ends_a_connection_of_level_0) {
    hostlane_connect_options_t client;
    hostlane_connect_options_init(&client, sizeof(client));
    client.level = HOSTLANE_LEVEL_ZERO;
    lane lane = lane_open_with(NULL, &client);
    hostlane_message_t *message = NULL;
    hostlane_error_t *err = NULL;
    const int64_t start = lane_now();
    CHECK_STATUS(hostlane_request(lane.client, "ask", 3, 60, &message, &err), HOSTLANE_E_TIMEOUT);
    CHECK(lane_now() - start >= 60);
    CHECK_EQ(hostlane_error_sent(err), HOSTLANE_SENT_MAYBE);
    hostlane_error_free(&err);
    const hostlane_status_t next = hostlane_request(lane.client, "again", 5, LONG, &message, NULL);
    CHECK(next == HOSTLANE_E_CONNECTION_LOST || next == HOSTLANE_E_CLOSED);
    CHECK(message == NULL);
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    CHECK(hostlane_reply(message, "late", 4, LONG, NULL) != HOSTLANE_E_TIMEOUT);
    hostlane_message_free(&message);
    lane_close(&lane);
}

TEST(a_ping_that_timed_out_keeps_the_connection) {
    lane lane = lane_open();
    uint64_t rtt = 7;
    hostlane_message_t *message = NULL;
    CHECK_STATUS(hostlane_ping(lane.client, 30, &rtt, NULL), HOSTLANE_E_TIMEOUT);
    CHECK_EQ(rtt, 7);
    CHECK_OK(hostlane_send(lane.client, 2, "x", 1, LONG, NULL));
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    hostlane_message_free(&message);
    lane_close(&lane);
}

TEST(a_send_to_somebody_who_does_not_read_times_out) {
    lane lane = lane_open();
    const size_t len = 1 << 20;
    char *data = calloc(1, len);
    CHECK(data != NULL);
    hostlane_status_t status = HOSTLANE_OK;
    for (int at = 0; at < 64 && status == HOSTLANE_OK; ++at) {
        status = hostlane_send(lane.client, 2, data, len, 100, NULL);
    }
    CHECK_STATUS(status, HOSTLANE_E_TIMEOUT);
    free(data);
    lane_close(&lane);
}

TEST(a_signal_interrupts_recv_and_nothing_is_lost) {
    lane lane = lane_open();
    waiting waiting = {lane.client, HOSTLANE_FOREVER, HOSTLANE_OK, false};
    pthread_t thread;
    hostlane_message_t *message = NULL;
    lane_catch_signal();
    CHECK_EQ(pthread_create(&thread, NULL, recv_thread, &waiting), 0);
    lane_wait_pending(lane.client, 1);
    lane_signal_until(thread, &waiting.done);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_STATUS(waiting.status, HOSTLANE_E_INTERRUPTED);
    CHECK_OK(hostlane_send(lane.server, 2, "x", 1, LONG, NULL));
    CHECK_OK(hostlane_recv(lane.client, LONG, &message, NULL));
    hostlane_message_free(&message);
    lane_close(&lane);
}

TEST(a_signal_does_not_end_a_request) {
    lane lane = lane_open();
    waiting waiting = {lane.client, LONG, HOSTLANE_OK, false};
    pthread_t thread;
    hostlane_message_t *message = NULL;
    lane_catch_signal();
    CHECK_EQ(pthread_create(&thread, NULL, request_thread, &waiting), 0);
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    lane_wait_pending(lane.client, 1);
    for (int at = 0; at < 50; ++at) {
        lane_signal(thread);
    }
    CHECK(!__atomic_load_n(&waiting.done, __ATOMIC_ACQUIRE));
    CHECK_OK(hostlane_reply(message, "answer", 6, LONG, NULL));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(waiting.status);
    hostlane_message_free(&message);
    lane_close(&lane);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

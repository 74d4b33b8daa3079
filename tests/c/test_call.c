/* Calls of wire level 1: many at once, both ways, with deadlines, cancelling, failing, and what goes along. */

#include "lane.h"

#include <unistd.h>

static hostlane_call_options_t call_options(void) {
    hostlane_call_options_t options;
    hostlane_call_options_init(&options, sizeof(options));
    return options;
}

static hostlane_call_t start(hostlane_peer_t peer, const char *text, const hostlane_call_options_t *options) {
    hostlane_call_t call;
    CHECK_OK(hostlane_call_start(peer, text, strlen(text), options, &call, NULL));
    return call;
}

static hostlane_message_t *next(hostlane_peer_t peer) {
    hostlane_message_t *message = NULL;
    CHECK_OK(hostlane_recv(peer, LONG, &message, NULL));
    return message;
}

static bool says(const hostlane_message_t *message, const char *text) {
    size_t len;
    const uint8_t *data = hostlane_message_data(message, &len);
    return len == strlen(text) && memcmp(data, text, len) == 0;
}

static void answer(hostlane_message_t *message, const char *text) {
    CHECK_OK(hostlane_reply(message, text, strlen(text), LONG, NULL));
    hostlane_message_free(&message);
}

/* One more call works: the connection goes on. */
static void goes_on(lane *lane) {
    hostlane_message_t *reply = NULL;
    const hostlane_call_t call = start(lane->client, "still there?", NULL);
    hostlane_message_t *message = next(lane->server);
    CHECK(says(message, "still there?"));
    answer(message, "yes");
    CHECK_OK(hostlane_call_wait(call, LONG, &reply, NULL));
    CHECK(says(reply, "yes"));
    hostlane_message_free(&reply);
}

TEST(calls_are_answered_out_of_order) {
    lane lane = lane_open();
    const char *const texts[] = {"one", "two", "three"};
    hostlane_call_t calls[3];
    hostlane_message_t *messages[3];
    for (int at = 0; at < 3; ++at) {
        calls[at] = start(lane.client, texts[at], NULL);
    }
    for (int at = 0; at < 3; ++at) {
        messages[at] = next(lane.server);
        CHECK(hostlane_message_is_request(messages[at]));
        CHECK_EQ(hostlane_message_channel(messages[at]), HOSTLANE_CHANNEL_COMMAND);
        CHECK(at == 0 || hostlane_message_call_id(messages[at]) > hostlane_message_call_id(messages[at - 1]));
    }
    for (int at = 2; at >= 0; --at) {
        CHECK(says(messages[at], texts[at]));
        answer(messages[at], texts[at]);
    }
    for (int at = 0; at < 3; ++at) {
        hostlane_message_t *reply = NULL;
        CHECK_OK(hostlane_call_wait(calls[at], LONG, &reply, NULL));
        CHECK(says(reply, texts[at]));
        CHECK(!hostlane_message_is_request(reply));
        hostlane_message_free(&reply);
    }
    lane_close(&lane);
}

TEST(a_call_handle_is_good_once) {
    lane lane = lane_open();
    hostlane_message_t *reply = NULL;
    const hostlane_call_t never = {0};
    const hostlane_call_t call = start(lane.client, "x", NULL);
    answer(next(lane.server), "y");
    CHECK_STATUS(hostlane_call_wait(call, LONG, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_OK(hostlane_call_wait(call, LONG, &reply, NULL));
    hostlane_message_free(&reply);
    CHECK_STATUS(hostlane_call_wait(call, LONG, &reply, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_call_cancel(call, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_call_wait(never, LONG, &reply, NULL), HOSTLANE_E_INVALID_HANDLE);
    CHECK_STATUS(hostlane_call_cancel(never, NULL), HOSTLANE_E_INVALID_HANDLE);
    CHECK(reply == NULL);
    lane_close(&lane);
}

TEST(the_other_side_sees_the_deadline) {
    lane lane = lane_open();
    hostlane_call_options_t options = call_options();
    options.deadline_ms = 5000;
    const hostlane_call_t limited = start(lane.client, "limited", &options);
    hostlane_message_t *message = next(lane.server);
    const int64_t left = hostlane_message_timeout_ms(message);
    CHECK(left > 0 && left <= 5000);
    answer(message, "");
    const hostlane_call_t unlimited = start(lane.client, "unlimited", NULL);
    message = next(lane.server);
    CHECK_EQ(hostlane_message_timeout_ms(message), HOSTLANE_FOREVER);
    hostlane_message_free(&message);
    CHECK_OK(hostlane_call_cancel(limited, NULL));
    CHECK_OK(hostlane_call_cancel(unlimited, NULL));

    options.deadline_ms = -1;
    hostlane_call_t call = {7};
    CHECK_STATUS(hostlane_call_start(lane.client, "x", 1, &options, &call, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_EQ(call.id, 7);
    lane_close(&lane);
}

TEST(a_passed_deadline_ends_the_duty_to_answer) {
    lane lane = lane_open();
    hostlane_call_options_t options = call_options();
    options.deadline_ms = 30;
    const hostlane_call_t call = start(lane.client, "quick", &options);
    hostlane_message_t *message = next(lane.server);
    CHECK_OK(hostlane_message_wait_cancelled(message, LONG, NULL));
    CHECK(hostlane_message_is_cancelled(message));
    CHECK_EQ(hostlane_message_timeout_ms(message), 0);
    CHECK_STATUS(hostlane_reply(message, "late", 4, LONG, NULL), HOSTLANE_E_CALL_ENDED);
    hostlane_message_free(&message);
    CHECK_OK(hostlane_call_cancel(call, NULL));
    goes_on(&lane);
    lane_close(&lane);
}

TEST(a_cancelled_call_is_seen) {
    lane lane = lane_open();
    const hostlane_call_t call = start(lane.client, "never mind", NULL);
    hostlane_message_t *message = next(lane.server);
    CHECK(!hostlane_message_is_cancelled(message));
    CHECK_STATUS(hostlane_message_wait_cancelled(message, 10, NULL), HOSTLANE_E_TIMEOUT);
    CHECK_OK(hostlane_call_cancel(call, NULL));
    CHECK_OK(hostlane_message_wait_cancelled(message, LONG, NULL));
    CHECK(hostlane_message_is_cancelled(message));
    CHECK_STATUS(hostlane_fail(message, 1, NULL, 0, LONG, NULL), HOSTLANE_E_CALL_ENDED);
    hostlane_message_free(&message);
    goes_on(&lane);
    hostlane_stats_t stats;
    CHECK_OK(hostlane_stats(lane.client, &stats, NULL));
    CHECK_EQ(stats.calls_cancelled, 1);
    CHECK_EQ(stats.calls, 2);
    CHECK_EQ(stats.open_calls, 0);
    CHECK_OK(hostlane_stats(lane.server, &stats, NULL));
    CHECK_EQ(stats.calls_served, 2);
    CHECK_EQ(stats.open_served, 0);
    lane_close(&lane);
}

TEST(a_request_that_timed_out_is_cancelled_and_the_connection_stays) {
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    hostlane_error_t *err = NULL;
    CHECK_STATUS(hostlane_request(lane.client, "ask", 3, 30, &message, &err), HOSTLANE_E_TIMEOUT);
    CHECK_EQ(hostlane_error_sent(err), HOSTLANE_SENT_MAYBE);
    CHECK_EQ(hostlane_error_remote_status(err), 0);
    hostlane_error_free(&err);
    message = next(lane.server);
    CHECK_OK(hostlane_message_wait_cancelled(message, LONG, NULL));
    hostlane_message_free(&message);
    goes_on(&lane);
    lane_close(&lane);
}

TEST(a_program_fails_a_call_with_data) {
    lane lane = lane_open();
    hostlane_error_t *err = NULL;
    hostlane_message_t *reply = NULL;
    size_t len = 0;
    const hostlane_call_t call = start(lane.client, "divide by zero", NULL);
    hostlane_message_t *message = next(lane.server);
    CHECK_OK(hostlane_fail(message, 4242, "no\0way", 6, LONG, NULL));
    CHECK_STATUS(hostlane_reply(message, "and yet", 7, LONG, NULL), HOSTLANE_E_CALL_ENDED);
    hostlane_message_free(&message);
    CHECK_STATUS(hostlane_call_wait(call, LONG, &reply, &err), HOSTLANE_E_REMOTE_ERROR);
    CHECK_EQ(hostlane_error_remote_status(err), 4242);
    const uint8_t *data = hostlane_error_data(err, &len);
    CHECK(len == 6 && memcmp(data, "no\0way", 6) == 0);
    hostlane_error_free(&err);
    CHECK(reply == NULL);
    CHECK(hostlane_error_data(NULL, &len) == NULL && len == 0);
    lane_close(&lane);
}

TEST(a_request_that_is_freed_is_abandoned) {
    lane lane = lane_open();
    hostlane_message_t *reply = NULL;
    hostlane_error_t *err = NULL;
    const hostlane_call_t call = start(lane.client, "anybody?", NULL);
    hostlane_message_t *message = next(lane.server);
    hostlane_message_free(&message);
    CHECK_STATUS(hostlane_call_wait(call, LONG, &reply, &err), HOSTLANE_E_CALL_ABANDONED);
    CHECK_EQ(hostlane_error_remote_status(err), 0);
    size_t len = 1;
    CHECK(hostlane_error_data(err, &len) != NULL && len == 0);
    hostlane_error_free(&err);
    lane_close(&lane);
}

TEST(key_trace_and_channel_go_along) {
    lane lane = lane_open();
    size_t len = 0;
    hostlane_call_options_t options = call_options();
    options.idempotency_key = "key-1";
    options.idempotency_key_len = 5;
    options.trace = "span";
    options.trace_len = 4;
    options.channel = HOSTLANE_CHANNEL_DATA;
    const hostlane_call_t call = start(lane.client, "x", &options);
    hostlane_message_t *message = next(lane.server);
    CHECK_EQ(hostlane_message_channel(message), HOSTLANE_CHANNEL_DATA);
    CHECK_EQ(hostlane_message_flags(message), HOSTLANE_MESSAGE_REQUEST | HOSTLANE_MESSAGE_KEY | HOSTLANE_MESSAGE_TRACE);
    const uint8_t *key = hostlane_message_idempotency_key(message, &len);
    CHECK(len == 5 && memcmp(key, "key-1", 5) == 0);
    const uint8_t *trace = hostlane_message_trace(message, &len);
    CHECK(len == 4 && memcmp(trace, "span", 4) == 0);
    hostlane_message_free(&message);
    CHECK_OK(hostlane_call_cancel(call, NULL));

    options = call_options();
    options.trace = "other";
    options.trace_len = 5;
    CHECK_OK(hostlane_send_with(lane.client, "one-way", 7, &options, LONG, NULL));
    message = next(lane.server);
    CHECK_EQ(hostlane_message_channel(message), HOSTLANE_CHANNEL_DATA);
    CHECK_EQ(hostlane_message_flags(message), HOSTLANE_MESSAGE_TRACE);
    CHECK_EQ(hostlane_message_call_id(message), 0);
    CHECK_EQ(hostlane_message_timeout_ms(message), HOSTLANE_FOREVER);
    CHECK(hostlane_message_idempotency_key(message, &len) == NULL && len == 0);
    CHECK(!hostlane_message_is_cancelled(message));
    CHECK_STATUS(hostlane_fail(message, 1, NULL, 0, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_message_wait_cancelled(message, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    hostlane_message_free(&message);

    options.trace_len = 65;
    char longer[65] = {0};
    options.trace = longer;
    CHECK_STATUS(hostlane_send_with(lane.client, "x", 1, &options, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    options.size = 3;
    CHECK_STATUS(hostlane_send_with(lane.client, "x", 1, &options, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    lane_close(&lane);
}

TEST(descriptors_go_along) {
    hostlane_listen_options_t server;
    hostlane_connect_options_t client;
    hostlane_listen_options_init(&server, sizeof(server));
    hostlane_connect_options_init(&client, sizeof(client));
    server.fds = client.fds = 1;
    lane lane = lane_open_with(&server, &client);
    int ends[2];
    int32_t taken[HOSTLANE_MAX_FDS] = {-1, -1, -1, -1};
    size_t n = 7;
    char byte = 0;
    CHECK_EQ(pipe(ends), 0);
    hostlane_call_options_t options = call_options();
    options.fds = &ends[1];
    options.fds_len = 1;
    CHECK_OK(hostlane_send_with(lane.client, "take it", 7, &options, LONG, NULL));
    CHECK_EQ(close(ends[1]), 0); /* still the caller's */
    hostlane_message_t *message = next(lane.server);
    CHECK_EQ(hostlane_message_flags(message), HOSTLANE_MESSAGE_FDS);
    CHECK_OK(hostlane_message_take_fds(message, taken, &n, NULL));
    CHECK_EQ(n, 1);
    CHECK_EQ(write(taken[0], "!", 1), 1);
    CHECK_EQ(close(taken[0]), 0);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == '!');
    CHECK_EQ(read(ends[0], &byte, 1), 0); /* and nobody else has it */
    CHECK_OK(hostlane_message_take_fds(message, taken, &n, NULL));
    CHECK_EQ(n, 0);
    hostlane_message_free(&message);
    const int32_t wrong = -1;
    options.fds = &wrong;
    CHECK_STATUS(hostlane_send_with(lane.client, "x", 1, &options, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    const int32_t many[] = {0, 0, 0, 0, 0};
    options.fds = many;
    options.fds_len = 5;
    CHECK_STATUS(hostlane_send_with(lane.client, "x", 1, &options, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_EQ(close(ends[0]), 0);
    lane_close(&lane);
}

/* Serves one request by asking back, within the time that is left. */
static void *ask_back(void *argument) {
    const hostlane_peer_t peer = *(hostlane_peer_t *)argument;
    hostlane_message_t *message = next(peer);
    hostlane_message_t *reply = NULL;
    const int64_t left = hostlane_message_timeout_ms(message);
    CHECK(left > 0 && left <= LONG);
    CHECK_OK(hostlane_request(peer, "your name?", 10, left, &reply, NULL));
    size_t len;
    const uint8_t *name = hostlane_message_data(reply, &len);
    CHECK_OK(hostlane_reply(message, name, len, left, NULL));
    hostlane_message_free(&reply);
    hostlane_message_free(&message);
    return NULL;
}

static void *tell_name(void *argument) {
    const hostlane_peer_t peer = *(hostlane_peer_t *)argument;
    hostlane_message_t *message = next(peer);
    const int64_t left = hostlane_message_timeout_ms(message);
    CHECK(says(message, "your name?"));
    CHECK(left > 0 && left <= LONG);
    answer(message, "Ada");
    return NULL;
}

TEST(calls_nest) {
    lane lane = lane_open();
    pthread_t threads[2];
    hostlane_message_t *reply = NULL;
    CHECK_EQ(pthread_create(&threads[0], NULL, ask_back, &lane.server), 0);
    CHECK_EQ(pthread_create(&threads[1], NULL, tell_name, &lane.client), 0);
    CHECK_OK(hostlane_request(lane.client, "greet me", 8, LONG, &reply, NULL));
    CHECK(says(reply, "Ada"));
    hostlane_message_free(&reply);
    CHECK_EQ(pthread_join(threads[0], NULL), 0);
    CHECK_EQ(pthread_join(threads[1], NULL), 0);
    lane_close(&lane);
}

TEST(level_0_has_plain_calls_and_nothing_more) {
    hostlane_connect_options_t client;
    hostlane_connect_options_init(&client, sizeof(client));
    client.level = HOSTLANE_LEVEL_ZERO;
    lane lane = lane_open_with(NULL, &client);
    hostlane_info_t info;
    hostlane_stream_t stream;
    CHECK_OK(hostlane_info(lane.server, &info, NULL));
    CHECK_EQ(info.level, 0);
    goes_on(&lane);

    hostlane_call_options_t options = call_options();
    hostlane_call_t call;
    options.idempotency_key = "k";
    options.idempotency_key_len = 1;
    CHECK_STATUS(hostlane_call_start(lane.client, "x", 1, &options, &call, NULL), HOSTLANE_E_UNSUPPORTED);
    options = call_options();
    options.trace = "t";
    options.trace_len = 1;
    CHECK_STATUS(hostlane_send_with(lane.client, "x", 1, &options, LONG, NULL), HOSTLANE_E_UNSUPPORTED);
    options = call_options();
    options.channel = HOSTLANE_CHANNEL_DATA;
    CHECK_STATUS(hostlane_call_start(lane.client, "x", 1, &options, &call, NULL), HOSTLANE_E_UNSUPPORTED);
    CHECK_STATUS(hostlane_stream_open(lane.client, "x", 1, NULL, &stream, NULL), HOSTLANE_E_UNSUPPORTED);

    CHECK_OK(hostlane_call_start(lane.client, "fail me", 7, NULL, &call, NULL));
    hostlane_message_t *message = next(lane.server);
    CHECK(!hostlane_message_is_request(message));
    CHECK_STATUS(hostlane_fail(message, 1, NULL, 0, LONG, NULL), HOSTLANE_E_UNSUPPORTED);
    CHECK_STATUS(hostlane_message_wait_cancelled(message, LONG, NULL), HOSTLANE_E_UNSUPPORTED);
    answer(message, "well");
    hostlane_message_t *reply = NULL;
    CHECK_OK(hostlane_call_wait(call, LONG, &reply, NULL));
    hostlane_message_free(&reply);
    lane_close(&lane);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

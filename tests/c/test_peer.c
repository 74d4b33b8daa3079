/* One connection: what crosses it, what is refused, how it ends. */

#include "lane.h"

#define LIMIT 1000

/* Sends from `from`, receives at `to` and compares. */
static void crosses(hostlane_peer_t from, hostlane_peer_t to, uint16_t channel, const void *data, size_t len) {
    hostlane_message_t *message = NULL;
    size_t got = 0;
    CHECK_OK(hostlane_send(from, channel, data, len, LONG, NULL));
    CHECK_OK(hostlane_recv(to, LONG, &message, NULL));
    const uint8_t *bytes = hostlane_message_data(message, &got);
    CHECK_EQ(hostlane_message_channel(message), channel);
    CHECK_EQ(got, len);
    CHECK(bytes != NULL);
    CHECK(len == 0 || memcmp(bytes, data, len) == 0);
    hostlane_message_free(&message);
    CHECK(message == NULL);
}

TEST(messages_cross_in_both_directions) {
    lane lane = lane_open();
    uint8_t every[256];
    for (int at = 0; at < 256; ++at) {
        every[at] = (uint8_t)at;
    }
    for (uint16_t channel = 1; channel <= 4; ++channel) {
        crosses(lane.client, lane.server, channel, every, sizeof(every));
        crosses(lane.server, lane.client, channel, every, sizeof(every));
        crosses(lane.client, lane.server, channel, NULL, 0);
        crosses(lane.client, lane.server, channel, "", 0);
    }
    for (int at = 0; at < 256; ++at) {
        crosses(lane.client, lane.server, HOSTLANE_CHANNEL_DATA, &every[at], 1);
    }
    lane_close(&lane);
}

TEST(a_payload_at_the_limit_crosses_and_one_over_is_refused) {
    hostlane_listen_options_t server;
    hostlane_connect_options_t client;
    hostlane_listen_options_init(&server, sizeof(server));
    hostlane_connect_options_init(&client, sizeof(client));
    server.max_message = LIMIT;
    client.max_message = LIMIT;
    lane lane = lane_open_with(&server, &client);
    char data[LIMIT + 1];
    memset(data, 'd', sizeof(data));
    crosses(lane.client, lane.server, 2, data, LIMIT);
    CHECK_STATUS(hostlane_send(lane.client, 2, data, LIMIT + 1, LONG, NULL), HOSTLANE_E_PAYLOAD_TOO_LARGE);
    crosses(lane.client, lane.server, 2, data, LIMIT);
    lane_close(&lane);
}

static void *send_largest(void *argument) {
    lane *both = argument;
    const size_t len = 16777216;
    uint8_t *data = malloc(len + 1);
    CHECK(data != NULL);
    memset(data, 0x5A, len + 1);
    CHECK_STATUS(hostlane_send(both->client, 2, data, len + 1, LONG, NULL), HOSTLANE_E_PAYLOAD_TOO_LARGE);
    CHECK_OK(hostlane_send(both->client, 2, data, len, LONG, NULL));
    free(data);
    return NULL;
}

TEST(sixteen_mebibytes_cross_and_one_byte_more_does_not) {
    lane lane = lane_open();
    pthread_t thread;
    hostlane_message_t *message = NULL;
    size_t len = 0;
    CHECK_EQ(pthread_create(&thread, NULL, send_largest, &lane), 0);
    CHECK_OK(hostlane_recv_on(lane.server, 2, LONG, &message, NULL));
    const uint8_t *data = hostlane_message_data(message, &len);
    CHECK_EQ(len, 16777216);
    CHECK(data[0] == 0x5A && memcmp(data, data + 1, len - 1) == 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    hostlane_message_free(&message);
    lane_close(&lane);
}

TEST(messages_keep_their_order_and_channels_are_apart) {
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    for (uint8_t at = 0; at < 100; ++at) {
        CHECK_OK(hostlane_send(lane.client, at % 2 == 0 ? 2 : 3, &at, 1, LONG, NULL));
    }
    for (uint8_t at = 1; at < 100; at = (uint8_t)(at + 2)) {
        CHECK_OK(hostlane_recv_on(lane.server, 3, LONG, &message, NULL));
        CHECK_EQ(*hostlane_message_data(message, NULL), at);
        hostlane_message_free(&message);
    }
    for (uint8_t at = 0; at < 100; at = (uint8_t)(at + 2)) {
        CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
        CHECK_EQ(*hostlane_message_data(message, NULL), at);
        hostlane_message_free(&message);
    }
    CHECK_STATUS(hostlane_recv(lane.server, HOSTLANE_NO_WAIT, &message, NULL), HOSTLANE_E_TIMEOUT);
    lane_close(&lane);
}

TEST(a_request_gets_its_reply) {
    lane lane = lane_open();
    lane_echo echo;
    lane_echo_start(&echo, lane.server);
    for (int at = 0; at < 200; ++at) {
        hostlane_message_t *reply = NULL;
        size_t len;
        CHECK_OK(hostlane_request(lane.client, &at, sizeof(at), LONG, &reply, NULL));
        const uint8_t *data = hostlane_message_data(reply, &len);
        CHECK_EQ(len, sizeof(at));
        CHECK(memcmp(data, &at, len) == 0);
        CHECK_EQ(hostlane_message_channel(reply), HOSTLANE_CHANNEL_COMMAND);
        hostlane_message_free(&reply);
    }
    CHECK_OK(hostlane_close(lane.client, NULL));
    lane_echo_end(&echo);
    CHECK_STATUS(echo.end, HOSTLANE_E_PEER_CLOSED);
    lane_close(&lane);
}

static void *request_many(void *argument) {
    const hostlane_peer_t peer = *(hostlane_peer_t *)argument;
    for (uint64_t at = 0; at < 100; ++at) {
        const uint64_t mine = (uint64_t)(uintptr_t)&at + at;
        hostlane_message_t *reply = NULL;
        size_t len;
        CHECK_OK(hostlane_request(peer, &mine, sizeof(mine), LONG, &reply, NULL));
        const uint8_t *data = hostlane_message_data(reply, &len);
        CHECK(len == sizeof(mine) && memcmp(data, &mine, len) == 0);
        hostlane_message_free(&reply);
    }
    return NULL;
}

TEST(many_threads_share_a_peer) {
    lane lane = lane_open();
    lane_echo echo;
    pthread_t threads[8];
    lane_echo_start(&echo, lane.server);
    for (size_t at = 0; at < 8; ++at) {
        CHECK_EQ(pthread_create(&threads[at], NULL, request_many, &lane.client), 0);
    }
    for (size_t at = 0; at < 8; ++at) {
        CHECK_EQ(pthread_join(threads[at], NULL), 0);
    }
    CHECK_OK(hostlane_close(lane.client, NULL));
    lane_echo_end(&echo);
    lane_close(&lane);
}

TEST(wrong_arguments_are_refused_and_change_nothing) {
    lane lane = lane_open();
    const char *path = lane_path("lane");
    hostlane_peer_t peer = {0};
    const uint16_t wrong[] = {0, 5, 255, 256, 65535};
    hostlane_message_t *message = NULL;
    CHECK_STATUS(hostlane_connect(path, strlen(path), NULL, 0, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_connect(NULL, 4, NULL, 0, &peer, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_connect("\xC0\x80", 2, NULL, 0, &peer, NULL), HOSTLANE_E_INVALID_UTF8);
    CHECK_STATUS(hostlane_connect("fd:x", 4, NULL, 0, &peer, NULL), HOSTLANE_E_INVALID_ADDRESS);
    CHECK_STATUS(hostlane_send(lane.client, 2, NULL, 1, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_send(lane.client, 2, "x", SIZE_MAX, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_request(lane.client, NULL, 1, LONG, &message, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_request(lane.client, "x", 1, LONG, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_recv(lane.client, LONG, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_recv_on(lane.client, 2, LONG, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_ping(lane.client, LONG, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_info(lane.client, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_stats(lane.client, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_stats_on(lane.client, 2, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    for (size_t at = 0; at < sizeof(wrong) / sizeof(wrong[0]); ++at) {
        hostlane_channel_stats_t stats;
        CHECK_STATUS(hostlane_send(lane.client, wrong[at], "x", 1, LONG, NULL), HOSTLANE_E_INVALID_CHANNEL);
        CHECK_STATUS(hostlane_recv_on(lane.client, wrong[at], LONG, &message, NULL), HOSTLANE_E_INVALID_CHANNEL);
        CHECK_STATUS(hostlane_stats_on(lane.client, wrong[at], &stats, NULL), HOSTLANE_E_INVALID_CHANNEL);
    }
    CHECK(message == NULL);
    crosses(lane.client, lane.server, 2, "still there", 11);
    lane_close(&lane);
}

TEST(nobody_answers_at_a_stale_socket) {
    const char *path = lane_path("nobody");
    hostlane_peer_t peer;
    CHECK_STATUS(hostlane_connect(path, strlen(path), NULL, LONG, &peer, NULL), HOSTLANE_E_NOT_FOUND);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fclose(file) == 0);
    CHECK_STATUS(hostlane_connect(path, strlen(path), NULL, LONG, &peer, NULL), HOSTLANE_E_NOT_A_SOCKET);
}

TEST(info_and_stats_tell_the_truth) {
    lane lane = lane_open();
    hostlane_info_t client;
    hostlane_info_t server;
    hostlane_stats_t stats;
    hostlane_channel_stats_t on;
    char address[128];
    size_t len;
    crosses(lane.client, lane.server, 2, "12345", 5);
    crosses(lane.client, lane.server, 3, "123", 3);
    CHECK_OK(hostlane_info(lane.client, &client, NULL));
    CHECK_OK(hostlane_info(lane.server, &server, NULL));
    CHECK(strcmp(client.peer_id, server.peer_id) == 0 && strlen(client.peer_id) > 0);
    CHECK(strcmp(server.peer_instance, client.instance) == 0 && strlen(client.instance) == 32);
    CHECK(strcmp(client.carrier, "unix") == 0);
    CHECK_EQ(client.max_message, 16777216);
    CHECK_EQ(client.channels_len, 4);
    CHECK_EQ(client.level, 1);
    CHECK_EQ(server.pid > 0, 1);
    CHECK_OK(hostlane_stats(lane.client, &stats, NULL));
    CHECK_EQ(stats.messages_sent, 2);
    CHECK_EQ(stats.bytes_sent, 8);
    CHECK_OK(hostlane_stats(lane.server, &stats, NULL));
    CHECK_EQ(stats.messages_received, 2);
    CHECK_EQ(stats.bytes_received, 8);
    CHECK_EQ(stats.receive_queue.messages, 0);
    CHECK_OK(hostlane_stats_on(lane.server, 3, &on, NULL));
    CHECK_EQ(on.bytes_received, 3);
    CHECK_OK(hostlane_peer_address(lane.server, address, sizeof(address), &len, NULL));
    CHECK_EQ(len, 5 + strlen(lane_path("lane")));
    CHECK(memcmp(address, "unix:", 5) == 0 && memcmp(address + 5, lane_path("lane"), len - 5) == 0);
    lane_close(&lane);
}

TEST(ping_measures_a_round_trip) {
    lane lane = lane_open();
    lane_echo echo;
    uint64_t rtt = 0;
    lane_echo_start(&echo, lane.server);
    CHECK_OK(hostlane_ping(lane.client, LONG, &rtt, NULL));
    CHECK(rtt > 0 && rtt < (uint64_t)LONG * 1000000);
    CHECK_OK(hostlane_close(lane.client, NULL));
    lane_echo_end(&echo);
    lane_close(&lane);
}

TEST(drain_ends_in_good_order) {
    lane lane = lane_open();
    lane_echo echo;
    lane_echo_start(&echo, lane.server);
    CHECK_OK(hostlane_send(lane.server, 2, "last", 4, LONG, NULL));
    CHECK_OK(hostlane_drain(lane.client, LONG, NULL));
    lane_echo_end(&echo);
    CHECK_STATUS(echo.end, HOSTLANE_E_PEER_CLOSED);
    hostlane_message_t *message = NULL;
    CHECK_OK(hostlane_recv(lane.client, LONG, &message, NULL));
    CHECK(memcmp(hostlane_message_data(message, NULL), "last", 4) == 0);
    hostlane_message_free(&message);
    CHECK_STATUS(hostlane_send(lane.client, 2, "late", 4, LONG, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_recv(lane.client, LONG, &message, NULL), HOSTLANE_E_CLOSED);
    lane_close(&lane);
}

TEST(what_arrived_is_delivered_before_the_end) {
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    CHECK_OK(hostlane_send(lane.client, 2, "a", 1, LONG, NULL));
    CHECK_OK(hostlane_send(lane.client, 2, "b", 1, LONG, NULL));
    CHECK_OK(hostlane_close(lane.client, NULL));
    for (const char *expected = "ab"; *expected != 0; ++expected) {
        CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
        CHECK_EQ(*hostlane_message_data(message, NULL), *expected);
        hostlane_message_free(&message);
    }
    CHECK_STATUS(hostlane_recv(lane.server, LONG, &message, NULL), HOSTLANE_E_PEER_CLOSED);
    CHECK_STATUS(hostlane_recv(lane.server, LONG, &message, NULL), HOSTLANE_E_PEER_CLOSED);
    lane_close(&lane);
}

TEST(a_closed_peer_stays_closed) {
    lane lane = lane_open();
    const hostlane_peer_t peer = lane.client;
    hostlane_message_t *message = NULL;
    hostlane_info_t info;
    uint64_t rtt;
    CHECK_OK(hostlane_close(peer, NULL));
    CHECK_STATUS(hostlane_close(peer, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_send(peer, 2, "x", 1, LONG, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_recv(peer, LONG, &message, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_recv_on(peer, 2, LONG, &message, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_request(peer, "x", 1, LONG, &message, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_ping(peer, LONG, &rtt, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_drain(peer, LONG, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_info(peer, &info, NULL), HOSTLANE_E_CLOSED);
    lane_close(&lane);
}

TEST(a_handle_never_comes_back) {
    lane lane = lane_open();
    const hostlane_peer_t old = lane.client;
    hostlane_peer_t guess = {0};
    lane_close(&lane);
    for (int round = 0; round < 20; ++round) {
        lane = lane_open();
        CHECK(lane.client.id != old.id && lane.server.id != old.id);
        CHECK_STATUS(hostlane_close(old, NULL), HOSTLANE_E_CLOSED);
        crosses(lane.client, lane.server, 2, "mine", 4);
        lane_close(&lane);
    }
    const uint64_t forged[] = {0, 1, UINT64_MAX, UINT64_MAX >> 1, UINT32_MAX, (uint64_t)UINT32_MAX << 32, old.id ^ 1};
    for (size_t at = 0; at < sizeof(forged) / sizeof(forged[0]); ++at) {
        guess.id = forged[at];
        const hostlane_status_t status = hostlane_close(guess, NULL);
        CHECK(status == HOSTLANE_E_INVALID_HANDLE || status == HOSTLANE_E_CLOSED);
    }
    guess.id = 0;
    CHECK_STATUS(hostlane_close(guess, NULL), HOSTLANE_E_INVALID_HANDLE);
    guess.id = UINT64_MAX;
    CHECK_STATUS(hostlane_close(guess, NULL), HOSTLANE_E_INVALID_HANDLE);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

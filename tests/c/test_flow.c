/* What keeps a connection healthy: policies, counters, keepalive, drain, proofs. */

#include "lane.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE 65536

/* A connection whose client sends on 300 by `policy`, to a server that does not receive. */
static lane lane_with_policy(int32_t policy) {
    static const uint16_t channels[] = {1, 2, 300};
    const hostlane_policy_t policies[] = {{policy, 300}};
    hostlane_listen_options_t server;
    hostlane_connect_options_t client;
    hostlane_listen_options_init(&server, sizeof(server));
    hostlane_connect_options_init(&client, sizeof(client));
    server.channels = client.channels = channels;
    server.channels_len = client.channels_len = 3;
    client.policies = policies;
    client.policies_len = 1;
    lane lane = lane_open_with(&server, &client);
    /* What arrives is collected, so that the credit ends and not the room of the kernel. */
    CHECK_OK(hostlane_attach(lane.server, NULL));
    return lane;
}

/* Sends pieces until one does not go or `most` went; each starts with its number. */
static uint32_t send_pieces(hostlane_peer_t peer, uint32_t most, hostlane_status_t *status) {
    static char piece[PIECE];
    uint32_t sent = 0;
    for (*status = HOSTLANE_OK; sent < most; ++sent) {
        memcpy(piece, &sent, sizeof(sent));
        *status = hostlane_send(peer, 300, piece, sizeof(piece), 100, NULL);
        if (*status != HOSTLANE_OK) {
            break;
        }
    }
    return sent;
}

static hostlane_channel_stats_t stats_on(hostlane_peer_t peer) {
    hostlane_channel_stats_t stats;
    CHECK_OK(hostlane_stats_on(peer, 300, &stats, NULL));
    return stats;
}

TEST(block_waits_until_the_deadline) {
    lane lane = lane_with_policy(HOSTLANE_POLICY_BLOCK);
    hostlane_status_t status;
    const uint32_t sent = send_pieces(lane.client, 1000, &status);
    CHECK_STATUS(status, HOSTLANE_E_TIMEOUT);
    CHECK(sent < 1000);
    CHECK_EQ(stats_on(lane.client).dropped, 0);
    lane_close(&lane);
}

TEST(error_says_that_it_would_block) {
    lane lane = lane_with_policy(HOSTLANE_POLICY_ERROR);
    hostlane_status_t status;
    const uint32_t sent = send_pieces(lane.client, 1000, &status);
    CHECK_STATUS(status, HOSTLANE_E_WOULD_BLOCK);
    CHECK(sent > 0 && sent < 1000);
    CHECK_EQ(stats_on(lane.client).messages_sent, sent);
    for (uint32_t at = 0; at < sent; ++at) {
        hostlane_message_t *message = NULL;
        CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
        CHECK(memcmp(hostlane_message_data(message, NULL), &at, sizeof(at)) == 0);
        hostlane_message_free(&message);
    }
    CHECK_OK(hostlane_send(lane.client, 2, "another channel", 15, LONG, NULL));
    lane_close(&lane);
}

/* Receives up to the last of `sent` pieces, and tells how many came. */
static uint32_t receive_rest(const lane *lane, uint32_t sent) {
    uint32_t received = 0;
    uint32_t last = 0;
    hostlane_message_t *message = NULL;
    /* The client is attached: credit that comes back lets go what waits there, the newest last. */
    while (received == 0 || last != sent - 1) {
        CHECK_OK(hostlane_recv_on(lane->server, 300, LONG, &message, NULL));
        memcpy(&last, hostlane_message_data(message, NULL), sizeof(last));
        hostlane_message_free(&message);
        ++received;
    }
    return received;
}

TEST(drop_oldest_makes_room_and_counts) {
    lane lane = lane_with_policy(HOSTLANE_POLICY_DROP_OLDEST);
    hostlane_status_t status;
    CHECK_OK(hostlane_attach(lane.client, NULL));
    const uint32_t sent = send_pieces(lane.client, 400, &status);
    CHECK_OK(status);
    CHECK_EQ(sent, 400);
    const uint64_t dropped = stats_on(lane.client).dropped;
    CHECK(dropped > 0);
    CHECK_EQ(receive_rest(&lane, sent) + dropped, sent);
    CHECK_EQ(stats_on(lane.server).dropped_by_peer, dropped);
    CHECK(stats_on(lane.server).queued_bytes_peak > 0);
    CHECK(stats_on(lane.client).send_queued_bytes_peak > 0);
    CHECK(stats_on(lane.client).send_credit > 0);
    lane_close(&lane);
}

TEST(latest_keeps_the_newest) {
    lane lane = lane_with_policy(HOSTLANE_POLICY_LATEST);
    hostlane_status_t status;
    CHECK_OK(hostlane_attach(lane.client, NULL));
    const uint32_t sent = send_pieces(lane.client, 200, &status);
    CHECK_OK(status);
    CHECK(stats_on(lane.client).send_queued <= 1);
    const uint64_t dropped = stats_on(lane.client).dropped;
    CHECK(dropped > 0);
    CHECK_EQ(receive_rest(&lane, sent) + dropped, sent);
    lane_close(&lane);
}

TEST(wrong_options_are_refused) {
    const char *path = lane_path("wrong");
    hostlane_listener_t listener;
    hostlane_listen_options_t options;
    const hostlane_policy_t strange = {4, 2};
    const hostlane_policy_t stranger = {HOSTLANE_POLICY_ERROR, 300};
    const struct {
        int32_t level;
        int64_t keepalive_ms;
        uint64_t max_calls;
        int64_t spin_us;
        const hostlane_policy_t *policy;
    } wrong[] = {{3, 0, 0, 0, NULL},  {0, -1, 0, 0, NULL},    {0, 49, 0, 0, NULL},    {0, 0, 16385, 0, NULL},
                 {0, 0, 0, -2, NULL}, {0, 0, 0, 10001, NULL}, {0, 0, 0, 0, &strange}, {0, 0, 0, 0, &stranger}};
    for (size_t at = 0; at < sizeof(wrong) / sizeof(wrong[0]); ++at) {
        hostlane_listen_options_init(&options, sizeof(options));
        options.level = wrong[at].level;
        options.keepalive_ms = wrong[at].keepalive_ms;
        options.max_calls = wrong[at].max_calls;
        options.spin_us = wrong[at].spin_us;
        options.policies = wrong[at].policy;
        options.policies_len = wrong[at].policy != NULL;
        CHECK_STATUS(hostlane_listen(path, strlen(path), &options, &listener, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    }
    hostlane_listen_options_init(&options, sizeof(options));
    options.secret = "";
    CHECK_STATUS(hostlane_listen(path, strlen(path), &options, &listener, NULL), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(a_stopped_process_is_noticed) {
    const char *path = lane_path("stopped"); /* before the fork, so that both have the same */
    int ready[2];
    char byte;
    CHECK_EQ(pipe(ready), 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        hostlane_peer_t peer;
        hostlane_message_t *message;
        close(ready[1]);
        if (read(ready[0], &byte, 1) == 1 &&
            hostlane_connect(path, strlen(path), NULL, LONG, &peer, NULL) == HOSTLANE_OK) {
            hostlane_recv(peer, LONG, &message, NULL);
        }
        _exit(1);
    }
    hostlane_listen_options_t options;
    hostlane_listen_options_init(&options, sizeof(options));
    options.keepalive_ms = 400; /* a slow machine answers within two of it */
    hostlane_listener_t listener = lane_listen("stopped", &options);
    hostlane_peer_t peer;
    hostlane_message_t *message = NULL;
    CHECK_EQ(write(ready[1], "!", 1), 1);
    CHECK_OK(hostlane_accept(listener, LONG, &peer, NULL));
    /* Answered by the child's side although its program only waits. */
    CHECK_STATUS(hostlane_recv(peer, 1500, &message, NULL), HOSTLANE_E_TIMEOUT);
    CHECK_EQ(kill(child, SIGSTOP), 0);
    const int64_t start = lane_now();
    CHECK_STATUS(hostlane_recv(peer, LONG, &message, NULL), HOSTLANE_E_PEER_UNRESPONSIVE);
    CHECK(lane_now() - start < LONG / 2);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    close(ready[0]);
    close(ready[1]);
    hostlane_close(peer, NULL);
    hostlane_listener_close(listener, NULL);
}

typedef struct {
    hostlane_peer_t peer;
    hostlane_status_t status;
} draining;

static void *drain_thread(void *argument) {
    draining *draining = argument;
    draining->status = hostlane_drain(draining->peer, LONG, NULL);
    return NULL;
}

TEST(drain_lets_calls_in_flight_finish_and_nothing_new_begin) {
    lane lane = lane_open();
    draining draining = {lane.client, HOSTLANE_E_INTERNAL};
    pthread_t thread;
    hostlane_call_t call;
    hostlane_message_t *message = NULL;
    hostlane_message_t *reply = NULL;
    CHECK_OK(hostlane_call_start(lane.client, "before", 6, NULL, &call, NULL));
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    CHECK_EQ(pthread_create(&thread, NULL, drain_thread, &draining), 0);
    lane_wait_pending(lane.client, 2); /* the call and the drain */
    CHECK_STATUS(hostlane_send(lane.client, 2, "after", 5, LONG, NULL), HOSTLANE_E_CLOSED);
    hostlane_message_t *nothing = NULL;
    CHECK_STATUS(hostlane_recv(lane.server, 50, &nothing, NULL), HOSTLANE_E_TIMEOUT); /* hears of the drain */
    CHECK_STATUS(hostlane_request(lane.server, "new", 3, LONG, &reply, NULL), HOSTLANE_E_DRAINING);
    CHECK_OK(hostlane_reply(message, "done", 4, LONG, NULL));
    hostlane_message_free(&message);
    CHECK_OK(hostlane_call_wait(call, LONG, &reply, NULL));
    CHECK(memcmp(hostlane_message_data(reply, NULL), "done", 4) == 0);
    hostlane_message_free(&reply);
    CHECK_STATUS(hostlane_recv(lane.server, LONG, &message, NULL), HOSTLANE_E_PEER_CLOSED);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(draining.status);
    lane_close(&lane);
}

TEST(both_sides_prove_the_secret) {
    hostlane_listen_options_t server;
    hostlane_connect_options_t client;
    hostlane_listen_options_init(&server, sizeof(server));
    hostlane_connect_options_init(&client, sizeof(client));
    server.secret = "the right one";
    server.secret_len = 13;
    client.secret = "the right one";
    client.secret_len = 13;
    lane lane = lane_open_with(&server, &client);
    lane_connecting stranger;
    hostlane_info_t info;
    CHECK_OK(hostlane_info(lane.client, &info, NULL));
    CHECK_EQ(info.level, 1);
    client.secret_len = 12;
    lane_connect_start(&stranger, "lane", &client);
    hostlane_peer_t peer;
    hostlane_listener_stats_t stats;
    do {
        CHECK_STATUS(hostlane_accept(lane.listener, 5, &peer, NULL), HOSTLANE_E_TIMEOUT);
        CHECK_OK(hostlane_listener_stats(lane.listener, &stats, NULL));
    } while (stats.refused == 0);
    CHECK_STATUS(lane_connect_end(&stranger), HOSTLANE_E_AUTHENTICATION_FAILED);
    lane_close(&lane);
}

TEST(levels_must_meet) {
    hostlane_listen_options_t server;
    hostlane_connect_options_t client;
    hostlane_listen_options_init(&server, sizeof(server));
    hostlane_connect_options_init(&client, sizeof(client));
    server.level = HOSTLANE_LEVEL_ONE;
    client.level = HOSTLANE_LEVEL_ZERO;
    lane_connecting stranger;
    hostlane_listener_t listener = lane_listen("levels", &server);
    lane_connect_start(&stranger, "levels", &client);
    lane_refuse(listener, 1);
    CHECK_STATUS(lane_connect_end(&stranger), HOSTLANE_E_VERSION_MISMATCH);
    hostlane_listener_close(listener, NULL);
}

TEST(a_child_is_started_by_its_words) {
    const char *address = "spawn:";
    const hostlane_bytes_t words[] = {{"/bin/sh", 7}, {"-c", 2}, {"exit 0", 6}};
    hostlane_connect_options_t options;
    hostlane_peer_t peer;
    hostlane_connect_options_init(&options, sizeof(options));
    options.command = words;
    options.command_len = 3;
    /* It ends without a word of the protocol. */
    const hostlane_status_t status = hostlane_connect(address, strlen(address), &options, LONG, &peer, NULL);
    CHECK(status != HOSTLANE_OK && status != HOSTLANE_E_TIMEOUT && status != HOSTLANE_E_INVALID_ADDRESS);
    options.command_len = 0;
    CHECK_STATUS(hostlane_connect(address, strlen(address), &options, LONG, &peer, NULL), HOSTLANE_E_INVALID_ARGUMENT);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

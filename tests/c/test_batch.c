/* Many messages in one call, and corks. */

#include "lane.h"

#define MANY 1000

static bool is(const hostlane_entry_t *entry, const char *buffer, const char *text) {
    return entry->offset != HOSTLANE_NO_ROOM && entry->len == strlen(text) &&
           memcmp(buffer + entry->offset, text, entry->len) == 0;
}

static void send_text(hostlane_peer_t peer, const char *text) {
    CHECK_OK(hostlane_send(peer, 2, text, strlen(text), LONG, NULL));
}

/* Waits until `messages` are there to receive, without taking any. */
static void arrived(hostlane_peer_t peer, uint64_t messages) {
    const int64_t deadline = lane_now() + LONG;
    hostlane_stats_t stats;
    uint64_t rtt;
    do {
        CHECK(lane_now() < deadline);
        CHECK_OK(hostlane_attach(peer, NULL));
        const hostlane_status_t status = hostlane_ping(peer, 10, &rtt, NULL); /* moves bytes */
        CHECK(status == HOSTLANE_OK || status == HOSTLANE_E_TIMEOUT);
        CHECK_OK(hostlane_stats(peer, &stats, NULL));
    } while (stats.receive_queue.messages < messages);
}

TEST(a_thousand_messages_in_a_few_calls) {
    lane lane = lane_open();
    static uint32_t numbers[MANY];
    static hostlane_bytes_t payloads[MANY];
    static char buffer[4096];
    hostlane_entry_t entries[64];
    for (uint32_t at = 0; at < MANY; ++at) {
        numbers[at] = at;
        payloads[at].data = &numbers[at];
        payloads[at].len = at % 5;
    }
    CHECK_OK(hostlane_send_batch(lane.client, 2, payloads, MANY, LONG, NULL));
    size_t n = 0;
    for (uint32_t total = 0; total < MANY; total += (uint32_t)n) {
        size_t used = 0;
        CHECK_OK(hostlane_recv_batch(lane.server, LONG, buffer, sizeof(buffer), entries, 64, &n, NULL));
        CHECK(n >= 1 && n <= 64);
        for (uint32_t at = 0; at < n; ++at) {
            CHECK_EQ(entries[at].channel, 2);
            CHECK_EQ(entries[at].len, (total + at) % 5);
            CHECK_EQ(entries[at].offset, used);
            CHECK(memcmp(buffer + used, &numbers[total + at], entries[at].len) == 0);
            CHECK(entries[at].message == NULL && entries[at].flags == 0 && entries[at].call_id == 0);
            CHECK_EQ(entries[at].timeout_ms, HOSTLANE_FOREVER);
            used += entries[at].len;
        }
    }
    CHECK_STATUS(hostlane_recv_batch(lane.server, HOSTLANE_NO_WAIT, buffer, 1, entries, 1, &n, NULL),
                 HOSTLANE_E_TIMEOUT);
    hostlane_channel_stats_t stats;
    CHECK_OK(hostlane_stats_on(lane.client, 2, &stats, NULL));
    CHECK_EQ(stats.messages_sent, MANY);
    lane_close(&lane);
}

TEST(what_finds_no_room_is_not_lost) {
    lane lane = lane_open();
    char buffer[10];
    hostlane_entry_t entries[8];
    size_t n = 0;
    size_t len = 0;
    send_text(lane.client, "12345");
    send_text(lane.client, "1234");
    send_text(lane.client, "a message of twenty.");
    send_text(lane.client, "end");
    arrived(lane.server, 4);
    CHECK_OK(hostlane_recv_batch(lane.server, LONG, buffer, sizeof(buffer), entries, 8, &n, NULL));
    CHECK_EQ(n, 3);
    CHECK(is(&entries[0], buffer, "12345") && is(&entries[1], buffer, "1234"));
    CHECK_EQ(entries[2].offset, HOSTLANE_NO_ROOM);
    CHECK_EQ(entries[2].len, 20);
    CHECK(memcmp(hostlane_message_data(entries[2].message, &len), "a message of twenty.", 20) == 0 && len == 20);
    hostlane_message_free(&entries[2].message);
    CHECK_OK(hostlane_recv_batch(lane.server, LONG, buffer, sizeof(buffer), entries, 8, &n, NULL));
    CHECK(n == 1 && is(&entries[0], buffer, "end"));
    send_text(lane.client, "x");
    CHECK_OK(hostlane_recv_batch(lane.server, LONG, NULL, 0, entries, 8, &n, NULL));
    CHECK(n == 1 && entries[0].offset == HOSTLANE_NO_ROOM && entries[0].len == 1);
    hostlane_message_free(&entries[0].message);
    lane_close(&lane);
}

TEST(requests_in_a_batch_are_answered) {
    lane lane = lane_open();
    char buffer[64];
    hostlane_entry_t entries[8];
    hostlane_call_t calls[2];
    hostlane_call_options_t options;
    size_t n = 0;
    hostlane_call_options_init(&options, sizeof(options));
    options.deadline_ms = LONG;
    CHECK_OK(hostlane_call_start(lane.client, "first", 5, &options, &calls[0], NULL));
    CHECK_OK(hostlane_call_start(lane.client, "second", 6, NULL, &calls[1], NULL));
    hostlane_call_options_init(&options, sizeof(options));
    options.trace = "t";
    options.trace_len = 1;
    CHECK_OK(hostlane_send_with(lane.client, "traced", 6, &options, LONG, NULL));
    arrived(lane.server, 3);
    CHECK_OK(hostlane_recv_batch(lane.server, LONG, buffer, sizeof(buffer), entries, 8, &n, NULL));
    CHECK_EQ(n, 3);
    CHECK(is(&entries[0], buffer, "first") && is(&entries[1], buffer, "second") && is(&entries[2], buffer, "traced"));
    CHECK_EQ(entries[0].flags, HOSTLANE_MESSAGE_REQUEST);
    CHECK(entries[0].timeout_ms > 0 && entries[0].timeout_ms <= LONG);
    CHECK_EQ(entries[0].call_id, hostlane_message_call_id(entries[0].message));
    CHECK_EQ(entries[1].timeout_ms, HOSTLANE_FOREVER);
    CHECK_EQ(entries[2].flags, HOSTLANE_MESSAGE_TRACE);
    size_t len = 7;
    CHECK(hostlane_message_data(entries[0].message, &len) != NULL && len == 0);
    CHECK_OK(hostlane_reply(entries[1].message, "2", 1, LONG, NULL));
    CHECK_OK(hostlane_fail(entries[0].message, 1, NULL, 0, LONG, NULL));
    for (size_t at = 0; at < n; ++at) {
        hostlane_message_free(&entries[at].message);
    }
    hostlane_message_t *reply = NULL;
    CHECK_STATUS(hostlane_call_wait(calls[0], LONG, &reply, NULL), HOSTLANE_E_REMOTE_ERROR);
    CHECK_OK(hostlane_call_wait(calls[1], LONG, &reply, NULL));
    hostlane_message_free(&reply);
    lane_close(&lane);
}

TEST(arguments_are_checked_first) {
    lane lane = lane_open();
    char buffer[8];
    hostlane_entry_t entry;
    size_t n = 7;
    const hostlane_bytes_t bad[2] = {{"good", 4}, {NULL, 4}};
    const hostlane_bytes_t empty = {NULL, 0};
    CHECK_STATUS(hostlane_send_batch(lane.client, 2, bad, 2, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_send_batch(lane.client, 2, NULL, 2, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_send_batch(lane.client, 9, &empty, 1, LONG, NULL), HOSTLANE_E_INVALID_CHANNEL);
    CHECK_OK(hostlane_send_batch(lane.client, 2, NULL, 0, LONG, NULL));
    CHECK_OK(hostlane_send_batch(lane.client, 2, &empty, 1, LONG, NULL));
    CHECK_STATUS(hostlane_recv_batch(lane.server, LONG, NULL, 8, &entry, 1, &n, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_recv_batch(lane.server, LONG, buffer, 8, NULL, 1, &n, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_recv_batch(lane.server, LONG, buffer, 8, &entry, 0, &n, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_recv_batch(lane.server, LONG, buffer, 8, &entry, 1, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_EQ(n, 7);
    CHECK_OK(hostlane_recv_batch(lane.server, LONG, NULL, 0, &entry, 1, &n, NULL));
    CHECK(n == 1 && entry.offset == 0 && entry.len == 0 &&
          entry.message == NULL); /* the empty one, and nothing before */
    CHECK_OK(hostlane_close(lane.client, NULL));
    CHECK_STATUS(hostlane_recv_batch(lane.server, LONG, buffer, 8, &entry, 1, &n, NULL), HOSTLANE_E_PEER_CLOSED);
    lane_close(&lane);
}

TEST(a_cork_holds_back_until_the_last_one_is_drawn) {
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    CHECK_OK(hostlane_cork(lane.client, NULL));
    CHECK_OK(hostlane_cork(lane.client, NULL));
    send_text(lane.client, "1");
    send_text(lane.client, "2");
    CHECK_STATUS(hostlane_recv(lane.server, 20, &message, NULL), HOSTLANE_E_TIMEOUT);
    CHECK_OK(hostlane_uncork(lane.client, NULL));
    CHECK_STATUS(hostlane_recv(lane.server, 20, &message, NULL), HOSTLANE_E_TIMEOUT);
    CHECK_OK(hostlane_uncork(lane.client, NULL));
    for (char at = '1'; at <= '2'; ++at) {
        CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
        CHECK_EQ(*hostlane_message_data(message, NULL), at);
        hostlane_message_free(&message);
    }
    CHECK_OK(hostlane_uncork(lane.client, NULL));
    send_text(lane.client, "3");
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    hostlane_message_free(&message);
    lane_close(&lane);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

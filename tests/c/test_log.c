/* The log: nothing that was not asked for, and everything that was. */

#include "lane.h"

static hostlane_log_event_t events[2048];

/* Takes everything, in parts; the number of events in `events`, each checked for what all have. */
static size_t drain(size_t part) {
    size_t taken = 0;
    for (size_t n = 1; n > 0; taken += n) {
        uint64_t dropped = 99;
        CHECK(taken + part <= sizeof(events) / sizeof(events[0]));
        CHECK_OK(hostlane_log_drain(&events[taken], part, &n, &dropped, NULL));
        CHECK(n <= part);
        CHECK_EQ(dropped, 0);
    }
    for (size_t at = 0; at < taken; ++at) {
        CHECK(events[at].unix_micros > 1577836800000000); /* after 2020 */
        CHECK(events[at].level >= HOSTLANE_LOG_ERROR && events[at].level <= HOSTLANE_LOG_DEBUG);
        CHECK_EQ(strlen(events[at].peer), events[at].peer_len);
        CHECK_EQ(strlen(events[at].address), events[at].address_len);
        CHECK_EQ(strlen(events[at].text), events[at].text_len);
        CHECK(strlen(events[at].event) > 0);
    }
    return taken;
}

static void meet_and_part(void) {
    lane lane = lane_open();
    lane_echo echo;
    lane_echo_start(&echo, lane.server);
    hostlane_close(lane.client, NULL);
    lane_echo_end(&echo);
    lane_close(&lane);
}

TEST(silent_by_default) {
    CHECK_EQ(hostlane_log_level(), HOSTLANE_LOG_OFF);
    meet_and_part();
    CHECK_EQ(drain(1), 0);
}

TEST(a_connection_from_its_beginning_to_its_end) {
    CHECK_OK(hostlane_log_enable(HOSTLANE_LOG_INFO, NULL));
    CHECK_EQ(hostlane_log_level(), HOSTLANE_LOG_INFO);
    lane lane = lane_open();
    hostlane_info_t info;
    char address[128];
    size_t len = 0;
    CHECK_OK(hostlane_info(lane.client, &info, NULL));
    CHECK_OK(hostlane_peer_address(lane.client, address, sizeof(address), &len, NULL));
    CHECK_EQ(drain(1), 2);
    for (size_t at = 0; at < 2; ++at) {
        CHECK(strcmp(events[at].event, "connected") == 0);
        CHECK(strcmp(events[at].peer, info.peer_id) == 0);
        CHECK(events[at].address_len == len && memcmp(events[at].address, address, len) == 0);
        CHECK_EQ(events[at].level, HOSTLANE_LOG_INFO);
        CHECK_STATUS(events[at].code, HOSTLANE_OK);
    }
    hostlane_log_events_free(events, 2);
    CHECK(events[0].event == NULL && events[0].text == NULL && events[1].peer == NULL && events[1].peer_len == 0);
    hostlane_log_events_free(events, 2);
    lane_close(&lane);
    const size_t n = drain(8);
    CHECK_EQ(n, 2);
    CHECK(strcmp(events[0].event, "ended") == 0 && strcmp(events[1].event, "ended") == 0);
    CHECK(events[0].code == HOSTLANE_E_CLOSED || events[0].code == HOSTLANE_E_PEER_CLOSED);
    hostlane_log_events_free(events, n);
    /* Off again. */
    CHECK_OK(hostlane_log_enable(HOSTLANE_LOG_OFF, NULL));
    meet_and_part();
    CHECK_EQ(drain(8), 0);
}

TEST(a_lower_level_keeps_what_matters_more) {
    CHECK_OK(hostlane_log_enable(HOSTLANE_LOG_WARN, NULL));
    hostlane_listen_options_t server;
    hostlane_connect_options_t client;
    hostlane_listen_options_init(&server, sizeof(server));
    hostlane_connect_options_init(&client, sizeof(client));
    server.secret = "right";
    client.secret = "wrong";
    server.secret_len = client.secret_len = 5;
    hostlane_listener_t listener = lane_listen("refusing", &server);
    lane_connecting one;
    lane_connect_start(&one, "refusing", &client);
    lane_refuse(listener, 1);
    CHECK_STATUS(lane_connect_end(&one), HOSTLANE_E_AUTHENTICATION_FAILED);
    CHECK_OK(hostlane_listener_close(listener, NULL));
    meet_and_part();
    const size_t n = drain(8);
    CHECK_EQ(n, 2);
    for (size_t at = 0; at < n; ++at) {
        CHECK(strcmp(events[at].event, "refused") == 0 || strcmp(events[at].event, "handshake_failed") == 0);
        CHECK_EQ(events[at].level, HOSTLANE_LOG_WARN);
        CHECK_STATUS(events[at].code, HOSTLANE_E_AUTHENTICATION_FAILED);
        CHECK(strstr(events[at].text, "right") == NULL && strstr(events[at].text, "wrong") == NULL);
    }
    hostlane_log_events_free(events, n);
}

TEST(the_oldest_go_first_and_are_counted) {
    CHECK_OK(hostlane_log_enable(HOSTLANE_LOG_INFO, NULL));
    for (int at = 0; at < 266; ++at) {
        meet_and_part();
    }
    size_t n = 0;
    uint64_t dropped = 0;
    CHECK_OK(hostlane_log_drain(events, 2048, &n, &dropped, NULL));
    CHECK_EQ(n, 1024);
    CHECK_EQ(dropped, 266 * 4 - 1024);
    hostlane_log_events_free(events, n);
    CHECK_OK(hostlane_log_drain(events, 2048, &n, &dropped, NULL));
    CHECK(n == 0 && dropped == 0);
}

TEST(misuse_is_told) {
    size_t n = 42;
    hostlane_error_t *err = NULL;
    CHECK_STATUS(hostlane_log_enable(5, &err), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_error_status(err), HOSTLANE_E_INVALID_ARGUMENT);
    hostlane_error_free(&err);
    CHECK_STATUS(hostlane_log_enable(-1, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_log_enable(256 + 2, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_EQ(hostlane_log_level(), HOSTLANE_LOG_OFF);
    CHECK_STATUS(hostlane_log_drain(NULL, 1, &n, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_log_drain(events, 1, NULL, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_log_drain(events, 0, &n, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_EQ(n, 42);
    hostlane_log_events_free(NULL, 3);
    CHECK_OK(hostlane_log_drain(events, 1, &n, NULL, NULL));
    CHECK_EQ(n, 0);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

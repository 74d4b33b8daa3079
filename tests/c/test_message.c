/* Received messages: who owns them, and for how long. */

#include "lane.h"

static hostlane_message_t *received(lane *lane, const void *data, size_t len) {
    hostlane_message_t *message = NULL;
    CHECK_OK(hostlane_send(lane->client, 2, data, len, LONG, NULL));
    CHECK_OK(hostlane_recv(lane->server, LONG, &message, NULL));
    return message;
}

TEST(no_message_is_harmless) {
    hostlane_message_t *none = NULL;
    size_t len = 7;
    CHECK_EQ(hostlane_message_channel(NULL), 0);
    CHECK(hostlane_message_data(NULL, &len) == NULL && len == 0);
    CHECK(hostlane_message_data(NULL, NULL) == NULL);
    hostlane_message_free(NULL);
    hostlane_message_free(&none);
    CHECK_STATUS(hostlane_reply(NULL, "x", 1, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(freeing_twice_is_harmless) {
    lane lane = lane_open();
    hostlane_message_t *message = received(&lane, "once", 4);
    hostlane_message_free(&message);
    CHECK(message == NULL);
    hostlane_message_free(&message);
    lane_close(&lane);
}

TEST(a_message_outlives_its_peer) {
    lane lane = lane_open();
    hostlane_message_t *message = received(&lane, "still here", 10);
    hostlane_error_t *err = NULL;
    lane_close(&lane);
    size_t len;
    CHECK(memcmp(hostlane_message_data(message, &len), "still here", 10) == 0 && len == 10);
    CHECK_STATUS(hostlane_reply(message, "x", 1, LONG, &err), HOSTLANE_E_CLOSED);
    CHECK_EQ(hostlane_error_sent(err), HOSTLANE_SENT_NO);
    hostlane_error_free(&err);
    hostlane_message_free(&message);
}

TEST(a_reply_goes_back_on_the_channel) {
    lane lane = lane_open();
    hostlane_message_t *message = received(&lane, "question", 8);
    hostlane_message_t *answer = NULL;
    CHECK_STATUS(hostlane_reply(message, NULL, 1, LONG, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_OK(hostlane_reply(message, "first", 5, LONG, NULL));
    CHECK_OK(hostlane_reply(message, "", 0, LONG, NULL));
    CHECK_OK(hostlane_recv_on(lane.client, 2, LONG, &answer, NULL));
    CHECK(memcmp(hostlane_message_data(answer, NULL), "first", 5) == 0);
    hostlane_message_free(&answer);
    CHECK_OK(hostlane_recv_on(lane.client, 2, LONG, &answer, NULL));
    size_t len;
    CHECK(hostlane_message_data(answer, &len) != NULL && len == 0);
    hostlane_message_free(&answer);
    hostlane_message_free(&message);
    lane_close(&lane);
}

TEST(the_data_sent_is_not_kept) {
    lane lane = lane_open();
    char data[64];
    memset(data, 'a', sizeof(data));
    CHECK_OK(hostlane_send(lane.client, 2, data, sizeof(data), LONG, NULL));
    memset(data, 'b', sizeof(data));
    hostlane_message_t *message = NULL;
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    CHECK_EQ(*hostlane_message_data(message, NULL), 'a');
    hostlane_message_free(&message);
    lane_close(&lane);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

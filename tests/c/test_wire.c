/* A client that breaks the protocol: the error has a number of its own, and others are not affected. */

#include "lane.h"

#include <unistd.h>

/* Writes bytes after a good handshake, optionally ends, and gives what receiving gives. */
static hostlane_status_t after(const void *data, size_t len, bool end) {
    hostlane_listener_t listener = lane_listen("wire", NULL);
    hostlane_peer_t server;
    hostlane_message_t *message = NULL;
    const int fd = lane_raw_open(listener, "wire", &server);
    lane_raw_write(fd, data, len);
    if (end) {
        close(fd);
    }
    const hostlane_status_t status = hostlane_recv(server, LONG, &message, NULL);
    hostlane_message_free(&message);
    if (status != HOSTLANE_OK) {
        CHECK_STATUS(hostlane_recv(server, LONG, &message, NULL), status);
    }
    if (!end) {
        close(fd);
    }
    CHECK_OK(hostlane_close(server, NULL));
    CHECK_OK(hostlane_listener_close(listener, NULL));
    return status;
}

TEST(bad_magic) { CHECK_STATUS(after("HTTP/1.1", 8, false), HOSTLANE_E_BAD_MAGIC); }

TEST(a_frame_that_declares_too_much_is_judged_by_its_header) {
    const uint8_t over[8] = {'I', 'P', 1, 0, 0, 1, 2, 0};
    const uint8_t most[8] = {'I', 'P', 0xFF, 0xFF, 0xFF, 0xFF, 2, 0};
    CHECK_STATUS(after(over, 8, false), HOSTLANE_E_FRAME_TOO_LARGE);
    CHECK_STATUS(after(most, 8, false), HOSTLANE_E_FRAME_TOO_LARGE);
}

TEST(an_unknown_channel) {
    const uint8_t frame[9] = {'I', 'P', 1, 0, 0, 0, 9, 0, 'x'};
    CHECK_STATUS(after(frame, 9, false), HOSTLANE_E_UNKNOWN_CHANNEL);
}

TEST(wrong_control_messages) {
    static const char unknown[] = "IP\x13\0\0\0\0\0{\"type\":\"surprise\"}";
    static const char broken[] = "IP\x05\0\0\0\0\0{\"typ";
    CHECK_STATUS(after(unknown, sizeof(unknown) - 1, false), HOSTLANE_E_UNKNOWN_CONTROL);
    CHECK_STATUS(after(broken, sizeof(broken) - 1, false), HOSTLANE_E_BAD_CONTROL);
}

TEST(an_end_at_every_byte_of_a_frame) {
    const uint8_t frame[12] = {'I', 'P', 4, 0, 0, 0, 2, 0, 'd', 'a', 't', 'a'};
    CHECK_STATUS(after(frame, 0, true), HOSTLANE_E_PEER_CLOSED);
    for (size_t len = 1; len < sizeof(frame); ++len) {
        CHECK_STATUS(after(frame, len, true), HOSTLANE_E_TRUNCATED);
    }
    CHECK_OK(after(frame, sizeof(frame), true));
}

TEST(one_byte_at_a_time_and_a_thousand_frames_at_once) {
    static uint8_t frames[1000][9];
    hostlane_listener_t listener = lane_listen("bytes", NULL);
    hostlane_peer_t server;
    hostlane_message_t *message = NULL;
    const int fd = lane_raw_open(listener, "bytes", &server);
    for (size_t at = 0; at < 1000; ++at) {
        const uint8_t frame[9] = {'I', 'P', 1, 0, 0, 0, 2, 0, (uint8_t)at};
        memcpy(frames[at], frame, 9);
    }
    for (size_t at = 0; at < 9; ++at) {
        lane_raw_write(fd, &frames[7][at], 1);
        const hostlane_status_t status = hostlane_recv(server, at < 8 ? 0 : LONG, &message, NULL);
        CHECK_STATUS(status, at < 8 ? HOSTLANE_E_TIMEOUT : HOSTLANE_OK);
    }
    CHECK_EQ(*hostlane_message_data(message, NULL), 7);
    hostlane_message_free(&message);
    lane_raw_write(fd, frames, sizeof(frames));
    for (size_t at = 0; at < 1000; ++at) {
        CHECK_OK(hostlane_recv(server, LONG, &message, NULL));
        CHECK_EQ(*hostlane_message_data(message, NULL), (uint8_t)at);
        hostlane_message_free(&message);
    }
    close(fd);
    CHECK_OK(hostlane_close(server, NULL));
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

/* One handshake with this JSON; the reason the listener notes. */
static hostlane_status_t hello(const char *json) {
    hostlane_listener_t listener = lane_listen("hello", NULL);
    const uint8_t header[8] = {'I', 'P', (uint8_t)strlen(json)};
    hostlane_refusal_t refusal;
    size_t n = 0;
    const int fd = lane_raw_connect("hello");
    lane_raw_write(fd, header, 8);
    lane_raw_write(fd, json, strlen(json));
    lane_refuse(listener, 1);
    CHECK_OK(hostlane_listener_refusals(listener, &refusal, 1, &n, NULL));
    CHECK_EQ(n, 1);
    close(fd);
    CHECK_OK(hostlane_listener_close(listener, NULL));
    return refusal.status;
}

TEST(wrong_handshakes) {
    CHECK_STATUS(hello("{"), HOSTLANE_E_BAD_HANDSHAKE);
    CHECK_STATUS(hello("[]"), HOSTLANE_E_BAD_HANDSHAKE);
    CHECK_STATUS(hello("{\"protocol\":\"other\",\"version\":\"1.0\",\"channels\":[1]}"), HOSTLANE_E_PROTOCOL_MISMATCH);
    CHECK_STATUS(hello("{\"protocol\":\"ipcprims\",\"version\":\"2.0\",\"channels\":[1]}"),
                 HOSTLANE_E_VERSION_MISMATCH);
    CHECK_STATUS(hello("{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[9]}"),
                 HOSTLANE_E_NO_COMMON_CHANNEL);
    CHECK_STATUS(hello("{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[0]}"), HOSTLANE_E_BAD_HANDSHAKE);
    CHECK_STATUS(hello("{\"protocol\":\"ipcprims\",\"version\":\"1.0\"}"), HOSTLANE_E_BAD_HANDSHAKE);
}

TEST(a_broken_client_does_not_touch_another) {
    hostlane_listener_t listener = lane_listen("apart", NULL);
    hostlane_peer_t broken;
    hostlane_peer_t good;
    hostlane_message_t *message = NULL;
    const uint8_t frame[9] = {'I', 'P', 1, 0, 0, 0, 2, 0, 'x'};
    const int one = lane_raw_open(listener, "apart", &broken);
    const int two = lane_raw_open(listener, "apart", &good);
    lane_raw_write(one, "garbage!", 8);
    lane_raw_write(two, frame, 9);
    CHECK_STATUS(hostlane_recv(broken, LONG, &message, NULL), HOSTLANE_E_BAD_MAGIC);
    CHECK_OK(hostlane_recv(good, LONG, &message, NULL));
    hostlane_message_free(&message);
    close(one);
    close(two);
    CHECK_OK(hostlane_close(broken, NULL));
    CHECK_OK(hostlane_close(good, NULL));
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

int main(int argc, char **argv) { return check_main(argc, argv); }

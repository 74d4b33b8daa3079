/* Options: what is refused, and what they do. */

#include "lane.h"

#include <unistd.h>

static hostlane_status_t listen_with(const hostlane_listen_options_t *options) {
    const char *path = lane_path("options");
    hostlane_listener_t listener = {0};
    const hostlane_status_t status = hostlane_listen(path, strlen(path), options, &listener, NULL);
    if (status == HOSTLANE_OK) {
        CHECK_OK(hostlane_listener_close(listener, NULL));
    }
    return status;
}

static hostlane_listen_options_t listening(void) {
    hostlane_listen_options_t options;
    memset(&options, 0xA5, sizeof(options));
    hostlane_listen_options_init(&options, sizeof(options));
    return options;
}

static hostlane_connect_options_t connecting(void) {
    hostlane_connect_options_t options;
    memset(&options, 0xA5, sizeof(options));
    hostlane_connect_options_init(&options, sizeof(options));
    return options;
}

TEST(init_sets_size_and_defaults) {
    const hostlane_listen_options_t options = listening();
    CHECK_EQ(options.size, sizeof(options));
    CHECK(options.channels == NULL && options.auth_token == NULL && options.allow_uids == NULL);
    CHECK_EQ(connecting().size, sizeof(hostlane_connect_options_t));
    CHECK_OK(listen_with(&options));
    hostlane_connect_options_init(NULL, 64);
    hostlane_listen_options_init(NULL, 64);
}

/* A program that was built with the header of an older version. */
typedef struct {
    size_t size;
    const uint16_t *channels;
    size_t channels_len;
    int64_t handshake_timeout_ms;
    const char *auth_token;
    size_t auth_token_len;
    uint64_t max_message;
    const uint32_t *allow_uids;
    size_t allow_uids_len;
    uint32_t backlog;
} older_listen_options;

TEST(init_writes_no_more_than_the_program_has) {
    struct {
        older_listen_options options;
        uint8_t behind[sizeof(hostlane_listen_options_t)];
    } older;
    memset(&older, 0xA5, sizeof(older));
    hostlane_listen_options_init((hostlane_listen_options_t *)(void *)&older.options, sizeof(older.options));
    CHECK_EQ(older.options.size, sizeof(older.options));
    CHECK(older.options.channels == NULL && older.options.backlog == 0);
    for (size_t at = 0; at < sizeof(older.behind); ++at) {
        CHECK_EQ(older.behind[at], 0xA5);
    }
    CHECK_OK(listen_with((const hostlane_listen_options_t *)(const void *)&older.options));

    /* A newer program: what this library does not know is filled too. */
    struct {
        hostlane_listen_options_t known;
        uint64_t added[4];
    } newer;
    memset(&newer, 0xA5, sizeof(newer));
    hostlane_listen_options_init(&newer.known, sizeof(newer));
    CHECK_EQ(newer.known.size, sizeof(newer));
    CHECK_EQ(newer.added[3], 0);
    CHECK_OK(listen_with(&newer.known));

    /* The size of a pointer, or of nothing that ever was, is told at the first use. */
    hostlane_listen_options_t wrong;
    hostlane_listen_options_init(&wrong, sizeof(&wrong));
    CHECK_STATUS(listen_with(&wrong), HOSTLANE_E_INVALID_ARGUMENT);
    hostlane_listen_options_init(&wrong, 1 << 20);
    CHECK_STATUS(listen_with(&wrong), HOSTLANE_E_INVALID_ARGUMENT);
    size_t untouched = 7;
    hostlane_listen_options_init((hostlane_listen_options_t *)(void *)&untouched, 4);
    CHECK_EQ(untouched, 7);
}

TEST(a_struct_that_was_not_filled_is_refused) {
    hostlane_listen_options_t options;
    memset(&options, 0, sizeof(options));
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    memset(&options, 0xA5, sizeof(options));
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options = listening();
    options.size = 8;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(a_newer_struct_is_taken_as_long_as_it_asks_for_nothing_new) {
    struct {
        hostlane_listen_options_t known;
        uint64_t added;
    } newer = {listening(), 0};
    newer.known.size = sizeof(newer);
    CHECK_OK(listen_with(&newer.known));
    newer.added = 1;
    CHECK_STATUS(listen_with(&newer.known), HOSTLANE_E_UNSUPPORTED);
}

TEST(wrong_channels_are_refused) {
    hostlane_listen_options_t options = listening();
    uint16_t channels[257] = {2};
    options.channels_len = 1;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options.channels = channels;
    options.channels_len = 0;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options.channels_len = 1;
    const uint16_t reserved[] = {0, 5, 255};
    for (size_t at = 0; at < sizeof(reserved) / sizeof(reserved[0]); ++at) {
        channels[0] = reserved[at];
        CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_CHANNEL);
    }
    for (size_t at = 0; at < 257; ++at) {
        channels[at] = (uint16_t)(256 + at);
    }
    options.channels_len = 256;
    CHECK_OK(listen_with(&options));
    options.channels_len = 257;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(wrong_secrets_are_refused) {
    hostlane_listen_options_t options = listening();
    char secret[4097];
    memset(secret, 's', sizeof(secret));
    options.auth_token_len = 1;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options.auth_token = secret;
    options.auth_token_len = 0;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options.auth_token_len = 4096;
    CHECK_OK(listen_with(&options));
    options.auth_token_len = 4097;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options.auth_token_len = 2;
    secret[1] = (char)0xFF;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_UTF8);
}

TEST(wrong_limits_are_refused) {
    hostlane_listen_options_t options = listening();
    options.max_message = 16777217;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options.max_message = UINT64_MAX;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options = listening();
    options.handshake_timeout_ms = -1;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options = listening();
    options.backlog = 65536;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    options = listening();
    options.allow_uids_len = SIZE_MAX;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
    const uint32_t uid = 0;
    options.allow_uids = &uid;
    CHECK_STATUS(listen_with(&options), HOSTLANE_E_INVALID_ARGUMENT);
}

/* Connects with options to a listener with options; the client's status, with one refusal on the listener's side. */
static void refused(const hostlane_listen_options_t *server, const hostlane_connect_options_t *client,
                    hostlane_status_t expected) {
    hostlane_listener_t listener = lane_listen("refusing", server);
    lane_connecting one;
    hostlane_refusal_t refusals[4];
    size_t n = 99;
    lane_connect_start(&one, "refusing", client);
    lane_refuse(listener, 1);
    CHECK_STATUS(lane_connect_end(&one), expected);
    CHECK_OK(hostlane_listener_refusals(listener, refusals, 4, &n, NULL));
    CHECK_EQ(n, 1);
    CHECK_STATUS(refusals[0].status, expected);
    CHECK_OK(hostlane_listener_refusals(listener, refusals, 4, &n, NULL));
    CHECK_EQ(n, 0);
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

TEST(a_wrong_secret_is_refused_with_the_reason) {
    hostlane_listen_options_t server = listening();
    hostlane_connect_options_t client = connecting();
    server.auth_token = "right";
    server.auth_token_len = 5;
    refused(&server, &client, HOSTLANE_E_AUTHENTICATION_FAILED);
    client.auth_token = "wrong";
    client.auth_token_len = 5;
    refused(&server, &client, HOSTLANE_E_AUTHENTICATION_FAILED);
    client.auth_token = "right";
    lane lane = lane_open_with(&server, &client);
    lane_close(&lane);
}

TEST(no_common_channel_is_refused_with_the_reason) {
    hostlane_listen_options_t server = listening();
    hostlane_connect_options_t client = connecting();
    const uint16_t three = 300;
    const uint16_t four = 400;
    server.channels = &three;
    server.channels_len = 1;
    client.channels = &four;
    client.channels_len = 1;
    refused(&server, &client, HOSTLANE_E_NO_COMMON_CHANNEL);
}

TEST(another_user_is_refused) {
    hostlane_listen_options_t server = listening();
    const uint32_t somebody_else = (uint32_t)getuid() + 1;
    server.allow_uids = &somebody_else;
    server.allow_uids_len = 1;
    hostlane_listener_t listener = lane_listen("refusing", &server);
    lane_connecting one;
    lane_connect_start(&one, "refusing", NULL);
    lane_refuse(listener, 1);
    CHECK_STATUS(lane_connect_end(&one), HOSTLANE_E_PERMISSION_DENIED);
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

TEST(an_empty_list_of_users_admits_nobody) {
    hostlane_listen_options_t server = listening();
    const uint32_t nobody = (uint32_t)getuid();
    server.allow_uids = &nobody;
    server.allow_uids_len = 0;
    hostlane_listener_t listener = lane_listen("refusing", &server);
    lane_connecting one;
    lane_connect_start(&one, "refusing", NULL);
    lane_refuse(listener, 1);
    CHECK_STATUS(lane_connect_end(&one), HOSTLANE_E_PERMISSION_DENIED);
    CHECK_OK(hostlane_listener_close(listener, NULL));

    hostlane_connect_options_t client = connecting();
    client.allow_uids = &nobody;
    client.allow_uids_len = 0;
    listener = lane_listen("unwanted", NULL);
    lane_connect_start(&one, "unwanted", &client);
    CHECK_STATUS(lane_connect_end(&one), HOSTLANE_E_PERMISSION_DENIED);
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

TEST(an_empty_secret_of_a_client_is_refused) {
    hostlane_connect_options_t client = connecting();
    lane_connecting one;
    client.auth_token = "";
    client.auth_token_len = 0;
    lane_connect_start(&one, "nobody", &client);
    CHECK_STATUS(lane_connect_end(&one), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(channels_are_the_common_ones) {
    hostlane_listen_options_t server = listening();
    hostlane_connect_options_t client = connecting();
    const uint16_t granted[] = {1, 2, 300};
    const uint16_t offered[] = {300, 4, 1};
    server.channels = granted;
    server.channels_len = 3;
    client.channels = offered;
    client.channels_len = 3;
    lane lane = lane_open_with(&server, &client);
    hostlane_info_t info;
    CHECK_OK(hostlane_info(lane.server, &info, NULL));
    CHECK_EQ(info.channels_len, 2);
    CHECK_EQ(info.channels[0], 300);
    CHECK_EQ(info.channels[1], 1);
    CHECK_OK(hostlane_send(lane.client, 300, "x", 1, LONG, NULL));
    CHECK_STATUS(hostlane_send(lane.client, 4, "x", 1, LONG, NULL), HOSTLANE_E_INVALID_CHANNEL);
    lane_close(&lane);
}

TEST(a_silent_client_is_dropped_at_its_deadline) {
    hostlane_listen_options_t server = listening();
    server.handshake_timeout_ms = 100;
    hostlane_listener_t listener = lane_listen("silent", &server);
    const int fd = lane_raw_connect("silent");
    char byte;
    const int64_t start = lane_now();
    lane_refuse(listener, 1);
    CHECK(lane_now() - start >= 90);
    while (read(fd, &byte, 1) > 0) {
    }
    hostlane_refusal_t refusal;
    size_t n;
    CHECK_OK(hostlane_listener_refusals(listener, &refusal, 1, &n, NULL));
    CHECK_EQ(n, 1);
    CHECK_STATUS(refusal.status, HOSTLANE_E_TIMEOUT);
    close(fd);
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

int main(int argc, char **argv) { return check_main(argc, argv); }

/* Versions, the words of the statuses, errors. */

#include "lane.h"

TEST(versions_agree) {
    char version[32];
    snprintf(version, sizeof(version), "%d.%d.%d", HOSTLANE_VERSION_MAJOR, HOSTLANE_VERSION_MINOR,
             HOSTLANE_VERSION_PATCH);
    CHECK_EQ(hostlane_abi_version(), HOSTLANE_ABI_VERSION);
    CHECK(strcmp(hostlane_version(), version) == 0);
}

TEST(every_status_has_words) {
    CHECK(strcmp(hostlane_status_name(HOSTLANE_OK), "ok") == 0);
    CHECK(strcmp(hostlane_status_name(HOSTLANE_E_TIMEOUT), "timeout") == 0);
    CHECK(strcmp(hostlane_status_name(HOSTLANE_E_PANIC), "panic") == 0);
    CHECK(strcmp(hostlane_status_meaning(HOSTLANE_E_TIMEOUT), "The deadline passed first.") == 0);
    const int32_t unknown[] = {-1, 1, 100, 999, INT32_MAX, INT32_MIN};
    for (size_t at = 0; at < sizeof(unknown) / sizeof(unknown[0]); ++at) {
        CHECK(strcmp(hostlane_status_name(unknown[at]), "unknown") == 0);
        CHECK(strlen(hostlane_status_meaning(unknown[at])) > 0);
    }
}

TEST(an_error_tells_what_happened) {
    const char *path = lane_path("nobody");
    hostlane_peer_t peer = {42};
    hostlane_error_t *err = NULL;
    const char *text = NULL;
    size_t len = 0;
    CHECK_STATUS(hostlane_connect(path, strlen(path), NULL, LONG, &peer, &err), HOSTLANE_E_NOT_FOUND);
    CHECK_EQ(peer.id, 42);
    CHECK(err != NULL);
    CHECK_STATUS(hostlane_error_status(err), HOSTLANE_E_NOT_FOUND);
    CHECK(hostlane_error_retryable(err));
    CHECK_EQ(hostlane_error_sent(err), HOSTLANE_SENT_NO);
    hostlane_error_message(err, &text, &len);
    CHECK(len > 0);
    CHECK_EQ(strlen(text), len);
    CHECK(strstr(text, path) != NULL);
    hostlane_error_free(&err);
    CHECK(err == NULL);
    hostlane_error_free(&err);
}

TEST(a_missing_error_is_no_error) {
    const char *text = NULL;
    size_t len = 1;
    CHECK_STATUS(hostlane_error_status(NULL), HOSTLANE_OK);
    CHECK(!hostlane_error_retryable(NULL));
    CHECK_EQ(hostlane_error_sent(NULL), HOSTLANE_SENT_NO);
    hostlane_error_message(NULL, &text, &len);
    CHECK(text != NULL && text[0] == 0 && len == 0);
    hostlane_error_message(NULL, NULL, NULL);
    hostlane_error_free(NULL);
}

TEST(success_leaves_err_alone) {
    hostlane_error_t *const before = (hostlane_error_t *)&before;
    hostlane_error_t *err = before;
    hostlane_context_t context;
    CHECK_OK(hostlane_context_new(&context, &err));
    CHECK(err == before);
    CHECK_OK(hostlane_context_close(context, &err));
    CHECK(err == before);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

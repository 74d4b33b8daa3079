/* Listening and accepting. */

#include "lane.h"

#include <sys/stat.h>
#include <unistd.h>

static hostlane_status_t listen_on(const char *address, size_t len) {
    hostlane_listener_t listener = {0};
    hostlane_error_t *err = NULL;
    const hostlane_status_t status = hostlane_listen(address, len, NULL, &listener, &err);
    CHECK_STATUS(hostlane_error_status(err), status);
    CHECK_EQ(listener.id != 0, status == HOSTLANE_OK);
    hostlane_error_free(&err);
    if (status == HOSTLANE_OK) {
        CHECK_OK(hostlane_listener_close(listener, NULL));
    }
    return status;
}

TEST(wrong_addresses_are_refused) {
    char path[103];
    memset(path, 'p', sizeof(path));
    path[0] = '/';
    CHECK_STATUS(listen_on(NULL, 1), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(listen_on(NULL, 0), HOSTLANE_E_INVALID_ADDRESS);
    CHECK_STATUS(listen_on("", 0), HOSTLANE_E_INVALID_ADDRESS);
    CHECK_STATUS(listen_on("two words", 9), HOSTLANE_E_INVALID_ADDRESS);
    CHECK_STATUS(listen_on("/tmp/a\0b", 8), HOSTLANE_E_INVALID_ADDRESS);
    CHECK_STATUS(listen_on("/tmp/\xFF", 6), HOSTLANE_E_INVALID_UTF8);
    CHECK_STATUS(listen_on("/tmp/\xC3", 6), HOSTLANE_E_INVALID_UTF8);
    CHECK_STATUS(listen_on(path, 101), HOSTLANE_E_ADDRESS_TOO_LONG);
    CHECK_STATUS(listen_on("tls:localhost:7000", 18), HOSTLANE_E_UNSUPPORTED);
    CHECK_STATUS(listen_on("tcp:127.0.0.1:7000", 18), HOSTLANE_E_AUTHENTICATION_REQUIRED);
    CHECK_STATUS(listen_on("unix:@hostlane-test", 19), HOSTLANE_E_AUTHENTICATION_REQUIRED);
    CHECK_STATUS(listen_on("/nowhere/at/all.sock", 20), HOSTLANE_E_NOT_FOUND);
    CHECK_STATUS(hostlane_listen("x", 1, NULL, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(a_path_of_one_hundred_bytes_works) {
    const char *base = lane_path("");
    char path[101];
    snprintf(path, sizeof(path), "%s%.*s", base, (int)(100 - strlen(base)),
             "pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp");
    CHECK_EQ(strlen(path), 100);
    CHECK_OK(listen_on(path, 100));
}

TEST(a_file_at_the_path_is_left_alone) {
    const char *path = lane_path("file");
    char text[5] = {0};
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs("mine", file) >= 0 && fclose(file) == 0);
    CHECK_STATUS(listen_on(path, strlen(path)), HOSTLANE_E_NOT_A_SOCKET);
    file = fopen(path, "r");
    CHECK(file != NULL && fread(text, 1, 4, file) == 4 && fclose(file) == 0);
    CHECK(strcmp(text, "mine") == 0);
}

TEST(a_live_listener_is_never_displaced) {
    const char *path = lane_path("busy");
    hostlane_listener_t listener = lane_listen("busy", NULL);
    CHECK_STATUS(listen_on(path, strlen(path)), HOSTLANE_E_ADDRESS_IN_USE);
    CHECK_OK(hostlane_listener_close(listener, NULL));
    CHECK_OK(listen_on(path, strlen(path)));
}

TEST(the_socket_is_private_and_goes_with_the_listener) {
    struct stat status;
    hostlane_listener_t listener = lane_listen("private", NULL);
    CHECK_EQ(stat(lane_path("private"), &status), 0);
    CHECK(S_ISSOCK(status.st_mode));
    CHECK_EQ(status.st_mode & 0777, 0600);
    CHECK_OK(hostlane_listener_close(listener, NULL));
    CHECK_EQ(stat(lane_path("private"), &status), -1);
}

TEST(the_address_is_told) {
    const char *path = lane_path("told");
    hostlane_listener_t listener = lane_listen("told", NULL);
    char address[128];
    size_t len = 0;
    CHECK_OK(hostlane_listener_address(listener, NULL, 0, &len, NULL));
    CHECK_EQ(len, 5 + strlen(path));
    memset(address, '#', sizeof(address));
    CHECK_OK(hostlane_listener_address(listener, address, len, &len, NULL));
    CHECK(memcmp(address, "unix:", 5) == 0 && memcmp(address + 5, path, len - 5) == 0 && address[len] == '#');
    size_t untouched = 7;
    CHECK_STATUS(hostlane_listener_address(listener, address, len - 1, &untouched, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_EQ(untouched, 7);
    CHECK_STATUS(hostlane_listener_address(listener, address, len, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

TEST(null_outputs_are_refused) {
    hostlane_listener_t listener = lane_listen("null", NULL);
    hostlane_refusal_t refusal;
    size_t n = 0;
    CHECK_STATUS(hostlane_accept(listener, 0, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_listener_stats(listener, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_listener_refusals(listener, NULL, 1, &n, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_listener_refusals(listener, &refusal, 1, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

TEST(accept_ends_at_its_deadline) {
    hostlane_listener_t listener = lane_listen("idle", NULL);
    hostlane_peer_t peer = {42};
    int64_t start = lane_now();
    CHECK_STATUS(hostlane_accept(listener, HOSTLANE_NO_WAIT, &peer, NULL), HOSTLANE_E_TIMEOUT);
    CHECK(lane_now() - start < LONG / 4);
    start = lane_now();
    CHECK_STATUS(hostlane_accept(listener, 60, &peer, NULL), HOSTLANE_E_TIMEOUT);
    CHECK(lane_now() - start >= 60);
    CHECK_EQ(peer.id, 42);
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

typedef struct {
    hostlane_listener_t listener;
    hostlane_status_t status;
    bool done;
} accepting;

static void *accept_thread(void *argument) {
    accepting *accepting = argument;
    hostlane_peer_t peer;
    accepting->status = hostlane_accept(accepting->listener, HOSTLANE_FOREVER, &peer, NULL);
    __atomic_store_n(&accepting->done, true, __ATOMIC_RELEASE);
    return NULL;
}

TEST(close_wakes_accept) {
    accepting accepting = {lane_listen("closing", NULL), HOSTLANE_OK, false};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, accept_thread, &accepting), 0);
    CHECK_OK(hostlane_listener_close(accepting.listener, NULL));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_STATUS(accepting.status, HOSTLANE_E_CLOSED);
}

TEST(a_signal_interrupts_accept_and_nothing_is_lost) {
    accepting accepting = {lane_listen("signal", NULL), HOSTLANE_OK, false};
    pthread_t thread;
    lane_catch_signal();
    CHECK_EQ(pthread_create(&thread, NULL, accept_thread, &accepting), 0);
    lane_signal_until(thread, &accepting.done);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_STATUS(accepting.status, HOSTLANE_E_INTERRUPTED);
    lane_connecting client;
    hostlane_peer_t peer;
    lane_connect_start(&client, "signal", NULL);
    CHECK_OK(hostlane_accept(accepting.listener, LONG, &peer, NULL));
    CHECK_OK(lane_connect_end(&client));
    CHECK_OK(hostlane_close(peer, NULL));
    CHECK_OK(hostlane_close(client.peer, NULL));
    CHECK_OK(hostlane_listener_close(accepting.listener, NULL));
}

TEST(a_closed_listener_stays_closed) {
    hostlane_listener_t listener = lane_listen("twice", NULL);
    hostlane_listener_t never = {0};
    hostlane_listener_t forged = {UINT64_MAX};
    hostlane_peer_t peer;
    hostlane_listener_stats_t stats;
    CHECK_OK(hostlane_listener_close(listener, NULL));
    CHECK_STATUS(hostlane_listener_close(listener, NULL), HOSTLANE_E_CLOSED);
    hostlane_listener_t other = lane_listen("twice", NULL);
    CHECK_STATUS(hostlane_listener_close(listener, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_accept(listener, 0, &peer, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_listener_stats(listener, &stats, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_accept(never, 0, &peer, NULL), HOSTLANE_E_INVALID_HANDLE);
    CHECK_STATUS(hostlane_accept(forged, 0, &peer, NULL), HOSTLANE_E_INVALID_HANDLE);
    CHECK_STATUS(hostlane_listener_close(never, NULL), HOSTLANE_E_INVALID_HANDLE);
    CHECK_OK(hostlane_listener_close(other, NULL));
}

TEST(a_silent_client_delays_nobody) {
    hostlane_listener_t listener = lane_listen("silent", NULL);
    int silent[20];
    for (size_t at = 0; at < 20; ++at) {
        silent[at] = lane_raw_connect("silent");
    }
    lane_connecting client;
    hostlane_peer_t peer;
    const int64_t start = lane_now();
    lane_connect_start(&client, "silent", NULL);
    CHECK_OK(hostlane_accept(listener, LONG, &peer, NULL));
    CHECK_OK(lane_connect_end(&client));
    CHECK(lane_now() - start < 4000);
    for (size_t at = 0; at < 20; ++at) {
        close(silent[at]);
    }
    CHECK_OK(hostlane_close(peer, NULL));
    CHECK_OK(hostlane_close(client.peer, NULL));
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

TEST(refusals_are_handed_out_in_portions) {
    hostlane_listener_t listener = lane_listen("portions", NULL);
    hostlane_refusal_t refusals[3];
    size_t n;
    for (size_t at = 0; at < 3; ++at) {
        const int fd = lane_raw_connect("portions");
        lane_raw_write(fd, "GET / HTTP/1.1\r\n\r\n", 18);
        close(fd);
    }
    lane_refuse(listener, 3);
    CHECK_OK(hostlane_listener_refusals(listener, refusals, 2, &n, NULL));
    CHECK_EQ(n, 2);
    CHECK_STATUS(refusals[0].status, HOSTLANE_E_BAD_MAGIC);
    CHECK_EQ(refusals[0].uid, getuid());
    CHECK_EQ(refusals[0].pid, getpid());
    CHECK_STATUS(hostlane_listener_refusals(listener, refusals, 0, &n, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_OK(hostlane_listener_refusals(listener, refusals, 3, &n, NULL));
    CHECK_EQ(n, 1);
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

TEST(no_more_refusals_are_kept_than_are_said_to_be) {
    enum { EACH = 40 };
    hostlane_listener_t listener = lane_listen("flood", NULL);
    hostlane_refusal_t refusals[3 * EACH];
    size_t n;
    for (size_t round = 1; round <= 3; ++round) {
        for (size_t at = 0; at < EACH; ++at) {
            const int fd = lane_raw_connect("flood");
            lane_raw_write(fd, "GET / HTTP/1.1\r\n\r\n", 18);
            close(fd);
        }
        lane_refuse(listener, round * EACH);
        CHECK_OK(hostlane_listener_refusals(listener, refusals, 1, &n, NULL));
        CHECK_EQ(n, 1);
    }
    CHECK_OK(hostlane_listener_refusals(listener, refusals, 3 * EACH, &n, NULL));
    CHECK_EQ(n, 63); /* the last 64, one of which was taken */
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

int main(int argc, char **argv) { return check_main(argc, argv); }

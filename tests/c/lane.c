#include "lane.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char directory[64];
static pid_t owner;

static void remove_directory(void) {
    if (getpid() != owner) {
        return; /* a forked child leaves it to its parent */
    }
    DIR *entries = opendir(directory);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        char path[sizeof(directory) + sizeof(entry->d_name) + 1];
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (entries != NULL) {
        closedir(entries);
    }
    rmdir(directory);
}

const char *lane_path(const char *name) {
    static char path[128];
    if (directory[0] == 0) {
        snprintf(directory, sizeof(directory), "/tmp/hostlane-test-XXXXXX");
        CHECK(mkdtemp(directory) != NULL);
        owner = getpid();
        atexit(remove_directory);
    }
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

hostlane_listener_t lane_listen(const char *name, const hostlane_listen_options_t *options) {
    const char *path = lane_path(name);
    hostlane_listener_t listener;
    CHECK_OK(hostlane_listen(path, strlen(path), options, &listener, NULL));
    return listener;
}

static void *connect_thread(void *argument) {
    lane_connecting *connecting = argument;
    connecting->status = hostlane_connect(connecting->path, strlen(connecting->path), connecting->options, LONG,
                                          &connecting->peer, NULL);
    return NULL;
}

void lane_connect_start(lane_connecting *connecting, const char *name, const hostlane_connect_options_t *options) {
    memset(connecting, 0, sizeof(*connecting));
    snprintf(connecting->path, sizeof(connecting->path), "%s", lane_path(name));
    connecting->options = options;
    CHECK_EQ(pthread_create(&connecting->thread, NULL, connect_thread, connecting), 0);
}

hostlane_status_t lane_connect_end(lane_connecting *connecting) {
    CHECK_EQ(pthread_join(connecting->thread, NULL), 0);
    return connecting->status;
}

lane lane_open_with(const hostlane_listen_options_t *listening, const hostlane_connect_options_t *connecting) {
    lane lane;
    lane_connecting client;
    lane.listener = lane_listen("lane", listening);
    lane_connect_start(&client, "lane", connecting);
    CHECK_OK(hostlane_accept(lane.listener, LONG, &lane.server, NULL));
    CHECK_OK(lane_connect_end(&client));
    lane.client = client.peer;
    return lane;
}

lane lane_open(void) { return lane_open_with(NULL, NULL); }

void lane_close(lane *lane) {
    hostlane_close(lane->client, NULL);
    hostlane_close(lane->server, NULL);
    hostlane_listener_close(lane->listener, NULL);
}

static void *echo_thread(void *argument) {
    lane_echo *echo = argument;
    hostlane_message_t *message;
    while ((echo->end = hostlane_recv(echo->peer, HOSTLANE_FOREVER, &message, NULL)) == HOSTLANE_OK) {
        size_t len;
        const uint8_t *data = hostlane_message_data(message, &len);
        const hostlane_status_t sent = hostlane_reply(message, data, len, LONG, NULL);
        hostlane_message_free(&message);
        if (sent != HOSTLANE_OK) {
            echo->end = sent;
            break;
        }
    }
    return NULL;
}

void lane_echo_start(lane_echo *echo, hostlane_peer_t peer) {
    echo->peer = peer;
    CHECK_EQ(pthread_create(&echo->thread, NULL, echo_thread, echo), 0);
}

void lane_echo_end(lane_echo *echo) { CHECK_EQ(pthread_join(echo->thread, NULL), 0); }

int64_t lane_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_briefly(void) {
    const struct timespec millisecond = {0, 1000000};
    nanosleep(&millisecond, NULL);
}

void lane_wait_pending(hostlane_peer_t peer, uint64_t count) {
    const int64_t deadline = lane_now() + LONG;
    hostlane_stats_t stats;
    for (;;) {
        CHECK_OK(hostlane_stats(peer, &stats, NULL));
        if (stats.pending_operations == count) {
            return;
        }
        CHECK(lane_now() < deadline);
        pause_briefly();
    }
}

void lane_refuse(hostlane_listener_t listener, uint64_t count) {
    const int64_t deadline = lane_now() + LONG;
    hostlane_listener_stats_t stats;
    hostlane_peer_t peer;
    do {
        CHECK(lane_now() < deadline);
        CHECK_STATUS(hostlane_accept(listener, 5, &peer, NULL), HOSTLANE_E_TIMEOUT);
        CHECK_OK(hostlane_listener_stats(listener, &stats, NULL));
    } while (stats.refused < count);
    CHECK_EQ(stats.refused, count);
    CHECK_EQ(stats.accepted, 0);
}

int lane_raw_connect(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", lane_path(name));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK_EQ(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void lane_raw_write(int fd, const void *data, size_t len) {
    const uint8_t *bytes = data;
    while (len > 0) {
        const ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        CHECK(n > 0);
        bytes += n;
        len -= (size_t)n;
    }
}

static void raw_read(int fd, void *data, size_t len) {
    uint8_t *bytes = data;
    while (len > 0) {
        const ssize_t n = read(fd, bytes, len);
        CHECK(n > 0);
        bytes += n;
        len -= (size_t)n;
    }
}

int lane_raw_open(hostlane_listener_t listener, const char *name, hostlane_peer_t *server) {
    static const char hello[] = "{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1,2,3,4]}";
    const uint8_t header[8] = {'I', 'P', sizeof(hello) - 1};
    uint8_t answer[8];
    char text[1024];
    const int fd = lane_raw_connect(name);
    lane_raw_write(fd, header, sizeof(header));
    lane_raw_write(fd, hello, sizeof(hello) - 1);
    CHECK_OK(hostlane_accept(listener, LONG, server, NULL));
    raw_read(fd, answer, sizeof(answer));
    CHECK(answer[0] == 'I' && answer[1] == 'P' && answer[4] == 0 && answer[5] == 0);
    const size_t len = (size_t)answer[2] | (size_t)answer[3] << 8;
    CHECK(len < sizeof(text));
    raw_read(fd, text, len);
    return fd;
}

static void on_signal(int number) { (void)number; }

void lane_catch_signal(void) {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}

void lane_signal(pthread_t thread) {
    CHECK_EQ(pthread_kill(thread, SIGUSR1), 0);
    pause_briefly();
}

void lane_signal_until(pthread_t thread, const bool *done) {
    const int64_t deadline = lane_now() + LONG;
    while (!__atomic_load_n(done, __ATOMIC_ACQUIRE)) {
        CHECK(lane_now() < deadline);
        lane_signal(thread);
    }
}

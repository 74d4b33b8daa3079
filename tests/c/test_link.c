/* Links: exactly one of a pair serves, whoever survives goes on, and a call is executed at most once unless it says
 * that it may be repeated. The other processes are this program again. */

#include "lane.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* What makes this program the other side of a link at that address. */
#define PARTNER "HOSTLANE_TEST_PARTNER"

static hostlane_link_options_t link_options(void) {
    hostlane_link_options_t options;
    memset(&options, 0xA5, sizeof(options));
    hostlane_link_options_init(&options, sizeof(options));
    return options;
}

static hostlane_call_options_t call_options(void) {
    hostlane_call_options_t options;
    hostlane_call_options_init(&options, sizeof(options));
    return options;
}

static hostlane_link_t open_path(const char *path, const hostlane_link_options_t *options) {
    hostlane_link_t link = {0};
    CHECK_OK(hostlane_link_open(path, strlen(path), options, &link, NULL));
    return link;
}

static hostlane_link_t open_link(const char *name, const hostlane_link_options_t *options) {
    return open_path(lane_path(name), options);
}

static int serving(hostlane_link_t link) {
    int32_t serving = 7;
    CHECK_OK(hostlane_link_is_serving(link, &serving, NULL));
    return serving;
}

static hostlane_event_t next(hostlane_link_t link) {
    hostlane_event_t event;
    CHECK_OK(hostlane_link_next(link, LONG, &event, NULL));
    return event;
}

/* The next event, which has to be that the other side is there; whether this side serves. */
static bool up(hostlane_link_t link) {
    hostlane_event_t event = next(link);
    CHECK_EQ(event.kind, HOSTLANE_EVENT_LINK_UP);
    CHECK(event.message == NULL && event.error == NULL && event.op == 0);
    return event.flags == HOSTLANE_LINK_SERVING;
}

static hostlane_status_t down(hostlane_link_t link) {
    hostlane_event_t event = next(link);
    CHECK_EQ(event.kind, HOSTLANE_EVENT_LINK_DOWN);
    const hostlane_status_t status = event.status;
    CHECK_STATUS(hostlane_error_status(event.error), status);
    hostlane_events_free(&event, 1);
    CHECK(event.error == NULL);
    return status;
}

static bool is(const void *data, size_t len, const char *text) {
    return len == strlen(text) && memcmp(data, text, len) == 0;
}

/* Calls with `text` and copies the reply to `reply`. */
static void ask(hostlane_link_t link, const char *text, char *reply, size_t cap) {
    hostlane_message_t *message = NULL;
    CHECK_OK(hostlane_link_request(link, text, strlen(text), NULL, LONG, &message, NULL));
    size_t len;
    const uint8_t *data = hostlane_message_data(message, &len);
    CHECK(len < cap);
    memcpy(reply, data, len);
    reply[len] = 0;
    hostlane_message_free(&message);
}

/* --- other processes ------------------------------------------------------------------------------ */

/* Answers "PID: what was asked", or dies when that is its own number, and writes 's' when it serves, 'c' when not. */
static int partner(const char *address) {
    hostlane_link_t link = open_path(address, NULL);
    char mine[32];
    snprintf(mine, sizeof(mine), "die %d", (int)getpid());
    /* After a loss it may take moments until this side serves, and that is no event. */
    bool looking = false;
    for (;;) {
        hostlane_event_t event;
        char role = 0;
        const hostlane_status_t got = hostlane_link_next(link, looking ? 1 : HOSTLANE_FOREVER, &event, NULL);
        if (looking && serving(link) == 1) {
            role = 's';
            looking = false;
        }
        if (got == HOSTLANE_OK && event.kind == HOSTLANE_EVENT_LINK_UP && role == 0) {
            role = event.flags == HOSTLANE_LINK_SERVING ? 's' : 'c';
            looking = false;
        } else if (got == HOSTLANE_OK && event.kind == HOSTLANE_EVENT_LINK_DOWN) {
            looking = true;
        } else if (got == HOSTLANE_OK && event.kind == HOSTLANE_EVENT_MESSAGE) {
            char reply[256];
            const int len = snprintf(reply, sizeof(reply), "%d: %.*s", (int)getpid(), (int)event.len, event.data);
            if (is(event.data, event.len, mine)) {
                _exit(3);
            }
            CHECK_OK(hostlane_link_reply(link, event.message, reply, (size_t)len, NULL));
        } else if (got != HOSTLANE_OK && got != HOSTLANE_E_TIMEOUT) {
            return 1;
        }
        if (got == HOSTLANE_OK) {
            hostlane_events_free(&event, 1);
        }
        if (role != 0 && write(STDOUT_FILENO, &role, 1) != 1) {
            return 1;
        }
    }
}

typedef struct {
    pid_t pid;
    int roles;
} process;

static process start(const char *name) {
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    char setting[256];
    char self[256];
    /* Not that file itself: under valgrind it is valgrind. */
    const ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    CHECK(len > 0);
    self[len] = 0;
    snprintf(setting, sizeof(setting), PARTNER "=%s", lane_path(name));
    char *const arguments[] = {"partner", NULL};
    char *const environment[] = {setting, NULL};
    const process other = {fork(), ends[0]};
    CHECK(other.pid >= 0);
    if (other.pid == 0) {
        alarm(50);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        execve(self, arguments, environment);
        _exit(127);
    }
    close(ends[1]);
    return other;
}

static char role(process other) {
    char role = 0;
    struct pollfd ready = {other.roles, POLLIN, 0};
    CHECK_EQ(poll(&ready, 1, LONG), 1);
    CHECK_EQ(read(other.roles, &role, 1), 1);
    return role;
}

static void end(process other) {
    int status = 0;
    kill(other.pid, SIGKILL);
    CHECK_EQ(waitpid(other.pid, &status, 0), other.pid);
    close(other.roles);
}

static void check_reply(hostlane_link_t link, process other, const char *text) {
    char reply[256];
    char expected[256];
    ask(link, text, reply, sizeof(reply));
    snprintf(expected, sizeof(expected), "%d: %s", (int)other.pid, text);
    CHECK(strcmp(reply, expected) == 0);
}

TEST(of_two_processes_exactly_one_serves_and_the_survivor_goes_on) {
    int64_t took[5];
    for (int round = 0; round < 5; ++round) {
        process both[] = {start("pair"), start("pair")};
        const char roles[] = {role(both[0]), role(both[1])};
        CHECK((roles[0] == 's') != (roles[1] == 's'));
        const int server = roles[0] == 's' ? 0 : 1;
        const int64_t before = lane_now();
        end(both[server]);
        CHECK_EQ(role(both[1 - server]), 's');
        took[round] = lane_now() - before;
        /* A third process joins. */
        hostlane_link_t third = open_link("pair", NULL);
        CHECK(!up(third));
        check_reply(third, both[1 - server], "hello");
        CHECK_EQ(serving(third), 0);
        CHECK_OK(hostlane_link_close(third, NULL));
        end(both[1 - server]);
    }
    int fast = 0;
    for (int round = 0; round < 5; ++round) {
        fast += took[round] < 500;
    }
    CHECK(fast >= 3);
}

TEST(a_lost_call_fails_once_and_one_with_a_key_is_repeated) {
    process other = start("lost");
    hostlane_link_t link = open_link("lost", NULL);
    hostlane_message_t *reply = NULL;
    hostlane_error_t *err = NULL;
    char fatal[32];
    check_reply(link, other, "hello");
    snprintf(fatal, sizeof(fatal), "die %d", (int)other.pid);
    CHECK_STATUS(hostlane_link_request(link, fatal, strlen(fatal), NULL, LONG, &reply, &err),
                 HOSTLANE_E_CONNECTION_LOST);
    CHECK_EQ(hostlane_error_sent(err), HOSTLANE_SENT_MAYBE);
    CHECK(reply == NULL);
    hostlane_error_free(&err);
    end(other);

    /* A call made meanwhile waits for the next partner. */
    other = start("lost");
    check_reply(link, other, "again");
    snprintf(fatal, sizeof(fatal), "die %d", (int)other.pid);
    hostlane_call_options_t options = call_options();
    options.idempotency_key = "key";
    options.idempotency_key_len = 3;
    uint64_t op = 0;
    CHECK_OK(hostlane_link_start(link, fatal, strlen(fatal), &options, LONG, &op, NULL));
    CHECK(op != 0);
    struct pollfd ready = {-1, POLLIN, 0};
    CHECK_OK(hostlane_link_fd(link, &ready.fd, NULL));
    bool replaced = false;
    for (bool answered = false; !answered;) {
        hostlane_event_t event;
        size_t n = 0;
        bool more = true;
        while (more) {
            CHECK_OK(hostlane_link_process(link, NULL, 0, &event, 1, &n, &more, NULL));
            if (n == 1 && event.kind == HOSTLANE_EVENT_LINK_DOWN) {
                end(other);
                other = start("lost");
                replaced = true;
            } else if (n == 1 && event.op == op) {
                char expected[64];
                snprintf(expected, sizeof(expected), "%d: %s", (int)other.pid, fatal);
                CHECK_EQ(event.kind, HOSTLANE_EVENT_REPLY);
                CHECK(is(event.data, event.len, expected));
                answered = true;
            }
            if (n == 1) {
                hostlane_events_free(&event, 1);
            }
        }
        if (!answered) {
            CHECK_EQ(poll(&ready, 1, LONG), 1);
        }
    }
    CHECK(replaced);
    end(other);
    CHECK_OK(hostlane_link_close(link, NULL));
}

/* --- within this process -------------------------------------------------------------------------- */

/* A thread that answers with what was asked; "fail" is failed. It ends with the link. */
typedef struct {
    pthread_t thread;
    hostlane_link_t link;
    hostlane_status_t end;
} server;

static void *serve(void *argument) {
    server *server = argument;
    hostlane_event_t event;
    while ((server->end = hostlane_link_next(server->link, HOSTLANE_FOREVER, &event, NULL)) == HOSTLANE_OK) {
        if (event.kind == HOSTLANE_EVENT_MESSAGE && (event.flags & HOSTLANE_MESSAGE_REQUEST) != 0) {
            hostlane_status_t sent;
            if (is(event.data, event.len, "fail")) {
                sent = hostlane_link_fail(server->link, event.message, 9, "as asked", 8, NULL);
            } else {
                sent = hostlane_link_reply(server->link, event.message, event.data, event.len, NULL);
            }
            CHECK(sent == HOSTLANE_OK || sent == HOSTLANE_E_CALL_ENDED || sent == HOSTLANE_E_CLOSED);
        }
        hostlane_events_free(&event, 1);
    }
    return NULL;
}

static void serve_start(server *server, hostlane_link_t link) {
    server->link = link;
    CHECK_EQ(pthread_create(&server->thread, NULL, serve, server), 0);
}

static hostlane_status_t serve_end(server *server) {
    CHECK_OK(hostlane_link_close(server->link, NULL));
    CHECK_EQ(pthread_join(server->thread, NULL), 0);
    return server->end;
}

TEST(calls_go_both_ways) {
    hostlane_link_t a = open_link("both", NULL);
    hostlane_link_t b = open_link("both", NULL);
    server servers[2];
    serve_start(&servers[0], a);
    serve_start(&servers[1], b);
    char reply[64];
    ask(a, "from a", reply, sizeof(reply));
    CHECK(strcmp(reply, "from a") == 0);
    ask(b, "from b", reply, sizeof(reply));
    CHECK(strcmp(reply, "from b") == 0);
    CHECK_EQ(serving(a), 1);
    CHECK_EQ(serving(b), 0);

    hostlane_message_t *message = NULL;
    hostlane_error_t *err = NULL;
    CHECK_STATUS(hostlane_link_request(a, "fail", 4, NULL, LONG, &message, &err), HOSTLANE_E_REMOTE_ERROR);
    CHECK_EQ(hostlane_error_remote_status(err), 9);
    size_t len;
    const uint8_t *data = hostlane_error_data(err, &len);
    CHECK(is(data, len, "as asked"));
    hostlane_error_free(&err);
    CHECK_OK(hostlane_link_send(a, "one way", 7, NULL, NULL));

    hostlane_info_t info;
    hostlane_stats_t stats;
    hostlane_channel_stats_t channel;
    CHECK_OK(hostlane_link_info(a, &info, NULL));
    CHECK_EQ(info.level, 1);
    CHECK_EQ(info.max_calls, 1024);
    CHECK_EQ(info.peer_keepalive_ms, 0);
    CHECK_EQ(info.pid, getpid());
    CHECK_OK(hostlane_link_stats(a, &stats, NULL));
    CHECK_EQ(stats.calls, 2);
    CHECK_OK(hostlane_link_stats_on(a, HOSTLANE_CHANNEL_DATA, &channel, NULL));
    CHECK_EQ(channel.messages_sent, 1);
    CHECK_STATUS(hostlane_link_stats_on(a, 300, &channel, NULL), HOSTLANE_E_INVALID_CHANNEL);

    hostlane_call_options_t options = call_options();
    const int fd = STDIN_FILENO;
    options.fds = &fd;
    options.fds_len = 1;
    CHECK_STATUS(hostlane_link_request(a, "x", 1, &options, LONG, &message, NULL), HOSTLANE_E_UNSUPPORTED);
    CHECK_STATUS(serve_end(&servers[0]), HOSTLANE_E_CLOSED);
    CHECK_STATUS(serve_end(&servers[1]), HOSTLANE_E_CLOSED);
}

TEST(attempts_run_out_with_one_error) {
    hostlane_link_options_t options = link_options();
    options.retries = 2;
    options.delay_ms = 5;
    options.max_delay_ms = 10;
    hostlane_link_t link = open_link("missing/link", &options);
    hostlane_event_t event;
    hostlane_message_t *reply = NULL;
    size_t n = 99;
    bool waiting = true;
    for (int again = 0; again < 2; ++again) {
        CHECK_STATUS(hostlane_link_next(link, LONG, &event, NULL), HOSTLANE_E_NOT_FOUND);
        CHECK_STATUS(hostlane_link_request(link, "?", 1, NULL, LONG, &reply, NULL), HOSTLANE_E_NOT_FOUND);
        CHECK_STATUS(hostlane_link_send(link, "?", 1, NULL, NULL), HOSTLANE_E_NOT_FOUND);
        CHECK_STATUS(hostlane_link_process(link, NULL, 0, &event, 1, &n, NULL, NULL), HOSTLANE_E_NOT_FOUND);
        CHECK_STATUS(hostlane_link_turn(link, NULL, 0, &event, 1, &n, NULL, &waiting, NULL), HOSTLANE_E_NOT_FOUND);
        CHECK_STATUS(hostlane_link_events(link, NULL, 0, &event, 1, &n, NULL, NULL), HOSTLANE_E_NOT_FOUND);
    }
    CHECK(n == 99 && waiting && reply == NULL);
    CHECK_EQ(serving(link), -1);
    struct pollfd ready = {-1, POLLIN, 0};
    CHECK_OK(hostlane_link_fd(link, &ready.fd, NULL));
    CHECK_EQ(poll(&ready, 1, LONG), 1);
    CHECK_OK(hostlane_link_close(link, NULL));

    options.retries = HOSTLANE_NO_RETRY;
    const char *path = lane_path("missing/link");
    CHECK_STATUS(hostlane_link_open(path, strlen(path), &options, &link, NULL), HOSTLANE_E_NOT_FOUND);
}

TEST(one_that_is_not_to_reconnect_ends_with_its_connection) {
    hostlane_link_options_t options = link_options();
    options.no_reconnect = 1;
    hostlane_link_t a = open_link("once", &options);
    process other = start("once");
    hostlane_event_t event;
    CHECK(up(a));
    CHECK_EQ(role(other), 'c');
    end(other);
    const hostlane_status_t lost = down(a);
    CHECK(lost == HOSTLANE_E_PEER_CLOSED || lost == HOSTLANE_E_CONNECTION_LOST);
    CHECK_STATUS(hostlane_link_next(a, LONG, &event, NULL), lost);
    CHECK_OK(hostlane_link_close(a, NULL));
    /* Its address is free. */
    hostlane_link_t b = open_link("once", NULL);
    CHECK_EQ(serving(b), 1);
    CHECK_OK(hostlane_link_close(b, NULL));
}

static void *wait_for_event(void *argument) {
    hostlane_event_t event;
    CHECK_STATUS(hostlane_link_next(*(hostlane_link_t *)argument, HOSTLANE_FOREVER, &event, NULL), HOSTLANE_E_CLOSED);
    return NULL;
}

static void *wait_for_reply(void *argument) {
    hostlane_message_t *reply;
    CHECK_STATUS(hostlane_link_request(*(hostlane_link_t *)argument, "?", 1, NULL, HOSTLANE_FOREVER, &reply, NULL),
                 HOSTLANE_E_CLOSED);
    return NULL;
}

TEST(closing_wakes_whoever_waits) {
    hostlane_link_t link = open_link("closing", NULL);
    pthread_t waiters[3];
    CHECK_EQ(pthread_create(&waiters[0], NULL, wait_for_event, &link), 0);
    CHECK_EQ(pthread_create(&waiters[1], NULL, wait_for_event, &link), 0);
    CHECK_EQ(pthread_create(&waiters[2], NULL, wait_for_reply, &link), 0);
    /* Whether they wait already makes no difference. */
    CHECK_OK(hostlane_link_close(link, NULL));
    CHECK_STATUS(hostlane_link_close(link, NULL), HOSTLANE_E_CLOSED);
    for (int at = 0; at < 3; ++at) {
        CHECK_EQ(pthread_join(waiters[at], NULL), 0);
    }
}

typedef struct {
    pthread_t thread;
    hostlane_link_t link;
    hostlane_status_t end;
    bool done;
} interrupted;

static void *wait_for_signal(void *argument) {
    interrupted *waiter = argument;
    hostlane_event_t event;
    waiter->end = hostlane_link_next(waiter->link, LONG, &event, NULL);
    __atomic_store_n(&waiter->done, true, __ATOMIC_RELEASE);
    return NULL;
}

TEST(a_signal_ends_the_wait_for_an_event) {
    lane_catch_signal();
    interrupted waiter = {.link = open_link("signal", NULL)};
    CHECK_EQ(pthread_create(&waiter.thread, NULL, wait_for_signal, &waiter), 0);
    lane_signal_until(waiter.thread, &waiter.done);
    CHECK_EQ(pthread_join(waiter.thread, NULL), 0);
    CHECK_STATUS(waiter.end, HOSTLANE_E_INTERRUPTED);
    CHECK_OK(hostlane_link_close(waiter.link, NULL));
}

/* Turns both links until `link` has a result. */
static hostlane_event_t result(hostlane_link_t link, hostlane_link_t other) {
    const int64_t deadline = lane_now() + LONG;
    for (;;) {
        hostlane_event_t event;
        size_t n = 0;
        CHECK_OK(hostlane_link_turn(link, NULL, 0, &event, 1, &n, NULL, NULL, NULL));
        if (n == 1) {
            return event;
        }
        CHECK_OK(hostlane_link_turn(other, NULL, 0, &event, 1, &n, NULL, NULL, NULL));
        CHECK_EQ(n, 0);
        CHECK(lane_now() < deadline);
    }
}

/* Turns both links until `link` has events, and takes them. */
static size_t events(hostlane_link_t link, hostlane_link_t other, void *buffer, size_t capacity,
                     hostlane_event_t *taken, size_t cap) {
    const int64_t deadline = lane_now() + LONG;
    for (bool waiting = false; !waiting;) {
        hostlane_event_t event;
        size_t n = 0;
        CHECK_OK(hostlane_link_turn(link, NULL, 0, &event, 1, &n, NULL, &waiting, NULL));
        CHECK_EQ(n, 0);
        CHECK_OK(hostlane_link_turn(other, NULL, 0, &event, 1, &n, NULL, NULL, NULL));
        CHECK_EQ(n, 0);
        CHECK(lane_now() < deadline);
    }
    size_t n = 0;
    bool more = true;
    CHECK_OK(hostlane_link_events(link, buffer, capacity, taken, cap, &n, &more, NULL));
    CHECK(n > 0);
    return n;
}

TEST(an_event_loop_starts_gives_up_and_watches) {
    hostlane_link_t a = open_link("loop", NULL);
    hostlane_link_t b = open_link("loop", NULL);
    hostlane_event_t taken[8];
    char buffer[64];
    uint64_t op = 0;
    /* Before the other side is there. */
    CHECK_OK(hostlane_link_start(b, "parked", 6, NULL, LONG, &op, NULL));
    CHECK_OK(hostlane_link_cancel(b, op, NULL));
    hostlane_event_t event = result(b, a);
    CHECK_EQ(event.op, op);
    CHECK_EQ(event.kind, HOSTLANE_EVENT_FAILED);
    CHECK_STATUS(event.status, HOSTLANE_E_CANCELLED);
    CHECK_EQ(hostlane_error_sent(event.error), HOSTLANE_SENT_NO);
    hostlane_events_free(&event, 1);
    CHECK_EQ(events(a, b, NULL, 0, taken, 8), 1);
    CHECK_EQ(taken[0].kind, HOSTLANE_EVENT_LINK_UP);
    CHECK_EQ(events(b, a, NULL, 0, taken, 8), 1);

    /* An open call, watched at the other side. */
    CHECK_OK(hostlane_link_start(b, "open", 4, NULL, LONG, &op, NULL));
    CHECK_EQ(events(a, b, buffer, sizeof(buffer), taken, 8), 1);
    hostlane_message_t *request = taken[0].message;
    CHECK(request != NULL && (taken[0].flags & HOSTLANE_MESSAGE_REQUEST) != 0);
    CHECK(taken[0].data == (const uint8_t *)buffer && is(buffer, taken[0].len, "open"));
    CHECK(taken[0].timeout_ms > 0 && taken[0].timeout_ms <= LONG);
    uint64_t watch = 0;
    CHECK_OK(hostlane_link_call_ended(a, request, &watch, NULL));
    CHECK_OK(hostlane_link_cancel(b, op, NULL));
    event = result(b, a);
    CHECK_EQ(event.op, op);
    CHECK_STATUS(event.status, HOSTLANE_E_CANCELLED);
    hostlane_events_free(&event, 1);
    event = result(a, b);
    CHECK_EQ(event.op, watch);
    CHECK_EQ(event.kind, HOSTLANE_EVENT_CALL_ENDED);
    CHECK_STATUS(hostlane_link_reply(a, request, "late", 4, NULL), HOSTLANE_E_CALL_ENDED);
    CHECK_STATUS(hostlane_reply(request, "late", 4, LONG, NULL), HOSTLANE_E_WRONG_DRIVER);
    hostlane_message_free(&request);

    /* One that is let go. */
    CHECK_OK(hostlane_link_start(b, "let go", 6, NULL, LONG, &op, NULL));
    CHECK_EQ(events(a, b, NULL, 0, taken, 8), 1);
    hostlane_events_free(taken, 1);
    event = result(b, a);
    CHECK_STATUS(event.status, HOSTLANE_E_CALL_ABANDONED);
    hostlane_events_free(&event, 1);

    /* Many one-way messages, in their order, into memory of the caller; what finds no room has its own. */
    for (int at = 0; at < 200; ++at) {
        CHECK_OK(hostlane_link_send(b, &at, sizeof(at), NULL, NULL));
    }
    for (int seen = 0; seen < 200;) {
        const size_t n = events(a, b, buffer, 10, taken, 8);
        for (size_t at = 0; at < n; ++at, ++seen) {
            CHECK_EQ(taken[at].kind, HOSTLANE_EVENT_MESSAGE);
            CHECK_EQ(taken[at].channel, HOSTLANE_CHANNEL_DATA);
            CHECK(taken[at].len == sizeof(seen) && memcmp(taken[at].data, &seen, sizeof(seen)) == 0);
            CHECK_EQ(taken[at].message == NULL, at < 2);
        }
        hostlane_events_free(taken, n);
    }

    /* Everything that was started comes back before the end does. */
    uint64_t last[2];
    CHECK_OK(hostlane_link_start(b, "1", 1, NULL, HOSTLANE_FOREVER, &last[0], NULL));
    CHECK_OK(hostlane_link_start(b, "2", 1, NULL, 10, &last[1], NULL));
    event = result(b, a);
    CHECK_EQ(event.op, last[1]);
    CHECK_STATUS(event.status, HOSTLANE_E_TIMEOUT);
    hostlane_events_free(&event, 1);
    CHECK_OK(hostlane_link_cancel(b, 12345, NULL));
    CHECK_OK(hostlane_link_close(a, NULL));
    CHECK_OK(hostlane_link_close(b, NULL));
}

TEST(misuse_is_told) {
    hostlane_link_t never = {0};
    hostlane_link_t link = {42};
    hostlane_event_t event;
    hostlane_message_t *message = NULL;
    hostlane_info_t info;
    uint64_t op = 0;
    size_t n = 0;
    int32_t number = 0;
    const char *path = lane_path("misuse");
    const size_t len = strlen(path);

    hostlane_link_options_t options = link_options();
    const hostlane_link_options_t defaults = options;
    CHECK_EQ(options.size, sizeof(options));
    CHECK(options.connect == NULL && options.listen == NULL && options.retries == 0 && options.no_reconnect == 0);
    hostlane_link_options_init(NULL, sizeof(options));
    options.size = 8;
    CHECK_STATUS(hostlane_link_open(path, len, &options, &link, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    memset(&options, 0xA5, sizeof(options));
    CHECK_STATUS(hostlane_link_open(path, len, &options, &link, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    options = defaults;
    options.retries = -2;
    CHECK_STATUS(hostlane_link_open(path, len, &options, &link, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    options = defaults;
    options.delay_ms = -1;
    CHECK_STATUS(hostlane_link_open(path, len, &options, &link, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    options.delay_ms = 2;
    options.max_delay_ms = 1;
    CHECK_STATUS(hostlane_link_open(path, len, &options, &link, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    options = defaults;
    hostlane_connect_options_t connect;
    hostlane_connect_options_init(&connect, sizeof(connect));
    connect.level = HOSTLANE_LEVEL_ZERO;
    options.connect = &connect;
    CHECK_STATUS(hostlane_link_open(path, len, &options, &link, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    connect.size = 0;
    CHECK_STATUS(hostlane_link_open(path, len, &options, &link, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_open("stdio:", 6, NULL, &link, NULL), HOSTLANE_E_UNSUPPORTED);
    CHECK_STATUS(hostlane_link_open(NULL, 3, NULL, &link, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_open("\xFF", 1, NULL, &link, NULL), HOSTLANE_E_INVALID_UTF8);
    CHECK_STATUS(hostlane_link_open(path, len, NULL, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_EQ(link.id, 42);

    CHECK_STATUS(hostlane_link_next(never, LONG, &event, NULL), HOSTLANE_E_INVALID_HANDLE);
    CHECK_STATUS(hostlane_link_close(never, NULL), HOSTLANE_E_INVALID_HANDLE);
    link = open_link("misuse", NULL);
    CHECK_STATUS(hostlane_link_next(link, 0, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_next(link, 0, &event, NULL), HOSTLANE_E_TIMEOUT);
    CHECK_STATUS(hostlane_link_request(link, NULL, 1, NULL, LONG, &message, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_request(link, "x", 1, NULL, LONG, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_request(link, "x", 1, NULL, 10, &message, NULL), HOSTLANE_E_TIMEOUT);
    CHECK_STATUS(hostlane_link_start(link, "x", 1, NULL, LONG, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_send(link, "x", 1, NULL, NULL), HOSTLANE_E_CONNECTION_LOST);
    CHECK_STATUS(hostlane_link_info(link, &info, NULL), HOSTLANE_E_CONNECTION_LOST);
    CHECK_STATUS(hostlane_link_info(link, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_is_serving(link, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_fd(link, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_reply(link, NULL, "x", 1, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_fail(link, NULL, 1, "x", 1, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_call_ended(link, NULL, &op, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_process(link, NULL, 0, &event, 0, &n, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_process(link, NULL, 0, NULL, 1, &n, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_process(link, NULL, 1, &event, 1, &n, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_link_turn(link, NULL, 0, &event, 1, NULL, NULL, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);

    /* A message of another origin. */
    lane lane = lane_open();
    hostlane_call_t call;
    CHECK_OK(hostlane_call_start(lane.client, "x", 1, NULL, &call, NULL));
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    CHECK_STATUS(hostlane_link_reply(link, message, "x", 1, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_STATUS(hostlane_link_fail(link, message, 1, "x", 1, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_STATUS(hostlane_link_call_ended(link, message, &op, NULL), HOSTLANE_E_WRONG_DRIVER);
    hostlane_message_free(&message);
    CHECK_OK(hostlane_call_cancel(call, NULL));
    lane_close(&lane);

    CHECK_OK(hostlane_link_close(link, NULL));
    CHECK_STATUS(hostlane_link_next(link, LONG, &event, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_link_request(link, "x", 1, NULL, LONG, &message, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_link_start(link, "x", 1, NULL, LONG, &op, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_link_send(link, "x", 1, NULL, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_link_is_serving(link, &number, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_link_fd(link, &number, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_link_process(link, NULL, 0, &event, 1, &n, NULL, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_link_events(link, NULL, 0, &event, 1, &n, NULL, NULL), HOSTLANE_E_CLOSED);
}

TEST(a_forked_child_cannot_use_or_hurt_a_link) {
    hostlane_link_t a = open_link("fork", NULL);
    hostlane_link_t b = open_link("fork", NULL);
    server server;
    char reply[64];
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        hostlane_event_t event;
        hostlane_message_t *message = NULL;
        uint64_t op;
        size_t n;
        alarm(30);
        CHECK_STATUS(hostlane_link_next(a, LONG, &event, NULL), HOSTLANE_E_FORKED);
        CHECK_STATUS(hostlane_link_request(a, "x", 1, NULL, LONG, &message, NULL), HOSTLANE_E_FORKED);
        CHECK_STATUS(hostlane_link_start(a, "x", 1, NULL, LONG, &op, NULL), HOSTLANE_E_FORKED);
        CHECK_STATUS(hostlane_link_send(a, "x", 1, NULL, NULL), HOSTLANE_E_FORKED);
        CHECK_STATUS(hostlane_link_process(a, NULL, 0, &event, 1, &n, NULL, NULL), HOSTLANE_E_FORKED);
        CHECK_STATUS(hostlane_link_turn(a, NULL, 0, &event, 1, &n, NULL, NULL, NULL), HOSTLANE_E_FORKED);
        CHECK_STATUS(hostlane_link_events(a, NULL, 0, &event, 1, &n, NULL, NULL), HOSTLANE_E_FORKED);
        hostlane_link_close(a, NULL);
        hostlane_link_close(b, NULL);
        _exit(0);
    }
    int status = 1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    serve_start(&server, b);
    ask(a, "after", reply, sizeof(reply));
    CHECK(strcmp(reply, "after") == 0);
    CHECK_STATUS(serve_end(&server), HOSTLANE_E_CLOSED);
    CHECK_OK(hostlane_link_close(a, NULL));
}

int main(int argc, char **argv) {
    const char *address = getenv(PARTNER);
    return address != NULL ? partner(address) : check_main(argc, argv);
}

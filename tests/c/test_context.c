/* The context: one descriptor, operations that finish through it. */

#include "driven.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

TEST(a_request_and_its_answer) {
    driven all = driven_open();
    hostlane_event_t receiving;
    hostlane_event_t requesting;
    hostlane_event_t replying;
    CHECK_OK(hostlane_context_recv(all.context, all.server, HOSTLANE_ANY_CHANNEL, LONG, &receiving, NULL));
    CHECK_OK(hostlane_context_request(all.context, all.client, "ping?", 5, LONG, &requesting, NULL));
    hostlane_event_t message = finish(all.context, &receiving);
    CHECK_EQ(message.kind, HOSTLANE_EVENT_MESSAGE);
    CHECK_EQ(message.channel, HOSTLANE_CHANNEL_COMMAND);
    CHECK(message.len == 5 && memcmp(message.data, "ping?", 5) == 0);
    CHECK_OK(hostlane_context_reply(all.context, message.message, "pong!", 5, LONG, &replying, NULL));
    CHECK_EQ(finish(all.context, &replying).kind, HOSTLANE_EVENT_SENT);
    hostlane_event_t reply = finish(all.context, &requesting);
    CHECK_EQ(reply.kind, HOSTLANE_EVENT_REPLY);
    CHECK(reply.len == 5 && memcmp(reply.data, "pong!", 5) == 0);
    hostlane_events_free(&message, 1);
    hostlane_events_free(&reply, 1);
    CHECK(reply.message == NULL && reply.data == NULL);
    hostlane_events_free(&reply, 1);
    driven_close(&all);
}

TEST(a_batch_comes_in_portions) {
    driven all = driven_open();
    hostlane_event_t events[8];
    uint64_t ops[20];
    bool seen[20] = {false};
    size_t total = 0;
    for (size_t at = 0; at < 20; ++at) {
        hostlane_event_t started;
        CHECK_OK(hostlane_context_recv(all.context, all.server, 2, LONG, &started, NULL));
        CHECK_EQ(started.kind, HOSTLANE_EVENT_PENDING);
        ops[at] = started.op;
    }
    for (uint8_t at = 0; at < 20; ++at) {
        hostlane_event_t started;
        CHECK_OK(hostlane_context_send(all.context, all.client, 2, &at, 1, LONG, &started, NULL));
        CHECK(started.kind == HOSTLANE_EVENT_SENT || started.kind == HOSTLANE_EVENT_PENDING);
    }
    while (total < 20) {
        size_t n = 0;
        bool more = false;
        struct pollfd ready = {-1, POLLIN, 0};
        CHECK_OK(hostlane_context_fd(all.context, &ready.fd, NULL));
        CHECK_EQ(poll(&ready, 1, LONG), 1);
        CHECK_OK(hostlane_context_process(all.context, events, 8, &n, &more, NULL));
        CHECK(n <= 8);
        for (size_t at = 0; at < n; ++at) {
            if (events[at].kind == HOSTLANE_EVENT_SENT) {
                continue;
            }
            CHECK_EQ(events[at].kind, HOSTLANE_EVENT_MESSAGE);
            ++total;
            for (size_t op = 0; op < 20; ++op) {
                if (ops[op] == events[at].op) {
                    CHECK(!seen[op]);
                    CHECK_EQ(events[at].data[0], op);
                    seen[op] = true;
                }
            }
        }
        hostlane_events_free(events, n);
    }
    CHECK_EQ(total, 20);
    driven_close(&all);
}

TEST(the_message_of_an_event_can_be_kept) {
    driven all = driven_open();
    hostlane_event_t started;
    hostlane_event_t sent;
    CHECK_OK(hostlane_context_recv(all.context, all.server, HOSTLANE_ANY_CHANNEL, LONG, &started, NULL));
    CHECK_OK(hostlane_context_send(all.context, all.client, 3, "keep", 4, LONG, &sent, NULL));
    hostlane_event_t event = finish(all.context, &started);
    hostlane_message_t *kept = event.message;
    event.message = NULL;
    hostlane_events_free(&event, 1);
    driven_close(&all);
    CHECK_EQ(hostlane_message_channel(kept), 3);
    CHECK(memcmp(hostlane_message_data(kept, NULL), "keep", 4) == 0);
    hostlane_message_free(&kept);
}

TEST(a_cancelled_operation_finishes_once) {
    driven all = driven_open();
    hostlane_event_t started;
    CHECK_OK(hostlane_context_recv(all.context, all.client, HOSTLANE_ANY_CHANNEL, HOSTLANE_FOREVER, &started, NULL));
    CHECK_OK(hostlane_context_cancel(all.context, started.op, NULL));
    hostlane_event_t event = finish(all.context, &started);
    CHECK_EQ(event.kind, HOSTLANE_EVENT_FAILED);
    CHECK_STATUS(event.status, HOSTLANE_E_CANCELLED);
    CHECK_STATUS(hostlane_error_status(event.error), HOSTLANE_E_CANCELLED);
    hostlane_events_free(&event, 1);
    CHECK(event.error == NULL);
    CHECK_OK(hostlane_context_cancel(all.context, started.op, NULL));
    CHECK_OK(hostlane_context_cancel(all.context, UINT64_MAX, NULL));
    CHECK_STATUS(hostlane_context_next(all.context, 20, &event, NULL), HOSTLANE_E_TIMEOUT);
    driven_close(&all);
}

TEST(an_operation_ends_at_its_deadline) {
    driven all = driven_open();
    hostlane_event_t started;
    hostlane_event_t event;
    const int64_t start = lane_now();
    CHECK_OK(hostlane_context_recv(all.context, all.client, HOSTLANE_ANY_CHANNEL, 50, &started, NULL));
    event = finish(all.context, &started);
    CHECK(lane_now() - start >= 50);
    CHECK_STATUS(event.status, HOSTLANE_E_TIMEOUT);
    hostlane_events_free(&event, 1);
    CHECK_STATUS(hostlane_context_next(all.context, 30, &event, NULL), HOSTLANE_E_TIMEOUT);
    driven_close(&all);
}

TEST(a_connect_that_fails_says_why) {
    hostlane_context_t context;
    hostlane_event_t event = {0};
    const char *path = lane_path("nobody");
    CHECK_OK(hostlane_context_new(&context, NULL));
    hostlane_status_t status = hostlane_context_connect(context, path, strlen(path), NULL, LONG, &event, NULL);
    if (status == HOSTLANE_OK) {
        event = finish(context, &event);
        status = event.status;
        hostlane_events_free(&event, 1);
    }
    CHECK_STATUS(status, HOSTLANE_E_NOT_FOUND);
    CHECK_OK(hostlane_context_close(context, NULL));
}

TEST(ping_and_drain) {
    driven all = driven_open();
    hostlane_event_t started;
    CHECK_OK(hostlane_context_ping(all.context, all.client, LONG, &started, NULL));
    const hostlane_event_t pong = finish(all.context, &started);
    CHECK_EQ(pong.kind, HOSTLANE_EVENT_PONG);
    CHECK(pong.rtt_ns > 0);
    CHECK_OK(hostlane_context_drain(all.context, all.client, LONG, &started, NULL));
    CHECK_EQ(finish(all.context, &started).kind, HOSTLANE_EVENT_DRAINED);
    driven_close(&all);
}

TEST(blocking_calls_and_a_context_do_not_mix) {
    driven all = driven_open();
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    hostlane_event_t event;
    hostlane_peer_t peer;
    hostlane_info_t info;
    hostlane_context_t other;
    CHECK_STATUS(hostlane_recv(all.client, 0, &message, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_STATUS(hostlane_send(all.client, 2, "x", 1, 0, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_STATUS(hostlane_request(all.client, "x", 1, 0, &message, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_STATUS(hostlane_drain(all.client, 0, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_STATUS(hostlane_accept(all.listener, 0, &peer, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_STATUS(hostlane_context_recv(all.context, lane.client, -1, 0, &event, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_STATUS(hostlane_context_send(all.context, lane.client, 2, "x", 1, 0, &event, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_OK(hostlane_context_new(&other, NULL));
    CHECK_STATUS(hostlane_context_recv(other, all.client, -1, 0, &event, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_STATUS(hostlane_context_accept(other, all.listener, 0, &event, NULL), HOSTLANE_E_WRONG_DRIVER);
    CHECK_OK(hostlane_context_close(other, NULL));
    CHECK_OK(hostlane_info(all.client, &info, NULL));
    lane_close(&lane);
    driven_close(&all);
}

TEST(closing_a_peer_finishes_its_operations) {
    driven all = driven_open();
    hostlane_event_t started;
    hostlane_event_t event;
    CHECK_OK(hostlane_context_recv(all.context, all.client, HOSTLANE_ANY_CHANNEL, HOSTLANE_FOREVER, &started, NULL));
    CHECK_OK(hostlane_close(all.client, NULL));
    event = finish(all.context, &started);
    CHECK_STATUS(event.status, HOSTLANE_E_CLOSED);
    hostlane_events_free(&event, 1);
    CHECK_STATUS(hostlane_context_recv(all.context, all.client, -1, 0, &event, NULL), HOSTLANE_E_CLOSED);
    driven_close(&all);
}

TEST(wrong_arguments_are_refused) {
    driven all = driven_open();
    hostlane_event_t event;
    size_t n;
    int32_t fd;
    const hostlane_context_t never = {0};
    CHECK_STATUS(hostlane_context_new(NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_fd(all.context, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_fd(never, &fd, NULL), HOSTLANE_E_INVALID_HANDLE);
    CHECK_STATUS(hostlane_context_process(all.context, NULL, 1, &n, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_process(all.context, &event, 0, &n, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_process(all.context, &event, 1, NULL, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_next(all.context, 0, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_recv(all.context, all.client, -1, 0, NULL, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_recv(all.context, all.client, -2, 0, &event, NULL), HOSTLANE_E_INVALID_CHANNEL);
    CHECK_STATUS(hostlane_context_recv(all.context, all.client, 65536, 0, &event, NULL), HOSTLANE_E_INVALID_CHANNEL);
    CHECK_STATUS(hostlane_context_recv(all.context, all.client, 300, 0, &event, NULL), HOSTLANE_E_INVALID_CHANNEL);
    CHECK_STATUS(hostlane_context_send(all.context, all.client, 2, NULL, 1, 0, &event, NULL),
                 HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_send(all.context, (hostlane_peer_t){0}, 2, "x", 1, 0, &event, NULL),
                 HOSTLANE_E_INVALID_HANDLE);
    CHECK_STATUS(hostlane_context_connect(all.context, "\xFF", 1, NULL, 0, &event, NULL), HOSTLANE_E_INVALID_UTF8);
    CHECK_STATUS(hostlane_context_connect(all.context, NULL, 1, NULL, 0, &event, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane_context_reply(all.context, NULL, "x", 1, 0, &event, NULL), HOSTLANE_E_INVALID_ARGUMENT);
    hostlane_events_free(NULL, 1);
    driven_close(&all);
}

typedef struct {
    hostlane_context_t context;
    hostlane_status_t status;
    pid_t id; /* of the thread; 0 before it runs */
    bool done;
} waiting;

static void *next_thread(void *argument) {
    waiting *waiting = argument;
    hostlane_event_t event;
    __atomic_store_n(&waiting->id, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    waiting->status = hostlane_context_next(waiting->context, HOSTLANE_FOREVER, &event, NULL);
    __atomic_store_n(&waiting->done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* Waits until the thread is blocked in the kernel, which it is only inside the call; fails after LONG. */
static void wait_asleep(const waiting *waiting) {
    const int64_t deadline = lane_now() + LONG;
    char state = 0;
    while (state != 'S') {
        const pid_t id = __atomic_load_n(&waiting->id, __ATOMIC_ACQUIRE);
        char path[64];
        CHECK(lane_now() < deadline);
        CHECK(!__atomic_load_n(&waiting->done, __ATOMIC_ACQUIRE));
        if (id == 0) {
            sched_yield();
            continue;
        }
        snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)id);
        FILE *stat = fopen(path, "r");
        CHECK(stat != NULL);
        CHECK_EQ(fscanf(stat, "%*d (%*[^)]) %c", &state), 1);
        fclose(stat);
    }
}

TEST(a_signal_interrupts_next) {
    driven all = driven_open();
    waiting waiting = {all.context, HOSTLANE_OK, 0, false};
    pthread_t thread;
    lane_catch_signal();
    CHECK_EQ(pthread_create(&thread, NULL, next_thread, &waiting), 0);
    lane_signal_until(thread, &waiting.done);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_STATUS(waiting.status, HOSTLANE_E_INTERRUPTED);
    driven_close(&all);
}

TEST(close_wakes_next_and_stays_closed) {
    driven all = driven_open();
    waiting waiting = {all.context, HOSTLANE_OK, 0, false};
    hostlane_event_t event;
    hostlane_message_t *message;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, next_thread, &waiting), 0);
    wait_asleep(&waiting);
    CHECK_OK(hostlane_context_close(all.context, NULL));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_STATUS(waiting.status, HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_context_close(all.context, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_context_next(all.context, 0, &event, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_context_recv(all.context, all.client, -1, 0, &event, NULL), HOSTLANE_E_CLOSED);
    CHECK(hostlane_recv(all.client, 0, &message, NULL) != HOSTLANE_OK);
    CHECK_OK(hostlane_close(all.client, NULL));
    CHECK_OK(hostlane_close(all.server, NULL));
    CHECK_OK(hostlane_listener_close(all.listener, NULL));
}

TEST(closing_a_context_ends_its_descriptor_and_what_pends) {
    driven all = driven_open();
    hostlane_event_t started;
    hostlane_event_t event;
    int32_t fd;
    size_t n;
    CHECK_OK(hostlane_context_fd(all.context, &fd, NULL));
    CHECK_OK(hostlane_context_recv(all.context, all.client, HOSTLANE_ANY_CHANNEL, HOSTLANE_FOREVER, &started, NULL));
    CHECK_EQ(started.kind, HOSTLANE_EVENT_PENDING);
    CHECK(fcntl(fd, F_GETFD) != -1);
    CHECK_OK(hostlane_context_close(all.context, NULL));
    CHECK(fcntl(fd, F_GETFD) == -1 && errno == EBADF);
    CHECK_STATUS(hostlane_context_process(all.context, &event, 1, &n, NULL, NULL), HOSTLANE_E_CLOSED);
    CHECK_STATUS(hostlane_context_fd(all.context, &fd, NULL), HOSTLANE_E_CLOSED);
    CHECK_OK(hostlane_close(all.client, NULL));
    CHECK_OK(hostlane_close(all.server, NULL));
    CHECK_OK(hostlane_listener_close(all.listener, NULL));
}

int main(int argc, char **argv) { return check_main(argc, argv); }

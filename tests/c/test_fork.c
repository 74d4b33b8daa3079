/* A forked child: told so at every use, and never able to hurt the connection of its parent. */

#include "lane.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `body` in a forked child and gives its exit status; 0 when all its checks held. */
static int in_child(void (*body)(void *), void *argument) {
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(30);
        body(argument);
        _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}

static void use_peer(void *argument) {
    lane *lane = argument;
    hostlane_message_t *message = NULL;
    hostlane_peer_t peer;
    hostlane_info_t info;
    uint64_t rtt;
    CHECK_STATUS(hostlane_send(lane->client, 2, "x", 1, LONG, NULL), HOSTLANE_E_FORKED);
    CHECK_STATUS(hostlane_recv(lane->client, LONG, &message, NULL), HOSTLANE_E_FORKED);
    CHECK_STATUS(hostlane_recv_on(lane->client, 2, LONG, &message, NULL), HOSTLANE_E_FORKED);
    CHECK_STATUS(hostlane_request(lane->client, "x", 1, LONG, &message, NULL), HOSTLANE_E_FORKED);
    CHECK_STATUS(hostlane_ping(lane->client, LONG, &rtt, NULL), HOSTLANE_E_FORKED);
    CHECK_STATUS(hostlane_drain(lane->client, LONG, NULL), HOSTLANE_E_FORKED);
    CHECK_STATUS(hostlane_info(lane->client, &info, NULL), HOSTLANE_E_FORKED);
    CHECK_STATUS(hostlane_accept(lane->listener, LONG, &peer, NULL), HOSTLANE_E_FORKED);
    hostlane_close(lane->client, NULL);
    hostlane_close(lane->server, NULL);
    hostlane_listener_close(lane->listener, NULL);
}

TEST(a_child_cannot_use_or_hurt_a_peer_of_its_parent) {
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    CHECK_EQ(in_child(use_peer, &lane), 0);
    CHECK_EQ(access(lane_path("lane"), F_OK), 0);
    CHECK_OK(hostlane_send(lane.client, 2, "alive", 5, LONG, NULL));
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    hostlane_message_free(&message);
    CHECK_STATUS(hostlane_recv(lane.server, 0, &message, NULL), HOSTLANE_E_TIMEOUT);
    lane_close(&lane);
}

static void use_context(void *argument) {
    const hostlane_context_t context = *(hostlane_context_t *)argument;
    hostlane_event_t event;
    size_t n;
    CHECK_STATUS(hostlane_context_process(context, &event, 1, &n, NULL, NULL), HOSTLANE_E_FORKED);
    CHECK_STATUS(hostlane_context_next(context, LONG, &event, NULL), HOSTLANE_E_FORKED);
    CHECK_STATUS(hostlane_context_connect(context, "x", 1, NULL, LONG, &event, NULL), HOSTLANE_E_FORKED);
    hostlane_context_close(context, NULL);
}

TEST(a_child_cannot_use_a_context_of_its_parent) {
    hostlane_context_t context;
    hostlane_event_t event;
    CHECK_OK(hostlane_context_new(&context, NULL));
    CHECK_EQ(in_child(use_context, &context), 0);
    CHECK_STATUS(hostlane_context_next(context, 0, &event, NULL), HOSTLANE_E_TIMEOUT);
    CHECK_OK(hostlane_context_close(context, NULL));
}

static void open_own(void *argument) {
    (void)argument;
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    CHECK_OK(hostlane_send(lane.client, 2, "mine", 4, LONG, NULL));
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    hostlane_message_free(&message);
    lane_close(&lane);
}

TEST(a_child_opens_its_own) {
    hostlane_listener_t listener = lane_listen("parent", NULL);
    CHECK_EQ(in_child(open_own, NULL), 0);
    CHECK_OK(hostlane_listener_close(listener, NULL));
}

TEST(a_dying_child_leaves_the_socket) {
    lane lane = lane_open();
    hostlane_message_t *message = NULL;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        exit(0);
    }
    int status = 1;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK_OK(hostlane_send(lane.client, 2, "alive", 5, LONG, NULL));
    CHECK_OK(hostlane_recv(lane.server, LONG, &message, NULL));
    hostlane_message_free(&message);
    lane_close(&lane);
}

static atomic_bool enough;

/* Looks objects up, and makes and closes others. */
static void *use_handles(void *argument) {
    const hostlane_peer_t peer = *(hostlane_peer_t *)argument;
    while (!atomic_load(&enough)) {
        hostlane_stats_t stats;
        hostlane_context_t context;
        for (int i = 0; i < 100; i++) {
            CHECK_OK(hostlane_stats(peer, &stats, NULL));
        }
        CHECK_OK(hostlane_context_new(&context, NULL));
        CHECK_OK(hostlane_context_close(context, NULL));
    }
    return NULL;
}

static void use_beside_others(void *argument) {
    const hostlane_peer_t peer = *(hostlane_peer_t *)argument;
    hostlane_context_t context;
    hostlane_context_t forged = {0};
    hostlane_event_t event;
    hostlane_stats_t stats;
    alarm(5);
    CHECK_STATUS(hostlane_stats(peer, &stats, NULL), HOSTLANE_E_FORKED);
    CHECK_OK(hostlane_context_new(&context, NULL));
    CHECK_STATUS(hostlane_context_next(context, 0, &event, NULL), HOSTLANE_E_TIMEOUT);
    CHECK_STATUS(hostlane_context_next(forged, 0, &event, NULL), HOSTLANE_E_INVALID_HANDLE);
    CHECK_OK(hostlane_context_close(context, NULL));
    CHECK_STATUS(hostlane_context_close(context, NULL), HOSTLANE_E_CLOSED);
    /* Not by exit: what the other threads held at the fork would be counted as leaks of this process. */
    kill(getpid(), SIGKILL);
}

TEST(a_child_does_not_wait_for_what_other_threads_did_at_the_fork) {
    lane lane = lane_open();
    pthread_t threads[4];
    atomic_store(&enough, false);
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, use_handles, &lane.client), 0);
    }
    for (int round = 0; round < 300; round++) {
        CHECK_EQ(in_child(use_beside_others, &lane.client), SIGKILL);
    }
    atomic_store(&enough, true);
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    lane_close(&lane);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

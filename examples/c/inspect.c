/* inspect ADDR: one program that fails a call, and tells what is known about its connection and what happened to it. */

#include <hostlane.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { LIMIT = 5000 };

/* README-begin */
/* Prints what happened, to the last event. A program that goes on does so from a timer or a thread. */
static hostlane_status_t tell(hostlane_error_t **err) {
    static const char *const levels[] = {"off", "error", "warn", "info", "debug"}; /* HOSTLANE_LOG_OFF and so on */
    hostlane_log_event_t events[16];
    size_t n = 0;
    do {
        const hostlane_status_t status = hostlane_log_drain(events, 16, &n, NULL, err);
        if (status != HOSTLANE_OK) {
            return status;
        }
        for (size_t at = 0; at < n; ++at) {
            const hostlane_log_event_t *event = &events[at];
            fprintf(stderr, "%s %s %s %s\n", levels[event->level], event->event, event->peer, event->text);
        }
        hostlane_log_events_free(events, n);
    } while (n != 0);
    return HOSTLANE_OK;
}

static hostlane_status_t inspect(hostlane_peer_t peer, hostlane_error_t **err) {
    hostlane_info_t info;
    hostlane_stats_t stats;
    hostlane_status_t status = hostlane_info(peer, &info, err);
    if (status == HOSTLANE_OK) {
        printf("on level %u, to user %u\n", (unsigned)info.level, (unsigned)info.uid);
        status = hostlane_stats(peer, &stats, err);
    }
    if (status == HOSTLANE_OK) {
        printf("%llu calls, %llu open\n", (unsigned long long)stats.calls, (unsigned long long)stats.open_calls);
        printf("%llu sent, %llu received\n", (unsigned long long)stats.messages_sent,
               (unsigned long long)stats.messages_received);
    }
    return status;
}
/* README-end */

/* Makes a call that fails, and says with what code. */
static hostlane_status_t ask(hostlane_peer_t peer, hostlane_error_t **err) {
    hostlane_message_t *reply = NULL;
    hostlane_error_t *why = NULL;
    hostlane_status_t status = hostlane_request(peer, "price", 5, LIMIT, &reply, &why);
    hostlane_message_free(&reply);
    if (status != HOSTLANE_E_REMOTE_ERROR) {
        *err = why;
        return status;
    }
    printf("%s %u\n", hostlane_status_name(status), (unsigned)hostlane_error_remote_status(why));
    hostlane_error_free(&why);
    status = inspect(peer, err);
    return status == HOSTLANE_OK ? hostlane_drain(peer, LIMIT, err) : status;
}

static void *serve(void *argument) {
    const hostlane_listener_t *listener = argument;
    hostlane_peer_t peer;
    hostlane_message_t *request = NULL;
    if (hostlane_accept(*listener, LIMIT, &peer, NULL) != HOSTLANE_OK) {
        return NULL;
    }
    if (hostlane_recv(peer, LIMIT, &request, NULL) == HOSTLANE_OK) {
        hostlane_fail(request, 42, "no such price", 13, LIMIT, NULL);
        hostlane_message_free(&request);
    }
    hostlane_drain(peer, LIMIT, NULL); /* the other side may have been first */
    hostlane_close(peer, NULL);
    return NULL;
}

static int report(hostlane_status_t status, hostlane_error_t *err) {
    const char *why;
    if (status == HOSTLANE_OK) {
        return 0;
    }
    hostlane_error_message(err, &why, NULL);
    fprintf(stderr, "hostlane: %s: %s\n", hostlane_status_name(status), why);
    hostlane_error_free(&err);
    return 1;
}

int main(int argc, char **argv) {
    hostlane_error_t *err = NULL;
    hostlane_listener_t listener;
    hostlane_peer_t peer;
    pthread_t serving;
    if (argc != 2) {
        fprintf(stderr, "usage: inspect ADDR\n");
        return 2;
    }
    hostlane_status_t status = hostlane_log_enable(HOSTLANE_LOG_INFO, &err);
    if (status == HOSTLANE_OK) {
        status = hostlane_listen(argv[1], strlen(argv[1]), NULL, &listener, &err);
    }
    if (status != HOSTLANE_OK) {
        return report(status, err);
    }
    if (pthread_create(&serving, NULL, serve, &listener) != 0) {
        hostlane_listener_close(listener, NULL);
        return 1;
    }
    status = hostlane_connect(argv[1], strlen(argv[1]), NULL, LIMIT, &peer, &err);
    if (status == HOSTLANE_OK) {
        status = ask(peer, &err);
        hostlane_close(peer, NULL);
    }
    pthread_join(serving, NULL);
    hostlane_listener_close(listener, NULL);
    if (status == HOSTLANE_OK) {
        status = tell(&err);
    }
    return report(status, err);
}

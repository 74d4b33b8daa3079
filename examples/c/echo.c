/* echo ADDR: answers every message on its channel, and every call with its own bytes, until SIGINT or SIGTERM. */

#include <hostlane.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints and frees an error, unless it is only the end of a conversation. */
static void report(hostlane_status_t status, hostlane_error_t *err) {
    if (status != HOSTLANE_E_PEER_CLOSED && status != HOSTLANE_E_CLOSED) {
        const char *why;
        hostlane_error_message(err, &why, NULL);
        fprintf(stderr, "hostlane: %s: %s\n", hostlane_status_name(status), why);
    }
    hostlane_error_free(&err);
}

/* Serves one client until it ends. A thread of its own keeps it from delaying others. */
static void *serve(void *argument) {
    const hostlane_peer_t peer = *(hostlane_peer_t *)argument;
    free(argument);
    hostlane_error_t *err = NULL;
    hostlane_status_t status;
    do {
        hostlane_message_t *message = NULL;
        status = hostlane_recv(peer, HOSTLANE_FOREVER, &message, &err);
        if (status == HOSTLANE_OK) {
            size_t len;
            const uint8_t *data = hostlane_message_data(message, &len);
            status = hostlane_reply(message, data, len, HOSTLANE_FOREVER, &err);
        }
        if (status == HOSTLANE_E_CALL_ENDED) { /* its caller has left, and others come */
            hostlane_error_free(&err);
            status = HOSTLANE_OK;
        }
        hostlane_message_free(&message);
    } while (status == HOSTLANE_OK);
    report(status, err);
    hostlane_close(peer, NULL);
    return NULL;
}

static void *accept_clients(void *argument) {
    const hostlane_listener_t listener = *(hostlane_listener_t *)argument;
    hostlane_peer_t peer;
    hostlane_error_t *err = NULL;
    hostlane_status_t status;
    while ((status = hostlane_accept(listener, HOSTLANE_FOREVER, &peer, &err)) == HOSTLANE_OK) {
        pthread_t thread;
        hostlane_peer_t *client = malloc(sizeof(*client));
        if (client != NULL) {
            *client = peer;
        }
        if (client != NULL && pthread_create(&thread, NULL, serve, client) == 0) {
            pthread_detach(thread);
        } else {
            fprintf(stderr, "hostlane: no thread for a client\n");
            free(client);
            hostlane_close(peer, NULL);
        }
    }
    report(status, err);
    return NULL;
}

int main(int argc, char **argv) {
    hostlane_listener_t listener;
    hostlane_error_t *err = NULL;
    pthread_t accepting;
    sigset_t ends;
    int received;
    if (argc != 2) {
        fprintf(stderr, "usage: echo ADDR\n");
        return 2;
    }
    /* Blocked before any thread exists, so that every signal waits for sigwait below. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);

    const hostlane_status_t status = hostlane_listen(argv[1], strlen(argv[1]), NULL, &listener, &err);
    if (status != HOSTLANE_OK) {
        report(status, err);
        return 1;
    }
    if (pthread_create(&accepting, NULL, accept_clients, &listener) != 0) {
        hostlane_listener_close(listener, NULL);
        return 1;
    }
    printf("ready %s\n", argv[1]);
    fflush(stdout);
    sigwait(&ends, &received);
    hostlane_listener_close(listener, NULL);
    pthread_join(accepting, NULL);
    return 0;
}

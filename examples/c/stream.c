/* stream ADDR: one program that serves sums over a stream, and asks for one. */

#include <hostlane.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Milliseconds. */
#define LIMIT 5000

static int number(const hostlane_message_t *message) {
    char text[16] = "";
    size_t len;
    const uint8_t *data = hostlane_message_data(message, &len);
    memcpy(text, data, len < sizeof(text) ? len : sizeof(text) - 1);
    return atoi(text);
}

/* README-begin */
/* Takes the items of a call, and answers it with their sum. */
static hostlane_status_t add(hostlane_message_t *request, hostlane_stream_t stream, hostlane_error_t **err) {
    char text[32];
    int sum = number(request);
    for (;;) {
        hostlane_message_t *item;
        hostlane_status_t status = hostlane_stream_recv(stream, LIMIT, &item, err);
        if (status != HOSTLANE_OK) {
            return status;
        }
        if (item == NULL) { /* the end */
            snprintf(text, sizeof(text), "%d", sum);
            return hostlane_reply(request, text, strlen(text), LIMIT, err);
        }
        sum += number(item);
        hostlane_message_free(&item);
        snprintf(text, sizeof(text), "%d so far", sum);
        status = hostlane_stream_send(stream, text, strlen(text), LIMIT, err);
        if (status != HOSTLANE_OK) {
            return status;
        }
    }
}

/* Sends 1, 2 and 3, and prints what comes back. */
static hostlane_status_t ask(hostlane_stream_t stream, hostlane_error_t **err) {
    hostlane_status_t status = HOSTLANE_OK;
    for (const char *n = "123"; *n != '\0' && status == HOSTLANE_OK; ++n) {
        status = hostlane_stream_send(stream, n, 1, LIMIT, err);
    }
    if (status == HOSTLANE_OK) {
        status = hostlane_stream_finish(stream, LIMIT, err);
    }
    while (status == HOSTLANE_OK) {
        hostlane_message_t *item;
        size_t len;
        status = hostlane_stream_recv(stream, LIMIT, &item, err);
        if (status == HOSTLANE_OK && item == NULL) { /* the end: the reply is there */
            hostlane_message_t *reply = NULL;
            status = hostlane_stream_reply(stream, &reply, err);
            if (status == HOSTLANE_OK) {
                printf("the sum is %d\n", number(reply));
            }
            hostlane_message_free(&reply);
            return status;
        }
        if (status == HOSTLANE_OK) {
            const uint8_t *data = hostlane_message_data(item, &len);
            printf("%.*s\n", (int)len, (const char *)data);
            hostlane_message_free(&item);
        }
    }
    return status;
}
/* README-end */

static int report(hostlane_status_t status, hostlane_error_t *err) {
    if (status != HOSTLANE_OK) {
        const char *why;
        hostlane_error_message(err, &why, NULL);
        fprintf(stderr, "hostlane: %s: %s\n", hostlane_status_name(status), why);
        hostlane_error_free(&err);
    }
    return status == HOSTLANE_OK ? 0 : 1;
}

static void *serve(void *argument) {
    const hostlane_listener_t listener = *(hostlane_listener_t *)argument;
    hostlane_error_t *err = NULL;
    hostlane_peer_t peer;
    hostlane_stream_t stream;
    hostlane_message_t *request = NULL;
    hostlane_status_t status = hostlane_accept(listener, LIMIT, &peer, &err);
    if (status == HOSTLANE_OK) {
        status = hostlane_recv(peer, LIMIT, &request, &err);
        if (status == HOSTLANE_OK) {
            status = hostlane_message_stream(request, &stream, &err);
            if (status == HOSTLANE_OK) {
                status = add(request, stream, &err);
                hostlane_stream_close(stream, NULL);
            }
            hostlane_message_free(&request);
        }
        if (status == HOSTLANE_OK) {
            status = hostlane_drain(peer, LIMIT, &err);
        }
        hostlane_close(peer, NULL);
    }
    report(status, err);
    return NULL;
}

int main(int argc, char **argv) {
    hostlane_error_t *err = NULL;
    hostlane_listener_t listener;
    hostlane_peer_t peer;
    hostlane_stream_t stream;
    pthread_t serving;
    if (argc != 2) {
        fprintf(stderr, "usage: stream ADDR\n");
        return 2;
    }
    hostlane_status_t status = hostlane_listen(argv[1], strlen(argv[1]), NULL, &listener, &err);
    if (status != HOSTLANE_OK) {
        return report(status, err);
    }
    if (pthread_create(&serving, NULL, serve, &listener) != 0) {
        hostlane_listener_close(listener, NULL);
        return 1;
    }
    status = hostlane_connect(argv[1], strlen(argv[1]), NULL, LIMIT, &peer, &err);
    if (status == HOSTLANE_OK) {
        status = hostlane_stream_open(peer, "100", 3, NULL, &stream, &err);
        if (status == HOSTLANE_OK) {
            status = ask(stream, &err);
            hostlane_stream_close(stream, NULL);
        }
        if (status == HOSTLANE_OK) {
            status = hostlane_drain(peer, LIMIT, &err);
        }
        hostlane_close(peer, NULL);
    }
    pthread_join(serving, NULL);
    hostlane_listener_close(listener, NULL);
    return report(status, err);
}

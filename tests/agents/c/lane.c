/* Benchmarks over hostlane. */

#include "agent.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints and frees an error; the exit status. */
static int failed(hostlane_error_t *err) {
    const char *why;
    hostlane_error_message(err, &why, NULL);
    fprintf(stderr, "agent: %s: %s\n", hostlane_status_name(hostlane_error_status(err)), why);
    hostlane_error_free(&err);
    return 1;
}

static uint8_t *filled(size_t size) {
    uint8_t *bytes = grown(NULL, size);
    memset(bytes, 0x5a, size);
    return bytes;
}

static int ping_pong(hostlane_peer_t peer, const uint8_t *payload, size_t size, double seconds) {
    samples samples = {0};
    hostlane_error_t *err = NULL;
    uint64_t end = 0;
    for (size_t round = 0;; ++round) {
        if (round == WARM_UP) {
            end = now_ns() + (uint64_t)(seconds * 1e9);
        }
        const uint64_t started = now_ns();
        if (round >= WARM_UP && started >= end) {
            break;
        }
        hostlane_message_t *reply = NULL;
        size_t len;
        if (hostlane_request(peer, payload, size, LIMIT_MS, &reply, &err) != HOSTLANE_OK) {
            samples_free(&samples);
            return failed(err);
        }
        const uint64_t took = now_ns() - started;
        hostlane_message_data(reply, &len);
        hostlane_message_free(&reply);
        if (len != size) {
            fprintf(stderr, "agent: sent %zu bytes, received %zu\n", size, len);
            samples_free(&samples);
            return 1;
        }
        if (round >= WARM_UP) {
            samples_add(&samples, took);
        }
    }
    samples_print(&samples);
    samples_free(&samples);
    return 0;
}

static int one_way(hostlane_peer_t peer, const uint8_t *payload, size_t size, double seconds) {
    hostlane_error_t *err = NULL;
    hostlane_message_t *reply = NULL;
    uint64_t messages = 0;
    char expected[32];
    const uint64_t started = now_ns();
    const uint64_t end = started + (uint64_t)(seconds * 1e9);
    while (now_ns() < end) {
        if (hostlane_send(peer, HOSTLANE_CHANNEL_DATA, payload, size, LIMIT_MS, &err) != HOSTLANE_OK) {
            return failed(err);
        }
        ++messages;
    }
    if (hostlane_request(peer, "count", 5, LIMIT_MS, &reply, &err) != HOSTLANE_OK) {
        return failed(err);
    }
    const uint64_t took = now_ns() - started;
    size_t len;
    const uint8_t *count = hostlane_message_data(reply, &len);
    snprintf(expected, sizeof(expected), "%" PRIu64, messages);
    const int same = len == strlen(expected) && memcmp(count, expected, len) == 0;
    if (same) {
        stream_print(messages, size, took);
    } else {
        fprintf(stderr, "agent: sent %s messages, the sink counted %.*s\n", expected, (int)len, (const char *)count);
    }
    hostlane_message_free(&reply);
    return same ? 0 : 1;
}

static int with_peer(int (*run)(hostlane_peer_t, const uint8_t *, size_t, double), const char *address, size_t size,
                     double seconds) {
    hostlane_peer_t peer;
    hostlane_error_t *err = NULL;
    if (hostlane_connect(address, strlen(address), NULL, LIMIT_MS, &peer, &err) != HOSTLANE_OK) {
        return failed(err);
    }
    uint8_t *payload = filled(size);
    const int status = run(peer, payload, size, seconds);
    free(payload);
    hostlane_close(peer, NULL);
    return status;
}

int lane_bench(const char *address, size_t size, double seconds) {
    return with_peer(ping_pong, address, size, seconds);
}

int lane_stream(const char *address, size_t size, double seconds) { return with_peer(one_way, address, size, seconds); }

/* Most messages, and bytes of them, that are received in one go. */
#define BATCH 64
#define ROOM (256 * 1024)

/* Counts what arrives on DATA; whoever calls is told. */
static void *count(void *argument) {
    const hostlane_peer_t peer = *(hostlane_peer_t *)argument;
    free(argument);
    hostlane_error_t *err = NULL;
    hostlane_status_t status;
    uint64_t messages = 0;
    uint8_t *buffer = grown(NULL, ROOM);
    hostlane_entry_t entries[BATCH];
    do {
        size_t n = 0;
        status = hostlane_recv_batch(peer, HOSTLANE_FOREVER, buffer, ROOM, entries, BATCH, &n, &err);
        for (size_t at = 0; at < n; ++at) {
            if (entries[at].channel == HOSTLANE_CHANNEL_DATA) {
                ++messages;
            } else if (status == HOSTLANE_OK) {
                char text[32];
                const int len = snprintf(text, sizeof(text), "%" PRIu64, messages);
                status = hostlane_reply(entries[at].message, text, (size_t)len, LIMIT_MS, &err);
            }
            hostlane_message_free(&entries[at].message);
        }
    } while (status == HOSTLANE_OK);
    free(buffer);
    if (status == HOSTLANE_E_PEER_CLOSED) {
        hostlane_error_free(&err);
    } else {
        failed(err);
    }
    hostlane_close(peer, NULL);
    return NULL;
}

int lane_sink(const char *address) {
    hostlane_listener_t listener;
    hostlane_peer_t peer;
    hostlane_error_t *err = NULL;
    if (hostlane_listen(address, strlen(address), NULL, &listener, &err) != HOSTLANE_OK) {
        return failed(err);
    }
    printf("ready %s\n", address);
    fflush(stdout);
    while (hostlane_accept(listener, HOSTLANE_FOREVER, &peer, &err) == HOSTLANE_OK) {
        pthread_t thread;
        hostlane_peer_t *client = grown(NULL, sizeof(*client));
        *client = peer;
        if (pthread_create(&thread, NULL, count, client) != 0) {
            fprintf(stderr, "agent: no thread for a client\n");
            return 1;
        }
        pthread_detach(thread);
    }
    return failed(err);
}

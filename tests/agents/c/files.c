/* Sends files and hands back what came back, for somebody else to compare. */

#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE ((size_t)256 * 1024)

typedef struct {
    uint8_t *bytes;
    size_t len;
    size_t room;
} buffer;

static void append(buffer *buffer, const void *bytes, size_t len) {
    if (buffer->room - buffer->len < len) {
        buffer->room = (buffer->len + len) * 2;
        buffer->bytes = grown(buffer->bytes, buffer->room);
    }
    if (len > 0) {
        memcpy(buffer->bytes + buffer->len, bytes, len);
    }
    buffer->len += len;
}

/* False when the file cannot be read, with errno. */
static bool read_file(const char *path, buffer *into) {
    static char part[64 * 1024];
    FILE *file = fopen(path, "rb");
    into->len = 0;
    if (file == NULL) {
        return false;
    }
    size_t n;
    while ((n = fread(part, 1, sizeof(part), file)) > 0) {
        append(into, part, n);
    }
    const bool good = ferror(file) == 0;
    const int why = errno;
    fclose(file);
    errno = why;
    return good;
}

static void answer(const char *kind, const uint8_t *bytes, size_t len, uint64_t ns) {
    printf("%s %zu %" PRIu64 "\n", kind, len, ns);
    if (len > 0) {
        fwrite(bytes, 1, len, stdout);
    }
}

/* Every piece as a DATA message, each echo awaited before the next. */
static hostlane_status_t echo(hostlane_peer_t peer, const buffer *file, buffer *back, uint64_t *median,
                              hostlane_error_t **err) {
    static samples samples;
    samples_clear(&samples);
    back->len = 0;
    size_t at = 0;
    do {
        const size_t len = file->len - at < PIECE ? file->len - at : PIECE;
        hostlane_message_t *message = NULL;
        const uint64_t started = now_ns();
        hostlane_status_t status =
            hostlane_send(peer, HOSTLANE_CHANNEL_DATA, len > 0 ? file->bytes + at : NULL, len, LIMIT_MS, err);
        if (status == HOSTLANE_OK) {
            status = hostlane_recv_on(peer, HOSTLANE_CHANNEL_DATA, LIMIT_MS, &message, err);
        }
        if (status != HOSTLANE_OK) {
            return status;
        }
        samples_add(&samples, now_ns() - started);
        size_t received;
        const uint8_t *bytes = hostlane_message_data(message, &received);
        append(back, bytes, received);
        hostlane_message_free(&message);
        at += len;
    } while (at < file->len);
    *median = samples_median(&samples);
    return HOSTLANE_OK;
}

/* One file there and back, both ways. */
static hostlane_status_t carry(hostlane_peer_t peer, const buffer *file, buffer *back, hostlane_error_t **err) {
    uint64_t median = 0;
    hostlane_message_t *reply = NULL;
    hostlane_status_t status = echo(peer, file, back, &median, err);
    if (status != HOSTLANE_OK) {
        return status;
    }
    answer("data", back->bytes, back->len, median);
    const uint64_t started = now_ns();
    status = hostlane_request(peer, file->bytes, file->len, LIMIT_MS, &reply, err);
    if (status == HOSTLANE_OK) {
        const uint64_t took = now_ns() - started;
        size_t len;
        const uint8_t *bytes = hostlane_message_data(reply, &len);
        answer("call", bytes, len, took);
    }
    hostlane_message_free(&reply);
    return status;
}

int files_run(const char *address) {
    static buffer file;
    static buffer back;
    hostlane_peer_t peer = {0};
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while ((len = getline(&line, &room, stdin)) >= 0) {
        if (len > 0 && line[len - 1] == '\n') {
            line[len - 1] = 0;
        }
        if (!read_file(line, &file)) {
            printf("error io %s: %s\n", line, strerror(errno));
            fflush(stdout);
            continue;
        }
        hostlane_error_t *err = NULL;
        hostlane_status_t status = HOSTLANE_OK;
        if (peer.id == 0) {
            status = hostlane_connect(address, strlen(address), NULL, LIMIT_MS, &peer, &err);
        }
        if (status == HOSTLANE_OK) {
            status = carry(peer, &file, &back, &err);
        }
        if (status != HOSTLANE_OK) {
            const char *why;
            hostlane_error_message(err, &why, NULL);
            printf("error %s %s\n", hostlane_status_name(status), why);
            hostlane_error_free(&err);
            hostlane_close(peer, NULL);
            peer.id = 0;
        }
        fflush(stdout);
    }
    hostlane_close(peer, NULL);
    free(line);
    free(file.bytes);
    free(back.bytes);
    return 0;
}

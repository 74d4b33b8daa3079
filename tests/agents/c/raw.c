/* The floor: the same work over a hand-written, blocking Unix socket.
 *
 * A message is its length (8 bytes, little-endian) and that many bytes, written in one call. Length 0 asks a sink for
 * its count, which comes back as a length. */

#include "agent.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HEADER ((size_t)8)
#define CHUNK ((size_t)64 * 1024)

static int broken(const char *what) {
    fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
    return 1;
}

static bool write_all(int fd, const uint8_t *bytes, size_t len) {
    while (len > 0) {
        const ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return true;
}

/* Whole messages out of a stream: one read for as many as have arrived, one buffer for all. */
typedef struct {
    int fd;
    uint8_t *bytes;
    size_t room;
    size_t start;
    size_t end;
} reader;

/* Reads until `need` unread bytes are there; false at the end or on an error, with errno 0 at the end. */
static bool fill(reader *reader, size_t need) {
    if (reader->start == reader->end) {
        reader->start = reader->end = 0;
    }
    if (reader->room - reader->start < need) {
        memmove(reader->bytes, reader->bytes + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
        if (reader->room < need) {
            reader->room = need;
            reader->bytes = grown(reader->bytes, need);
        }
    }
    while (reader->end - reader->start < need) {
        const ssize_t n = read(reader->fd, reader->bytes + reader->end, reader->room - reader->end);
        if (n == 0) {
            errno = 0;
            return false;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            reader->end += (size_t)n;
        }
    }
    return true;
}

static uint64_t number(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int at = 7; at >= 0; --at) {
        value = value << 8 | bytes[at];
    }
    return value;
}

static void put_number(uint8_t *bytes, uint64_t value) {
    for (int at = 0; at < 8; ++at) {
        bytes[at] = (uint8_t)(value >> (8 * at));
    }
}

/* The next message with its header; NULL at the end. */
static const uint8_t *next(reader *reader, size_t *len) {
    if (!fill(reader, HEADER)) {
        return NULL;
    }
    *len = HEADER + number(reader->bytes + reader->start);
    if (!fill(reader, *len)) {
        return NULL;
    }
    const uint8_t *message = reader->bytes + reader->start;
    reader->start += *len;
    return message;
}

static reader reading(int fd) {
    const reader reader = {fd, grown(NULL, CHUNK), CHUNK, 0, 0};
    return reader;
}

static bool address_of(const char *path, struct sockaddr_un *address) {
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(address->sun_path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    strcpy(address->sun_path, path);
    return true;
}

static int connected(const char *path) {
    struct sockaddr_un address;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !address_of(path, &address) || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        return -1;
    }
    return fd;
}

static uint8_t *message_of(size_t size) {
    uint8_t *message = grown(NULL, HEADER + size);
    put_number(message, size);
    memset(message + HEADER, 0x5a, size);
    return message;
}

static void *echo_thread(void *argument) {
    reader from = reading((int)(intptr_t)argument);
    const uint8_t *message;
    size_t len;
    while ((message = next(&from, &len)) != NULL && write_all(from.fd, message, len)) {
    }
    close(from.fd);
    free(from.bytes);
    return NULL;
}

static void *sink_thread(void *argument) {
    reader from = reading((int)(intptr_t)argument);
    uint64_t messages = 0;
    size_t len;
    while (next(&from, &len) != NULL) {
        uint8_t answer[HEADER];
        if (len > HEADER) {
            ++messages;
            continue;
        }
        put_number(answer, messages);
        if (!write_all(from.fd, answer, HEADER)) {
            break;
        }
    }
    close(from.fd);
    free(from.bytes);
    return NULL;
}

static int serve(const char *path, void *(*thread)(void *)) {
    struct sockaddr_un address;
    const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listening < 0 || !address_of(path, &address) ||
        bind(listening, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listening, 64) != 0) {
        return broken(path);
    }
    printf("ready %s\n", path);
    fflush(stdout);
    for (;;) {
        pthread_t id;
        const int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            return broken("accept");
        }
        if (pthread_create(&id, NULL, thread, (void *)(intptr_t)fd) != 0) {
            return broken("thread");
        }
        pthread_detach(id);
    }
}

int raw_echo(const char *path) { return serve(path, echo_thread); }

int raw_sink(const char *path) { return serve(path, sink_thread); }

int raw_bench(const char *path, size_t size, double seconds) {
    samples samples = {0};
    const int fd = connected(path);
    if (fd < 0) {
        return broken(path);
    }
    uint8_t *message = message_of(size);
    reader from = reading(fd);
    uint64_t end = 0;
    int status = 0;
    for (size_t round = 0;; ++round) {
        if (round == WARM_UP) {
            end = now_ns() + (uint64_t)(seconds * 1e9);
        }
        const uint64_t started = now_ns();
        size_t len = 0;
        if (round >= WARM_UP && started >= end) {
            break;
        }
        if (!write_all(fd, message, HEADER + size) || next(&from, &len) == NULL || len != HEADER + size) {
            status = broken("round trip");
            break;
        }
        if (round >= WARM_UP) {
            samples_add(&samples, now_ns() - started);
        }
    }
    if (status == 0) {
        samples_print(&samples);
    }
    samples_free(&samples);
    free(message);
    free(from.bytes);
    close(fd);
    return status;
}

int raw_stream(const char *path, size_t size, double seconds) {
    if (size == 0) {
        fprintf(stderr, "agent: an empty message asks for the count; stream at least one byte\n");
        return 1;
    }
    const int fd = connected(path);
    if (fd < 0) {
        return broken(path);
    }
    uint8_t *message = message_of(size);
    const uint8_t question[HEADER] = {0};
    reader from = reading(fd);
    uint64_t messages = 0;
    bool good = true;
    const uint64_t started = now_ns();
    const uint64_t end = started + (uint64_t)(seconds * 1e9);
    while (good && now_ns() < end) {
        good = write_all(fd, message, HEADER + size);
        messages += good;
    }
    int status = 1;
    if (!good || !write_all(fd, question, HEADER) || !fill(&from, HEADER)) {
        broken("stream");
    } else if (number(from.bytes + from.start) != messages) {
        fprintf(stderr, "agent: the sink counted another number of messages\n");
    } else {
        stream_print(messages, size, now_ns() - started);
        status = 0;
    }
    free(message);
    free(from.bytes);
    close(fd);
    return status;
}

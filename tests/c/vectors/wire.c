/* The raw side of the vectors: what it writes, and the frames that it reads. */

#include "vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const struct {
    const char *name;
    uint8_t kind;
} kinds[] = {
    {"AUTH", 0x03},      {"READY", 0x04},   {"PING", 0x05},    {"PONG", 0x06},     {"GOAWAY", 0x07},
    {"DRAIN_ACK", 0x08}, {"CLOSE", 0x09},   {"ERROR", 0x0A},   {"CREDIT", 0x0B},   {"CANCEL", 0x0C},
    {"REFUSE", 0x0D},    {"MESSAGE", 0x10}, {"REQUEST", 0x11}, {"RESPONSE", 0x12}, {"STREAM", 0x13},
};

const char *name_of(uint8_t kind) {
    for (size_t at = 0; at < sizeof(kinds) / sizeof(kinds[0]); ++at) {
        if (kinds[at].kind == kind) {
            return kinds[at].name;
        }
    }
    return NULL;
}

uint8_t kind_of(const char *name) {
    for (size_t at = 0; at < sizeof(kinds) / sizeof(kinds[0]); ++at) {
        if (strcmp(kinds[at].name, name) == 0) {
            return kinds[at].kind;
        }
    }
    CHECK(!"a known type");
    return 0;
}

bool reserved(uint64_t channel) { return channel == 0 || (channel > 4 && channel < 256); }

uint64_t little(const uint8_t *bytes, size_t len) {
    uint64_t value = 0;
    while (len-- > 0) {
        value = value << 8 | bytes[len];
    }
    return value;
}

blob proof(blob secret, bool connector, blob request, blob response) {
    uint8_t text[16 + 2 * SHA256_DIGEST_LENGTH];
    unsigned len = 0;
    memcpy(text, connector ? "hostlane auth 1c" : "hostlane auth 1a", 16);
    SHA256(request.data, request.len, text + 16);
    SHA256(response.data, response.len, text + 16 + SHA256_DIGEST_LENGTH);
    blob found = {keep(EVP_MAX_MD_SIZE), 0};
    CHECK(HMAC(EVP_sha256(), secret.data, (int)secret.len, text, sizeof(text), found.data, &len) != NULL);
    found.len = len;
    return found;
}

static struct raw {
    int fd;
    blob out;
    uint8_t *in;
    size_t in_len;
    size_t in_cap;
    bool in_ended;
    bool out_ended;
    sent open[8];
} raw = {.fd = -1};

void raw_open(int fd) {
    raw.fd = fd;
    CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

void raw_close(void) {
    close(raw.fd);
    free(raw.in);
    raw = (struct raw){.fd = -1};
}

struct pollfd raw_waits(void) {
    const short events = raw.out.len > 0 ? POLLIN | POLLOUT : POLLIN;
    return (struct pollfd){raw.in_ended ? -1 : raw.fd, events, 0};
}

void raw_read(void) {
    for (;;) {
        if (raw.in_len + 65536 > raw.in_cap) {
            raw.in_cap = 2 * raw.in_cap + 65536;
            raw.in = realloc(raw.in, raw.in_cap);
            CHECK(raw.in != NULL);
        }
        const ssize_t n = recv(raw.fd, raw.in + raw.in_len, raw.in_cap - raw.in_len, 0);
        if (n > 0) {
            raw.in_len += (size_t)n;
            continue;
        }
        raw.in_ended |= n == 0 || (errno != EAGAIN && errno != EINTR);
        return;
    }
}

void raw_write(void) {
    while (raw.out.len > 0) {
        const ssize_t n = send(raw.fd, raw.out.data, raw.out.len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        /* Whoever found a fault hangs up in the middle. */
        raw.out.len = n < 0 ? 0 : raw.out.len - (size_t)n;
        raw.out.data += n < 0 ? 0 : n;
    }
    if (raw.out_ended) {
        shutdown(raw.fd, SHUT_WR);
        raw.out_ended = false;
    }
}

bool raw_settled(void) {
    struct sockaddr_un other;
    socklen_t len = sizeof(other);
    int unread = 0;
    const bool gone = getpeername(raw.fd, (struct sockaddr *)&other, &len) != 0;
    /* SIOCOUTQ: bytes the other side has not taken. */
    return gone || (raw.out.len == 0 && (ioctl(raw.fd, TIOCOUTQ, &unread) != 0 || unread == 0));
}

void put(const void *data, size_t len) {
    raw.out = joined(raw.out, data, len);
    raw_write();
}

void put_frame(uint16_t channel, const void *data, size_t len) {
    const uint8_t header[8] = {'I',
                               'P',
                               (uint8_t)len,
                               (uint8_t)(len >> 8),
                               (uint8_t)(len >> 16),
                               (uint8_t)(len >> 24),
                               (uint8_t)channel,
                               (uint8_t)(channel >> 8)};
    put(header, sizeof(header));
    put(data, len);
}

void put_frame1(uint8_t kind, uint8_t flags, uint16_t channel, uint64_t id, blob payload) {
    uint8_t header[16] = {(uint8_t)payload.len,
                          (uint8_t)(payload.len >> 8),
                          (uint8_t)(payload.len >> 16),
                          (uint8_t)(payload.len >> 24),
                          kind,
                          flags,
                          (uint8_t)channel,
                          (uint8_t)(channel >> 8)};
    for (int at = 0; at < 8; ++at) {
        header[8 + at] = (uint8_t)(id >> 8 * at);
    }
    put(header, sizeof(header));
    put(payload.data, payload.len);
}

void hang_up(void) {
    raw.out_ended = true;
    raw_write();
}

/* So many bytes that came; NULL when they do not within `ms`, or the stream ended. */
static const uint8_t *peek(size_t len, int64_t ms) {
    const int64_t deadline = lane_now() + ms;
    while (raw.in_len < len) {
        if (raw.in_ended || lane_now() >= deadline) {
            return NULL;
        }
        pump((int)(ms < 20 ? ms : 20));
    }
    return raw.in;
}

static blob taken_bytes(size_t len) {
    const blob found = joined((blob){NULL, 0}, raw.in, len);
    raw.in_len -= len;
    memmove(raw.in, raw.in + len, raw.in_len);
    return found;
}

bool frame0(uint16_t *channel, blob *payload, int64_t ms) {
    const uint8_t *header = peek(8, ms);
    if (header == NULL) {
        return false;
    }
    CHECK(header[0] == 'I' && header[1] == 'P');
    const size_t len = (size_t)little(header + 2, 4);
    *channel = (uint16_t)little(header + 6, 2);
    taken_bytes(8);
    CHECK(peek(len, LONG) != NULL);
    *payload = taken_bytes(len);
    return true;
}

static void read_extensions(sent *out) {
    const size_t len = 2 + (size_t)little(out->payload.data, 2);
    for (size_t at = 2; at < len; at += 4 + (size_t)little(out->payload.data + at + 2, 2)) {
        const uint8_t *value = out->payload.data + at + 4;
        switch (little(out->payload.data + at, 2)) {
        case 1:
            out->has_deadline = true;
            out->deadline = little(value, 8);
            break;
        case 4:
            out->has_status = true;
            out->status = (uint32_t)little(value, 4);
            break;
        }
    }
    out->payload.data += len;
    out->payload.len -= len;
}

bool frame1(sent *out, int64_t ms) {
    const uint8_t *header;
    while ((header = peek(16, ms)) != NULL) {
        memset(out, 0, sizeof(*out));
        const size_t len = (size_t)little(header, 4);
        out->kind = header[4];
        out->flags = header[5];
        out->channel = (uint16_t)little(header + 6, 2);
        out->id = little(header + 8, 8);
        taken_bytes(16);
        CHECK(peek(len, LONG) != NULL);
        out->payload = taken_bytes(len);
        if (name_of(out->kind) == NULL) {
            continue; /* NOP, GREASE and the like */
        }
        if (out->kind < 0x10) {
            return true;
        }
        if (out->flags & EXT) {
            read_extensions(out);
        }
        if ((out->flags & (FIRST | LAST)) == FIRST) {
            out->payload.data += 4;
            out->payload.len -= 4;
        }
        sent *open = &raw.open[out->channel % 8];
        if (!(out->flags & FIRST)) {
            open->payload = joined(open->payload, out->payload.data, out->payload.len);
            open->flags |= out->flags & LAST;
            *out = *open;
        }
        if (out->flags & LAST) {
            return true;
        }
        *open = *out;
    }
    return false;
}

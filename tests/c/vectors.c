/* The shared vectors of tests/vectors, played against a real listener or a real connection, driven by a context: the
 * test is the other side, at a raw socket. What the steps mean stands in tests/vectors/README.md. */

#include "lane.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* How long nothing may come where nothing is to come, in milliseconds. */
#define HOLD 15

#define FIRST 0x01
#define LAST 0x02
#define EXT 0x04
#define FIN 0x08
#define STREAM 0x10

#define MOST 64
#define MOST_OPERATIONS 1024

static const struct {
    const char *name;
    uint8_t kind;
} kinds[] = {
    {"AUTH", 0x03},      {"READY", 0x04},   {"PING", 0x05},    {"PONG", 0x06},     {"GOAWAY", 0x07},
    {"DRAIN_ACK", 0x08}, {"CLOSE", 0x09},   {"ERROR", 0x0A},   {"CREDIT", 0x0B},   {"CANCEL", 0x0C},
    {"REFUSE", 0x0D},    {"MESSAGE", 0x10}, {"REQUEST", 0x11}, {"RESPONSE", 0x12}, {"STREAM", 0x13},
};

static const char *name_of(uint8_t kind) {
    for (size_t at = 0; at < sizeof(kinds) / sizeof(kinds[0]); ++at) {
        if (kinds[at].kind == kind) {
            return kinds[at].name;
        }
    }
    return NULL;
}

static uint8_t kind_of(const char *name) {
    for (size_t at = 0; at < sizeof(kinds) / sizeof(kinds[0]); ++at) {
        if (strcmp(kinds[at].name, name) == 0) {
            return kinds[at].kind;
        }
    }
    CHECK(!"a known type");
    return 0;
}

/* ---- cases ------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t *data;
    size_t len;
} blob;

/* Memory of a case, freed at its end. */
static void *kept[4096];
static size_t kept_len;

static void *keep(size_t len) {
    CHECK(kept_len < sizeof(kept) / sizeof(kept[0]));
    void *memory = calloc(1, len + 1);
    CHECK(memory != NULL);
    return kept[kept_len++] = memory;
}

static blob joined(blob first, const void *data, size_t len) {
    blob both = {keep(first.len + len), first.len + len};
    if (first.len > 0) {
        memcpy(both.data, first.data, first.len);
    }
    if (len > 0) {
        memcpy(both.data + first.len, data, len);
    }
    return both;
}

static bool same(blob one, const void *data, size_t len) {
    return one.len == len && (len == 0 || memcmp(one.data, data, len) == 0);
}

/* A byte value of tests/vectors/README.md. */
static blob bytes_of(const json_t *value) {
    blob found = {NULL, 0};
    if (json_is_string(value)) {
        const char *digits = json_string_value(value);
        found.len = json_string_length(value) / 2;
        found.data = keep(found.len);
        for (size_t at = 0; at < found.len; ++at) {
            const char pair[3] = {digits[2 * at], digits[2 * at + 1], 0};
            found.data[at] = (uint8_t)strtoul(pair, NULL, 16);
        }
    } else if (json_is_array(value)) {
        for (size_t at = 0; at < json_array_size(value); ++at) {
            const blob part = bytes_of(json_array_get(value, at));
            found = joined(found, part.data, part.len);
        }
    } else if (json_object_get(value, "text") != NULL) {
        const json_t *text = json_object_get(value, "text");
        found = joined(found, json_string_value(text), json_string_length(text));
    } else if (json_is_object(value)) {
        const blob unit = bytes_of(json_object_get(value, "hex"));
        const size_t times = (size_t)json_number_value(json_object_get(value, "times"));
        found.len = unit.len * times;
        found.data = keep(found.len);
        for (size_t at = 0; at < times; ++at) {
            memcpy(found.data + at * unit.len, unit.data, unit.len);
        }
    }
    return found;
}

/* A number; those that a double cannot hold only have to be large. */
static uint64_t number(const json_t *value) {
    const double number = json_number_value(value);
    return number >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)number;
}

static const char *text(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

/* Whether `names` is this name, or has it. */
static bool names_have(const json_t *names, const char *name) {
    if (json_is_string(names)) {
        return strcmp(json_string_value(names), name) == 0;
    }
    for (size_t at = 0; at < json_array_size(names); ++at) {
        if (strcmp(json_string_value(json_array_get(names, at)), name) == 0) {
            return true;
        }
    }
    return false;
}

#define CHECK_NAMED(status, names)                                                                                     \
    do {                                                                                                               \
        const hostlane_status_t check_is = (status);                                                                   \
        if (!names_have(names, hostlane_status_name(check_is))) {                                                      \
            fprintf(stderr, "%s:%d: %s is %s\n", __FILE__, __LINE__, #status, hostlane_status_name(check_is));         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* What is not played, by reason, and what is played now. */
static struct {
    const char *reason;
    int count;
} skipped[8];
static char playing[128];

static void tell(void) {
    if (playing[0] != 0) {
        fprintf(stderr, "while playing %s\n", playing);
    }
}

static void begin_case(void);
static void end_case(void);

/* Plays each case of a file; what `unfit` gives a reason against is counted under it. */
static void each(const char *file, const char *(*unfit)(const json_t *), void (*play)(const json_t *)) {
    char path[512];
    json_error_t error;
    static bool telling;
    if (!telling) {
        telling = true;
        CHECK_EQ(atexit(tell), 0);
    }
    snprintf(path, sizeof(path), "%s/%s", HOSTLANE_VECTORS, file);
    json_t *document = json_load_file(path, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    CHECK(document != NULL);
    const json_t *cases = json_object_get(document, "cases");
    CHECK(json_array_size(cases) > 0);
    memset(skipped, 0, sizeof(skipped));
    int played = 0;
    for (size_t at = 0; at < json_array_size(cases); ++at) {
        const json_t *one = json_array_get(cases, at);
        const char *reason = unfit == NULL ? NULL : unfit(one);
        if (reason != NULL) {
            size_t slot = 0;
            while (skipped[slot].reason != NULL && strcmp(skipped[slot].reason, reason) != 0) {
                ++slot;
            }
            skipped[slot].reason = reason;
            ++skipped[slot].count;
            continue;
        }
        snprintf(playing, sizeof(playing), "%s", text(one, "id"));
        begin_case();
        play(one);
        end_case();
        ++played;
    }
    playing[0] = 0;
    printf("%d cases of %s played\n", played, file);
    for (size_t slot = 0; skipped[slot].reason != NULL; ++slot) {
        printf("%d cases not played: %s\n", skipped[slot].count, skipped[slot].reason);
    }
    json_decref(document);
}

/* ---- the side under test, and the raw one ------------------------------------------------------------------ */

/* Something the program asked for. */
typedef struct {
    char name[32];
    bool done;
    hostlane_event_t event;
    hostlane_error_t *error;
} operation;

/* What the side under test sent. */
typedef struct {
    uint8_t kind;
    uint8_t flags;
    uint16_t channel;
    uint64_t id;
    blob payload;
    bool has_status;
    uint32_t status;
    bool has_deadline;
    uint64_t deadline;
} sent;

static struct {
    hostlane_context_t context;
    int context_fd;
    hostlane_listener_t listener;
    bool serving;
    operation *made;
    hostlane_peer_t peer;
    operation ops[MOST_OPERATIONS];
    size_t ops_len;
    struct {
        char name[32];
        hostlane_message_t *message;
    } taken[MOST];
    size_t taken_len;
    struct {
        char name[32];
        hostlane_stream_t stream;
    } streams[MOST];
    size_t streams_len;
    int fd;
    blob out;
    uint8_t *in;
    size_t in_len;
    size_t in_cap;
    bool in_ended;
    bool out_ended;
    sent open[8];
} w;

static void begin_case(void) {
    memset(&w, 0, sizeof(w));
    w.fd = -1;
    CHECK_OK(hostlane_context_new(&w.context, NULL));
    CHECK_OK(hostlane_context_fd(w.context, &w.context_fd, NULL));
}

static void end_case(void) {
    for (size_t at = 0; at < w.streams_len; ++at) {
        hostlane_stream_close(w.streams[at].stream, NULL);
    }
    for (size_t at = 0; at < w.taken_len; ++at) {
        hostlane_message_free(&w.taken[at].message);
    }
    for (size_t at = 0; at < w.ops_len; ++at) {
        hostlane_events_free(&w.ops[at].event, 1);
        hostlane_error_free(&w.ops[at].error);
    }
    hostlane_close(w.peer, NULL);
    if (w.serving) {
        hostlane_listener_close(w.listener, NULL);
    }
    hostlane_context_close(w.context, NULL);
    close(w.fd);
    free(w.in);
    while (kept_len > 0) {
        free(kept[--kept_len]);
    }
}

static void raw_read(void) {
    for (;;) {
        if (w.in_len + 65536 > w.in_cap) {
            w.in_cap = 2 * w.in_cap + 65536;
            w.in = realloc(w.in, w.in_cap);
            CHECK(w.in != NULL);
        }
        const ssize_t n = recv(w.fd, w.in + w.in_len, w.in_cap - w.in_len, 0);
        if (n > 0) {
            w.in_len += (size_t)n;
            continue;
        }
        w.in_ended |= n == 0 || (errno != EAGAIN && errno != EINTR);
        return;
    }
}

static void raw_write(void) {
    while (w.out.len > 0) {
        const ssize_t n = send(w.fd, w.out.data, w.out.len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        /* Whoever found a fault hangs up in the middle. */
        w.out.len = n < 0 ? 0 : w.out.len - (size_t)n;
        w.out.data += n < 0 ? 0 : n;
    }
    if (w.out_ended) {
        shutdown(w.fd, SHUT_WR);
        w.out_ended = false;
    }
}

/* Moves everything that can be moved, and waits `ms` at most while nothing can. */
static void pump(int ms) {
    struct pollfd both[2] = {{w.context_fd, POLLIN, 0}, {w.in_ended ? -1 : w.fd, POLLIN, 0}};
    hostlane_event_t events[16];
    size_t n = 0;
    bool more = true;
    raw_write();
    if (w.out.len > 0) {
        both[1].events |= POLLOUT;
    }
    CHECK(poll(both, 2, ms) >= 0);
    raw_read();
    while (more) {
        CHECK_OK(hostlane_context_process(w.context, events, 16, &n, &more, NULL));
        for (size_t event = 0; event < n; ++event) {
            for (size_t at = 0; at < w.ops_len; ++at) {
                operation *op = &w.ops[at];
                if (!op->done && op->event.op == events[event].op) {
                    op->event = events[event];
                    op->done = true;
                }
            }
        }
    }
}

/* Until what was written was taken, or nobody will take it. */
static void settle(void) {
    const int64_t deadline = lane_now() + LONG;
    struct sockaddr_un other;
    for (;;) {
        socklen_t len = sizeof(other);
        int unread = 0;
        pump(0);
        const bool gone = getpeername(w.fd, (struct sockaddr *)&other, &len) != 0;
        /* SIOCOUTQ: bytes the other side has not taken. */
        if (gone || (w.out.len == 0 && (ioctl(w.fd, TIOCOUTQ, &unread) != 0 || unread == 0))) {
            pump(0);
            return;
        }
        CHECK(lane_now() < deadline);
        pump(1);
    }
}

static void put(const void *data, size_t len) {
    w.out = joined(w.out, data, len);
    raw_write();
}

static void put_frame(uint16_t channel, const void *data, size_t len) {
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

static void put_frame1(uint8_t kind, uint8_t flags, uint16_t channel, uint64_t id, blob payload) {
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

static uint64_t little(const uint8_t *bytes, size_t len) {
    uint64_t value = 0;
    while (len-- > 0) {
        value = value << 8 | bytes[len];
    }
    return value;
}

/* So many bytes that came; NULL when they do not within `ms`, or the stream ended. */
static const uint8_t *peek(size_t len, int64_t ms) {
    const int64_t deadline = lane_now() + ms;
    while (w.in_len < len) {
        if (w.in_ended || lane_now() >= deadline) {
            return NULL;
        }
        pump((int)(ms < 20 ? ms : 20));
    }
    return w.in;
}

static blob taken_bytes(size_t len) {
    const blob found = joined((blob){NULL, 0}, w.in, len);
    w.in_len -= len;
    memmove(w.in, w.in + len, w.in_len);
    return found;
}

/* A frame of level 0; whether one comes. */
static bool frame0(uint16_t *channel, blob *payload, int64_t ms) {
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

static blob handshake(void) {
    uint16_t channel = 1;
    blob payload;
    CHECK(frame0(&channel, &payload, LONG));
    CHECK_EQ(channel, 0);
    return payload;
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

/* A control frame or a whole message of level 1; whether one comes within `ms`. */
static bool frame1(sent *out, int64_t ms) {
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
        sent *open = &w.open[out->channel % 8];
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

/* ---- operations -------------------------------------------------------------------------------------------- */

static operation *operation_named(const char *name) {
    for (size_t at = w.ops_len; at-- > 0;) {
        if (name != NULL && strcmp(w.ops[at].name, name) == 0) {
            return &w.ops[at];
        }
    }
    return NULL;
}

static operation *new_operation(const char *name) {
    CHECK(w.ops_len < MOST_OPERATIONS);
    operation *op = &w.ops[w.ops_len++];
    snprintf(op->name, sizeof(op->name), "%s", name == NULL ? "" : name);
    return op;
}

/* What starting it gave. */
static operation *begun(operation *op, hostlane_status_t status) {
    if (status != HOSTLANE_OK) {
        op->event.kind = HOSTLANE_EVENT_FAILED;
        op->event.status = status;
    }
    op->done = op->event.kind != HOSTLANE_EVENT_PENDING;
    return op;
}

static hostlane_event_t *ended(operation *op) {
    const int64_t deadline = lane_now() + LONG;
    CHECK(op != NULL);
    while (!op->done) {
        CHECK(lane_now() < deadline);
        pump(20);
    }
    return &op->event;
}

static const hostlane_error_t *error_of(const operation *op) {
    return op->event.error != NULL ? op->event.error : op->error;
}

/* Listens or connects; the options of both sides have the same members, but not in the same place. */
typedef struct {
    uint16_t channels[16];
    size_t channels_len;
    const char *token;
    const char *secret;
    uint64_t max_message;
    uint64_t max_calls;
    bool fds;
    bool demand;
    bool block;
} chosen;

#define APPLY(options)                                                                                                 \
    do {                                                                                                               \
        if (from->channels_len > 0) {                                                                                  \
            (options).channels = from->channels;                                                                       \
            (options).channels_len = from->channels_len;                                                               \
        }                                                                                                              \
        if (from->token != NULL) {                                                                                     \
            (options).auth_token = from->token;                                                                        \
            (options).auth_token_len = strlen(from->token);                                                            \
        }                                                                                                              \
        if (from->secret != NULL) {                                                                                    \
            (options).secret = from->secret;                                                                           \
            (options).secret_len = strlen(from->secret);                                                               \
        }                                                                                                              \
        if (from->max_message > 0) {                                                                                   \
            (options).max_message = from->max_message;                                                                 \
        }                                                                                                              \
        if (from->max_calls > 0) {                                                                                     \
            (options).max_calls = from->max_calls;                                                                     \
        }                                                                                                              \
        if (from->demand) {                                                                                            \
            (options).level = HOSTLANE_LEVEL_ONE;                                                                      \
        }                                                                                                              \
        if (from->block) {                                                                                             \
            (options).policies = policies;                                                                             \
            (options).policies_len = from->channels_len;                                                               \
        }                                                                                                              \
        (options).fds = from->fds;                                                                                     \
    } while (0)

static void open_side(bool serving, const chosen *from) {
    hostlane_policy_t policies[16];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    for (size_t at = 0; at < from->channels_len; ++at) {
        policies[at] = (hostlane_policy_t){.policy = HOSTLANE_POLICY_BLOCK, .channel = from->channels[at]};
    }
    const char *path = lane_path("vector");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    w.serving = serving;
    if (serving) {
        hostlane_listen_options_t options;
        hostlane_listen_options_init(&options, sizeof(options));
        APPLY(options);
        CHECK_OK(hostlane_listen(path, strlen(path), &options, &w.listener, NULL));
        w.made = new_operation("made");
        begun(w.made, hostlane_context_accept(w.context, w.listener, LONG, &w.made->event, &w.made->error));
        w.fd = lane_raw_connect("vector");
    } else {
        hostlane_connect_options_t options;
        hostlane_connect_options_init(&options, sizeof(options));
        APPLY(options);
        const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
        CHECK_EQ(listen(server, 1), 0);
        w.made = new_operation("made");
        begun(w.made,
              hostlane_context_connect(w.context, path, strlen(path), &options, LONG, &w.made->event, &w.made->error));
        w.fd = accept(server, NULL, NULL);
        close(server);
        unlink(path);
    }
    CHECK(w.fd >= 0);
    CHECK_EQ(fcntl(w.fd, F_SETFL, O_NONBLOCK), 0);
}

/* HOSTLANE_OK once there is a connection, or why there is none. */
static hostlane_status_t outcome(void) {
    const int64_t deadline = lane_now() + LONG;
    hostlane_refusal_t refusal;
    size_t refused = 0;
    while (!w.made->done) {
        CHECK(lane_now() < deadline);
        pump(5);
        if (w.serving) {
            CHECK_OK(hostlane_listener_refusals(w.listener, &refusal, 1, &refused, NULL));
            if (refused > 0) {
                return refusal.status;
            }
        }
    }
    if (w.made->event.kind != HOSTLANE_EVENT_FAILED) {
        w.peer = w.made->event.peer;
        return HOSTLANE_OK;
    }
    return w.made->event.status;
}

static hostlane_peer_t peer(void) {
    CHECK_OK(outcome());
    return w.peer;
}

static operation *receive(int64_t ms) {
    operation *op = new_operation("");
    begun(op, hostlane_context_recv(w.context, peer(), HOSTLANE_ANY_CHANNEL, ms, &op->event, &op->error));
    ended(op);
    return op;
}

/* Why the connection is over. */
static hostlane_status_t end(void) {
    hostlane_status_t status = outcome();
    while (status == HOSTLANE_OK) {
        const operation *op = receive(LONG);
        status = op->event.kind == HOSTLANE_EVENT_FAILED ? op->event.status : HOSTLANE_OK;
    }
    return status;
}

/* What comes of the bytes that were put has to be this message. */
static const hostlane_event_t *expect_message(uint16_t channel, blob payload) {
    const operation *op = receive(LONG);
    CHECK_STATUS(op->event.status, HOSTLANE_OK);
    CHECK_EQ(hostlane_message_channel(op->event.message), channel);
    CHECK(same(payload, op->event.data, op->event.len));
    return &op->event;
}

/* And then this end: `expected` is "more", "clean" or names. */
static void expect_end(const json_t *expected) {
    if (names_have(expected, "more")) {
        settle();
        CHECK_STATUS(receive(HOLD)->event.status, HOSTLANE_E_TIMEOUT);
    } else if (names_have(expected, "clean")) {
        CHECK_STATUS(end(), HOSTLANE_E_PEER_CLOSED);
    } else {
        CHECK_NAMED(end(), expected);
    }
}

/* ---- handshakes -------------------------------------------------------------------------------------------- */

static json_t *parsed(blob payload) {
    json_t *json = json_loadb((const char *)payload.data, payload.len, JSON_DECODE_INT_AS_REAL, NULL);
    CHECK(json != NULL);
    return json;
}

static void refuses(blob payload, const json_t *names) {
    json_t *json = parsed(payload);
    const json_t *error = json_object_get(json, "error");
    CHECK(names_have(names, text(error, "name")));
    const hostlane_status_t code = (hostlane_status_t)number(json_object_get(error, "code"));
    CHECK(strcmp(hostlane_status_name(code), text(error, "name")) == 0);
    json_decref(json);
}

static void take_channels(chosen *into, const json_t *channels) {
    CHECK(json_array_size(channels) <= 16);
    into->channels_len = json_array_size(channels);
    for (size_t at = 0; at < into->channels_len; ++at) {
        into->channels[at] = (uint16_t)number(json_array_get(channels, at));
    }
}

static bool same_channels(const json_t *channels, const uint16_t *found, size_t len) {
    bool equal = json_array_size(channels) == len;
    for (size_t at = 0; equal && at < len; ++at) {
        equal = number(json_array_get(channels, at)) == found[at];
    }
    return equal;
}

static bool reserved(uint64_t channel) { return channel == 0 || (channel > 4 && channel < 256); }

static const char hello[] = "{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1,2,3,4]}";

TEST(the_error_table) {
    char path[512];
    bool known[1000] = {false};
    snprintf(path, sizeof(path), "%s/errors.json", HOSTLANE_VECTORS);
    json_t *document = json_load_file(path, 0, NULL);
    const json_t *cases = json_object_get(document, "cases");
    CHECK(json_array_size(cases) > 0);
    for (size_t at = 0; at < json_array_size(cases); ++at) {
        const json_t *row = json_array_get(cases, at);
        const json_int_t code = json_integer_value(json_object_get(row, "number"));
        CHECK(strcmp(hostlane_status_name((hostlane_status_t)code), text(row, "name")) == 0);
        CHECK(strcmp(hostlane_status_meaning((hostlane_status_t)code), text(row, "doc")) == 0);
        known[code] = true;
    }
    for (hostlane_status_t code = 1; code < 1000; ++code) {
        CHECK_EQ(known[code], strcmp(hostlane_status_name(code), hostlane_status_name(-1)) != 0);
    }
    json_decref(document);
}

static const char *unfit_request(const json_t *one) {
    const json_t *channels = json_object_get(json_object_get(one, "server"), "channels");
    for (size_t at = 0; at < json_array_size(channels); ++at) {
        if (reserved(number(json_array_get(channels, at)))) {
            return "a program cannot ask for a reserved channel to be served";
        }
    }
    return NULL;
}

static void play_request(const json_t *one) {
    const json_t *server = json_object_get(one, "server");
    const json_t *expect = json_object_get(one, "expect");
    chosen options = {.token = text(server, "auth_token")};
    take_channels(&options, json_object_get(server, "channels"));
    open_side(true, &options);
    const blob payload = bytes_of(json_object_get(one, "payload"));
    put_frame(0, payload.data, payload.len);
    const blob answer = handshake();
    const json_t *refused = json_object_get(expect, "refused");
    if (refused != NULL) {
        refuses(answer, refused);
        CHECK_NAMED(end(), refused);
        return;
    }
    hostlane_info_t info;
    CHECK_OK(hostlane_info(peer(), &info, NULL));
    CHECK(same_channels(json_object_get(expect, "channels"), info.channels, info.channels_len));
    json_t *json = parsed(answer);
    CHECK(same_channels(json_object_get(json, "channels"), info.channels, info.channels_len));
    json_decref(json);
}

TEST(requests) { each("framing/requests.json", unfit_request, play_request); }

static void play_response(const json_t *one) {
    const json_t *expect = json_object_get(one, "expect");
    chosen options = {.token = NULL};
    take_channels(&options, json_object_get(one, "asked"));
    open_side(false, &options);
    json_t *asked = parsed(handshake());
    CHECK(same_channels(json_object_get(asked, "channels"), options.channels, options.channels_len));
    json_decref(asked);
    const blob payload = bytes_of(json_object_get(one, "payload"));
    put_frame(0, payload.data, payload.len);
    if (json_object_get(expect, "error") != NULL) {
        CHECK_NAMED(outcome(), json_object_get(expect, "error"));
        return;
    }
    hostlane_info_t info;
    CHECK_OK(hostlane_info(peer(), &info, NULL));
    CHECK(same_channels(json_object_get(expect, "channels"), info.channels, info.channels_len));
    CHECK(strcmp(info.peer_id, text(expect, "peer_id")) == 0);
}

TEST(responses) { each("framing/responses.json", NULL, play_response); }

static const char *unfit_frames(const json_t *one) {
    const json_t *frames = json_object_get(json_object_get(one, "expect"), "frames");
    for (size_t at = 0; at < json_array_size(frames); ++at) {
        if (reserved(number(json_object_get(json_array_get(frames, at), "channel")))) {
            return "a frame on a channel that is no program's";
        }
    }
    return NULL;
}

static void play_frames(const json_t *one) {
    const json_t *frames = json_object_get(json_object_get(one, "expect"), "frames");
    char greeting[256] = "{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1,2,3,4";
    chosen options = {.channels = {1, 2, 3, 4}, .channels_len = 4};
    options.max_message = number(json_object_get(one, "limit"));
    for (size_t at = 0; at < json_array_size(frames); ++at) {
        const uint16_t channel = (uint16_t)number(json_object_get(json_array_get(frames, at), "channel"));
        bool known = false;
        for (size_t known_at = 0; known_at < options.channels_len; ++known_at) {
            known |= options.channels[known_at] == channel;
        }
        if (!known) {
            CHECK(options.channels_len < 16);
            options.channels[options.channels_len++] = channel;
            snprintf(greeting + strlen(greeting), sizeof(greeting) - strlen(greeting), ",%d", channel);
        }
    }
    strcat(greeting, "]}");
    open_side(true, &options);
    put_frame(0, greeting, strlen(greeting));
    handshake();
    peer();
    const blob bytes = bytes_of(json_object_get(one, "chunks"));
    put(bytes.data, bytes.len);
    w.out_ended = json_is_true(json_object_get(one, "eof"));
    for (size_t at = 0; at < json_array_size(frames); ++at) {
        const json_t *frame = json_array_get(frames, at);
        expect_message((uint16_t)number(json_object_get(frame, "channel")),
                       bytes_of(json_object_get(frame, "payload")));
    }
    expect_end(json_object_get(json_object_get(one, "expect"), "end"));
}

TEST(frames) { each("framing/frames.json", unfit_frames, play_frames); }

static void play_control(const json_t *one) {
    const json_t *expect = json_object_get(one, "expect");
    const char *type = text(expect, "type");
    const chosen options = {.token = NULL};
    open_side(true, &options);
    put_frame(0, hello, sizeof(hello) - 1);
    handshake();
    peer();
    const blob payload = bytes_of(json_object_get(one, "payload"));
    put_frame(0, payload.data, payload.len);
    if (type == NULL) {
        CHECK_NAMED(end(), json_object_get(expect, "error"));
        return;
    }
    if (strcmp(type, "shutdown_force") == 0) {
        CHECK_STATUS(end(), HOSTLANE_E_PEER_CLOSED);
        return;
    }
    const char *answer = strcmp(type, "shutdown_request") == 0 ? "shutdown_ack" : "pong";
    if (strcmp(type, "ping") != 0 && strcmp(type, "shutdown_request") != 0) {
        /* What comes next is the answer to the ping behind it. */
        put_frame(0, "{\"type\":\"ping\"}", 15);
    }
    json_t *json = parsed(handshake());
    CHECK(strcmp(text(json, "type"), answer) == 0);
    json_decref(json);
}

TEST(control) { each("framing/control.json", NULL, play_control); }

/* The options of a side of offers.json, grants.json or transcripts.json. */
static void take_side(chosen *options, const json_t *side) {
    options->secret = text(side, "secret");
    options->demand = json_is_true(json_object_get(side, "demand"));
    options->fds = json_array_size(json_object_get(side, "features")) > 0;
}

static const char *unfit_features(const json_t *side) {
    const json_t *features = json_object_get(side, "features");
    for (size_t at = 0; at < json_array_size(features); ++at) {
        if (strcmp(json_string_value(json_array_get(features, at)), "fds") != 0) {
            return "a feature that this language does not have";
        }
    }
    return NULL;
}

static const char *unfit_offer(const json_t *one) { return unfit_features(json_object_get(one, "server")); }

static const char *unfit_grant(const json_t *one) { return unfit_features(json_object_get(one, "client")); }

static void play_offer(const json_t *one) {
    const json_t *expect = json_object_get(one, "expect");
    chosen options = {.channels = {1, 2}, .channels_len = 2};
    take_side(&options, json_object_get(one, "server"));
    open_side(true, &options);
    const blob payload = bytes_of(json_object_get(one, "payload"));
    put_frame(0, payload.data, payload.len);
    const blob answer = handshake();
    if (json_object_get(expect, "refused") != NULL) {
        refuses(answer, json_object_get(expect, "refused"));
        return;
    }
    json_t *json = parsed(answer);
    const json_t *member = json_object_get(json, "hostlane");
    CHECK_EQ(member != NULL, number(json_object_get(expect, "level")));
    if (member == NULL) {
        hostlane_info_t info;
        CHECK_OK(hostlane_info(peer(), &info, NULL));
        CHECK_EQ(info.level, 0);
    } else {
        CHECK_EQ(names_have(json_object_get(member, "features"), "fds"),
                 names_have(json_object_get(expect, "features"), "fds"));
        CHECK_EQ(json_object_get(member, "auth") != NULL, json_is_true(json_object_get(expect, "auth")));
    }
    json_decref(json);
}

TEST(offers) { each("level1/offers.json", unfit_offer, play_offer); }

/* What a side proves a secret by. */
static blob proof(blob secret, bool connector, blob request, blob response) {
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

static blob blob_of(const char *text) { return joined((blob){NULL, 0}, text, strlen(text)); }

static void play_grant(const json_t *one) {
    const json_t *expect = json_object_get(one, "expect");
    chosen options = {.channels = {1, 2}, .channels_len = 2};
    take_side(&options, json_object_get(one, "client"));
    open_side(false, &options);
    const blob request = handshake();
    const blob response = bytes_of(json_object_get(one, "payload"));
    put_frame(0, response.data, response.len);
    if (json_object_get(expect, "error") != NULL) {
        CHECK_NAMED(outcome(), json_object_get(expect, "error"));
        return;
    }
    if (number(json_object_get(expect, "level")) == 1) {
        if (json_is_true(json_object_get(expect, "auth"))) {
            put_frame1(kind_of("AUTH"), 0, 0, 0, proof(blob_of(options.secret), false, request, response));
        }
        put_frame1(kind_of("READY"), 0, 0, 0, (blob){NULL, 0});
    }
    hostlane_info_t info;
    CHECK_OK(hostlane_info(peer(), &info, NULL));
    CHECK_EQ(info.level, number(json_object_get(expect, "level")));
    CHECK_EQ(strcmp(info.features, "fds") == 0, names_have(json_object_get(expect, "features"), "fds"));
}

TEST(grants) { each("level1/grants.json", unfit_grant, play_grant); }

static void play_proof(const json_t *one) {
    const blob secret = bytes_of(json_object_get(one, "secret"));
    const blob request = bytes_of(json_object_get(one, "request"));
    const blob response = bytes_of(json_object_get(one, "response"));
    const json_t *expect = json_object_get(one, "expect");
    const blob connector = bytes_of(json_object_get(expect, "connector"));
    const blob acceptor = bytes_of(json_object_get(expect, "acceptor"));
    CHECK(same(proof(secret, true, request, response), connector.data, connector.len));
    CHECK(same(proof(secret, false, request, response), acceptor.data, acceptor.len));
}

TEST(proofs_of_the_raw_side) { each("level1/proofs.json", NULL, play_proof); }

/* ---- level 1, one rule at a time --------------------------------------------------------------------------- */

/* A server whose client offers level 1, up to its own READY. */
static void open_level1(uint64_t max_message) {
    const chosen options = {.max_message = max_message};
    static const char offer[] = "{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1,2,3,4],\"hostlane\":"
                                "{\"versions\":[1],\"instance\":\"00000000000000000000000000000000\"}}";
    open_side(true, &options);
    put_frame(0, offer, sizeof(offer) - 1);
    handshake();
}

static void ready(void) {
    put_frame1(kind_of("READY"), 0, 0, 0, (blob){NULL, 0});
    peer();
}

static const char *unfit_frames1(const json_t *one) {
    const json_t *items = json_object_get(json_object_get(one, "expect"), "items");
    for (size_t at = 0; at < json_array_size(items); ++at) {
        const char *type = text(json_array_get(items, at), "type");
        if (strcmp(type, "MESSAGE") != 0 && strcmp(type, "PING") != 0 && strcmp(type, "READY") != 0 &&
            strcmp(type, "CREDIT") != 0) {
            return "a frame that takes a call, a secret or another ending to be right";
        }
    }
    return NULL;
}

static void play_frames1(const json_t *one) {
    const json_t *items = json_object_get(json_object_get(one, "expect"), "items");
    open_level1(number(json_object_get(one, "max_message")));
    if (json_is_true(json_object_get(one, "ready"))) {
        ready();
    }
    const blob bytes = bytes_of(json_object_get(one, "chunks"));
    put(bytes.data, bytes.len);
    w.out_ended = json_is_true(json_object_get(one, "eof"));
    for (size_t at = 0; at < json_array_size(items); ++at) {
        const json_t *item = json_array_get(items, at);
        if (strcmp(text(item, "type"), "MESSAGE") == 0) {
            expect_message((uint16_t)number(json_object_get(item, "channel")),
                           bytes_of(json_object_get(item, "payload")));
        }
    }
    expect_end(json_object_get(json_object_get(one, "expect"), "end"));
}

TEST(frames_of_level_1) { each("level1/frames.json", unfit_frames1, play_frames1); }

static const char *unfit_extensions(const json_t *one) {
    const json_t *deadline =
        json_object_get(json_object_get(json_object_get(one, "expect"), "extensions"), "deadline_us");
    const bool hasty = deadline != NULL && number(deadline) < 1000000;
    return hasty ? "a deadline that may pass before a program takes the call" : NULL;
}

static void play_extensions(const json_t *one) {
    const json_t *expect = json_object_get(one, "expect");
    const blob payload = bytes_of(json_object_get(one, "payload"));
    json_t *more = json_string("more");
    const json_t *end = json_object_get(expect, "error") != NULL ? json_object_get(expect, "error") : more;
    open_level1(0);
    if (strcmp(text(one, "form"), "ready") == 0) {
        put_frame1(kind_of("READY"), 0, 0, 0, payload);
    } else {
        ready();
        put_frame1(kind_of("REQUEST"), FIRST | LAST | EXT, 1, 1, payload);
        if (end == more) {
            const hostlane_event_t *event = expect_message(1, bytes_of(json_object_get(expect, "rest")));
            const json_t *told = json_object_get(expect, "extensions");
            size_t len = 0;
            const blob key = bytes_of(json_object_get(told, "idempotency"));
            const uint8_t *data = hostlane_message_idempotency_key(event->message, &len);
            CHECK(same(key, data, len));
            const blob trace = bytes_of(json_object_get(told, "trace"));
            data = hostlane_message_trace(event->message, &len);
            CHECK(same(trace, data, len));
            CHECK_EQ(event->timeout_ms >= 0, json_object_get(told, "deadline_us") != NULL);
        }
    }
    expect_end(end);
    json_decref(more);
}

TEST(extensions) { each("level1/extensions.json", unfit_extensions, play_extensions); }

static const char *unfit_control1(const json_t *one) {
    const char *type = text(one, "type");
    const bool shown = json_object_get(json_object_get(one, "expect"), "error") != NULL || strcmp(type, "PING") == 0 ||
                       strcmp(type, "PONG") == 0 || strcmp(type, "CLOSE") == 0;
    return shown ? NULL : "a frame that takes a call or a handshake to be right";
}

static void play_control1(const json_t *one) {
    const json_t *expect = json_object_get(one, "expect");
    const json_t *fields = json_object_get(expect, "fields");
    const char *type = text(one, "type");
    open_level1(0);
    ready();
    put_frame1(kind_of(type), 0, 0, 0, bytes_of(json_object_get(one, "payload")));
    if (fields == NULL) {
        CHECK_NAMED(end(), json_object_get(expect, "error"));
    } else if (strcmp(type, "CLOSE") == 0) {
        hostlane_status_t code = (hostlane_status_t)number(json_object_get(fields, "code"));
        if (strcmp(hostlane_status_name(code), hostlane_status_name(-1)) == 0) {
            code = HOSTLANE_E_REMOTE_ERROR;
        }
        CHECK_STATUS(end(), code == HOSTLANE_E_CLOSED ? HOSTLANE_E_PEER_CLOSED : code);
    } else if (strcmp(type, "PING") == 0) {
        const blob token = bytes_of(json_object_get(fields, "token"));
        sent out;
        do {
            CHECK(frame1(&out, LONG));
        } while (out.kind != kind_of("PONG"));
        CHECK(same(token, out.payload.data, out.payload.len));
    } else {
        settle();
        CHECK_STATUS(receive(HOLD)->event.status, HOSTLANE_E_TIMEOUT);
    }
}

TEST(control_frames_of_level_1) { each("level1/control.json", unfit_control1, play_control1); }

/* ---- whole conversations ----------------------------------------------------------------------------------- */

/* One conversation under way. */
static struct {
    bool client;
    bool level1;
    bool over;
    bool hung_up;
    const char *secret;
    blob request;
    blob response;
    bool has_next;
    sent next;
    struct {
        uint16_t channel;
        uint64_t id;
        uint64_t total;
    } credit[MOST];
    size_t credit_len;
} talk;

static const char *unfit_transcript(const json_t *one) {
    const json_t *limits = json_object_get(one, "limits");
    const json_t *steps = json_object_get(one, "steps");
    if (json_object_get(limits, "window") != NULL || json_object_get(limits, "stream_window") != NULL) {
        return "a window of another size is no option";
    }
    for (size_t at = 0; at < json_array_size(steps); ++at) {
        const json_t *does = json_object_get(json_array_get(steps, at), "does");
        if (json_object_get(json_array_get(steps, at), "clock") != NULL) {
            return "the clock of a process cannot be set";
        }
        if (json_is_true(json_object_get(does, "fin")) && json_string_length(json_object_get(does, "payload")) > 0) {
            return "a program says the end of a stream apart from a payload";
        }
    }
    return NULL;
}

/* Waits for what goes out, and keeps it for `take`. */
static void look(int64_t ms) {
    while (!talk.has_next && frame1(&talk.next, ms)) {
        const char *name = name_of(talk.next.kind);
        if (strcmp(name, "CREDIT") == 0) {
            size_t at = 0;
            while (at < talk.credit_len &&
                   (talk.credit[at].channel != talk.next.channel || talk.credit[at].id != talk.next.id)) {
                ++at;
            }
            CHECK(at < MOST);
            talk.credit_len += at == talk.credit_len;
            talk.credit[at].channel = talk.next.channel;
            talk.credit[at].id = talk.next.id;
            const uint64_t total = little(talk.next.payload.data, 8);
            talk.credit[at].total = total > talk.credit[at].total ? total : talk.credit[at].total;
        } else {
            talk.has_next =
                !((strcmp(name, "CLOSE") == 0 && talk.over) || (strcmp(name, "CANCEL") == 0 && talk.hung_up));
        }
    }
}

static sent take(void) {
    look(LONG);
    CHECK(talk.has_next);
    talk.has_next = false;
    return talk.next;
}

static void silent(void) {
    uint16_t channel;
    blob payload;
    settle();
    if (talk.level1) {
        look(HOLD);
        CHECK(!talk.has_next);
    } else {
        CHECK(!frame0(&channel, &payload, HOLD));
    }
}

static void sends0(const json_t *value) {
    uint16_t channel;
    blob payload;
    CHECK(frame0(&channel, &payload, LONG));
    CHECK_EQ(channel, number(json_object_get(value, "channel")));
    const json_t *expected = json_object_get(value, "json");
    if (expected == NULL) {
        const blob bytes = bytes_of(json_object_get(value, "payload"));
        CHECK(same(bytes, payload.data, payload.len));
        return;
    }
    json_t *got = parsed(payload);
    if (talk.client) {
        json_object_del(got, "hostlane");
    }
    CHECK(json_equal(got, expected));
    json_decref(got);
}

static void sends(const json_t *value) {
    if (json_object_get(value, "type") == NULL) {
        sends0(value);
        return;
    }
    const sent out = take();
    CHECK_EQ(out.kind, kind_of(text(value, "type")));
    const json_t *member = json_object_get(value, "channel");
    CHECK(member == NULL || number(member) == out.channel);
    member = json_object_get(value, "id");
    CHECK(member == NULL || number(member) == out.id);
    if (out.kind >= 0x10) {
        const blob payload = bytes_of(json_object_get(value, "payload"));
        CHECK(same(payload, out.payload.data, out.payload.len));
        CHECK_EQ((out.flags & FIN) != 0, json_is_true(json_object_get(value, "fin")));
        CHECK_EQ((out.flags & STREAM) != 0, json_is_true(json_object_get(value, "stream")));
        member = json_object_get(value, "status");
        CHECK_EQ(out.has_status, member != NULL);
        CHECK(member == NULL || number(member) == out.status);
        member = json_object_get(value, "deadline_us");
        CHECK(member == NULL || (out.has_deadline && out.deadline > 0 && out.deadline <= number(member)));
        return;
    }
    member = json_object_get(value, "last");
    CHECK(member == NULL || number(member) == little(out.payload.data, 8));
    member = json_object_get(value, "total");
    CHECK(member == NULL || number(member) == little(out.payload.data, 8));
    member = json_object_get(value, "code");
    CHECK(member == NULL || out.kind == kind_of("GOAWAY") || number(member) == little(out.payload.data, 4));
    if (json_object_get(value, "token") != NULL) {
        const blob token = bytes_of(json_object_get(value, "token"));
        CHECK(same(token, out.payload.data, out.payload.len));
    }
    if (json_is_true(json_object_get(value, "proof"))) {
        CHECK(same(proof(blob_of(talk.secret), talk.client, talk.request, talk.response), out.payload.data,
                   out.payload.len));
    }
}

static void closes(const json_t *names) {
    const sent out = take();
    CHECK_EQ(out.kind, kind_of("CLOSE"));
    CHECK(names_have(names, hostlane_status_name((hostlane_status_t)little(out.payload.data, 4))));
    silent();
    talk.over = true;
}

static void credits(const json_t *value) {
    const int64_t deadline = lane_now() + LONG;
    const uint64_t channel = number(json_object_get(value, "channel"));
    const uint64_t id = number(json_object_get(value, "id"));
    for (;;) {
        for (size_t at = 0; at < talk.credit_len; ++at) {
            if (talk.credit[at].channel == channel && talk.credit[at].id == id &&
                talk.credit[at].total >= number(json_object_get(value, "at_least"))) {
                return;
            }
        }
        CHECK(lane_now() < deadline);
        look(HOLD);
    }
}

static void asks(const json_t *value) {
    talk.request = handshake();
    json_t *json = parsed(talk.request);
    const json_t *member = json_object_get(json, "hostlane");
    const json_t *versions = json_object_get(member, "versions");
    bool offered = false;
    for (size_t at = 0; at < json_array_size(versions); ++at) {
        offered |= number(json_array_get(versions, at)) == 1;
    }
    CHECK(offered);
    CHECK_EQ(json_object_get(member, "auth") != NULL, json_is_true(json_object_get(value, "auth")));
    json_decref(json);
}

static void answers(const json_t *value) {
    talk.response = handshake();
    json_t *json = parsed(talk.response);
    const json_t *member = json_object_get(json, "hostlane");
    CHECK_EQ(number(json_object_get(member, "version")), number(json_object_get(value, "level")));
    CHECK_EQ(json_object_get(member, "auth") != NULL, json_is_true(json_object_get(value, "auth")));
    talk.level1 = member != NULL;
    json_decref(json);
}

static void arrives(const json_t *value) {
    const blob bytes = bytes_of(value);
    if (!talk.client && talk.request.len == 0) {
        talk.request = joined((blob){NULL, 0}, bytes.data + 8, bytes.len - 8);
    } else if (talk.client && talk.request.len > 0 && talk.response.len == 0) {
        talk.response = joined((blob){NULL, 0}, bytes.data + 8, (size_t)little(bytes.data + 2, 4));
        json_t *json = parsed(talk.response);
        talk.level1 = json_object_get(json, "hostlane") != NULL;
        json_decref(json);
    }
    put(bytes.data, bytes.len);
    settle();
}

static void proves(const char *which) {
    blob secret = blob_of(talk.secret);
    if (strcmp(which, "other-secret") == 0) {
        secret = joined(secret, "?", 1);
    }
    const bool connector = strcmp(which, "reflected") == 0 ? talk.client : !talk.client;
    put_frame1(kind_of("AUTH"), 0, 0, 0, proof(secret, connector, talk.request, talk.response));
    settle();
}

static hostlane_message_t *taken(const char *call) {
    for (size_t at = 0; at < w.taken_len; ++at) {
        if (strcmp(w.taken[at].name, call) == 0) {
            return w.taken[at].message;
        }
    }
    return NULL;
}

static hostlane_stream_t *stream_named(const char *call) {
    for (size_t at = 0; at < w.streams_len; ++at) {
        if (strcmp(w.streams[at].name, call) == 0) {
            return &w.streams[at].stream;
        }
    }
    return NULL;
}

static hostlane_stream_t *new_stream(const char *call) {
    CHECK(w.streams_len < MOST);
    snprintf(w.streams[w.streams_len].name, sizeof(w.streams[0].name), "%s", call);
    return &w.streams[w.streams_len++].stream;
}

/* That of a call of either side. */
static hostlane_stream_t stream_of(const char *call) {
    hostlane_stream_t *stream = stream_named(call);
    if (stream == NULL) {
        stream = new_stream(call);
        CHECK_OK(hostlane_message_stream(taken(call), stream, NULL));
    }
    return *stream;
}

static operation *item_of(const char *call) {
    operation *op = new_operation("");
    begun(op, hostlane_context_stream_recv(w.context, stream_of(call), LONG, &op->event, &op->error));
    return op;
}

static void cancel(const char *call) {
    const hostlane_stream_t *stream = stream_named(call);
    if (stream == NULL) {
        CHECK_OK(hostlane_context_cancel(w.context, operation_named(call)->event.op, NULL));
        return;
    }
    /* Whoever waits for an item is told. */
    operation *op = item_of(call);
    snprintf(op->name, sizeof(op->name), "%s", call);
    CHECK_OK(hostlane_stream_close(*stream, NULL));
}

static void abandon(const char *call) {
    hostlane_stream_t *stream = stream_named(call);
    if (stream != NULL) {
        CHECK_OK(hostlane_stream_close(*stream, NULL));
    }
    for (size_t at = 0; at < w.taken_len; ++at) {
        if (strcmp(w.taken[at].name, call) == 0) {
            hostlane_message_free(&w.taken[at].message);
        }
    }
}

static void call(const json_t *value, blob data) {
    hostlane_call_options_t options;
    hostlane_call_options_init(&options, sizeof(options));
    const json_t *channel = json_object_get(value, "channel");
    options.channel = channel == NULL ? 1 : (uint16_t)number(channel);
    if (json_is_true(json_object_get(value, "stream"))) {
        CHECK_OK(hostlane_stream_open(peer(), data.data, data.len, &options, new_stream(text(value, "op")), NULL));
        return;
    }
    operation *op = new_operation(text(value, "op"));
    begun(op, hostlane_context_request_with(w.context, peer(), data.data, data.len, &options, HOSTLANE_FOREVER,
                                            &op->event, &op->error));
}

static void does(const json_t *value) {
    const char *what = text(value, "what");
    const char *of = text(value, "call");
    const blob data = bytes_of(json_object_get(value, "payload"));
    const hostlane_peer_t to = peer();
    operation *op;
    if (strcmp(what, "cancel") == 0) {
        cancel(of);
    } else if (strcmp(what, "abandon") == 0) {
        abandon(of);
    } else if (strcmp(what, "close") == 0) {
        CHECK_OK(hostlane_close(to, NULL));
    } else if (strcmp(what, "call") == 0) {
        call(value, data);
    } else {
        const json_t *status = json_object_get(value, "status");
        op = new_operation(text(value, "op") == NULL ? what : text(value, "op"));
        hostlane_event_t *event = &op->event;
        hostlane_error_t **error = &op->error;
        hostlane_status_t started = HOSTLANE_E_UNSUPPORTED;
        if (strcmp(what, "send") == 0) {
            const uint16_t channel = (uint16_t)number(json_object_get(value, "channel"));
            started = hostlane_context_send(w.context, to, channel, data.data, data.len, LONG, event, error);
        } else if (strcmp(what, "request") == 0) {
            started = hostlane_context_request(w.context, to, data.data, data.len, LONG, event, error);
        } else if (strcmp(what, "reply") == 0 && status == NULL) {
            started = hostlane_context_reply(w.context, taken(of), data.data, data.len, LONG, event, error);
        } else if (strcmp(what, "reply") == 0) {
            started = hostlane_context_fail(w.context, taken(of), (uint32_t)number(status), data.data, data.len, LONG,
                                            event, error);
        } else if (strcmp(what, "item") == 0 && json_is_true(json_object_get(value, "fin"))) {
            started = hostlane_context_stream_finish(w.context, stream_of(of), LONG, event, error);
        } else if (strcmp(what, "item") == 0) {
            started = hostlane_context_stream_send(w.context, stream_of(of), data.data, data.len, LONG, event, error);
        } else if (strcmp(what, "ping") == 0) {
            started = hostlane_context_ping(w.context, to, LONG, event, error);
        } else if (strcmp(what, "drain") == 0) {
            started = hostlane_context_drain(w.context, to, LONG, event, error);
        } else {
            CHECK(!"a known operation");
        }
        begun(op, started);
    }
    pump(0);
}

/* The last event of an operation or a call. */
static operation *last_of(const char *name) {
    operation *op = operation_named(name);
    if (op != NULL) {
        ended(op);
        return op;
    }
    do {
        op = item_of(name);
    } while (ended(op)->kind == HOSTLANE_EVENT_ITEM);
    return op;
}

static void delivers(const json_t *value) {
    const char *name = text(value, "call");
    const hostlane_event_t *event = expect_message((uint16_t)number(json_object_get(value, "channel")),
                                                   bytes_of(json_object_get(value, "payload")));
    const uint32_t flags = hostlane_message_flags(event->message);
    CHECK_EQ((flags & HOSTLANE_MESSAGE_REQUEST) != 0, name != NULL);
    CHECK_EQ((flags & HOSTLANE_MESSAGE_STREAM) != 0, json_is_true(json_object_get(value, "stream")));
    if (name != NULL) {
        CHECK(w.taken_len < MOST);
        snprintf(w.taken[w.taken_len].name, sizeof(w.taken[0].name), "%s", name);
        w.taken[w.taken_len++].message = event->message;
        w.ops[w.ops_len - 1].event.message = NULL;
    }
}

static void item(const json_t *value) {
    const blob payload = bytes_of(json_object_get(value, "payload"));
    const hostlane_event_t *event = ended(item_of(text(value, "call")));
    CHECK_EQ(event->kind, HOSTLANE_EVENT_ITEM);
    CHECK(same(payload, event->data, event->len));
}

static void replies(const json_t *value) {
    const bool of_level_0 = json_is_string(value);
    const blob payload = bytes_of(of_level_0 ? value : json_object_get(value, "payload"));
    const hostlane_event_t *event = &last_of(of_level_0 ? "request" : text(value, "call"))->event;
    CHECK_STATUS(event->status, HOSTLANE_OK);
    CHECK(same(payload, event->data, event->len));
}

static void fails(const json_t *value) {
    const operation *op = last_of(text(value, text(value, "call") == NULL ? "op" : "call"));
    CHECK_EQ(op->event.kind, HOSTLANE_EVENT_FAILED);
    CHECK_NAMED(op->event.status, json_object_get(value, "error"));
    const char *had_left = text(value, "sent");
    if (had_left != NULL) {
        CHECK_EQ(hostlane_error_sent(error_of(op)) == HOSTLANE_SENT_MAYBE, strcmp(had_left, "maybe") == 0);
    }
    if (json_object_get(value, "code") != NULL) {
        const blob payload = bytes_of(json_object_get(value, "payload"));
        size_t len = 0;
        const uint8_t *data = hostlane_error_data(error_of(op), &len);
        CHECK_EQ(hostlane_error_remote_status(error_of(op)), number(json_object_get(value, "code")));
        CHECK(same(payload, data, len));
    }
}

static void told(const json_t *value) {
    operation *op = new_operation("");
    begun(op, hostlane_context_call_ended(w.context, taken(text(value, "call")), LONG, &op->event, &op->error));
    CHECK_EQ(ended(op)->kind, HOSTLANE_EVENT_CALL_ENDED);
}

static void step(const char *name, const json_t *value) {
    static const struct {
        const char *name;
        void (*play)(const json_t *);
    } steps[] = {{"arrives", arrives}, {"asks", asks},       {"answers", answers}, {"does", does},
                 {"sends", sends},     {"closes", closes},   {"credits", credits}, {"delivers", delivers},
                 {"item", item},       {"replies", replies}, {"fails", fails},     {"told", told}};
    for (size_t at = 0; at < sizeof(steps) / sizeof(steps[0]); ++at) {
        if (strcmp(steps[at].name, name) == 0) {
            steps[at].play(value);
            return;
        }
    }
    if (strcmp(name, "proof") == 0) {
        proves(json_string_value(value));
    } else if (strcmp(name, "eof") == 0) {
        talk.over = talk.hung_up = w.out_ended = true;
        raw_write();
    } else if (strcmp(name, "refuses") == 0) {
        refuses(handshake(), value);
    } else if (strcmp(name, "silent") == 0) {
        silent();
    } else if (strcmp(name, "finished") == 0) {
        CHECK_EQ(ended(item_of(json_string_value(value)))->kind, HOSTLANE_EVENT_STREAM_END);
    } else if (strcmp(name, "ponged") == 0) {
        CHECK_EQ(last_of("ping")->event.kind, HOSTLANE_EVENT_PONG);
    } else if (strcmp(name, "drained") == 0) {
        CHECK_EQ(last_of("drain")->event.kind, HOSTLANE_EVENT_DRAINED);
    } else if (strcmp(name, "ends") == 0) {
        talk.over = true;
        CHECK_NAMED(end(), value);
    } else {
        CHECK(!"a known step");
    }
}

static void play_transcript(const json_t *one) {
    const json_t *limits = json_object_get(one, "limits");
    const json_t *steps = json_object_get(one, "steps");
    chosen options = {.block = true};
    take_channels(&options, json_object_get(one, "channels"));
    take_side(&options, one);
    options.max_message = number(json_object_get(limits, "max_message"));
    options.max_calls = number(json_object_get(limits, "max_calls"));
    memset(&talk, 0, sizeof(talk));
    talk.client = strcmp(text(one, "role"), "client") == 0;
    talk.secret = options.secret;
    open_side(!talk.client, &options);
    for (size_t at = 0; at < json_array_size(steps); ++at) {
        json_t *current = json_array_get(steps, at);
        const char *name = json_object_iter_key(json_object_iter(current));
        snprintf(playing, sizeof(playing), "%s, step %zu, %s", text(one, "id"), at, name);
        /* Behind the step before the end, one CLOSE is nobody's business. */
        talk.over |= json_object_get(json_array_get(steps, at + 1), "ends") != NULL && strcmp(name, "closes") != 0;
        step(name, json_object_iter_value(json_object_iter(current)));
    }
    silent();
}

TEST(transcripts) { each("framing/transcripts.json", unfit_transcript, play_transcript); }

TEST(transcripts_of_level_1) { each("level1/transcripts.json", unfit_transcript, play_transcript); }

int main(int argc, char **argv) { return check_main(argc, argv); }

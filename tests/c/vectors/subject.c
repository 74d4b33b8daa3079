/* The side under test of the vectors, driven by a context. */

#include "vectors.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_OPERATIONS 1024

static struct {
    hostlane_context_t context;
    int context_fd;
    hostlane_listener_t listener;
    bool serving;
    operation *made;
    hostlane_peer_t peer;
    operation ops[MOST_OPERATIONS];
    size_t ops_len;
} subject;

void begin_case(void) {
    memset(&subject, 0, sizeof(subject));
    CHECK_OK(hostlane_context_new(&subject.context, NULL));
    CHECK_OK(hostlane_context_fd(subject.context, &subject.context_fd, NULL));
}

void end_case(void) {
    for (size_t at = 0; at < subject.ops_len; ++at) {
        hostlane_events_free(&subject.ops[at].event, 1);
        hostlane_error_free(&subject.ops[at].error);
    }
    hostlane_close(subject.peer, NULL);
    if (subject.serving) {
        hostlane_listener_close(subject.listener, NULL);
    }
    hostlane_context_close(subject.context, NULL);
    raw_close();
}

hostlane_context_t context(void) { return subject.context; }

void pump(int ms) {
    hostlane_event_t events[16];
    size_t n = 0;
    bool more = true;
    raw_write();
    struct pollfd both[2] = {{subject.context_fd, POLLIN, 0}, raw_waits()};
    CHECK(poll(both, 2, ms) >= 0);
    raw_read();
    while (more) {
        CHECK_OK(hostlane_context_process(subject.context, events, 16, &n, &more, NULL));
        for (size_t event = 0; event < n; ++event) {
            for (size_t at = 0; at < subject.ops_len; ++at) {
                operation *op = &subject.ops[at];
                if (!op->done && op->event.op == events[event].op) {
                    op->event = events[event];
                    op->done = true;
                }
            }
        }
    }
}

void settle(void) {
    const int64_t deadline = lane_now() + LONG;
    for (;;) {
        pump(0);
        if (raw_settled()) {
            pump(0);
            return;
        }
        CHECK(lane_now() < deadline);
        pump(1);
    }
}

operation *operation_named(const char *name) {
    for (size_t at = subject.ops_len; at-- > 0;) {
        if (name != NULL && strcmp(subject.ops[at].name, name) == 0) {
            return &subject.ops[at];
        }
    }
    return NULL;
}

operation *new_operation(const char *name) {
    CHECK(subject.ops_len < MOST_OPERATIONS);
    operation *op = &subject.ops[subject.ops_len++];
    snprintf(op->name, sizeof(op->name), "%s", name == NULL ? "" : name);
    return op;
}

operation *begun(operation *op, hostlane_status_t status) {
    if (status != HOSTLANE_OK) {
        op->event.kind = HOSTLANE_EVENT_FAILED;
        op->event.status = status;
    }
    op->done = op->event.kind != HOSTLANE_EVENT_PENDING;
    return op;
}

hostlane_event_t *ended(operation *op) {
    const int64_t deadline = lane_now() + LONG;
    CHECK(op != NULL);
    while (!op->done) {
        CHECK(lane_now() < deadline);
        pump(20);
    }
    return &op->event;
}

void take_channels(chosen *into, const json_t *channels) {
    CHECK(json_array_size(channels) <= 16);
    into->channels_len = json_array_size(channels);
    for (size_t at = 0; at < into->channels_len; ++at) {
        into->channels[at] = (uint16_t)number(json_array_get(channels, at));
    }
}

void take_side(chosen *options, const json_t *side) {
    options->secret = text(side, "secret");
    options->demand = json_is_true(json_object_get(side, "demand"));
    options->fds = json_array_size(json_object_get(side, "features")) > 0;
}

/* The options of both sides have the same members, but not in the same place. */
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

void open_side(bool serving, const chosen *from) {
    hostlane_policy_t policies[16];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    for (size_t at = 0; at < from->channels_len; ++at) {
        policies[at] = (hostlane_policy_t){.policy = HOSTLANE_POLICY_BLOCK, .channel = from->channels[at]};
    }
    const char *path = lane_path("vector");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    subject.serving = serving;
    int fd;
    if (serving) {
        hostlane_listen_options_t options;
        hostlane_listen_options_init(&options, sizeof(options));
        APPLY(options);
        CHECK_OK(hostlane_listen(path, strlen(path), &options, &subject.listener, NULL));
        subject.made = new_operation("made");
        begun(subject.made, hostlane_context_accept(subject.context, subject.listener, LONG, &subject.made->event,
                                                    &subject.made->error));
        fd = lane_raw_connect("vector");
    } else {
        hostlane_connect_options_t options;
        hostlane_connect_options_init(&options, sizeof(options));
        APPLY(options);
        const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
        CHECK_EQ(listen(server, 1), 0);
        subject.made = new_operation("made");
        begun(subject.made, hostlane_context_connect(subject.context, path, strlen(path), &options, LONG,
                                                     &subject.made->event, &subject.made->error));
        fd = accept(server, NULL, NULL);
        close(server);
        unlink(path);
    }
    CHECK(fd >= 0);
    raw_open(fd);
}

void open_level1(uint64_t max_message) {
    const chosen options = {.max_message = max_message};
    static const char offer[] = "{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1,2,3,4],\"hostlane\":"
                                "{\"versions\":[1],\"instance\":\"00000000000000000000000000000000\"}}";
    open_side(true, &options);
    put_frame(0, offer, sizeof(offer) - 1);
    handshake();
}

blob handshake(void) {
    uint16_t channel = 1;
    blob payload;
    CHECK(frame0(&channel, &payload, LONG));
    CHECK_EQ(channel, 0);
    return payload;
}

hostlane_status_t outcome(void) {
    const int64_t deadline = lane_now() + LONG;
    hostlane_refusal_t refusal;
    size_t refused = 0;
    while (!subject.made->done) {
        CHECK(lane_now() < deadline);
        pump(5);
        if (subject.serving) {
            CHECK_OK(hostlane_listener_refusals(subject.listener, &refusal, 1, &refused, NULL));
            if (refused > 0) {
                return refusal.status;
            }
        }
    }
    if (subject.made->event.kind != HOSTLANE_EVENT_FAILED) {
        subject.peer = subject.made->event.peer;
        return HOSTLANE_OK;
    }
    return subject.made->event.status;
}

hostlane_peer_t peer(void) {
    CHECK_OK(outcome());
    return subject.peer;
}

operation *receive(int64_t ms) {
    operation *op = new_operation("");
    begun(op, hostlane_context_recv(subject.context, peer(), HOSTLANE_ANY_CHANNEL, ms, &op->event, &op->error));
    ended(op);
    return op;
}

hostlane_status_t end(void) {
    hostlane_status_t status = outcome();
    while (status == HOSTLANE_OK) {
        const operation *op = receive(LONG);
        status = op->event.kind == HOSTLANE_EVENT_FAILED ? op->event.status : HOSTLANE_OK;
    }
    return status;
}

hostlane_event_t *expect_message(uint16_t channel, blob payload) {
    operation *op = receive(LONG);
    CHECK_STATUS(op->event.status, HOSTLANE_OK);
    CHECK_EQ(hostlane_message_channel(op->event.message), channel);
    CHECK(same(payload, op->event.data, op->event.len));
    return &op->event;
}

void expect_end(const json_t *expected) {
    if (names_have(expected, "more")) {
        settle();
        CHECK_STATUS(receive(HOLD)->event.status, HOSTLANE_E_TIMEOUT);
    } else if (names_have(expected, "clean")) {
        CHECK_STATUS(end(), HOSTLANE_E_PEER_CLOSED);
    } else {
        CHECK_NAMED(end(), expected);
    }
}

/* The vectors of whole conversations. What the steps mean stands in tests/vectors/README.md. */

#include "vectors.h"

#define MOST 64

const char *unfit_transcript(const json_t *one) {
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
} talk;

static void let_go(void) {
    for (size_t at = 0; at < talk.streams_len; ++at) {
        hostlane_stream_close(talk.streams[at].stream, NULL);
    }
    for (size_t at = 0; at < talk.taken_len; ++at) {
        hostlane_message_free(&talk.taken[at].message);
    }
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
    for (size_t at = 0; at < talk.taken_len; ++at) {
        if (strcmp(talk.taken[at].name, call) == 0) {
            return talk.taken[at].message;
        }
    }
    return NULL;
}

static hostlane_stream_t *stream_named(const char *call) {
    for (size_t at = 0; at < talk.streams_len; ++at) {
        if (strcmp(talk.streams[at].name, call) == 0) {
            return &talk.streams[at].stream;
        }
    }
    return NULL;
}

static hostlane_stream_t *new_stream(const char *call) {
    CHECK(talk.streams_len < MOST);
    snprintf(talk.streams[talk.streams_len].name, sizeof(talk.streams[0].name), "%s", call);
    return &talk.streams[talk.streams_len++].stream;
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
    begun(op, hostlane_context_stream_recv(context(), stream_of(call), LONG, &op->event, &op->error));
    return op;
}

static void cancel(const char *call) {
    const hostlane_stream_t *stream = stream_named(call);
    if (stream == NULL) {
        CHECK_OK(hostlane_context_cancel(context(), operation_named(call)->event.op, NULL));
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
    for (size_t at = 0; at < talk.taken_len; ++at) {
        if (strcmp(talk.taken[at].name, call) == 0) {
            hostlane_message_free(&talk.taken[at].message);
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
    begun(op, hostlane_context_request_with(context(), peer(), data.data, data.len, &options, HOSTLANE_FOREVER,
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
            started = hostlane_context_send(context(), to, channel, data.data, data.len, LONG, event, error);
        } else if (strcmp(what, "request") == 0) {
            started = hostlane_context_request(context(), to, data.data, data.len, LONG, event, error);
        } else if (strcmp(what, "reply") == 0 && status == NULL) {
            started = hostlane_context_reply(context(), taken(of), data.data, data.len, LONG, event, error);
        } else if (strcmp(what, "reply") == 0) {
            started = hostlane_context_fail(context(), taken(of), (uint32_t)number(status), data.data, data.len, LONG,
                                            event, error);
        } else if (strcmp(what, "item") == 0 && json_is_true(json_object_get(value, "fin"))) {
            started = hostlane_context_stream_finish(context(), stream_of(of), LONG, event, error);
        } else if (strcmp(what, "item") == 0) {
            started = hostlane_context_stream_send(context(), stream_of(of), data.data, data.len, LONG, event, error);
        } else if (strcmp(what, "ping") == 0) {
            started = hostlane_context_ping(context(), to, LONG, event, error);
        } else if (strcmp(what, "drain") == 0) {
            started = hostlane_context_drain(context(), to, LONG, event, error);
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
    hostlane_event_t *event = expect_message((uint16_t)number(json_object_get(value, "channel")),
                                             bytes_of(json_object_get(value, "payload")));
    const uint32_t flags = hostlane_message_flags(event->message);
    CHECK_EQ((flags & HOSTLANE_MESSAGE_REQUEST) != 0, name != NULL);
    CHECK_EQ((flags & HOSTLANE_MESSAGE_STREAM) != 0, json_is_true(json_object_get(value, "stream")));
    if (name != NULL) {
        CHECK(talk.taken_len < MOST);
        snprintf(talk.taken[talk.taken_len].name, sizeof(talk.taken[0].name), "%s", name);
        talk.taken[talk.taken_len++].message = event->message;
        event->message = NULL;
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

static const hostlane_error_t *error_of(const operation *op) {
    return op->event.error != NULL ? op->event.error : op->error;
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
    begun(op, hostlane_context_call_ended(context(), taken(text(value, "call")), LONG, &op->event, &op->error));
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
        talk.over = talk.hung_up = true;
        hang_up();
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

void play_transcript(const json_t *one) {
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
    let_go();
}

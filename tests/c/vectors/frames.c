/* The vectors of frames: of level 0, of level 1, and what control frames and extensions say. */

#include "vectors.h"

const char *unfit_frames(const json_t *one) {
    const json_t *frames = json_object_get(json_object_get(one, "expect"), "frames");
    for (size_t at = 0; at < json_array_size(frames); ++at) {
        if (reserved(number(json_object_get(json_array_get(frames, at), "channel")))) {
            return "a frame on a channel that is no program's";
        }
    }
    return NULL;
}

void play_frames(const json_t *one) {
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
    if (json_is_true(json_object_get(one, "eof"))) {
        hang_up();
    }
    for (size_t at = 0; at < json_array_size(frames); ++at) {
        const json_t *frame = json_array_get(frames, at);
        expect_message((uint16_t)number(json_object_get(frame, "channel")),
                       bytes_of(json_object_get(frame, "payload")));
    }
    expect_end(json_object_get(json_object_get(one, "expect"), "end"));
}

static const char hello[] = "{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1,2,3,4]}";

void play_control(const json_t *one) {
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

static void ready(void) {
    put_frame1(kind_of("READY"), 0, 0, 0, (blob){NULL, 0});
    peer();
}

const char *unfit_frames1(const json_t *one) {
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

void play_frames1(const json_t *one) {
    const json_t *items = json_object_get(json_object_get(one, "expect"), "items");
    open_level1(number(json_object_get(one, "max_message")));
    if (json_is_true(json_object_get(one, "ready"))) {
        ready();
    }
    const blob bytes = bytes_of(json_object_get(one, "chunks"));
    put(bytes.data, bytes.len);
    if (json_is_true(json_object_get(one, "eof"))) {
        hang_up();
    }
    for (size_t at = 0; at < json_array_size(items); ++at) {
        const json_t *item = json_array_get(items, at);
        if (strcmp(text(item, "type"), "MESSAGE") == 0) {
            expect_message((uint16_t)number(json_object_get(item, "channel")),
                           bytes_of(json_object_get(item, "payload")));
        }
    }
    expect_end(json_object_get(json_object_get(one, "expect"), "end"));
}

const char *unfit_extensions(const json_t *one) {
    const json_t *deadline =
        json_object_get(json_object_get(json_object_get(one, "expect"), "extensions"), "deadline_us");
    const bool hasty = deadline != NULL && number(deadline) < 1000000;
    return hasty ? "a deadline that may pass before a program takes the call" : NULL;
}

void play_extensions(const json_t *one) {
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

const char *unfit_control1(const json_t *one) {
    const char *type = text(one, "type");
    const bool shown = json_object_get(json_object_get(one, "expect"), "error") != NULL || strcmp(type, "PING") == 0 ||
                       strcmp(type, "PONG") == 0 || strcmp(type, "CLOSE") == 0;
    return shown ? NULL : "a frame that takes a call or a handshake to be right";
}

void play_control1(const json_t *one) {
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
            code = HOSTLANE_E_CONNECTION_LOST;
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

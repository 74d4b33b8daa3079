// The C agent: one JSON object a line, operations in, outcomes out. See docs/conformance.md.

#include "asked.h"
#include "chain.h"
#include "digest.h"
#include "service.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// A reply up to so many bytes is shown as text.
enum { SHOWN = 256 };

// Most calls that are started at a time.
enum { STARTED = 16 };

// The first connection that was accepted, for the thread that accepts and the one that needs it. It lives as long as
// the process, like its service.
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t came;
    hostlane_peer_t first;
    hostlane_listener_t listener;
    service *service;
    bool serve;
} accepted;

// One end of a connection: the listening one, or the connecting one.
typedef struct {
    accepted *accepted;
    hostlane_peer_t peer;
    hostlane_call_t started[STARTED];
    service *service;
} end;

// An operation: where it runs, what it is asked to do and what came of it.
typedef struct {
    end *end;
    const json_t *asked;
    json_t *told;
    hostlane_error_t *error;
} operation;

// The connection; of a listener the first that is accepted.
static hostlane_peer_t peer(const operation *op) {
    end *end = op->end;
    if (end->peer.id == 0 && end->accepted != NULL) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += PATIENCE / 1000;
        pthread_mutex_lock(&end->accepted->lock);
        int late = 0;
        while (end->accepted->first.id == 0 && late == 0) {
            late = pthread_cond_timedwait(&end->accepted->came, &end->accepted->lock, &until);
        }
        end->peer = end->accepted->first;
        pthread_mutex_unlock(&end->accepted->lock);
    }
    return end->peer;
}

// Tells a reply, for the runner to judge, and frees it.
static void show(operation *op, hostlane_message_t *reply) {
    size_t len = 0;
    const uint8_t *data = hostlane_message_data(reply, &len);
    char hex[DIGEST];
    digest(&(piece){data, len}, 1, hex);
    json_t *shown = len <= SHOWN ? json_stringn((const char *)data, len) : NULL;
    op->told = must(json_pack("{s:I, s:s, s:o*}", "len", (json_int_t)len, "sha256", hex, "text", shown));
    hostlane_message_free(&reply);
}

static void *accept_all(void *argument) {
    accepted *accepted = argument;
    hostlane_peer_t peer;
    while (hostlane_accept(accepted->listener, HOSTLANE_FOREVER, &peer, NULL) == HOSTLANE_OK) {
        // The first is the one of the operations; all are served.
        pthread_mutex_lock(&accepted->lock);
        const bool first = accepted->first.id == 0;
        if (first) {
            accepted->first = peer;
            pthread_cond_broadcast(&accepted->came);
        }
        pthread_mutex_unlock(&accepted->lock);
        if (accepted->serve) {
            service_serve(accepted->service, peer, first);
        } else if (!first) {
            hostlane_close(peer, NULL);
        }
    }
    return NULL;
}

static void listen_at(operation *op) {
    room room;
    hostlane_listen_options_t options;
    hostlane_listen_options_init(&options, sizeof options);
    FILL(op->asked, options, room);
    accepted *made = must(calloc(1, sizeof *made));
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->came, NULL);
    made->service = op->end->service;
    made->serve = number(op->asked, "serve", 1) == 1;
    const char *address = text(op->asked, "address");
    if (hostlane_listen(address, strlen(address), &options, &made->listener, &op->error) != HOSTLANE_OK) {
        free(made);
        return;
    }
    op->end->accepted = made;
    must_start(accept_all, made);
    char real[256];
    size_t len = 0;
    if (hostlane_listener_address(made->listener, real, sizeof real, &len, &op->error) == HOSTLANE_OK) {
        op->told = must(json_pack("{s:s%}", "address", real, len));
    }
}

static void connect_to(operation *op) {
    room room;
    hostlane_connect_options_t options;
    hostlane_connect_options_init(&options, sizeof options);
    FILL(op->asked, options, room);
    const char *address = text(op->asked, "address");
    hostlane_peer_t *peer = &op->end->peer;
    if (hostlane_connect(address, strlen(address), &options, limit(op->asked), peer, &op->error) == HOSTLANE_OK &&
        number(op->asked, "serve", 1) == 1) {
        service_serve(op->end->service, *peer, true);
    }
}

// Many calls at once, each with a number of its own behind its text.
static void calls(operation *op) {
    const long count = (long)number(op->asked, "count", 1);
    hostlane_call_t *started = must(calloc((size_t)count, sizeof *started));
    const hostlane_call_options_t options = call_options(op->asked);
    char wanted[256];
    long right = 0;
    json_t *errors = must(json_object());
    for (long of = 0; of < count && op->error == NULL; of++) {
        const int len = snprintf(wanted, sizeof wanted, "%s %ld", text(op->asked, "text"), of);
        hostlane_call_start(peer(op), wanted, (size_t)len, &options, &started[of], &op->error);
    }
    long failed = 0;
    for (long of = 0; of < count; of++) {
        hostlane_message_t *reply = NULL;
        const hostlane_status_t status = hostlane_call_wait(started[of], limit(op->asked), &reply, NULL);
        if (status == HOSTLANE_OK) {
            const size_t wanted_len = (size_t)snprintf(wanted, sizeof wanted, "%s %ld", text(op->asked, "text"), of);
            size_t len = 0;
            const uint8_t *data = hostlane_message_data(reply, &len);
            right += len == wanted_len && memcmp(data, wanted, len) == 0;
        } else {
            failed++;
            const char *name = hostlane_status_name(status);
            const json_int_t before = json_integer_value(json_object_get(errors, name));
            json_object_set_new(errors, name, json_integer(before + 1));
        }
        hostlane_message_free(&reply);
    }
    free(started);
    const json_int_t wrong = (json_int_t)(count - right - failed);
    op->told = must(json_pack("{s:I, s:I, s:o}", "right", (json_int_t)right, "wrong", wrong, "errors", errors));
}

// Numbered one-way messages.
static void send_many(operation *op) {
    const uint16_t channel = (uint16_t)number(op->asked, "channel", HOSTLANE_CHANNEL_DATA);
    for (long of = 0; of < number(op->asked, "count", 0) && op->error == NULL; of++) {
        size_t len = 0;
        char *data = numbered(of, (size_t)number(op->asked, "size", 0), &len);
        hostlane_send(peer(op), channel, data, len, limit(op->asked), &op->error);
        free(data);
    }
}

// A stream with items both ways; what comes back is numbered, too.
static void stream(operation *op) {
    size_t len = 0;
    char *data = payload(op->asked, &len);
    const hostlane_call_options_t options = call_options(op->asked);
    hostlane_stream_t stream;
    hostlane_status_t status = hostlane_stream_open(peer(op), data, len, &options, &stream, &op->error);
    free(data);
    if (status != HOSTLANE_OK) {
        return;
    }
    for (long of = 0; of < number(op->asked, "count", 0) && status == HOSTLANE_OK; of++) {
        data = numbered(of, (size_t)number(op->asked, "item_size", 0), &len);
        status = hostlane_stream_send(stream, data, len, limit(op->asked), &op->error);
        free(data);
    }
    if (status == HOSTLANE_OK && number(op->asked, "finish", 1) == 1) {
        status = hostlane_stream_finish(stream, limit(op->asked), &op->error);
    }
    json_int_t items = 0;
    int ordered = 1;
    hostlane_message_t *item = NULL;
    while (status == HOSTLANE_OK &&
           (status = hostlane_stream_recv(stream, limit(op->asked), &item, &op->error)) == HOSTLANE_OK &&
           item != NULL) {
        char digits[32] = "";
        const uint8_t *bytes = hostlane_message_data(item, &len);
        memcpy(digits, bytes, len < 31 ? len : 31);
        ordered = ordered && atol(digits) == items;
        items++;
        hostlane_message_free(&item);
    }
    hostlane_message_t *reply = NULL;
    if (status == HOSTLANE_OK && hostlane_stream_reply(stream, &reply, &op->error) == HOSTLANE_OK) {
        const uint8_t *bytes = hostlane_message_data(reply, &len);
        op->told =
            must(json_pack("{s:I, s:b, s:s%}", "items", items, "ordered", ordered, "reply", (const char *)bytes, len));
    }
    hostlane_message_free(&reply);
    hostlane_stream_close(stream, NULL);
}

static void info(operation *op) {
    hostlane_info_t info;
    if (hostlane_info(peer(op), &info, &op->error) == HOSTLANE_OK) {
        json_t *channels = must(json_array());
        for (size_t at = 0; at < info.channels_len; at++) {
            json_array_append_new(channels, json_integer(info.channels[at]));
        }
        op->told = must(json_pack("{s:i, s:I, s:s, s:o}", "level", (int)info.level, "max_message",
                                  (json_int_t)info.max_message, "carrier", info.carrier, "channels", channels));
    }
}

static void stats(operation *op) {
    hostlane_stats_t all;
    hostlane_channel_stats_t one;
    const uint16_t channel = (uint16_t)number(op->asked, "channel", HOSTLANE_CHANNEL_DATA);
    if (hostlane_stats(peer(op), &all, &op->error) == HOSTLANE_OK &&
        hostlane_stats_on(peer(op), channel, &one, &op->error) == HOSTLANE_OK) {
        op->told =
            must(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "open_calls", (json_int_t)all.open_calls,
                           "calls_served", (json_int_t)all.calls_served, "open_served", (json_int_t)all.open_served,
                           "calls_cancelled", (json_int_t)all.calls_cancelled, "sent", (json_int_t)one.messages_sent,
                           "dropped", (json_int_t)one.dropped, "dropped_by_peer", (json_int_t)one.dropped_by_peer));
    }
}

static void refusals(operation *op) {
    hostlane_refusal_t all[16];
    size_t len = 0;
    if (hostlane_listener_refusals(op->end->accepted->listener, all, 16, &len, &op->error) == HOSTLANE_OK) {
        json_t *names = must(json_array());
        for (size_t at = 0; at < len; at++) {
            json_array_append_new(names, json_string(hostlane_status_name(all[at].status)));
        }
        op->told = must(json_pack("{s:o}", "refused", names));
    }
}

static void reset(operation *op) {
    end *end = op->end;
    if (end->accepted != NULL) {
        hostlane_listener_close(end->accepted->listener, NULL);
        pthread_mutex_lock(&end->accepted->lock);
        hostlane_close(end->accepted->first, NULL);
        pthread_mutex_unlock(&end->accepted->lock);
    }
    hostlane_close(end->peer, NULL);
    // Threads of the connection may still use the old service.
    memset(end, 0, sizeof *end);
    end->service = service_new();
}

static void run(operation *op) {
    const char *name = text(op->asked, "op");
    hostlane_message_t *reply = NULL;
    hostlane_call_t *started = &op->end->started[number(op->asked, "id", 0) % STARTED];
    size_t len = 0;
#define IS(wanted) (strcmp(name, wanted) == 0)
    if (IS("hello")) {
        op->told = json_pack("{s:s, s:[s, s, s]}", "lang", "c", "features", "inproc", "tcp", "unix");
    } else if (IS("listen")) {
        listen_at(op);
    } else if (IS("connect")) {
        connect_to(op);
    } else if (IS("serve")) {
        service_serve(op->end->service, peer(op), true);
    } else if (IS("call")) {
        char *data = payload(op->asked, &len);
        const hostlane_call_options_t options = call_options(op->asked);
        if (hostlane_request_with(peer(op), data, len, &options, limit(op->asked), &reply, &op->error) == HOSTLANE_OK) {
            show(op, reply);
        }
        free(data);
    } else if (IS("calls")) {
        calls(op);
    } else if (IS("start")) {
        char *data = payload(op->asked, &len);
        const hostlane_call_options_t options = call_options(op->asked);
        hostlane_call_start(peer(op), data, len, &options, started, &op->error);
        free(data);
    } else if (IS("wait")) {
        if (hostlane_call_wait(*started, limit(op->asked), &reply, &op->error) == HOSTLANE_OK) {
            show(op, reply);
        }
    } else if (IS("cancel")) {
        hostlane_call_cancel(*started, &op->error);
    } else if (IS("send")) {
        send_many(op);
    } else if (IS("stream")) {
        stream(op);
    } else if (IS("chain")) {
        op->told = chain_extend(peer(op), op->asked);
    } else if (IS("chained")) {
        op->told = chains_report(service_chains(op->end->service), text(op->asked, "chain"));
    } else if (IS("forget")) {
        chains_forget(service_chains(op->end->service));
    } else if (IS("seen")) {
        op->told = service_report(op->end->service);
    } else if (IS("info")) {
        info(op);
    } else if (IS("stats")) {
        stats(op);
    } else if (IS("refusals")) {
        refusals(op);
    } else if (IS("ping")) {
        uint64_t rtt = 0;
        hostlane_ping(peer(op), limit(op->asked), &rtt, &op->error);
    } else if (IS("drain")) {
        hostlane_drain(peer(op), limit(op->asked), &op->error);
    } else if (IS("close")) {
        // The handle of a closed connection is gone, which is how C tells a second close.
        hostlane_close(peer(op), NULL);
    } else if (IS("reset")) {
        reset(op);
    } else {
        abort();
    }
#undef IS
}

static json_t *described(const hostlane_error_t *error) {
    size_t len = 0;
    const uint8_t *data = hostlane_error_data(error, &len);
    return must(json_pack("{s:s, s:s, s:I, s:s%}", "name", hostlane_status_name(hostlane_error_status(error)), "sent",
                          hostlane_error_sent(error) == HOSTLANE_SENT_NO ? "no" : "maybe", "status",
                          (json_int_t)hostlane_error_remote_status(error), "data",
                          data == NULL ? "" : (const char *)data, len));
}

int main(void) {
    end ends[2] = {{.service = service_new()}, {.service = service_new()}};
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0) {
        json_t *asked = must(json_loads(line, 0, NULL));
        operation op = {.asked = asked};
        op.end = strcmp(text(op.asked, "end"), "server") == 0 ? &ends[1] : &ends[0];
        struct timespec from;
        struct timespec to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        run(&op);
        clock_gettime(CLOCK_MONOTONIC, &to);
        const double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
        json_t *value = op.error != NULL ? described(op.error) : op.told != NULL ? op.told : must(json_object());
        json_t *told = must(json_pack("{s:o, s:f}", op.error != NULL ? "error" : "ok", value, "ms", ms));
        if (json_dumpf(told, stdout, JSON_COMPACT) != 0 || puts("") < 0 || fflush(stdout) != 0) {
            return 1;
        }
        json_decref(told);
        json_decref(asked);
        hostlane_error_free(&op.error);
    }
    free(line);
    return 0;
}

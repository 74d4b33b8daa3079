/* Random calls: the functions of the C interface in any order, with arguments right and wrong, on handles alive,
 * closed, of another kind and never issued, by one thread or several.
 *
 * An input is a head, which says what there is at the beginning and how many threads there are, and acts. What must
 * hold: nothing crashes; every status is one of the table, and one that the arguments call for; there is an error
 * object exactly when a call fails, and outputs are untouched then; and when all is closed, the process has its
 * descriptors and threads back. */

#include "calls.h"

#include "world.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

/* The functions; behind them what makes pairs of objects. */
#define ACTS(X)                                                                                                        \
    X(abi_version)                                                                                                     \
    X(version)                                                                                                         \
    X(status_name)                                                                                                     \
    X(status_meaning)                                                                                                  \
    X(send_batch)                                                                                                      \
    X(recv_batch)                                                                                                      \
    X(context_recv_batch)                                                                                              \
    X(cork)                                                                                                            \
    X(uncork)                                                                                                          \
    X(call_options_init)                                                                                               \
    X(request)                                                                                                         \
    X(request_with)                                                                                                    \
    X(call_start)                                                                                                      \
    X(call_wait)                                                                                                       \
    X(call_cancel)                                                                                                     \
    X(context_new)                                                                                                     \
    X(context_fd)                                                                                                      \
    X(context_process)                                                                                                 \
    X(context_process_batch)                                                                                           \
    X(context_next)                                                                                                    \
    X(context_next_batch)                                                                                              \
    X(context_connect)                                                                                                 \
    X(context_accept)                                                                                                  \
    X(context_recv)                                                                                                    \
    X(context_send)                                                                                                    \
    X(context_send_with)                                                                                               \
    X(context_reply)                                                                                                   \
    X(context_fail)                                                                                                    \
    X(context_call_ended)                                                                                              \
    X(context_readable)                                                                                                \
    X(context_stream_send)                                                                                             \
    X(context_stream_finish)                                                                                           \
    X(context_stream_recv)                                                                                             \
    X(context_timer)                                                                                                   \
    X(context_request)                                                                                                 \
    X(context_request_with)                                                                                            \
    X(context_ping)                                                                                                    \
    X(context_drain)                                                                                                   \
    X(context_cancel)                                                                                                  \
    X(context_close)                                                                                                   \
    X(context_submit)                                                                                                  \
    X(error_status)                                                                                                    \
    X(error_message)                                                                                                   \
    X(error_retryable)                                                                                                 \
    X(error_sent)                                                                                                      \
    X(error_remote_status)                                                                                             \
    X(error_data)                                                                                                      \
    X(error_free)                                                                                                      \
    X(events_free)                                                                                                     \
    X(info)                                                                                                            \
    X(peer_address)                                                                                                    \
    X(stats)                                                                                                           \
    X(stats_on)                                                                                                        \
    X(listener_stats)                                                                                                  \
    X(link_options_init)                                                                                               \
    X(link_open)                                                                                                       \
    X(link_next)                                                                                                       \
    X(link_request)                                                                                                    \
    X(link_send)                                                                                                       \
    X(link_reply)                                                                                                      \
    X(link_fail)                                                                                                       \
    X(link_is_serving)                                                                                                 \
    X(link_info)                                                                                                       \
    X(link_stats)                                                                                                      \
    X(link_stats_on)                                                                                                   \
    X(link_fd)                                                                                                         \
    X(link_start)                                                                                                      \
    X(link_cancel)                                                                                                     \
    X(link_call_ended)                                                                                                 \
    X(link_process)                                                                                                    \
    X(link_turn)                                                                                                       \
    X(link_events)                                                                                                     \
    X(link_close)                                                                                                      \
    X(listen)                                                                                                          \
    X(accept)                                                                                                          \
    X(listener_address)                                                                                                \
    X(listener_refusals)                                                                                               \
    X(listener_close)                                                                                                  \
    X(log_enable)                                                                                                      \
    X(log_level)                                                                                                       \
    X(log_drain)                                                                                                       \
    X(log_events_free)                                                                                                 \
    X(message_channel)                                                                                                 \
    X(message_data)                                                                                                    \
    X(message_flags)                                                                                                   \
    X(message_is_request)                                                                                              \
    X(message_call_id)                                                                                                 \
    X(message_timeout_ms)                                                                                              \
    X(message_idempotency_key)                                                                                         \
    X(message_trace)                                                                                                   \
    X(message_take_fds)                                                                                                \
    X(message_is_cancelled)                                                                                            \
    X(message_wait_cancelled)                                                                                          \
    X(message_stream)                                                                                                  \
    X(message_free)                                                                                                    \
    X(reply)                                                                                                           \
    X(fail)                                                                                                            \
    X(connect_options_init)                                                                                            \
    X(listen_options_init)                                                                                             \
    X(connect)                                                                                                         \
    X(send)                                                                                                            \
    X(send_with)                                                                                                       \
    X(recv)                                                                                                            \
    X(recv_on)                                                                                                         \
    X(ping)                                                                                                            \
    X(drain)                                                                                                           \
    X(attach)                                                                                                          \
    X(close)                                                                                                           \
    X(stream_open)                                                                                                     \
    X(stream_call_id)                                                                                                  \
    X(stream_send)                                                                                                     \
    X(stream_finish)                                                                                                   \
    X(stream_recv)                                                                                                     \
    X(stream_reply)                                                                                                    \
    X(stream_close)

#define ACT_NUMBER(name) ACT_##name,
#define ACT_NAME(name) #name,

enum { ACTS(ACT_NUMBER) FUNCTIONS, PAIR = FUNCTIONS, PAIR_OF_A_CONTEXT, PAIR_OF_LINKS, ACT_COUNT };

static const char *const names[] = {ACTS(ACT_NAME)};

/* What the bytes behind the numbers of acts stand for: what succeeds only in the right order comes more often. */
static const uint8_t frequent[] = {
    ACT_call_start,
    ACT_call_start,
    ACT_call_wait,
    ACT_recv,
    ACT_recv,
    ACT_recv,
    ACT_reply,
    ACT_fail,
    ACT_stream_open,
    ACT_message_stream,
    ACT_message_stream,
    ACT_stream_send,
    ACT_stream_recv,
    ACT_context_request,
    ACT_context_recv,
    ACT_context_recv,
    ACT_context_next,
    ACT_context_next,
    ACT_context_reply,
    ACT_context_fail,
    ACT_context_stream_send,
    ACT_context_stream_recv,
    ACT_context_call_ended,
    ACT_message_wait_cancelled,
    ACT_link_start,
    ACT_link_start,
    ACT_link_next,
    ACT_link_next,
    ACT_link_next,
    ACT_link_reply,
    ACT_link_fail,
    ACT_link_call_ended,
    ACT_link_request,
    ACT_connect,
    ACT_accept,
    ACT_accept,
    ACT_context_connect,
    ACT_listen,
    ACT_request_with,
    ACT_link_process,
};
static atomic_ulong succeeded[FUNCTIONS];

/* These wait for what another thread has to do within milliseconds. */
static const bool by_chance[FUNCTIONS] = {[ACT_request] = true,
                                          [ACT_request_with] = true,
                                          [ACT_link_request] = true,
                                          [ACT_connect] = true,
                                          [ACT_accept] = true};

/* Longest wait for what has to come: peers that connect, descriptors that are closed. */
#define LONG 20000

#define MAX_THREADS 3

/* What the library's I/O thread has open. */
#define IO_THREAD_FILES 3

/* ---- results */

static void see_event(run *r, hostlane_event_t *event) {
    HOLDS(r, event->kind >= HOSTLANE_EVENT_PENDING && event->kind <= HOSTLANE_EVENT_LINK_DOWN);
    HOLDS(r, (event->error != NULL) == (event->status != HOSTLANE_OK));
    if (event->error != NULL) {
        HOLDS(r, event->kind == HOSTLANE_EVENT_FAILED || event->kind == HOSTLANE_EVENT_LINK_DOWN);
        HOLDS(r, event->status != HOSTLANE_E_PANIC && event->status != HOSTLANE_E_INTERNAL);
        see_error(r, event->error, event->status);
    } else {
        HOLDS(r, event->kind != HOSTLANE_EVENT_FAILED);
    }
    see_bytes(event->data, event->len);
    if (event->kind == HOSTLANE_EVENT_PENDING) {
        HOLDS(r, event->op != 0);
        keep_op(event->op);
    }
    const bool new_peer = event->kind == HOSTLANE_EVENT_CONNECTED || event->kind == HOSTLANE_EVENT_ACCEPTED;
    HOLDS(r, (event->peer.id != 0) == new_peer);
    if (new_peer) {
        keep(PEER, event->peer.id, r->act->length);
    }
    if (event->message != NULL && r->act->more % 8 != 0) {
        keep_message(event->message, r->act->other);
        event->message = NULL;
    }
}

/* Events that came out of a call: seen, and freed twice. */
static void take_events(run *r, hostlane_event_t *events, size_t n) {
    for (size_t at = 0; at < n; ++at) {
        see_event(r, &events[at]);
    }
    hostlane_events_free(events, n);
    hostlane_events_free(events, n);
    for (size_t at = 0; at < n; ++at) {
        HOLDS(r, events[at].message == NULL && events[at].error == NULL);
    }
}

static void take_entries(run *r, hostlane_entry_t *entries, size_t n, size_t capacity) {
    for (size_t at = 0; at < n; ++at) {
        hostlane_entry_t *entry = &entries[at];
        if (entry->offset == HOSTLANE_NO_ROOM) {
            HOLDS(r, entry->message != NULL);
            see_message(r, entry->message);
        } else {
            HOLDS(r, entry->offset <= capacity && entry->len <= capacity - entry->offset);
        }
        keep_message(entry->message, (uint8_t)(r->act->other + at));
    }
}

static void take_message(run *r, hostlane_message_t **message) {
    see_message(r, *message);
    keep_message(*message, r->act->other);
}

static bool see_text(run *r, const char *text) {
    HOLDS(r, text != NULL);
    return text[0] != 0;
}

static void see_info(run *r, const hostlane_info_t *info) {
    HOLDS(r, memchr(info->peer_id, 0, sizeof(info->peer_id)) != NULL);
    HOLDS(r, memchr(info->features, 0, sizeof(info->features)) != NULL);
    HOLDS(r, memchr(info->carrier, 0, sizeof(info->carrier)) != NULL);
    HOLDS(r, info->channels_len <= 256 && info->level <= 1);
}

/* Filling options writes what the size says and nothing behind it. */
static bool init_options(run *r) {
    uint8_t *memory = r->options[0];
    const size_t size = r->act->more < 250 ? (size_t)r->act->more * 2 : SIZE_MAX - r->act->more;
    memset(memory, 0xA5, OPTIONS_ROOM);
    void *options = r->act->nulls % 8 == 0 ? NULL : memory;
    switch (r->what) {
    case ACT_call_options_init:
        hostlane_call_options_init(options, size);
        break;
    case ACT_connect_options_init:
        hostlane_connect_options_init(options, size);
        break;
    case ACT_listen_options_init:
        hostlane_listen_options_init(options, size);
        break;
    default:
        hostlane_link_options_init(options, size);
    }
    const size_t written = options == NULL || size < sizeof(size_t) ? 0 : size > OPTIONS_ROOM ? sizeof(size_t) : size;
    for (size_t at = written; at < OPTIONS_ROOM; ++at) {
        HOLDS(r, memory[at] == 0xA5);
    }
    return true;
}

/* ---- pairs of objects */

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

typedef struct {
    char address[64];
    hostlane_connect_options_t options;
    hostlane_status_t status;
    hostlane_peer_t peer;
} connecting;

static void *connect_thread(void *argument) {
    connecting *client = argument;
    do {
        client->status =
            hostlane_connect(client->address, strlen(client->address), &client->options, LONG, &client->peer, NULL);
    } while (client->status == HOSTLANE_E_INTERRUPTED);
    return NULL;
}

/* An address nobody else of the process has. */
static void own_address(char *address, size_t room, bool socket) {
    static atomic_uint number;
    const unsigned own = atomic_fetch_add(&number, 1);
    if (socket) {
        snprintf(address, room, "%s/own-%u", directory(), own % 64);
    } else {
        snprintf(address, room, "inproc:own-%u", own);
    }
}

static hostlane_listener_t own_listener(run *r, const char *address) {
    hostlane_listen_options_t options;
    hostlane_listener_t listener = {0};
    hostlane_listen_options_init(&options, sizeof(options));
    options.fds = 1;
    const hostlane_status_t status = hostlane_listen(address, strlen(address), &options, &listener, NULL);
    HOLDS(r, status == HOSTLANE_OK);
    return listener;
}

static hostlane_connect_options_t own_options(const run *r) {
    hostlane_connect_options_t options;
    hostlane_connect_options_init(&options, sizeof(options));
    options.fds = 1;
    options.level = r->act->options % 8 == 0 ? HOSTLANE_LEVEL_ZERO : HOSTLANE_LEVEL_AUTO;
    options.max_calls = r->act->options % 5 == 0 ? 1 : 0;
    options.keepalive_ms = r->act->options % 32 == 7 ? 50 : 0;
    return options;
}

/* Whether a call is sure to arrive. With a keepalive as short as this, a process that was kept waiting for a processor
 * may have ended the connection. */
static bool may_be_called(const hostlane_connect_options_t *options) {
    return options->level == HOSTLANE_LEVEL_AUTO && options->keepalive_ms == 0;
}

static bool pair(run *r) {
    connecting client;
    hostlane_peer_t server = {0};
    pthread_t thread;
    hostlane_status_t status;
    memset(&client, 0, sizeof(client));
    own_address(client.address, sizeof(client.address), r->act->more % 4 == 0);
    client.options = own_options(r);
    const hostlane_listener_t listener = own_listener(r, client.address);
    HOLDS(r, pthread_create(&thread, NULL, connect_thread, &client) == 0);
    do {
        status = hostlane_accept(listener, LONG, &server, NULL);
    } while (status == HOSTLANE_E_INTERRUPTED);
    HOLDS(r, pthread_join(thread, NULL) == 0);
    HOLDS(r, status == HOSTLANE_OK && client.status == HOSTLANE_OK);
    if (r->act->more % 2 == 0 && may_be_called(&client.options)) {
        hostlane_call_t call;
        hostlane_message_t *request = NULL;
        HOLDS(r, hostlane_call_start(client.peer, "x", 1, NULL, &call, NULL) == HOSTLANE_OK);
        do {
            status = hostlane_recv(server, LONG, &request, NULL);
        } while (status == HOSTLANE_E_INTERRUPTED);
        HOLDS(r, status == HOSTLANE_OK);
        take_message(r, &request);
        keep(CALL, call.id, r->act->more);
    }
    keep(PEER, client.peer.id, r->act->object);
    keep(PEER, server.id, (uint8_t)(r->act->object + 1));
    keep(LISTENER, listener.id, r->act->other);
    return true;
}

static void next_event(run *r, hostlane_context_t context, hostlane_event_t *event) {
    hostlane_status_t status;
    do {
        status = hostlane_context_next(context, LONG, event, NULL);
    } while (status == HOSTLANE_E_INTERRUPTED);
    HOLDS(r, status == HOSTLANE_OK);
}

static bool pair_of_a_context(run *r) {
    char address[64];
    hostlane_context_t context;
    hostlane_event_t event;
    const hostlane_connect_options_t options = own_options(r);
    own_address(address, sizeof(address), r->act->more % 4 == 0);
    HOLDS(r, hostlane_context_new(&context, NULL) == HOSTLANE_OK);
    const hostlane_listener_t listener = own_listener(r, address);
    HOLDS(r, hostlane_context_accept(context, listener, LONG, &event, NULL) == HOSTLANE_OK);
    HOLDS(r, hostlane_context_connect(context, address, strlen(address), &options, LONG, &event, NULL) == HOSTLANE_OK);
    HOLDS(r, event.kind == HOSTLANE_EVENT_PENDING);
    hostlane_peer_t peers[2];
    for (uint8_t done = 0; done < 2; ++done) {
        next_event(r, context, &event);
        HOLDS(r, event.status == HOSTLANE_OK && event.peer.id != 0);
        peers[done] = event.peer;
    }
    if (r->act->more % 2 == 0 && may_be_called(&options)) {
        HOLDS(r, hostlane_context_request(context, peers[0], "x", 1, LONG, &event, NULL) == HOSTLANE_OK);
        keep_op(event.op);
        HOLDS(r, hostlane_context_recv(context, peers[1], HOSTLANE_ANY_CHANNEL, LONG, &event, NULL) == HOSTLANE_OK);
        while (event.kind == HOSTLANE_EVENT_PENDING) {
            next_event(r, context, &event);
        }
        HOLDS(r, event.kind == HOSTLANE_EVENT_MESSAGE);
        take_message(r, &event.message);
    }
    keep(PEER, peers[0].id, (uint8_t)(r->act->object + 2));
    keep(PEER, peers[1].id, (uint8_t)(r->act->object + 3));
    keep(LISTENER, listener.id, (uint8_t)(r->act->other + 1));
    keep(CONTEXT, context.id, r->act->object);
    return true;
}

static bool pair_of_links(run *r) {
    char address[64];
    hostlane_link_t links[2];
    own_address(address, sizeof(address), r->act->more % 4 == 0);
    for (int at = 0; at < 2; ++at) {
        HOLDS(r, hostlane_link_open(address, strlen(address), NULL, &links[at], NULL) == HOSTLANE_OK);
    }
    const int64_t deadline = now() + LONG;
    uint64_t op;
    unsigned up = 0;
    bool asking = false;
    bool asked = r->act->more % 2 != 0; /* or not at all */
    while (up != 3 || !asked) {
        if (up == 3 && !asking) {
            HOLDS(r, hostlane_link_start(links[0], "x", 1, NULL, LONG, &op, NULL) == HOSTLANE_OK);
            keep_op(op);
            asking = true;
        }
        for (unsigned at = 0; at < 2; ++at) {
            hostlane_event_t event;
            const hostlane_status_t status = hostlane_link_next(links[at], 1, &event, NULL);
            HOLDS(r, status == HOSTLANE_OK || status == HOSTLANE_E_TIMEOUT || status == HOSTLANE_E_INTERRUPTED);
            if (status == HOSTLANE_OK) {
                up |= event.kind == HOSTLANE_EVENT_LINK_UP ? 1u << at : 0;
                if (event.kind == HOSTLANE_EVENT_MESSAGE) {
                    take_message(r, &event.message);
                    event.message = NULL;
                    asked = true;
                }
                hostlane_events_free(&event, 1);
            }
        }
        HOLDS(r, now() < deadline);
    }
    keep(LINK, links[0].id, r->act->object);
    keep(LINK, links[1].id, (uint8_t)(r->act->object + 1));
    return true;
}

/* ---- the acts */

static hostlane_peer_t peer(run *r, uint8_t choice) { return (hostlane_peer_t){draw(r, PEER, choice)}; }
static hostlane_listener_t listener(run *r, uint8_t choice) { return (hostlane_listener_t){draw(r, LISTENER, choice)}; }
static hostlane_context_t context(run *r) { return (hostlane_context_t){draw(r, CONTEXT, r->act->object)}; }
static hostlane_link_t lane_link(run *r) { return (hostlane_link_t){draw(r, LINK, r->act->object)}; }
static hostlane_stream_t stream(run *r, uint8_t choice) { return (hostlane_stream_t){draw(r, STREAM, choice)}; }
static hostlane_call_t started(run *r) { return (hostlane_call_t){draw(r, CALL, r->act->object)}; }

/* A message that has to be there. */
static const hostlane_message_t *message(run *r) {
    const hostlane_message_t *held = hold(r, false);
    r->wrong |= held == NULL ? WRONG_ARGUMENT : 0;
    return held;
}

/* How many events a call may hand out. */
static size_t cap(run *r) {
    const size_t cap = r->act->length % (EVENTS + 1);
    r->wrong |= cap == 0 ? WRONG_ARGUMENT : 0;
    return cap;
}

static bool one_event(run *r, hostlane_status_t status, hostlane_event_t *event) {
    if (judge(r, status)) {
        take_events(r, event, 1);
        return true;
    }
    return false;
}

static bool many_events(run *r, hostlane_status_t status, hostlane_event_t *events, const size_t *n, size_t cap) {
    if (judge(r, status)) {
        HOLDS(r, *n <= cap);
        take_events(r, events, *n);
        return true;
    }
    return false;
}

static bool new_handle(run *r, hostlane_status_t status, kind of, const void *handle) {
    if (judge(r, status)) {
        uint64_t id;
        memcpy(&id, handle, sizeof(id)); /* all of them are one number */
        HOLDS(r, id != 0);
        keep(of, id, r->act->more);
        return true;
    }
    return false;
}

static bool new_message(run *r, hostlane_status_t status, hostlane_message_t **message) {
    if (judge(r, status)) {
        take_message(r, message);
        return true;
    }
    return false;
}

static bool ended(run *r, kind of) {
    const uint64_t id = draw(r, of, r->act->object);
    if (judge(r, end(of, id, err(r)))) {
        gone(of, id);
        HOLDS(r, end(of, id, NULL) == HOSTLANE_E_CLOSED);
        return true;
    }
    return false;
}

static bool submit(run *r) {
    static const uint8_t choices[] = {0, 3, 5, 17, 31, 90, 160, 215, 229, 255};
    hostlane_submission_t submissions[EVENTS];
    const act *a = r->act;
    const size_t n = a->length % (EVENTS + 1);
    const hostlane_context_t context = {draw(r, CONTEXT, a->object)};
    hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
    r->wrong &= n > 0 || r->wrong != WRONG_ARGUMENT ? ~0u : ~(unsigned)WRONG_ARGUMENT; /* no events, no array */
    r->wrong |= n == 0 && events == NULL ? WRONG_OTHERWISE : 0;
    const unsigned wrong = r->wrong;
    const hostlane_call_options_t *options = call_options(r);
    hold(r, true);
    hostlane_message_t **slot = held(r);
    size_t last = EVENTS;
    memset(submissions, 0, sizeof(submissions));
    for (size_t at = 0; at < n; ++at) {
        hostlane_submission_t *one = &submissions[at];
        const uint8_t mixed = (uint8_t)(a->more * 7 + at * 31 + a->channel);
        one->kind = mixed % 14;
        one->code = mixed;
        one->peer = peer(r, (uint8_t)(a->other + at * (a->wait % 3)));
        one->stream = stream(r, (uint8_t)(mixed + at));
        one->message = slot == NULL ? NULL : *slot;
        one->channel = mixed % 5 == 0 ? HOSTLANE_ANY_CHANNEL : mixed % 7;
        one->options = mixed % 3 == 0 ? options : NULL;
        one->timeout_ms = timeout(r);
        one->len = choices[mixed % sizeof(choices)];
        one->offset = choices[(mixed >> 3) % sizeof(choices)];
        one->data = mixed % 2 != 0 ? r->buffer : NULL;
        if (one->message != NULL && (one->kind == HOSTLANE_SUBMIT_REPLY || one->kind == HOSTLANE_SUBMIT_FAIL)) {
            last = at;
        }
    }
    if (last < EVENTS) { /* nobody may name it behind the one that frees it */
        submissions[last].free_message = 1;
        for (size_t at = last + 1; at < n; ++at) {
            submissions[at].message = NULL;
        }
    }
    r->wrong = wrong; /* what is wrong with one operation is its event */
    const bool room = a->wait % 4 != 0;
    if (!judge(r, hostlane_context_submit(context, submissions, n, room ? r->buffer : NULL, room ? 200 : 0, events,
                                          err(r)))) {
        return false;
    }
    if (last < EVENTS) {
        *slot = NULL;
    }
    if (events != NULL) {
        take_events(r, events, n);
    }
    return true;
}

static bool take_fds(run *r) {
    const hostlane_message_t *of = message(r);
    int32_t *fds = output(r, sizeof(*fds) * HOSTLANE_MAX_FDS);
    size_t *n = output(r, sizeof(*n));
    if (!judge(r, hostlane_message_take_fds(of, fds, n, err(r)))) {
        return false;
    }
    HOLDS(r, *n <= HOSTLANE_MAX_FDS);
    for (size_t at = 0; at < *n; ++at) {
        HOLDS(r, close(fds[at]) == 0);
    }
    return true;
}

static bool drain_log(run *r) {
    const size_t most = cap(r);
    hostlane_log_event_t *events = output(r, sizeof(*events) * EVENTS);
    size_t *n = output(r, sizeof(*n));
    uint64_t *dropped = optional_output(r, sizeof(*dropped));
    if (!judge(r, hostlane_log_drain(events, most, n, dropped, err(r)))) {
        return false;
    }
    HOLDS(r, *n <= most);
    for (size_t at = 0; at < *n; ++at) {
        HOLDS(r, events[at].level >= HOSTLANE_LOG_ERROR && events[at].level <= HOSTLANE_LOG_DEBUG);
        HOLDS(r, strlen(events[at].peer) == events[at].peer_len);
        HOLDS(r, strlen(events[at].address) == events[at].address_len);
        HOLDS(r, strlen(events[at].text) == events[at].text_len && see_text(r, events[at].event));
    }
    hostlane_log_events_free(events, *n);
    hostlane_log_events_free(events, *n);
    return true;
}

/* The functions that answer without a status: for what is there, and for NULL. */
static bool ask(run *r) {
    const act *a = r->act;
    size_t len = 77;
    size_t *length = a->nulls % 4 == 0 ? NULL : &len;
    const hostlane_error_t *error = a->nulls % 8 == 1 ? NULL : r->last;
    const hostlane_message_t *asked = hold(r, false);
    const uint8_t *data = NULL;
    switch (r->what) {
    case ACT_abi_version:
        HOLDS(r, hostlane_abi_version() == HOSTLANE_ABI_VERSION);
        break;
    case ACT_version:
        HOLDS(r, see_text(r, hostlane_version()));
        break;
    case ACT_status_name:
        HOLDS(r, see_text(r, hostlane_status_name((a->object << 8 | a->other) - 100)));
        break;
    case ACT_status_meaning:
        HOLDS(r, see_text(r, hostlane_status_meaning((a->object << 8 | a->other) - 100)));
        break;
    case ACT_error_status:
        HOLDS(r, (hostlane_error_status(error) == HOSTLANE_OK) == (error == NULL));
        break;
    case ACT_error_message: {
        const char *text = NULL;
        hostlane_error_message(error, a->nulls % 4 == 2 ? NULL : &text, length);
        HOLDS(r, a->nulls % 4 == 2 || length == NULL || strlen(text) == len);
        break;
    }
    case ACT_error_retryable:
        HOLDS(r, error != NULL || !hostlane_error_retryable(error));
        break;
    case ACT_error_sent:
        HOLDS(r, error != NULL || hostlane_error_sent(error) == HOSTLANE_SENT_NO);
        break;
    case ACT_error_remote_status:
        HOLDS(r, hostlane_error_remote_status(error) == 0 || hostlane_error_status(error) == HOSTLANE_E_REMOTE_ERROR);
        break;
    case ACT_error_data:
        data = hostlane_error_data(error, length);
        HOLDS(r, (data == NULL) == (error == NULL));
        break;
    case ACT_error_free:
        hostlane_error_free(a->nulls % 4 == 0 ? NULL : &r->last);
        HOLDS(r, a->nulls % 4 == 0 || r->last == NULL);
        break;
    case ACT_events_free: {
        hostlane_event_t none[2];
        memset(none, 0, sizeof(none));
        hostlane_events_free(a->nulls % 4 == 0 ? NULL : none, a->more % 3);
        break;
    }
    case ACT_log_events_free: {
        hostlane_log_event_t none[2];
        memset(none, 0, sizeof(none));
        hostlane_log_events_free(a->nulls % 4 == 0 ? NULL : none, a->more % 3);
        break;
    }
    case ACT_log_level: {
        const int32_t level = hostlane_log_level();
        HOLDS(r, level >= HOSTLANE_LOG_OFF && level <= HOSTLANE_LOG_DEBUG);
        break;
    }
    case ACT_message_channel:
        HOLDS(r, asked != NULL || hostlane_message_channel(asked) == 0);
        break;
    case ACT_message_data:
        data = hostlane_message_data(asked, length);
        HOLDS(r, (data == NULL) == (asked == NULL));
        break;
    case ACT_message_flags:
        HOLDS(r, hostlane_message_flags(asked) < 32 && (asked != NULL || hostlane_message_flags(asked) == 0));
        break;
    case ACT_message_is_request:
        HOLDS(r,
              hostlane_message_is_request(asked) == ((hostlane_message_flags(asked) & HOSTLANE_MESSAGE_REQUEST) != 0));
        break;
    case ACT_message_call_id:
        HOLDS(r, asked != NULL || hostlane_message_call_id(asked) == 0);
        break;
    case ACT_message_timeout_ms:
        HOLDS(r, hostlane_message_timeout_ms(asked) >= HOSTLANE_FOREVER);
        break;
    case ACT_message_idempotency_key:
        data = hostlane_message_idempotency_key(asked, length);
        HOLDS(r, data == NULL || length == NULL || (len > 0 && len <= 64));
        break;
    case ACT_message_trace:
        data = hostlane_message_trace(asked, length);
        HOLDS(r, data == NULL || length == NULL || (len > 0 && len <= 64));
        break;
    case ACT_message_is_cancelled:
        HOLDS(r, asked != NULL || !hostlane_message_is_cancelled(asked));
        break;
    default:
        end_act(r);
        hold(r, true);
        hostlane_message_free(a->nulls % 4 == 0 ? NULL : held(r));
    }
    if (data != NULL && length != NULL) {
        see_bytes(data, len);
    }
    return true;
}

static bool on_a_context(run *r) {
    const act *a = r->act;
    size_t len;
    size_t most;
    const hostlane_context_t driver = context(r);
    switch (r->what) {
    case ACT_context_fd: {
        int32_t *fd = output(r, sizeof(*fd));
        return judge(r, hostlane_context_fd(driver, fd, err(r)));
    }
    case ACT_context_cancel:
        return judge(r, hostlane_context_cancel(driver, draw_op(a->other), err(r)));
    case ACT_context_process: {
        most = cap(r);
        hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        bool *more = optional_output(r, sizeof(*more));
        return many_events(r, hostlane_context_process(driver, events, most, n, more, err(r)), events, n, most);
    }
    case ACT_context_process_batch: {
        most = cap(r);
        void *room = buffer(r, &len);
        hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        bool *more = optional_output(r, sizeof(*more));
        const hostlane_status_t status =
            hostlane_context_process_batch(driver, room, len, events, most, n, more, err(r));
        return many_events(r, status, events, n, most);
    }
    case ACT_context_next_batch: {
        most = cap(r);
        void *room = buffer(r, &len);
        hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        const hostlane_status_t status =
            hostlane_context_next_batch(driver, timeout(r), room, len, events, most, n, err(r));
        return many_events(r, status, events, n, most);
    }
    case ACT_context_recv_batch: {
        const hostlane_peer_t from = peer(r, a->other);
        most = cap(r);
        void *room = buffer(r, &len);
        hostlane_entry_t *entries = output(r, sizeof(*entries) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        hostlane_event_t *event = output(r, sizeof(*event));
        if (judge(r,
                  hostlane_context_recv_batch(driver, from, timeout(r), room, len, entries, most, n, event, err(r)))) {
            HOLDS(r, *n <= most);
            take_entries(r, entries, *n, len);
            take_events(r, event, 1);
            return true;
        }
        return false;
    }
    default:
        break;
    }
    /* What is left writes one event. */
    hostlane_event_t *event = output(r, sizeof(*event));
    hostlane_status_t status;
    switch (r->what) {
    case ACT_context_next:
        status = hostlane_context_next(driver, timeout(r), event, err(r));
        break;
    case ACT_context_connect: {
        const char *to = address(r, &len);
        const hostlane_connect_options_t *options = connect_options(r);
        status = hostlane_context_connect(driver, to, len, options, timeout(r), event, err(r));
        break;
    }
    case ACT_context_accept:
        status = hostlane_context_accept(driver, listener(r, a->other), timeout(r), event, err(r));
        break;
    case ACT_context_recv: {
        const hostlane_peer_t from = peer(r, a->other);
        const int32_t on = a->more % 2 != 0 ? HOSTLANE_ANY_CHANNEL : a->more % 3 == 0 ? a->more * 1000 : channel(r);
        r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0;
        status = hostlane_context_recv(driver, from, on, timeout(r), event, err(r));
        break;
    }
    case ACT_context_send: {
        const hostlane_peer_t to = peer(r, a->other);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_send(driver, to, channel(r), data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_send_with: {
        const hostlane_peer_t to = peer(r, a->other);
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        status = hostlane_context_send_with(driver, to, data, len, options, timeout(r), event, err(r));
        break;
    }
    case ACT_context_request: {
        const hostlane_peer_t to = peer(r, a->other);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_request(driver, to, data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_request_with: {
        const hostlane_peer_t to = peer(r, a->other);
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        status = hostlane_context_request_with(driver, to, data, len, options, timeout(r), event, err(r));
        break;
    }
    case ACT_context_reply: {
        const hostlane_message_t *to = message(r);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_reply(driver, to, data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_fail: {
        const hostlane_message_t *to = message(r);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_fail(driver, to, a->more, data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_call_ended:
        status = hostlane_context_call_ended(driver, message(r), timeout(r), event, err(r));
        break;
    case ACT_context_readable:
        status = hostlane_context_readable(driver, peer(r, a->other), timeout(r), event, err(r));
        break;
    case ACT_context_stream_send: {
        const hostlane_stream_t on = stream(r, a->other);
        const uint8_t *data = payload(r, &len);
        status = hostlane_context_stream_send(driver, on, data, len, timeout(r), event, err(r));
        break;
    }
    case ACT_context_stream_finish:
        status = hostlane_context_stream_finish(driver, stream(r, a->other), timeout(r), event, err(r));
        break;
    case ACT_context_stream_recv:
        status = hostlane_context_stream_recv(driver, stream(r, a->other), timeout(r), event, err(r));
        break;
    case ACT_context_timer:
        status = hostlane_context_timer(driver, a->more % 8 == 0 ? -1 : timeout(r), event, err(r));
        break;
    case ACT_context_ping:
        status = hostlane_context_ping(driver, peer(r, a->other), timeout(r), event, err(r));
        break;
    default:
        status = hostlane_context_drain(driver, peer(r, a->other), timeout(r), event, err(r));
    }
    return one_event(r, status, event);
}

static bool on_a_link(run *r) {
    const act *a = r->act;
    size_t len;
    const hostlane_link_t on = lane_link(r);
    switch (r->what) {
    case ACT_link_next: {
        hostlane_event_t *event = output(r, sizeof(*event));
        return one_event(r, hostlane_link_next(on, timeout(r), event, err(r)), event);
    }
    case ACT_link_request: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        hostlane_message_t **answer = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_link_request(on, data, len, options, timeout(r), answer, err(r)), answer);
    }
    case ACT_link_send: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        return judge(r, hostlane_link_send(on, data, len, options, err(r)));
    }
    case ACT_link_reply: {
        const hostlane_message_t *to = message(r);
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_link_reply(on, to, data, len, err(r)));
    }
    case ACT_link_fail: {
        const hostlane_message_t *to = message(r);
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_link_fail(on, to, a->more, data, len, err(r)));
    }
    case ACT_link_is_serving: {
        int32_t *serving = output(r, sizeof(*serving));
        return judge(r, hostlane_link_is_serving(on, serving, err(r)));
    }
    case ACT_link_info: {
        hostlane_info_t *info = output(r, sizeof(*info));
        if (judge(r, hostlane_link_info(on, info, err(r)))) {
            see_info(r, info);
            return true;
        }
        return false;
    }
    case ACT_link_stats: {
        hostlane_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_link_stats(on, stats, err(r)));
    }
    case ACT_link_stats_on: {
        hostlane_channel_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_link_stats_on(on, channel(r), stats, err(r)));
    }
    case ACT_link_fd: {
        int32_t *fd = output(r, sizeof(*fd));
        return judge(r, hostlane_link_fd(on, fd, err(r)));
    }
    case ACT_link_start: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        uint64_t *op = output(r, sizeof(*op));
        if (judge(r, hostlane_link_start(on, data, len, options, timeout(r), op, err(r)))) {
            keep_op(*op);
            return true;
        }
        return false;
    }
    case ACT_link_cancel:
        return judge(r, hostlane_link_cancel(on, draw_op(a->other), err(r)));
    case ACT_link_call_ended: {
        const hostlane_message_t *of = message(r);
        uint64_t *op = output(r, sizeof(*op));
        if (judge(r, hostlane_link_call_ended(on, of, op, err(r)))) {
            keep_op(*op);
            return true;
        }
        return false;
    }
    default:
        break;
    }
    /* What is left hands out events. */
    const size_t most = cap(r);
    void *room = buffer(r, &len);
    if (room == NULL) { /* payloads stay in their messages */
        len = 0;
        r->wrong &= ~(unsigned)WRONG_ARGUMENT;
        r->wrong |= most == 0 ? WRONG_ARGUMENT : 0;
    }
    hostlane_event_t *events = output(r, sizeof(*events) * EVENTS);
    size_t *n = output(r, sizeof(*n));
    bool *more = optional_output(r, sizeof(*more));
    hostlane_status_t status;
    if (r->what == ACT_link_process) {
        status = hostlane_link_process(on, room, len, events, most, n, more, err(r));
    } else if (r->what == ACT_link_turn) {
        bool *waiting = optional_output(r, sizeof(*waiting));
        status = hostlane_link_turn(on, room, len, events, most, n, more, waiting, err(r));
    } else {
        status = hostlane_link_events(on, room, len, events, most, n, more, err(r));
    }
    return many_events(r, status, events, n, most);
}

static bool on_a_stream(run *r) {
    size_t len;
    const hostlane_stream_t on = stream(r, r->act->object);
    switch (r->what) {
    case ACT_stream_call_id: {
        uint64_t *id = output(r, sizeof(*id));
        return judge(r, hostlane_stream_call_id(on, id, err(r)));
    }
    case ACT_stream_send: {
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_stream_send(on, data, len, timeout(r), err(r)));
    }
    case ACT_stream_finish:
        return judge(r, hostlane_stream_finish(on, timeout(r), err(r)));
    default:
        break;
    }
    hostlane_message_t **item = output(r, sizeof(hostlane_message_t *));
    hostlane_status_t status;
    if (r->what == ACT_stream_recv) {
        status = hostlane_stream_recv(on, timeout(r), item, err(r));
    } else {
        status = hostlane_stream_reply(on, item, err(r));
    }
    if (judge(r, status)) {
        keep_message(*item, r->act->other); /* NULL: the end */
        return true;
    }
    return false;
}

static bool on_a_listener(run *r) {
    const hostlane_listener_t on = listener(r, r->act->object);
    switch (r->what) {
    case ACT_accept: {
        hostlane_peer_t *accepted = output(r, sizeof(*accepted));
        return new_handle(r, hostlane_accept(on, timeout(r), accepted, err(r)), PEER, accepted);
    }
    case ACT_listener_stats: {
        hostlane_listener_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_listener_stats(on, stats, err(r)));
    }
    case ACT_listener_address: {
        char *text = optional_output(r, 200);
        size_t *len = output(r, sizeof(*len));
        const size_t room = r->act->length;
        return judge(r, hostlane_listener_address(on, text, room < 200 ? room : 200, len, err(r)));
    }
    default: {
        const size_t most = r->act->length % 5;
        hostlane_refusal_t *refusals = output(r, sizeof(*refusals) * 5);
        size_t *n = output(r, sizeof(*n));
        r->wrong |= most == 0 ? WRONG_ARGUMENT : 0;
        return judge(r, hostlane_listener_refusals(on, refusals, most, n, err(r)));
    }
    }
}

static bool on_a_peer(run *r) {
    const act *a = r->act;
    size_t len;
    const hostlane_peer_t on = peer(r, a->object);
    switch (r->what) {
    case ACT_send_batch: {
        hostlane_bytes_t payloads[EVENTS];
        const size_t n = a->more % (EVENTS + 1);
        const uint8_t *data = payload(r, &len);
        for (size_t at = 0; at < n; ++at) {
            payloads[at] = (hostlane_bytes_t){data, len < 4096 || at == 0 ? len : 7};
        }
        r->wrong &= n == 0 ? ~(unsigned)WRONG_ARGUMENT : ~0u;
        const bool none = n > 0 && a->options % 16 == 0;
        r->wrong |= none ? WRONG_ARGUMENT : 0;
        return judge(r, hostlane_send_batch(on, channel(r), none ? NULL : payloads, n, timeout(r), err(r)));
    }
    case ACT_recv_batch: {
        const size_t most = cap(r);
        void *room = buffer(r, &len);
        hostlane_entry_t *entries = output(r, sizeof(*entries) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        if (judge(r, hostlane_recv_batch(on, timeout(r), room, len, entries, most, n, err(r)))) {
            HOLDS(r, *n >= 1 && *n <= most);
            take_entries(r, entries, *n, len);
            return true;
        }
        return false;
    }
    case ACT_cork:
        return judge(r, hostlane_cork(on, err(r)));
    case ACT_uncork:
        return judge(r, hostlane_uncork(on, err(r)));
    case ACT_request: {
        const uint8_t *data = payload(r, &len);
        hostlane_message_t **answer = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_request(on, data, len, timeout(r), answer, err(r)), answer);
    }
    case ACT_request_with: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        hostlane_message_t **answer = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_request_with(on, data, len, options, timeout(r), answer, err(r)), answer);
    }
    case ACT_call_start: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        hostlane_call_t *call = output(r, sizeof(*call));
        return new_handle(r, hostlane_call_start(on, data, len, options, call, err(r)), CALL, call);
    }
    case ACT_stream_open: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        hostlane_stream_t *opened = output(r, sizeof(*opened));
        return new_handle(r, hostlane_stream_open(on, data, len, options, opened, err(r)), STREAM, opened);
    }
    case ACT_send: {
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_send(on, channel(r), data, len, timeout(r), err(r)));
    }
    case ACT_send_with: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        return judge(r, hostlane_send_with(on, data, len, options, timeout(r), err(r)));
    }
    case ACT_recv: {
        hostlane_message_t **received = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_recv(on, timeout(r), received, err(r)), received);
    }
    case ACT_recv_on: {
        hostlane_message_t **received = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_recv_on(on, channel(r), timeout(r), received, err(r)), received);
    }
    case ACT_ping: {
        uint64_t *rtt = output(r, sizeof(*rtt));
        return judge(r, hostlane_ping(on, timeout(r), rtt, err(r)));
    }
    case ACT_drain:
        return judge(r, hostlane_drain(on, timeout(r), err(r)));
    case ACT_attach:
        return judge(r, hostlane_attach(on, err(r)));
    case ACT_info: {
        hostlane_info_t *info = output(r, sizeof(*info));
        if (judge(r, hostlane_info(on, info, err(r)))) {
            see_info(r, info);
            return true;
        }
        return false;
    }
    case ACT_peer_address: {
        char *text = optional_output(r, 200);
        size_t *written = output(r, sizeof(*written));
        const size_t room = a->length;
        return judge(r, hostlane_peer_address(on, text, room < 200 ? room : 200, written, err(r)));
    }
    case ACT_stats: {
        hostlane_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_stats(on, stats, err(r)));
    }
    default: {
        hostlane_channel_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_stats_on(on, channel(r), stats, err(r)));
    }
    }
}

static bool perform(run *r) {
    const act *a = r->act;
    size_t len;
    switch (r->what) {
    case PAIR:
        return pair(r);
    case PAIR_OF_A_CONTEXT:
        return pair_of_a_context(r);
    case PAIR_OF_LINKS:
        return pair_of_links(r);
    case ACT_call_options_init:
    case ACT_connect_options_init:
    case ACT_listen_options_init:
    case ACT_link_options_init:
        return init_options(r);
    case ACT_close:
        return ended(r, PEER);
    case ACT_listener_close:
        return ended(r, LISTENER);
    case ACT_context_close:
        return ended(r, CONTEXT);
    case ACT_link_close:
        return ended(r, LINK);
    case ACT_stream_close:
        return ended(r, STREAM);
    case ACT_call_cancel:
        return ended(r, CALL);
    case ACT_call_wait: {
        const hostlane_call_t call = started(r);
        hostlane_message_t **answer = output(r, sizeof(hostlane_message_t *));
        const hostlane_status_t status = hostlane_call_wait(call, timeout(r), answer, err(r));
        if (answer != NULL && status != HOSTLANE_E_INVALID_HANDLE && status != HOSTLANE_E_CLOSED) {
            gone(CALL, call.id); /* whatever came of it */
        }
        return new_message(r, status, answer);
    }
    case ACT_context_new: {
        hostlane_context_t *made = output(r, sizeof(*made));
        return new_handle(r, hostlane_context_new(made, err(r)), CONTEXT, made);
    }
    case ACT_context_submit:
        return submit(r);
    case ACT_listen: {
        const char *at = address(r, &len);
        const hostlane_listen_options_t *options = listen_options(r);
        hostlane_listener_t *made = output(r, sizeof(*made));
        r->wrong |= r->wrong != 0 && options != NULL ? WRONG_OTHERWISE : 0;
        return new_handle(r, hostlane_listen(at, len, options, made, err(r)), LISTENER, made);
    }
    case ACT_connect: {
        const char *to = address(r, &len);
        const hostlane_connect_options_t *options = connect_options(r);
        hostlane_peer_t *made = output(r, sizeof(*made));
        r->wrong |= r->wrong != 0 && options != NULL ? WRONG_OTHERWISE : 0;
        return new_handle(r, hostlane_connect(to, len, options, timeout(r), made, err(r)), PEER, made);
    }
    case ACT_link_open: {
        const char *at = address(r, &len);
        const hostlane_link_options_t *options = link_options(r);
        hostlane_link_t *made = output(r, sizeof(*made));
        r->wrong |= r->wrong != 0 && options != NULL ? WRONG_OTHERWISE : 0;
        return new_handle(r, hostlane_link_open(at, len, options, made, err(r)), LINK, made);
    }
    case ACT_log_enable: {
        const int32_t level = a->object % 8 - 1;
        r->wrong |= level < HOSTLANE_LOG_OFF || level > HOSTLANE_LOG_DEBUG ? WRONG_ARGUMENT : 0;
        return judge(r, hostlane_log_enable(level, err(r)));
    }
    case ACT_log_drain:
        return drain_log(r);
    case ACT_message_take_fds:
        return take_fds(r);
    case ACT_message_wait_cancelled:
        return judge(r, hostlane_message_wait_cancelled(message(r), timeout(r), err(r)));
    case ACT_message_stream: {
        const hostlane_message_t *of = message(r);
        hostlane_stream_t *made = output(r, sizeof(*made));
        return new_handle(r, hostlane_message_stream(of, made, err(r)), STREAM, made);
    }
    case ACT_reply: {
        const hostlane_message_t *to = message(r);
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_reply(to, data, len, timeout(r), err(r)));
    }
    case ACT_fail: {
        const hostlane_message_t *to = message(r);
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_fail(to, a->more, data, len, timeout(r), err(r)));
    }
    default:
        break;
    }
    const char *name = r->name;
    const char *const on_contexts = "context_";
    if (strncmp(name, on_contexts, strlen(on_contexts)) == 0) {
        return on_a_context(r);
    }
    if (strncmp(name, "link_", 5) == 0) {
        return on_a_link(r);
    }
    if (strncmp(name, "stream_", 7) == 0 && r->what != ACT_stream_open) {
        return on_a_stream(r);
    }
    if (strncmp(name, "listener_", 9) == 0 || r->what == ACT_accept) {
        return on_a_listener(r);
    }
    switch (r->what) {
    case ACT_send_batch:
    case ACT_recv_batch:
    case ACT_cork:
    case ACT_uncork:
    case ACT_request:
    case ACT_request_with:
    case ACT_call_start:
    case ACT_stream_open:
    case ACT_send:
    case ACT_send_with:
    case ACT_recv:
    case ACT_recv_on:
    case ACT_ping:
    case ACT_drain:
    case ACT_attach:
    case ACT_info:
    case ACT_peer_address:
    case ACT_stats:
    case ACT_stats_on:
        return on_a_peer(r);
    default:
        return ask(r);
    }
}

static void act_once(run *r, const act *a) {
    const unsigned what = a->what < ACT_COUNT ? a->what : frequent[(a->what - ACT_COUNT) % sizeof(frequent)];
    begin(r, what < FUNCTIONS ? names[what] : "(a pair)", what, a);
    if (perform(r) && what < FUNCTIONS) {
        atomic_fetch_add_explicit(&succeeded[what], 1, memory_order_relaxed);
    }
    end_act(r);
}

/* ---- a run */

typedef struct {
    run run;
    const uint8_t *acts;
    size_t count;
    size_t first;
    size_t step;
} worker;

static worker workers[MAX_THREADS];

static void *work(void *argument) {
    worker *w = argument;
    for (size_t at = w->first; at < w->count; at += w->step) {
        act a;
        memcpy(&a, w->acts + at * sizeof(a), sizeof(a));
        act_once(&w->run, &a);
    }
    hostlane_error_free(&w->run.last);
    return NULL;
}

/* Waits until the process has no more than it had before; with `soon` the library's I/O thread, which stays for a
 * moment, may still be there. */
static void at_rest(run *r, usage before, bool soon) {
    const int64_t deadline = now() + LONG;
    for (;;) {
        const usage after = used();
        const int thread = soon && after.threads > before.threads ? 1 : 0;
        if (after.threads <= before.threads + thread && after.files <= before.files + thread * IO_THREAD_FILES) {
            return;
        }
        if (now() > deadline) {
            FAIL(r, "%d descriptors and %d threads at the beginning, %d and %d at the end", before.files,
                 before.threads, after.files, after.threads);
        }
        const struct timespec moment = {0, 100000};
        nanosleep(&moment, NULL);
    }
}

typedef struct {
    const uint8_t *data;
    size_t size;
} input;

/* In a thread of its own: what the library keeps for a thread ends with that. */
static void *run_once(void *argument) {
    enum { HEAD = 2 };
    const uint8_t *data = ((const input *)argument)->data;
    const size_t size = ((const input *)argument)->size;
    const uint8_t head = size > 0 ? data[0] : 0;
    const uint8_t taste = size > 1 ? data[1] : 0;
    const size_t threads = head % 4 < 2 ? 1 : head % 4;
    run *r = &workers[0].run;
    for (uint8_t at = 0; at < 3; ++at) {
        if ((head >> (2 + at) & 1) != 0) {
            const act made = {.what = (uint8_t)(PAIR + at), .options = taste, .more = taste};
            act_once(r, &made);
        }
    }
    pthread_t ids[MAX_THREADS];
    for (size_t at = 0; at < threads; ++at) {
        worker *w = &workers[at];
        w->acts = data + HEAD;
        w->count = size > HEAD ? (size - HEAD) / sizeof(act) : 0;
        w->first = at;
        w->step = threads;
        HOLDS(r, at == 0 || pthread_create(&ids[at], NULL, work, w) == 0);
    }
    work(&workers[0]);
    for (size_t at = 1; at < threads; ++at) {
        HOLDS(r, pthread_join(ids[at], NULL) == 0);
    }
    begin(r, "close", ACT_close, &(act){0});
    tidy(r, (head >> 5 & 1) != 0);
    HOLDS(r, hostlane_log_enable(HOSTLANE_LOG_OFF, NULL) == HOSTLANE_OK);
    return NULL;
}

/* The process before the first input. */
static usage at_first;

void random_calls(const uint8_t *data, size_t size) {
    if (at_first.files == 0) {
        at_first = used();
    }
    run *r = &workers[0].run;
    input whole = {data, size};
    pthread_t thread;
    begin(r, "close", ACT_close, &(act){0});
    HOLDS(r, pthread_create(&thread, NULL, run_once, &whole) == 0 && pthread_join(thread, NULL) == 0);
    at_rest(r, at_first, true);
}

size_t random_calls_end(void) {
    size_t missed = 0;
    at_rest(&workers[0].run, at_first, false);
    for (size_t at = 0; at < FUNCTIONS; ++at) {
        if (atomic_load(&succeeded[at]) == 0 && !by_chance[at]) {
            fprintf(stderr, "hostlane_%s never succeeded\n", names[at]);
            ++missed;
        }
    }
    return missed;
}

/* Pairs of objects, which acts at random would seldom make. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

#include <pthread.h>

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

bool pair(run *r) {
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

bool pair_of_a_context(run *r) {
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

bool pair_of_links(run *r) {
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

#include "driven.h"

#include <poll.h>

hostlane_event_t finish(hostlane_context_t context, const hostlane_event_t *started) {
    if (started->kind != HOSTLANE_EVENT_PENDING) {
        CHECK_EQ(started->op, 0);
        return *started;
    }
    CHECK(started->op != 0);
    struct pollfd ready = {-1, POLLIN, 0};
    CHECK_OK(hostlane_context_fd(context, &ready.fd, NULL));
    for (;;) {
        hostlane_event_t event;
        size_t n = 0;
        bool more = false;
        CHECK_OK(hostlane_context_process(context, &event, 1, &n, &more, NULL));
        if (n == 1) {
            CHECK_EQ(event.op, started->op);
            return event;
        }
        if (!more) {
            CHECK_EQ(poll(&ready, 1, LONG), 1);
        }
    }
}

driven driven_open(void) { return driven_open_with(NULL, NULL); }

driven driven_open_with(const hostlane_listen_options_t *listening, const hostlane_connect_options_t *options) {
    driven all;
    const char *path;
    hostlane_event_t accepting;
    hostlane_event_t connecting;
    CHECK_OK(hostlane_context_new(&all.context, NULL));
    all.listener = lane_listen("driven", listening);
    path = lane_path("driven");
    CHECK_OK(hostlane_context_accept(all.context, all.listener, LONG, &accepting, NULL));
    CHECK_OK(hostlane_context_connect(all.context, path, strlen(path), options, LONG, &connecting, NULL));
    CHECK_EQ(accepting.kind, HOSTLANE_EVENT_PENDING);
    all.client.id = all.server.id = 0;
    for (int done = 0; done < 2; ++done) {
        hostlane_event_t event;
        CHECK_OK(hostlane_context_next(all.context, LONG, &event, NULL));
        CHECK_OK(event.status);
        if (event.op == accepting.op) {
            CHECK_EQ(event.kind, HOSTLANE_EVENT_ACCEPTED);
            all.server = event.peer;
        } else {
            CHECK_EQ(event.op, connecting.op);
            CHECK_EQ(event.kind, HOSTLANE_EVENT_CONNECTED);
            all.client = event.peer;
        }
        hostlane_events_free(&event, 1);
    }
    CHECK(all.client.id != 0 && all.server.id != 0);
    return all;
}

void driven_close(driven *all) {
    hostlane_close(all->client, NULL);
    hostlane_close(all->server, NULL);
    hostlane_listener_close(all->listener, NULL);
    CHECK_OK(hostlane_context_close(all->context, NULL));
}

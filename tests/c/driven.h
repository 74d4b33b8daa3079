/* Two ends of a connection that one context drives. */

#ifndef DRIVEN_H
#define DRIVEN_H

#include "lane.h"

/* A context, a listener and the two ends of a connection, all driven by it. */
typedef struct {
    hostlane_context_t context;
    hostlane_listener_t listener;
    hostlane_peer_t client;
    hostlane_peer_t server;
} driven;

driven driven_open(void);
driven driven_open_with(const hostlane_listen_options_t *listening, const hostlane_connect_options_t *options);
void driven_close(driven *all);

/* Polls the descriptor and processes until the operation finished; other events must not come. */
hostlane_event_t finish(hostlane_context_t context, const hostlane_event_t *started);

#endif

/* The arguments of a call, as an act's bytes have them. What is wrong with them is noted in the run. */

#ifndef RANDOM_ARGUMENTS_H
#define RANDOM_ARGUMENTS_H

#include "world.h"

/* Handles. */
hostlane_peer_t peer(run *r, uint8_t choice);
hostlane_listener_t listener(run *r, uint8_t choice);
hostlane_context_t context(run *r);
hostlane_link_t lane_link(run *r);
hostlane_stream_t stream(run *r, uint8_t choice);
hostlane_call_t started(run *r);

/* A message that has to be there. */
const hostlane_message_t *message(run *r);
/* And one that has to be, or to have, what HOSTLANE_MESSAGE_REQUEST and so on say. */
const hostlane_message_t *message_with(run *r, uint8_t flag);

/* How many events a call may hand out. */
size_t cap(run *r);

const uint8_t *payload(run *r, size_t *len);
int64_t timeout(const run *r);
uint16_t channel(run *r);
void *buffer(run *r, size_t *capacity);
const char *address(run *r, size_t *len);

/* Where the sockets of this process are. */
const char *directory(void);

/* Options, which are in options.c; NULL: none. */
const hostlane_call_options_t *call_options(run *r);
const hostlane_connect_options_t *connect_options(run *r);
const hostlane_listen_options_t *listen_options(run *r);
const hostlane_link_options_t *link_options(run *r);

#endif

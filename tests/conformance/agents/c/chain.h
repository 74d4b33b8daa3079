// Chains: messages that each carry their number and the SHA-256 over themselves and all before, so that whoever
// receives them knows what is missing, what came twice, in another order or changed. See docs/soak.md.

#pragma once

#include <hostlane.h>
#include <jansson.h>

#include <stdbool.h>

// The chains that arrive at an end, by name.
typedef struct chains chains;

// It lives as long as the process, like the service that has it.
chains *chains_new(void);

// Takes a message into account; false if it is of no chain.
bool chains_take(chains *chains, const hostlane_message_t *message);

// What came of a chain so far.
json_t *chains_report(chains *chains, const char *name);

void chains_forget(chains *chains);

// Sends a chain, and tells how far it came.
json_t *chain_extend(hostlane_peer_t peer, const json_t *asked);

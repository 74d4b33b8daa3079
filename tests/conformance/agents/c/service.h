// What answers the other side: the first word of a request says how.

#pragma once

#include "chain.h"

#include <hostlane.h>
#include <jansson.h>

#include <stdbool.h>

// The service of one end, and what it has seen.
typedef struct service service;

// A service that lives as long as the process: threads of a closed connection may still report to it.
service *service_new(void);

// Serves in a thread until the connection ends, and then closes it unless it is to be kept; every request but those
// that are held in a thread of its own.
void service_serve(service *service, hostlane_peer_t peer, bool keep);

// The chains of the other side.
chains *service_chains(service *service);

// What came from the other side so far.
json_t *service_report(service *service);

// Ends the program: memory or threads have run out.
void *must(void *got);
void must_start(void *(*run)(void *), void *argument);

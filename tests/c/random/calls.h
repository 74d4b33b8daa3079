/* Random calls of the C interface: what an input of any bytes makes of it. */

#ifndef RANDOM_CALLS_H
#define RANDOM_CALLS_H

#include <stddef.h>
#include <stdint.h>

/* Calls what the bytes say, and closes all of it. What does not hold ends the process. From one thread at a time. */
void random_calls(const uint8_t *data, size_t size);

/* The process has all back that the calls took, or is ended. */
void random_calls_end(void);

/* A function that has not succeeded yet, without `hostlane_`; NULL when all have, but those that need luck. */
const char *random_calls_missed(void);

#endif

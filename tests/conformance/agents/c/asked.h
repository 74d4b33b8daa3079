// What an operation is asked to do.

#pragma once

#include <hostlane.h>
#include <jansson.h>

// How long an operation may take that names no limit, in milliseconds.
enum { PATIENCE = 10000 };

int64_t number(const json_t *asked, const char *name, int64_t otherwise);
const char *text(const json_t *asked, const char *name);

// How long it may take, in milliseconds.
int64_t limit(const json_t *asked);

// Room for what options point to.
typedef struct {
    uint16_t channels[16];
    hostlane_policy_t policy;
} room;

// The policy of a name.
int32_t policy_of(const char *name);

// Both kinds of options have these members and no common type.
#define FILL(asked, options, room)                                                                                     \
    do {                                                                                                               \
        if (json_object_get(asked, "level") != NULL) {                                                                 \
            (options).level = number(asked, "level", 0) == 0 ? HOSTLANE_LEVEL_ZERO : HOSTLANE_LEVEL_ONE;               \
        }                                                                                                              \
        if (json_object_get(asked, "secret") != NULL) {                                                                \
            (options).secret = text(asked, "secret");                                                                  \
            (options).secret_len = strlen((options).secret);                                                           \
        }                                                                                                              \
        (options).max_calls = (uint64_t)number(asked, "max_calls", 0);                                                 \
        (options).keepalive_ms = number(asked, "keepalive_ms", 0);                                                     \
        (options).max_message = (uint64_t)number(asked, "max_message", 0);                                             \
        (options).channels_len = json_array_size(json_object_get(asked, "channels"));                                  \
        for (size_t at = 0; at < (options).channels_len && at < 16; at++) {                                            \
            const json_t *one = json_array_get(json_object_get(asked, "channels"), at);                                \
            (room).channels[at] = (uint16_t)json_integer_value(one);                                                   \
            (options).channels = (room).channels;                                                                      \
        }                                                                                                              \
        if (json_object_get(asked, "policy") != NULL) {                                                                \
            (room).policy.policy = policy_of(text(asked, "policy"));                                                   \
            (room).policy.channel = (uint16_t)number(asked, "policy_channel", 0);                                      \
            (options).policies = &(room).policy;                                                                       \
            (options).policies_len = 1;                                                                                \
        }                                                                                                              \
    } while (0)

// What goes with a call; it points into what is asked.
hostlane_call_options_t call_options(const json_t *asked);

// The text, made as long as asked; the caller frees it.
char *payload(const json_t *asked, size_t *len);

// A message that begins with its number; the caller frees it.
char *numbered(long of, size_t size, size_t *len);

/* The options of a call, right and wrong. */

#include "arguments.h"

#include <unistd.h>

/* As long as a key or a trace is ever said to be. */
static const uint8_t bytes[66];

/* Options of which a member is set may be refused. What is wrong in them may be found before or behind what else is
 * wrong. */
static void doubt(run *r, bool set) {
    r->doubtful |= set;
    r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0;
}

/* Makes the size of options strange; `known` is their real one. */
static void strange_size(void *options, size_t known, uint8_t choice) {
    size_t size = known;
    switch (choice % 6) {
    case 0:
        size = 0;
        break;
    case 1:
        size = 7;
        break;
    case 2:
        size = SIZE_MAX;
        break;
    case 3: /* a newer program that asks for nothing new */
        size = OPTIONS_ROOM;
        break;
    case 4: /* and one that does */
        size = OPTIONS_ROOM;
        ((uint8_t *)options)[OPTIONS_ROOM - 1] = 1;
        break;
    default:
        size = known - choice % 64;
    }
    memcpy(options, &size, sizeof(size));
}

const hostlane_call_options_t *call_options(run *r) {
    static const int32_t closed[] = {-1, 1 << 20};
    static _Thread_local int32_t open[HOSTLANE_MAX_FDS + 1];
    const uint8_t choice = r->act->options;
    hostlane_call_options_t *options = (void *)r->call_options;
    if (choice < 100) {
        return NULL;
    }
    memset(r->call_options, 0, OPTIONS_ROOM);
    hostlane_call_options_init(options, sizeof(*options));
    doubt(r, choice % 16 < 14);
    switch (choice % 16) {
    case 0:
        options->channel = channel(r);
        break;
    case 1:
    case 2:
        options->idempotency_key = bytes;
        options->idempotency_key_len = 1 + choice % 66;
        break;
    case 3:
    case 4:
        options->trace = bytes;
        options->trace_len = 1 + choice % 66;
        break;
    case 5:
    case 6:
    case 7:
        for (int at = 0; at <= HOSTLANE_MAX_FDS; ++at) {
            open[at] = 2;
        }
        options->fds = open;
        options->fds_len = choice % (HOSTLANE_MAX_FDS + 2u);
        break;
    case 8:
        options->fds = closed;
        options->fds_len = 2;
        break;
    case 9:
        options->trace_len = 1;
        break;
    case 10:
        options->fds_len = 1;
        break;
    case 11:
        options->deadline_ms = choice % 2 != 0 ? 1 : -1;
        break;
    case 12:
        options->deadline_ms = INT64_MAX;
        break;
    case 13:
        strange_size(options, sizeof(*options), r->act->more);
        break;
    default:
        break;
    }
    return options;
}

/* The members that connecting and listening have in common. */
#define COMMON(r, options)                                                                                             \
    switch ((r)->act->options % 24) {                                                                                  \
    case 0:                                                                                                            \
        options->level = HOSTLANE_LEVEL_ZERO;                                                                          \
        break;                                                                                                         \
    case 1:                                                                                                            \
        options->level = HOSTLANE_LEVEL_ONE;                                                                           \
        break;                                                                                                         \
    case 2:                                                                                                            \
        options->level = (r)->act->more;                                                                               \
        break;                                                                                                         \
    case 3:                                                                                                            \
    case 4:                                                                                                            \
        options->fds = 1;                                                                                              \
        break;                                                                                                         \
    case 5:                                                                                                            \
        options->secret = "a secret";                                                                                  \
        options->secret_len = 8;                                                                                       \
        break;                                                                                                         \
    case 6:                                                                                                            \
        options->auth_token = "a token";                                                                               \
        options->auth_token_len = (r)->act->more % 8;                                                                  \
        break;                                                                                                         \
    case 7:                                                                                                            \
        options->auth_token_len = 3;                                                                                   \
        break;                                                                                                         \
    case 8:                                                                                                            \
        options->secret = "\xff";                                                                                      \
        options->secret_len = 1;                                                                                       \
        break;                                                                                                         \
    case 9:                                                                                                            \
        options->channels = some_channels;                                                                             \
        options->channels_len = (r)->act->more % 5;                                                                    \
        break;                                                                                                         \
    case 10:                                                                                                           \
        options->channels = some_channels;                                                                             \
        options->channels_len = SIZE_MAX / 2 + 1 + (r)->act->more;                                                     \
        break;                                                                                                         \
    case 11:                                                                                                           \
        options->allow_uids = uids;                                                                                    \
        options->allow_uids_len = (r)->act->more % 3;                                                                  \
        break;                                                                                                         \
    case 12:                                                                                                           \
        options->keepalive_ms = (r)->act->more;                                                                        \
        break;                                                                                                         \
    case 13:                                                                                                           \
        options->max_calls = (uint64_t)(r)->act->more * (r)->act->more;                                                \
        break;                                                                                                         \
    case 14:                                                                                                           \
        options->max_calls = 1 + (r)->act->more % 3;                                                                   \
        break;                                                                                                         \
    case 15:                                                                                                           \
        options->policies = policies;                                                                                  \
        options->policies_len = (r)->act->more % 5;                                                                    \
        break;                                                                                                         \
    case 16:                                                                                                           \
        options->spin_us = (r)->act->more % 2 != 0 ? HOSTLANE_SPIN_OFF : 10001;                                        \
        break;                                                                                                         \
    case 17:                                                                                                           \
        options->spin_us = (r)->act->more % 4;                                                                         \
        break;                                                                                                         \
    case 18:                                                                                                           \
        options->max_message = 1 + (r)->act->more;                                                                     \
        break;                                                                                                         \
    case 19:                                                                                                           \
        options->max_message = UINT64_MAX;                                                                             \
        break;                                                                                                         \
    case 20:                                                                                                           \
        options->handshake_timeout_ms = (int64_t)(r)->act->more - 10;                                                  \
        break;                                                                                                         \
    case 21:                                                                                                           \
        strange_size(options, sizeof(*options), (r)->act->more);                                                       \
        break;                                                                                                         \
    default:                                                                                                           \
        break;                                                                                                         \
    }

static const uint16_t some_channels[] = {2, 300, 1, 0};
static const hostlane_policy_t policies[] = {
    {HOSTLANE_POLICY_ERROR, 2}, {HOSTLANE_POLICY_LATEST, 3}, {HOSTLANE_POLICY_DROP_OLDEST, 1}, {9, 4}};

static hostlane_connect_options_t *make_connect_options(run *r, void *memory) {
    static const hostlane_bytes_t command[] = {{"true", 4}, {"\0", 1}, {NULL, 3}};
    static uint32_t uids[2];
    hostlane_connect_options_t *options = memory;
    uids[0] = (uint32_t)getuid();
    memset(memory, 0, OPTIONS_ROOM);
    hostlane_connect_options_init(options, sizeof(*options));
    COMMON(r, options)
    if (r->act->options % 24 == 22) {
        options->command = command;
        options->command_len = r->act->more % 4;
    }
    return options;
}

static hostlane_listen_options_t *make_listen_options(run *r, void *memory) {
    static uint32_t uids[2];
    hostlane_listen_options_t *options = memory;
    uids[0] = (uint32_t)getuid();
    memset(memory, 0, OPTIONS_ROOM);
    hostlane_listen_options_init(options, sizeof(*options));
    COMMON(r, options)
    if (r->act->options % 24 == 22) {
        options->backlog = r->act->more;
    }
    return options;
}

const hostlane_connect_options_t *connect_options(run *r) {
    if (r->act->options < 100) {
        return NULL;
    }
    doubt(r, r->act->options % 24 < 23);
    return make_connect_options(r, r->options[0]);
}

const hostlane_listen_options_t *listen_options(run *r) {
    if (r->act->options < 100) {
        return NULL;
    }
    doubt(r, r->act->options % 24 < 22);
    return make_listen_options(r, r->options[0]);
}

const hostlane_link_options_t *link_options(run *r) {
    hostlane_link_options_t *options = (void *)r->call_options;
    if (r->act->options < 60) {
        return NULL;
    }
    doubt(r, r->act->wait % 10 < 9);
    memset(r->call_options, 0, OPTIONS_ROOM);
    hostlane_link_options_init(options, sizeof(*options));
    switch (r->act->wait % 10) {
    case 0:
        options->retries = HOSTLANE_NO_RETRY;
        break;
    case 1:
        options->retries = (int64_t)r->act->more - 3;
        break;
    case 2:
        options->delay_ms = (int64_t)r->act->more % 4 - 1;
        break;
    case 3:
        options->max_delay_ms = (int64_t)r->act->more % 4 - 1;
        break;
    case 4:
        options->no_reconnect = 1;
        break;
    case 5:
        strange_size(options, sizeof(*options), r->act->more);
        break;
    case 6:
        options->connect = make_connect_options(r, r->options[0]);
        break;
    case 7:
        options->listen = make_listen_options(r, r->options[1]);
        break;
    case 8:
        options->connect = make_connect_options(r, r->options[0]);
        options->listen = make_listen_options(r, r->options[1]);
        break;
    default:
        break;
    }
    return options;
}

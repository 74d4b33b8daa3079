#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACES 8
#define OPS 16
/* The largest message, and a little more. */
#define MOST ((size_t)(16 << 20) + 16)
#define UNTOUCHED 0xA5

/* What `*err` is before a call, which no call may read. */
static char sentinel;
#define SENTINEL ((hostlane_error_t *)(void *)&sentinel)

typedef struct {
    _Atomic uint64_t living[PLACES];
    _Atomic uint64_t closed[PLACES];
    atomic_uint next_closed;
} table;

typedef struct {
    pthread_rwlock_t lock;
    hostlane_message_t *message;
} place;

static table tables[KINDS];
static place messages[PLACES] = {
    {PTHREAD_RWLOCK_INITIALIZER, NULL}, {PTHREAD_RWLOCK_INITIALIZER, NULL}, {PTHREAD_RWLOCK_INITIALIZER, NULL},
    {PTHREAD_RWLOCK_INITIALIZER, NULL}, {PTHREAD_RWLOCK_INITIALIZER, NULL}, {PTHREAD_RWLOCK_INITIALIZER, NULL},
    {PTHREAD_RWLOCK_INITIALIZER, NULL}, {PTHREAD_RWLOCK_INITIALIZER, NULL},
};
static _Atomic uint64_t ops[OPS];
static atomic_uint next_op;
/* The other ends of sockets whose one end the library was given; 0: none. */
static atomic_int sockets[PLACES];
static uint8_t bytes[MOST];

void begin(run *r, const char *name, unsigned what, const act *a) {
    r->name = name;
    r->what = what;
    r->act = a;
    r->wrong = 0;
    r->outputs = 0;
    r->held = -1;
    r->lent = -1;
}

void end_act(run *r) {
    if (r->held >= 0) {
        pthread_rwlock_unlock(&messages[r->held].lock);
        r->held = -1;
    }
    if (r->lent >= 0) {
        close(r->lent);
        r->lent = -1;
    }
}

/* ---- what comes back */

void see_bytes(const void *data, size_t len) {
    /* The ends, which a sanitizer then checks. */
    if (len > 0) {
        const volatile uint8_t *at = data;
        (void)at[0];
        (void)at[len - 1];
    }
}

void see_error(run *r, const hostlane_error_t *error, hostlane_status_t status) {
    const char *text = NULL;
    size_t len = 0;
    HOLDS(r, error != NULL && error != SENTINEL);
    HOLDS(r, hostlane_error_status(error) == status);
    hostlane_error_message(error, &text, &len);
    HOLDS(r, text != NULL && strlen(text) == len);
    const int32_t sent = hostlane_error_sent(error);
    HOLDS(r, sent == HOSTLANE_SENT_NO || sent == HOSTLANE_SENT_MAYBE);
}

static void known(run *r, hostlane_status_t status) {
    if (strcmp(hostlane_status_name(status), "unknown") == 0) {
        FAIL(r, "the status %d is not in the table", status);
    }
    if (status == HOSTLANE_E_PANIC || status == HOSTLANE_E_INTERNAL) {
        const char *text = "no error object";
        if (r->err != SENTINEL && r->err != NULL) {
            hostlane_error_message(r->err, &text, NULL);
        }
        FAIL(r, "%s: %s", hostlane_status_name(status), text);
    }
}

/* Whether a failure is one of those that the arguments call for. */
static bool called_for(unsigned wrong, hostlane_status_t status) {
    return (wrong & WRONG_OTHERWISE) != 0 || status == HOSTLANE_E_CLOSED ||
           ((wrong & WRONG_ARGUMENT) != 0 && status == HOSTLANE_E_INVALID_ARGUMENT) ||
           ((wrong & WRONG_HANDLE) != 0 && status == HOSTLANE_E_INVALID_HANDLE);
}

bool judge(run *r, hostlane_status_t status) {
    known(r, status);
    if (status == HOSTLANE_OK) {
        HOLDS(r, r->err == SENTINEL);
        if ((r->wrong & ~(unsigned)WRONG_OTHERWISE) != 0) {
            FAIL(r, "it succeeds although something is wrong: %#x", r->wrong);
        }
        return true;
    }
    if (r->wrong != 0 && !called_for(r->wrong, status)) {
        FAIL(r, "%s is not what %#x calls for", hostlane_status_name(status), r->wrong);
    }
    for (int at = 0; at < r->outputs; ++at) {
        for (size_t byte = 0; byte < r->output_size[at]; ++byte) {
            if (r->output[at][byte] != UNTOUCHED) {
                FAIL(r, "%s, and output %d was written", hostlane_status_name(status), at);
            }
        }
    }
    if ((r->act->nulls & 0x20) != 0) { /* no error was asked for */
        HOLDS(r, r->err == SENTINEL);
        return false;
    }
    see_error(r, r->err, status);
    hostlane_error_free(&r->last);
    HOLDS(r, r->last == NULL);
    r->last = r->err;
    r->err = SENTINEL;
    return false;
}

hostlane_error_t **err(run *r) {
    r->err = SENTINEL;
    return (r->act->nulls & 0x20) != 0 ? NULL : &r->err;
}

static void *make_output(run *r, size_t size, bool required) {
    const int at = r->outputs++;
    /* One act in four leaves some of them out. */
    if ((r->act->nulls & 0xC0) == 0xC0 && (r->act->nulls >> (at % 5) & 1) != 0) {
        r->output_size[at] = 0;
        if (required) {
            r->wrong |= WRONG_ARGUMENT;
        }
        return NULL;
    }
    r->output_size[at] = size;
    return memset(r->output[at], UNTOUCHED, size);
}

void *output(run *r, size_t size) { return make_output(r, size, true); }

void *optional_output(run *r, size_t size) { return make_output(r, size, false); }

/* ---- handles */

uint64_t draw(run *r, kind of, uint8_t choice) {
    const unsigned at = choice % PLACES;
    const unsigned which = choice / PLACES;
    uint64_t id;
    if (which < 26) {
        id = 0; /* the first from that place on */
        for (unsigned place = 0; place < PLACES && id == 0; ++place) {
            id = atomic_load(&tables[of].living[(at + place) % PLACES]);
        }
        r->wrong |= id == 0 ? WRONG_HANDLE : 0;
    } else if (which < 28) {
        id = atomic_load(&tables[of].closed[at]);
        r->wrong |= id == 0 ? WRONG_HANDLE : WRONG_STALE;
    } else if (which < 30) { /* of another kind */
        id = atomic_load(&tables[(of + 1 + r->act->more % (KINDS - 1)) % KINDS].living[at]);
        r->wrong |= WRONG_HANDLE;
    } else if (which == 30) {
        id = 0;
        r->wrong |= WRONG_HANDLE;
    } else {
        id = (uint64_t)r->act->more << 32 | at;
        if (at % 2 != 0) {
            id *= 0x9E3779B97F4A7C15u;
        }
        r->wrong |= WRONG_OTHERWISE;
    }
    return id;
}

void gone(kind of, uint64_t id) {
    for (unsigned at = 0; at < PLACES; ++at) {
        uint64_t expected = id;
        atomic_compare_exchange_strong(&tables[of].living[at], &expected, 0);
    }
    atomic_store(&tables[of].closed[atomic_fetch_add(&tables[of].next_closed, 1) % PLACES], id);
}

hostlane_status_t end(kind of, uint64_t id, hostlane_error_t **err) {
    switch (of) {
    case PEER:
        return hostlane_close((hostlane_peer_t){id}, err);
    case LISTENER:
        return hostlane_listener_close((hostlane_listener_t){id}, err);
    case CONTEXT:
        return hostlane_context_close((hostlane_context_t){id}, err);
    case LINK:
        return hostlane_link_close((hostlane_link_t){id}, err);
    case STREAM:
        return hostlane_stream_close((hostlane_stream_t){id}, err);
    default:
        return hostlane_call_cancel((hostlane_call_t){id}, err);
    }
}

void keep(kind of, uint64_t id, uint8_t place) {
    const uint64_t before = atomic_exchange(&tables[of].living[place % PLACES], id);
    if (before != 0 && end(of, before, NULL) == HOSTLANE_OK) {
        gone(of, before);
    }
}

/* ---- messages */

void keep_message(hostlane_message_t *message, uint8_t at) {
    place *place = &messages[at % PLACES];
    if (message == NULL) {
        return;
    }
    if (pthread_rwlock_trywrlock(&place->lock) == 0) {
        hostlane_message_free(&place->message);
        place->message = message;
        pthread_rwlock_unlock(&place->lock);
    } else {
        hostlane_message_free(&message);
    }
}

const hostlane_message_t *hold(run *r, bool alone) {
    /* The first from that place on, or none when the act says so. */
    for (int at = 0; at < PLACES && r->act->nulls % 16 != 15; ++at) {
        const int number = (r->act->other + at) % PLACES;
        place *place = &messages[number];
        const int failed = alone ? pthread_rwlock_trywrlock(&place->lock) : pthread_rwlock_tryrdlock(&place->lock);
        if (failed == 0) {
            if (place->message != NULL) {
                r->held = number;
                return place->message;
            }
            pthread_rwlock_unlock(&place->lock);
        }
    }
    return NULL;
}

hostlane_message_t **held(run *r) { return r->held >= 0 ? &messages[r->held].message : NULL; }

void see_message(run *r, const hostlane_message_t *message) {
    size_t len = 0;
    HOLDS(r, message != NULL);
    const uint8_t *data = hostlane_message_data(message, &len);
    HOLDS(r, data != NULL);
    see_bytes(data, len);
}

/* ---- operations */

void keep_op(uint64_t op) { atomic_store(&ops[atomic_fetch_add(&next_op, 1) % OPS], op); }

uint64_t draw_op(uint8_t choice) { return choice < 240 ? atomic_load(&ops[choice % OPS]) : (uint64_t)choice << 40; }

/* ---- arguments */

const uint8_t *payload(run *r, size_t *len) {
    const size_t size = r->act->length & 31;
    switch (r->act->length >> 5) {
    case 4:
        *len = size * 100;
        break;
    case 5:
        *len = size * 4096;
        break;
    case 6:
        *len = size == 31 ? MOST : size * 16384;
        break;
    case 7:
        *len = size;
        r->wrong |= size > 0 ? WRONG_ARGUMENT : 0;
        return NULL;
    default:
        *len = size;
    }
    return bytes;
}

int64_t timeout(const run *r) {
    static const int64_t waits[] = {5, 2, 1};
    const unsigned choice = r->act->wait % 32;
    return choice < 3 ? waits[choice] : 0;
}

uint16_t channel(run *r) {
    static const uint16_t channels[] = {1, 2, 2, 2, 3, 4, 1, 256, 0, 5, 255, 65535};
    const unsigned choice = r->act->channel % 12;
    if (choice >= 7) {
        r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0; /* which of two faults is found first is not told */
    }
    return channels[choice];
}

void *buffer(run *r, size_t *capacity) {
    static const size_t sizes[] = {0, 16, 1000, BUFFER_ROOM};
    *capacity = sizes[r->act->more % 4];
    if (r->act->more >= 240) {
        r->wrong |= *capacity > 0 ? WRONG_ARGUMENT : 0;
        return NULL;
    }
    return r->buffer;
}

static char path[96];

static void remove_directory(void) {
    DIR *opened = opendir(path);
    for (struct dirent *entry; opened != NULL && (entry = readdir(opened)) != NULL;) {
        char name[sizeof(path) + sizeof(entry->d_name) + 1];
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        unlink(name);
    }
    if (opened != NULL) {
        closedir(opened);
    }
    rmdir(path);
    /* Of listeners at the folder itself. */
    char lock[sizeof(path) + sizeof(".lock")];
    snprintf(lock, sizeof(lock), "%s.lock", path);
    unlink(lock);
}

const char *directory(void) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (path[0] == 0) {
        const char *parent = getenv("TMPDIR");
        snprintf(path, sizeof(path), "%s/hostlane-random-XXXXXX", parent != NULL ? parent : "/tmp");
        if (mkdtemp(path) == NULL) {
            perror(path);
            abort();
        }
        atexit(remove_directory);
    }
    pthread_mutex_unlock(&lock);
    return path;
}

/* One end of a pair of sockets, whose other end is kept for a later act; or such an end. */
static int lend(run *r) {
    const int kept = atomic_exchange(&sockets[r->act->more % PLACES], 0);
    int pair[2];
    if (kept != 0) {
        return kept;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return -1;
    }
    const int before = atomic_exchange(&sockets[r->act->more % PLACES], pair[1]);
    if (before != 0) {
        close(before);
    }
    return pair[0];
}

const char *address(run *r, size_t *len) {
    static const char *const wrong[] = {
        "",          "unix:",     "tcp:192.0.2.1:5", "tcp:127.0.0.1:1",    "fd:999999",  "systemd:", "tls:nowhere:1",
        "pipe:name", "inproc:/.", "/nowhere/at/all", "spawn:/nowhere/all", "spawn:true", "spawn:",   "\xff\xfe",
    };
    const unsigned choice = r->act->channel;
    char *text = r->address;
    const size_t room = sizeof(r->address);
    if (choice < 120) {
        snprintf(text, room, "inproc:random-%u", choice % 2);
    } else if (choice < 170) {
        snprintf(text, room, "%s/%u", directory(), choice % 3);
    } else if (choice < 190) {
        snprintf(text, room, "unix:@%s-%u", strrchr(directory(), '/') + 1, choice % 2);
    } else if (choice < 200) {
        r->lent = lend(r);
        snprintf(text, room, "fd:%d", r->lent);
    } else if (choice < 205) {
        snprintf(text, room, "%s/%0200d", directory(), 7);
    } else if (choice < 210) {
        snprintf(text, room, "%s", directory());
    } else if (choice < 215) {
        *len = 1 + choice;
        r->wrong |= WRONG_ARGUMENT;
        return NULL;
    } else {
        snprintf(text, room, "%s", wrong[choice % (sizeof(wrong) / sizeof(wrong[0]))]);
    }
    /* Which of two faults is found first is not told. */
    r->wrong |= r->wrong != 0 && choice >= 170 ? WRONG_OTHERWISE : 0;
    *len = strlen(text);
    return text;
}

/* ---- options */

/* Makes the size of options strange; `known` is their real one. */
static void strange_size(run *r, void *options, size_t known, uint8_t choice) {
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
    r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0;
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
    /* What is wrong in them may be found before or behind what else is wrong. */
    r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0;
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
        strange_size(r, options, sizeof(*options), r->act->more);
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
        strange_size(r, options, sizeof(*options), (r)->act->more);                                                    \
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
    r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0;
    return make_connect_options(r, r->options[0]);
}

const hostlane_listen_options_t *listen_options(run *r) {
    if (r->act->options < 100) {
        return NULL;
    }
    r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0;
    return make_listen_options(r, r->options[0]);
}

const hostlane_link_options_t *link_options(run *r) {
    hostlane_link_options_t *options = (void *)r->call_options;
    if (r->act->options < 60) {
        return NULL;
    }
    r->wrong |= r->wrong != 0 ? WRONG_OTHERWISE : 0;
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
        strange_size(r, options, sizeof(*options), r->act->more);
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

/* ---- the end */

void tidy(run *r, bool contexts_first) {
    static const kind orders[2][KINDS] = {{CALL, STREAM, PEER, LISTENER, LINK, CONTEXT},
                                          {CONTEXT, LINK, LISTENER, PEER, STREAM, CALL}};
    for (int at = 0; at < KINDS; ++at) {
        const kind of = orders[contexts_first ? 1 : 0][at];
        for (unsigned place = 0; place < PLACES; ++place) {
            const uint64_t id = atomic_exchange(&tables[of].living[place], 0);
            if (id != 0) {
                const hostlane_status_t status = end(of, id, NULL);
                /* A number at random may have been it. */
                HOLDS(r, status == HOSTLANE_OK || status == HOSTLANE_E_CLOSED);
                HOLDS(r, end(of, id, NULL) == HOSTLANE_E_CLOSED);
            }
            atomic_store(&tables[of].closed[place], 0);
        }
        atomic_store(&tables[of].next_closed, 0);
    }
    for (unsigned place = 0; place < PLACES; ++place) {
        hostlane_message_free(&messages[place].message);
        const int socket = atomic_exchange(&sockets[place], 0);
        if (socket != 0) {
            close(socket);
        }
    }
    for (unsigned at = 0; at < OPS; ++at) {
        atomic_store(&ops[at], 0);
    }
    atomic_store(&next_op, 0);
}

static int entries(const char *path) {
    int count = 0;
    DIR *opened = opendir(path);
    for (struct dirent *entry; opened != NULL && (entry = readdir(opened)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    if (opened != NULL) {
        closedir(opened);
    }
    return count;
}

usage used(void) { return (usage){entries("/proc/self/fd"), entries("/proc/self/task")}; }

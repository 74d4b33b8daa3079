#include "world.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PLACES 8
#define OPS 16

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

void begin(run *r, const char *name, unsigned what, const act *a) {
    r->name = name;
    r->what = what;
    r->act = a;
    r->wrong = 0;
    r->doubtful = false;
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

/* ---- operations and sockets */

void keep_op(uint64_t op) { atomic_store(&ops[atomic_fetch_add(&next_op, 1) % OPS], op); }

uint64_t draw_op(uint8_t choice) { return choice < 240 ? atomic_load(&ops[choice % OPS]) : (uint64_t)choice << 40; }

int lend(run *r) {
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

/* ---- the end, and the process */

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

int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

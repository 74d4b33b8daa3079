/* Random calls: the functions of the C interface in any order, with arguments right and wrong, on handles alive,
 * closed, of another kind and never issued, by one thread or several.
 *
 * An input is a head, which says what there is at the beginning and how many threads there are, and acts. What must
 * hold: nothing crashes; every status is one of the table, and one that the arguments call for; there is an error
 * object exactly when a call fails, and outputs are untouched then; and when all is closed, the process has its
 * descriptors and threads back. */

#include "calls.h"

#include "acts.h"

#include <pthread.h>
#include <time.h>

#define ACT_NAME(name, by) #name,
#define ACT_BY(name, by) by,

static const char *const names[] = {ACTS(ACT_NAME)};

static bool (*const performed_by[ACT_COUNT])(run *) = {ACTS(ACT_BY) pair, pair_of_a_context, pair_of_links};

/* What the bytes behind the numbers of acts stand for: what succeeds only in the right order comes more often. */
static const uint8_t frequent[] = {
    ACT_call_start,
    ACT_call_start,
    ACT_call_wait,
    ACT_recv,
    ACT_recv,
    ACT_recv,
    ACT_reply,
    ACT_fail,
    ACT_stream_open,
    ACT_message_stream,
    ACT_message_stream,
    ACT_stream_send,
    ACT_stream_recv,
    ACT_context_request,
    ACT_context_recv,
    ACT_context_recv,
    ACT_context_next,
    ACT_context_next,
    ACT_context_reply,
    ACT_context_fail,
    ACT_context_stream_send,
    ACT_context_stream_recv,
    ACT_context_call_ended,
    ACT_message_wait_cancelled,
    ACT_link_start,
    ACT_link_start,
    ACT_link_next,
    ACT_link_next,
    ACT_link_next,
    ACT_link_reply,
    ACT_link_fail,
    ACT_link_call_ended,
    ACT_link_request,
    ACT_connect,
    ACT_accept,
    ACT_accept,
    ACT_context_connect,
    ACT_listen,
    ACT_request_with,
    ACT_link_process,
};

static atomic_ulong succeeded[FUNCTIONS];

/* These wait for what another thread has to do within milliseconds. */
static const bool by_chance[FUNCTIONS] = {[ACT_request] = true,
                                          [ACT_request_with] = true,
                                          [ACT_link_request] = true,
                                          [ACT_connect] = true,
                                          [ACT_accept] = true};

static void act_once(run *r, const act *a) {
    const unsigned what = a->what < ACT_COUNT ? a->what : frequent[(a->what - ACT_COUNT) % sizeof(frequent)];
    begin(r, what < FUNCTIONS ? names[what] : "(a pair)", what, a);
    if (performed_by[what](r) && what < FUNCTIONS) {
        atomic_fetch_add_explicit(&succeeded[what], 1, memory_order_relaxed);
    }
    end_act(r);
}

/* ---- a run */

#define MAX_THREADS 3

/* What the library's I/O thread has open. */
#define IO_THREAD_FILES 3

typedef struct {
    run run;
    const uint8_t *acts;
    size_t count;
    size_t first;
    size_t step;
} worker;

static worker workers[MAX_THREADS];

static void *work(void *argument) {
    worker *w = argument;
    for (size_t at = w->first; at < w->count; at += w->step) {
        act a;
        memcpy(&a, w->acts + at * sizeof(a), sizeof(a));
        act_once(&w->run, &a);
    }
    hostlane_error_free(&w->run.last);
    return NULL;
}

/* Waits until the process has no more than it had before; with `soon` the library's I/O thread, which stays for a
 * moment, may still be there. */
static void at_rest(run *r, usage before, bool soon) {
    const int64_t deadline = now() + LONG;
    for (;;) {
        const usage after = used();
        const int thread = soon && after.threads > before.threads ? 1 : 0;
        if (after.threads <= before.threads + thread && after.files <= before.files + thread * IO_THREAD_FILES) {
            return;
        }
        if (now() > deadline) {
            FAIL(r, "%d descriptors and %d threads at the beginning, %d and %d at the end", before.files,
                 before.threads, after.files, after.threads);
        }
        const struct timespec moment = {0, 100000};
        nanosleep(&moment, NULL);
    }
}

typedef struct {
    const uint8_t *data;
    size_t size;
} input;

/* In a thread of its own: what the library keeps for a thread ends with that. */
static void *run_once(void *argument) {
    enum { HEAD = 2 };
    const uint8_t *data = ((const input *)argument)->data;
    const size_t size = ((const input *)argument)->size;
    const uint8_t head = size > 0 ? data[0] : 0;
    const uint8_t taste = size > 1 ? data[1] : 0;
    const size_t threads = head % 4 < 2 ? 1 : head % 4;
    run *r = &workers[0].run;
    for (uint8_t at = 0; at < 3; ++at) {
        if ((head >> (2 + at) & 1) != 0) {
            const act made = {.what = (uint8_t)(PAIR + at), .options = taste, .more = taste};
            act_once(r, &made);
        }
    }
    pthread_t ids[MAX_THREADS];
    for (size_t at = 0; at < threads; ++at) {
        worker *w = &workers[at];
        w->acts = data + HEAD;
        w->count = size > HEAD ? (size - HEAD) / sizeof(act) : 0;
        w->first = at;
        w->step = threads;
        HOLDS(r, at == 0 || pthread_create(&ids[at], NULL, work, w) == 0);
    }
    work(&workers[0]);
    for (size_t at = 1; at < threads; ++at) {
        HOLDS(r, pthread_join(ids[at], NULL) == 0);
    }
    begin(r, "close", ACT_close, &(act){0});
    tidy(r, (head >> 5 & 1) != 0);
    HOLDS(r, hostlane_log_enable(HOSTLANE_LOG_OFF, NULL) == HOSTLANE_OK);
    return NULL;
}

/* The process before the first input. */
static usage at_first;

void random_calls(const uint8_t *data, size_t size) {
    if (at_first.files == 0) {
        at_first = used();
    }
    run *r = &workers[0].run;
    input whole = {data, size};
    pthread_t thread;
    begin(r, "close", ACT_close, &(act){0});
    HOLDS(r, pthread_create(&thread, NULL, run_once, &whole) == 0 && pthread_join(thread, NULL) == 0);
    at_rest(r, at_first, true);
}

void random_calls_end(void) { at_rest(&workers[0].run, at_first, false); }

const char *random_calls_missed(void) {
    for (size_t at = 0; at < FUNCTIONS; ++at) {
        if (atomic_load(&succeeded[at]) == 0 && !by_chance[at]) {
            return names[at];
        }
    }
    return NULL;
}

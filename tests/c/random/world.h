/* The objects of a run of random calls, which its threads share, and what one thread does with them.
 *
 * An act is a few bytes that say which function is called and with what. Its arguments are drawn, and what is wrong
 * with them is noted, so that judge() knows what the call may answer. */

#ifndef RANDOM_WORLD_H
#define RANDOM_WORLD_H

#include <hostlane.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { PEER, LISTENER, CONTEXT, LINK, STREAM, CALL, KINDS } kind;

/* One act, as the input has it. */
typedef struct {
    uint8_t what;
    uint8_t object;
    uint8_t other;
    uint8_t channel;
    uint8_t length;
    uint8_t wait;
    uint8_t nulls;
    uint8_t options;
    uint8_t more;
} act;

/* What is wrong with an argument, and so what the call has to answer. */
enum {
    WRONG_ARGUMENT = 1, /* HOSTLANE_E_INVALID_ARGUMENT */
    WRONG_STALE = 2,    /* HOSTLANE_E_CLOSED */
    WRONG_HANDLE = 4,   /* HOSTLANE_E_INVALID_HANDLE */
    WRONG_OTHERWISE = 8 /* some failure, or a number that may by chance be a handle */
};

#define OUTPUTS 6
#define OUTPUT_ROOM 4096
#define OPTIONS_ROOM 4096
#define BUFFER_ROOM 65536
#define EVENTS 8

/* One thread of a run. */
typedef struct {
    const char *name; /* of the function that is called */
    const act *act;
    unsigned what; /* the number of the function */
    unsigned wrong;
    bool doubtful; /* an argument may be refused: HOSTLANE_E_INVALID_ARGUMENT, or not */
    hostlane_error_t *err;
    hostlane_error_t *last; /* the last error, kept to be asked */
    int outputs;
    size_t output_size[OUTPUTS]; /* 0: it is NULL */
    _Alignas(16) uint8_t output[OUTPUTS][OUTPUT_ROOM];
    _Alignas(16) uint8_t options[2][OPTIONS_ROOM];
    _Alignas(16) uint8_t call_options[OPTIONS_ROOM];
    _Alignas(16) uint8_t buffer[BUFFER_ROOM];
    char address[300];
    int lent; /* a descriptor of ours that an address names; -1: none */
    int held; /* the message that is locked; -1: none */
} run;

/* Ends the process with what does not hold. */
#define FAIL(r, ...)                                                                                                   \
    do {                                                                                                               \
        fprintf(stderr, "%s:%d: hostlane_%s: ", __FILE__, __LINE__, (r)->name);                                        \
        fprintf(stderr, __VA_ARGS__);                                                                                  \
        fputc('\n', stderr);                                                                                           \
        abort();                                                                                                       \
    } while (0)

#define HOLDS(r, condition)                                                                                            \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            FAIL(r, "%s does not hold", #condition);                                                                   \
        }                                                                                                              \
    } while (0)

/* Begins an act: nothing drawn, nothing wrong. */
void begin(run *r, const char *name, unsigned what, const act *a);

/* Lets go what the act holds. */
void end_act(run *r);

/* Handles: living, closed, of another kind, zero, at random. */
uint64_t draw(run *r, kind of, uint8_t choice);
void keep(kind of, uint64_t id, uint8_t place);
/* The handle was closed: whoever draws it from now on has to be told so. */
void gone(kind of, uint64_t id);
hostlane_status_t end(kind of, uint64_t id, hostlane_error_t **err);

/* Messages. A held one is not freed meanwhile; end_act() lets it go. */
const hostlane_message_t *hold(run *r, bool alone);
hostlane_message_t **held(run *r);
void keep_message(hostlane_message_t *message, uint8_t place);

/* Numbers of operations that were started. */
void keep_op(uint64_t op);
uint64_t draw_op(uint8_t choice);

/* One end of a pair of sockets, whose other end is kept for a later act; or such an end. */
int lend(run *r);

/* Closes and frees all there is. */
void tidy(run *r, bool contexts_first);

/* Descriptors and threads of the process. */
typedef struct {
    int files;
    int threads;
} usage;
usage used(void);

/* Milliseconds of the clock that deadlines are counted on. */
int64_t now(void);

/* Longest wait for what has to come: peers that connect, descriptors that are closed. */
#define LONG 20000

#endif

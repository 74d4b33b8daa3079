/* The player of the shared vectors, by its nouns: the reader of their files, the wire at the raw side, the subject that
 * is tested, and what is played: handshakes, frames and conversations. */

#ifndef VECTORS_H
#define VECTORS_H

#include "lane.h"

#include <jansson.h>
#include <poll.h>

/* ---- reader.c: files to cases, and which of them are played ------------------------------------------------ */

typedef struct {
    uint8_t *data;
    size_t len;
} blob;

/* Memory of a case, freed at its end. */
void *keep(size_t len);
blob joined(blob first, const void *data, size_t len);
blob blob_of(const char *text);
bool same(blob one, const void *data, size_t len);

/* A byte value of tests/vectors/README.md. */
blob bytes_of(const json_t *value);

/* A number; those that a double cannot hold only have to be large. */
uint64_t number(const json_t *value);
const char *text(const json_t *object, const char *member);

/* Whether `names` is this name, or has it. */
bool names_have(const json_t *names, const char *name);

#define CHECK_NAMED(status, names)                                                                                     \
    do {                                                                                                               \
        const hostlane_status_t check_is = (status);                                                                   \
        if (!names_have(names, hostlane_status_name(check_is))) {                                                      \
            fprintf(stderr, "%s:%d: %s is %s\n", __FILE__, __LINE__, #status, hostlane_status_name(check_is));         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* What is played now, for whoever reads that it failed. */
extern char playing[128];

json_t *document_of(const char *file);

/* Plays each case of a file; what `unfit` gives a reason against is counted under it. */
void each(const char *file, const char *(*unfit)(const json_t *), void (*play)(const json_t *));

/* ---- wire.c: the raw side, what it writes and the frames that it reads ------------------------------------- */

#define FIRST 0x01
#define LAST 0x02
#define EXT 0x04
#define FIN 0x08
#define STREAM 0x10

const char *name_of(uint8_t kind);
uint8_t kind_of(const char *name);

/* Whether no program has this channel. */
bool reserved(uint64_t channel);

uint64_t little(const uint8_t *bytes, size_t len);

/* What a side proves a secret by. */
blob proof(blob secret, bool connector, blob request, blob response);

/* The connection, until raw_close(). */
void raw_open(int fd);
void raw_close(void);

/* What the raw side waits for. */
struct pollfd raw_waits(void);
void raw_read(void);
void raw_write(void);

/* Whether what was written was taken, or nobody will take it. */
bool raw_settled(void);

void put(const void *data, size_t len);
void put_frame(uint16_t channel, const void *data, size_t len);
void put_frame1(uint8_t kind, uint8_t flags, uint16_t channel, uint64_t id, blob payload);

/* Ends the stream behind what was put. */
void hang_up(void);

/* What the side under test sent. */
typedef struct {
    uint8_t kind;
    uint8_t flags;
    uint16_t channel;
    uint64_t id;
    blob payload;
    bool has_status;
    uint32_t status;
    bool has_deadline;
    uint64_t deadline;
} sent;

/* A frame of level 0; whether one comes. */
bool frame0(uint16_t *channel, blob *payload, int64_t ms);

/* A control frame or a whole message of level 1; whether one comes within `ms`. */
bool frame1(sent *out, int64_t ms);

/* ---- subject.c: the side under test, driven by a context --------------------------------------------------- */

/* How long nothing may come where nothing is to come, in milliseconds. */
#define HOLD 15

/* Something the program asked for. */
typedef struct {
    char name[32];
    bool done;
    hostlane_event_t event;
    hostlane_error_t *error;
} operation;

typedef struct {
    uint16_t channels[16];
    size_t channels_len;
    const char *token;
    const char *secret;
    uint64_t max_message;
    uint64_t max_calls;
    bool fds;
    bool demand;
    bool block;
} chosen;

void begin_case(void);
void end_case(void);
hostlane_context_t context(void);

/* Moves everything that can be moved, and waits `ms` at most while nothing can. */
void pump(int ms);

/* Until what was written was taken, or nobody will take it. */
void settle(void);

/* An operation, what starting it gave, and its end. */
operation *operation_named(const char *name);
operation *new_operation(const char *name);
operation *begun(operation *op, hostlane_status_t status);
hostlane_event_t *ended(operation *op);

/* The options of a side of offers.json, grants.json or transcripts.json. */
void take_channels(chosen *into, const json_t *channels);
void take_side(chosen *options, const json_t *side);

/* Listens or connects, while the test is the other side. */
void open_side(bool serving, const chosen *from);

/* A server whose client offers level 1, up to its own READY. */
void open_level1(uint64_t max_message);

blob handshake(void);

/* HOSTLANE_OK once there is a connection, or why there is none. */
hostlane_status_t outcome(void);
hostlane_peer_t peer(void);
operation *receive(int64_t ms);

/* Why the connection is over. */
hostlane_status_t end(void);

/* What comes of the bytes that were put has to be this message. */
hostlane_event_t *expect_message(uint16_t channel, blob payload);

/* And then this end: `expected` is "more", "clean" or names. */
void expect_end(const json_t *expected);

/* ---- handshakes.c ------------------------------------------------------------------------------------------ */

json_t *parsed(blob payload);
void refuses(blob payload, const json_t *names);

const char *unfit_request(const json_t *one);
void play_request(const json_t *one);
void play_response(const json_t *one);
const char *unfit_offer(const json_t *one);
void play_offer(const json_t *one);
const char *unfit_grant(const json_t *one);
void play_grant(const json_t *one);
void play_proof(const json_t *one);

/* ---- frames.c ---------------------------------------------------------------------------------------------- */

const char *unfit_frames(const json_t *one);
void play_frames(const json_t *one);
void play_control(const json_t *one);
const char *unfit_frames1(const json_t *one);
void play_frames1(const json_t *one);
const char *unfit_extensions(const json_t *one);
void play_extensions(const json_t *one);
const char *unfit_control1(const json_t *one);
void play_control1(const json_t *one);

/* ---- conversations.c --------------------------------------------------------------------------------------- */

const char *unfit_transcript(const json_t *one);
void play_transcript(const json_t *one);

#endif

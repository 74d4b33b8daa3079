#include "chain.h"

#include "asked.h"
#include "digest.h"
#include "service.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The longest name of a chain, and more than anything takes that stands before a body.
enum { NAME = 32, BEFORE = 160 };

// What came of a chain.
typedef struct {
    char name[NAME];
    uint64_t next; // the number that is due
    char head[DIGEST];
    uint64_t lost, doubled, reordered, corrupted;
} came;

struct chains {
    pthread_mutex_t lock;
    came *all;
    size_t len;
};

chains *chains_new(void) {
    chains *made = must(calloc(1, sizeof *made));
    pthread_mutex_init(&made->lock, NULL);
    return made;
}

// The chain of a name, or NULL.
static came *find(const chains *chains, const char *name) {
    for (size_t at = 0; at < chains->len; at++) {
        if (strcmp(chains->all[at].name, name) == 0) {
            return &chains->all[at];
        }
    }
    return NULL;
}

static came *find_or_add(chains *chains, const char *name) {
    came *found = find(chains, name);
    if (found == NULL) {
        chains->all = must(realloc(chains->all, (chains->len + 1) * sizeof *chains->all));
        found = &chains->all[chains->len++];
        memset(found, 0, sizeof *found);
        memcpy(found->name, name, strlen(name) + 1);
    }
    return found;
}

// The head of a message behind another.
static void head_of(const char *before, const char *name, uint64_t number, const uint8_t *body, size_t len,
                    char head[DIGEST]) {
    char text[BEFORE];
    const int text_len = snprintf(text, sizeof text, "%s%s %" PRIu64 " ", before, name, number);
    const piece pieces[] = {{text, (size_t)text_len}, {body, len}};
    digest(pieces, 2, head);
}

static void take(came *came, uint64_t number, const char *head, const uint8_t *body, size_t len) {
    if (number < came->next) {
        // It fills a gap if there is one.
        if (came->lost > 0) {
            came->lost--;
            came->reordered++;
        } else {
            came->doubled++;
        }
        return;
    }
    came->lost += number - came->next;
    if (number == came->next) {
        char right[DIGEST];
        head_of(came->head, came->name, number, body, len, right);
        came->corrupted += strcmp(head, right) != 0;
    }
    came->next = number + 1;
    memcpy(came->head, head, DIGEST);
}

bool chains_take(chains *chains, const hostlane_message_t *message) {
    size_t len = 0;
    const uint8_t *data = hostlane_message_data(message, &len);
    char text[BEFORE];
    const size_t text_len = len < BEFORE - 1 ? len : BEFORE - 1;
    memcpy(text, data, text_len);
    text[text_len] = '\0';
    char name[NAME];
    uint64_t number = 0;
    char head[DIGEST];
    int before = 0;
    if (sscanf(text, "chain %31s %" SCNu64 " %64s%n", name, &number, head, &before) != 3 ||
        (size_t)before >= text_len || text[before] != ' ') {
        return false;
    }
    pthread_mutex_lock(&chains->lock);
    take(find_or_add(chains, name), number, head, data + before + 1, len - (size_t)before - 1);
    pthread_mutex_unlock(&chains->lock);
    return true;
}

json_t *chains_report(chains *chains, const char *name) {
    static const came none;
    pthread_mutex_lock(&chains->lock);
    const came *came = find(chains, name);
    if (came == NULL) {
        came = &none;
    }
    json_t *told = json_pack("{s:I, s:s, s:I, s:I, s:I, s:I}", "next", (json_int_t)came->next, "head", came->head,
                             "lost", (json_int_t)came->lost, "doubled", (json_int_t)came->doubled, "reordered",
                             (json_int_t)came->reordered, "corrupted", (json_int_t)came->corrupted);
    pthread_mutex_unlock(&chains->lock);
    return must(told);
}

void chains_forget(chains *chains) {
    pthread_mutex_lock(&chains->lock);
    free(chains->all);
    chains->all = NULL;
    chains->len = 0;
    pthread_mutex_unlock(&chains->lock);
}

// A chain that is sent.
typedef struct {
    const char *name;
    uint32_t bits; // a body has up to two to this power bytes
    uint32_t random;
    char head[DIGEST];
    uint64_t bytes;
} chain;

// The next message; the caller frees it.
static uint8_t *make(chain *chain, uint64_t number, size_t *len) {
    chain->random = chain->random * 1664525U + 1013904223U;
    const uint32_t width = (chain->random >> 27) % (chain->bits + 1);
    const size_t size = (chain->random >> 7) & ((1U << width) - 1);
    // The body is made where it belongs, behind a head that is as long for every body.
    char text[BEFORE];
    size_t before = (size_t)snprintf(text, sizeof text, "chain %s %" PRIu64 " ", chain->name, number) + DIGEST;
    uint8_t *message = must(malloc(before + size));
    for (size_t at = 0; at < size; at++) {
        message[before + at] = (uint8_t)((number + at) % 251);
    }
    char head[DIGEST];
    head_of(chain->head, chain->name, number, message + before, size, head);
    memcpy(chain->head, head, sizeof head);
    memcpy(message, text, before - DIGEST);
    memcpy(message + before - DIGEST, head, DIGEST - 1);
    message[before - 1] = ' ';
    *len = before + size;
    chain->bytes += *len;
    return message;
}

static bool same(const hostlane_message_t *back, const uint8_t *message, size_t len) {
    if (back == NULL) {
        return false;
    }
    size_t back_len = 0;
    const uint8_t *data = hostlane_message_data(back, &back_len);
    return back_len == len && memcmp(data, message, len) == 0;
}

json_t *chain_extend(hostlane_peer_t peer, const json_t *asked) {
    const bool one_way = strcmp(text(asked, "how"), "send") == 0;
    const bool streamed = strcmp(text(asked, "how"), "stream") == 0;
    const uint16_t channel = (uint16_t)number(asked, "channel", HOSTLANE_CHANNEL_DATA);
    const hostlane_call_options_t options = call_options(asked);
    const int64_t wait = limit(asked);
    chain chain = {.name = text(asked, "chain")};
    chain.bits = (uint32_t)number(asked, "bits", 0);
    chain.random = (uint32_t)number(asked, "seed", 0);
    uint64_t next = 0;
    uint64_t wrong = 0;
    hostlane_stream_t stream = {0};
    hostlane_error_t *error = NULL;
    hostlane_status_t status = HOSTLANE_OK;
    if (streamed) {
        status = hostlane_stream_open(peer, "stream echo", strlen("stream echo"), &options, &stream, &error);
    }
    hostlane_message_t *back = NULL;
    while (status == HOSTLANE_OK && next < (uint64_t)number(asked, "count", 0)) {
        size_t len = 0;
        uint8_t *message = make(&chain, next, &len);
        if (one_way) {
            status = hostlane_send(peer, channel, message, len, wait, &error);
        } else if (streamed) {
            status = hostlane_stream_send(stream, message, len, wait, &error);
            if (status == HOSTLANE_OK) {
                status = hostlane_stream_recv(stream, wait, &back, &error);
            }
        } else {
            status = hostlane_request_with(peer, message, len, &options, wait, &back, &error);
        }
        if (status == HOSTLANE_OK) {
            next++;
            wrong += !one_way && !same(back, message, len);
        }
        hostlane_message_free(&back);
        free(message);
    }
    if (streamed && status == HOSTLANE_OK) {
        status = hostlane_stream_finish(stream, wait, &error);
        if (status == HOSTLANE_OK) {
            status = hostlane_stream_recv(stream, wait, &back, &error);
            wrong += back != NULL;
        }
        hostlane_message_free(&back);
    }
    hostlane_stream_close(stream, NULL);
    const bool maybe = error != NULL && hostlane_error_sent(error) != HOSTLANE_SENT_NO;
    json_t *told = json_pack("{s:I, s:s, s:I, s:I, s:s, s:s}", "next", (json_int_t)next, "head", chain.head, "bytes",
                             (json_int_t)chain.bytes, "wrong", (json_int_t)wrong, "error",
                             status == HOSTLANE_OK ? "" : hostlane_status_name(status), "sent",
                             status == HOSTLANE_OK ? "" : (maybe ? "maybe" : "no"));
    hostlane_error_free(&error);
    return must(told);
}

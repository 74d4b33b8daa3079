#include "service.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// The longest wait of a handler, in milliseconds.
enum { PATIENCE = 20000 };

// Most requests that are held at a time, and the highest channel whose messages are counted.
enum { HELD = 1024, CHANNELS = 512 };

struct service {
    pthread_mutex_t lock;
    long requests, cancelled, messages, disordered;
    long next[CHANNELS]; // one above the last number
    const char *error;
    chains *chains;
    hostlane_message_t *held[HELD];
    size_t held_len;
};

// What a thread works on.
typedef struct {
    service *service;
    hostlane_peer_t peer;
    hostlane_message_t *message;
    bool keep; // the connection, when it has ended
} job;

void *must(void *got) {
    if (got == NULL) {
        perror("agent");
        abort();
    }
    return got;
}

void must_start(void *(*run)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, argument) != 0 || pthread_detach(thread) != 0) {
        abort();
    }
}

service *service_new(void) {
    service *made = must(calloc(1, sizeof *made));
    pthread_mutex_init(&made->lock, NULL);
    made->error = "";
    made->chains = chains_new();
    return made;
}

chains *service_chains(service *service) { return service->chains; }

static void add(service *service, long *counter) {
    pthread_mutex_lock(&service->lock);
    ++*counter;
    pthread_mutex_unlock(&service->lock);
}

static void failed(service *service, hostlane_status_t status) {
    if (status != HOSTLANE_OK) {
        pthread_mutex_lock(&service->lock);
        service->error = hostlane_status_name(status);
        pthread_mutex_unlock(&service->lock);
    }
}

// The first bytes of a payload, as text.
static void read_text(const hostlane_message_t *message, char *text, size_t cap) {
    size_t len = 0;
    const uint8_t *data = hostlane_message_data(message, &len);
    len = len < cap - 1 ? len : cap - 1;
    memcpy(text, data, len);
    text[len] = '\0';
}

static hostlane_status_t reply_text(const hostlane_message_t *message, const char *text) {
    return hostlane_reply(message, text, strlen(text), PATIENCE, NULL);
}

static hostlane_status_t echo(const hostlane_message_t *to, const hostlane_message_t *from) {
    size_t len = 0;
    const uint8_t *data = hostlane_message_data(from, &len);
    return hostlane_reply(to, data, len, PATIENCE, NULL);
}

// One-way messages begin with a number that grows along their channel.
static void count(service *service, const hostlane_message_t *message) {
    char text[32];
    read_text(message, text, sizeof text);
    const long number = atol(text);
    long *next = &service->next[hostlane_message_channel(message) % CHANNELS];
    pthread_mutex_lock(&service->lock);
    service->messages++;
    service->disordered += number < *next;
    *next = number + 1;
    pthread_mutex_unlock(&service->lock);
}

// `hold N SEED`: answers nobody before the Nth has come, then all in a random order.
static void hold(service *service, hostlane_message_t *message, const char *numbers) {
    size_t wanted = 0;
    uint32_t random = 0;
    if (sscanf(numbers, "%zu %u", &wanted, &random) != 2 || wanted > HELD) {
        abort();
    }
    service->held[service->held_len++] = message;
    if (service->held_len < wanted) {
        return;
    }
    for (size_t last = wanted - 1; last > 0; last--) {
        random = random * 1664525U + 1013904223U;
        const size_t other = (random >> 8) % (last + 1);
        hostlane_message_t *swapped = service->held[last];
        service->held[last] = service->held[other];
        service->held[other] = swapped;
    }
    for (size_t at = 0; at < wanted; at++) {
        failed(service, echo(service->held[at], service->held[at]));
        hostlane_message_free(&service->held[at]);
    }
    service->held_len = 0;
}

// `tell`: what came beside the payload.
static hostlane_status_t tell(const hostlane_message_t *message) {
    size_t key_len = 0;
    size_t trace_len = 0;
    const char *key = (const char *)hostlane_message_idempotency_key(message, &key_len);
    const char *trace = (const char *)hostlane_message_trace(message, &trace_len);
    char told[256];
    snprintf(told, sizeof told, "%.*s %.*s %s %d", key_len != 0 ? (int)key_len : 1, key_len != 0 ? key : "-",
             trace_len != 0 ? (int)trace_len : 1, trace_len != 0 ? trace : "-",
             hostlane_message_timeout_ms(message) != HOSTLANE_FOREVER ? "deadline" : "-",
             (int)hostlane_message_channel(message));
    return reply_text(message, told);
}

// `stream echo`: every item goes back. `stream N`: N items once the caller has finished. The reply is the count.
static hostlane_status_t stream(const job *job, const char *how) {
    const hostlane_message_t *message = job->message;
    hostlane_stream_t items;
    if (hostlane_message_stream(message, &items, NULL) != HOSTLANE_OK) {
        return reply_text(message, "no stream");
    }
    int taken = 0;
    char text[32];
    hostlane_message_t *item = NULL;
    hostlane_status_t status = hostlane_stream_recv(items, PATIENCE, &item, NULL);
    while (status == HOSTLANE_OK && item != NULL) {
        taken++;
        chains_take(job->service->chains, item);
        if (strcmp(how, "echo") == 0) {
            size_t len = 0;
            const uint8_t *data = hostlane_message_data(item, &len);
            status = hostlane_stream_send(items, data, len, PATIENCE, NULL);
        }
        hostlane_message_free(&item);
        if (status == HOSTLANE_OK) {
            status = hostlane_stream_recv(items, PATIENCE, &item, NULL);
        }
    }
    for (int number = 0; status == HOSTLANE_OK && number < atoi(how); number++) {
        const int len = snprintf(text, sizeof text, "%d", number);
        status = hostlane_stream_send(items, text, (size_t)len, PATIENCE, NULL);
    }
    if (status == HOSTLANE_OK) {
        snprintf(text, sizeof text, "%d", taken);
        status = reply_text(message, text);
    }
    hostlane_stream_close(items, NULL);
    return status;
}

static hostlane_status_t back(const job *job, const char *rest) {
    hostlane_message_t *reply = NULL;
    const int64_t left = hostlane_message_timeout_ms(job->message);
    hostlane_status_t status = hostlane_request(job->peer, rest, strlen(rest), left, &reply, NULL);
    if (status == HOSTLANE_OK) {
        status = echo(job->message, reply);
    }
    hostlane_message_free(&reply);
    return status;
}

// `extend JSON`: sends a chain back, and replies how far it came.
static hostlane_status_t extend(const job *job, const char *rest) {
    json_t *asked = must(json_loads(rest, 0, NULL));
    json_t *told = chain_extend(job->peer, asked);
    char *text = must(json_dumps(told, JSON_COMPACT));
    const hostlane_status_t status = reply_text(job->message, text);
    free(text);
    json_decref(told);
    json_decref(asked);
    return status;
}

static hostlane_status_t answer(const job *job) {
    char text[256];
    read_text(job->message, text, sizeof text);
    char *rest = text + strcspn(text, " ");
    rest = *rest == '\0' ? rest : rest + 1;
    const size_t verb = strcspn(text, " ");
#define IS(name) (verb == sizeof(name) - 1 && strncmp(text, name, verb) == 0)
    if (IS("tell")) {
        return tell(job->message);
    }
    if (IS("sleep")) {
        const long ms = atol(rest);
        const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&time, NULL);
        return echo(job->message, job->message);
    }
    if (IS("watch")) {
        const hostlane_status_t status = hostlane_message_wait_cancelled(job->message, PATIENCE, NULL);
        if (status == HOSTLANE_OK) {
            add(job->service, &job->service->cancelled);
        }
        return status;
    }
    if (IS("fail")) {
        char *data = NULL;
        const unsigned long code = strtoul(rest, &data, 10);
        data += *data == ' ';
        const hostlane_status_t status =
            hostlane_fail(job->message, (uint32_t)code, data, strlen(data), PATIENCE, NULL);
        return status == HOSTLANE_E_UNSUPPORTED ? reply_text(job->message, "unsupported") : status;
    }
    if (IS("abandon")) {
        return HOSTLANE_OK;
    }
    if (IS("close")) {
        return hostlane_close(job->peer, NULL);
    }
    if (IS("back")) {
        return back(job, rest);
    }
    if (IS("stream")) {
        return stream(job, rest);
    }
    if (IS("extend")) {
        return extend(job, rest);
    }
#undef IS
    return echo(job->message, job->message);
}

static void *handle(void *argument) {
    job *job = argument;
    failed(job->service, answer(job));
    hostlane_message_free(&job->message);
    free(job);
    return NULL;
}

static void *receive(void *argument) {
    job *connection = argument;
    service *service = connection->service;
    hostlane_message_t *message = NULL;
    // The calls of this side tell how the connection ended.
    while (hostlane_recv(connection->peer, HOSTLANE_FOREVER, &message, NULL) == HOSTLANE_OK) {
        const bool chained = chains_take(service->chains, message);
        // A call of level 0 is a plain message.
        if (!hostlane_message_is_request(message) && hostlane_message_channel(message) != HOSTLANE_CHANNEL_COMMAND) {
            if (!chained) {
                count(service, message);
            }
            hostlane_message_free(&message);
            continue;
        }
        add(service, &service->requests);
        char text[64];
        read_text(message, text, sizeof text);
        if (strncmp(text, "hold ", 5) == 0) {
            hold(service, message, text + 5);
            continue;
        }
        job *one = must(malloc(sizeof *one));
        *one = (job){service, connection->peer, message, true};
        must_start(handle, one);
    }
    if (!connection->keep) {
        hostlane_close(connection->peer, NULL);
    }
    free(connection);
    return NULL;
}

void service_serve(service *service, hostlane_peer_t peer, bool keep) {
    job *connection = must(malloc(sizeof *connection));
    *connection = (job){service, peer, NULL, keep};
    must_start(receive, connection);
}

json_t *service_report(service *service) {
    pthread_mutex_lock(&service->lock);
    json_t *told = json_pack("{s:I, s:I, s:I, s:b, s:s}", "requests", (json_int_t)service->requests, "cancelled",
                             (json_int_t)service->cancelled, "messages", (json_int_t)service->messages, "ordered",
                             service->disordered == 0, "error", service->error);
    pthread_mutex_unlock(&service->lock);
    return must(told);
}

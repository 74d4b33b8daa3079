/* Round-trip times and their summary. */

#include "agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void *grown(void *memory, size_t size) {
    void *larger = realloc(memory, size > 0 ? size : 1);
    if (larger == NULL) {
        fprintf(stderr, "agent: out of memory\n");
        exit(1);
    }
    return larger;
}

void samples_add(samples *samples, uint64_t ns) {
    if (samples->count == samples->room) {
        samples->room = samples->room > 0 ? samples->room * 2 : 1024;
        samples->values = grown(samples->values, samples->room * sizeof(*samples->values));
    }
    samples->values[samples->count++] = ns;
}

void samples_clear(samples *samples) { samples->count = 0; }

void samples_free(samples *samples) { free(samples->values); }

static int compare(const void *a, const void *b) {
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static uint64_t at(samples *samples, double part) {
    if (samples->count == 0) {
        return 0;
    }
    qsort(samples->values, samples->count, sizeof(*samples->values), compare);
    return samples->values[(size_t)((double)samples->count * part)];
}

uint64_t samples_median(samples *samples) { return at(samples, 0.5); }

void samples_print(samples *samples) {
    printf("{\"median_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64 ",\"count\":%zu}\n", at(samples, 0.5), at(samples, 0.99),
           samples->count);
}

void stream_print(uint64_t messages, size_t size, uint64_t ns) {
    printf("{\"messages\":%" PRIu64 ",\"seconds\":%.6f,\"bytes\":%" PRIu64 "}\n", messages, (double)ns / 1e9,
           messages * size);
}

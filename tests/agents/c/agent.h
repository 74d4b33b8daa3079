/* The C agent of the cross-language demo and benchmark, file by file. Every mode gives the exit status. */

#ifndef AGENT_H
#define AGENT_H

#include <hostlane.h>

#include <stddef.h>
#include <stdint.h>

/* Longest wait of one operation, in milliseconds. */
#define LIMIT_MS 5000
/* Round trips before the clock starts. */
#define WARM_UP 100

int files_run(const char *address);

int lane_bench(const char *address, size_t size, double seconds);
int lane_stream(const char *address, size_t size, double seconds);
int lane_sink(const char *address);

int raw_echo(const char *path);
int raw_bench(const char *path, size_t size, double seconds);
int raw_sink(const char *path);
int raw_stream(const char *path, size_t size, double seconds);

/* Nanoseconds of a clock that only goes forward. */
uint64_t now_ns(void);

/* Ends the program when memory is out. */
void *grown(void *memory, size_t size);

/* Round-trip times in nanoseconds; all zero is an empty one. */
typedef struct {
    uint64_t *values;
    size_t count;
    size_t room;
} samples;
void samples_add(samples *samples, uint64_t ns);
void samples_clear(samples *samples);
/* The middle one; 0 without samples. */
uint64_t samples_median(samples *samples);
void samples_print(samples *samples);
void samples_free(samples *samples);

void stream_print(uint64_t messages, size_t size, uint64_t ns);

#endif

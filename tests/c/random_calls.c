/* random_calls SECONDS [SEED]: inputs of random bytes for that long, or the one input of a seed for 0 seconds. With
 * `all` for SECONDS: until every function has succeeded, which has a deadline. A failure names the seed of its input.
 * With several threads, which half of the inputs have, it may take some attempts again. */

#include "random/calls.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST 1500
/* Seconds after which every function has to have succeeded. */
#define ENOUGH 100

static volatile uint64_t seed;

/* Says which input it is; nothing but what a signal handler may call. */
static void say_seed(void) {
    char text[40] = "the seed is ";
    char digits[24];
    size_t count = 0;
    size_t len = strlen(text);
    for (uint64_t rest = seed; count == 0 || rest > 0; rest /= 10) {
        digits[count++] = (char)('0' + rest % 10);
    }
    while (count > 0) {
        text[len++] = digits[--count];
    }
    text[len++] = '\n';
    if (write(STDERR_FILENO, text, len) < 0) {
        return; /* nobody to tell */
    }
}

static void on_fault(int number) {
    say_seed();
    signal(number, SIG_DFL);
    raise(number);
}

/* A sanitizer reports faults itself, and calls this. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* splitmix64 */
static uint64_t next(uint64_t *state) {
    uint64_t mixed = (*state += 0x9E3779B97F4A7C15u);
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBu;
    return mixed ^ mixed >> 31;
}

static void run(void) {
    uint8_t input[MOST];
    uint64_t state = seed;
    const size_t size = next(&state) % MOST;
    for (size_t at = 0; at < size; ++at) {
        input[at] = (uint8_t)next(&state);
    }
    random_calls(input, size);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s SECONDS|all [SEED]\n", argv[0]);
        return 2;
    }
    const bool all = strcmp(argv[1], "all") == 0;
    const double seconds = all ? ENOUGH : strtod(argv[1], NULL);
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
    printf("the first seed is %llu\n", (unsigned long long)seed);
    fflush(stdout);
    signal(SIGABRT, on_fault);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(say_seed);
    } else {
        signal(SIGSEGV, on_fault);
        signal(SIGBUS, on_fault);
    }
    const double end = now() + seconds;
    unsigned long inputs = 0;
    do {
        run();
        ++seed;
        ++inputs;
    } while (now() < end && (!all || random_calls_missed() != NULL));
    printf("%lu inputs\n", inputs);
    random_calls_end();
    const char *missed = random_calls_missed();
    if (all && missed != NULL) {
        fprintf(stderr, "hostlane_%s never succeeded\n", missed);
        return 1;
    }
    return 0;
}

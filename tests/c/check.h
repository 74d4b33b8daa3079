/* The checks of the C and C++ tests: TEST(name) { ... } defines a test, the program runs those that its arguments name,
 * or all of them. A check that does not hold ends the program with its place and what was found. */

#ifndef CHECK_H
#define CHECK_H

#include <hostlane.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct check_test {
    const char *name;
    void (*run)(void);
    struct check_test *next;
} check_test;

static check_test *check_tests __attribute__((unused)) = NULL;

#define TEST(test_name)                                                                                                \
    static void test_name(void);                                                                                       \
    __attribute__((constructor)) static void check_add_##test_name(void) {                                             \
        static check_test test = {#test_name, test_name, NULL};                                                        \
        test.next = check_tests;                                                                                       \
        check_tests = &test;                                                                                           \
    }                                                                                                                  \
    static void test_name(void)

/* The condition holds. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Two integers are equal. */
#define CHECK_EQ(actual, expected)                                                                                     \
    do {                                                                                                               \
        const intmax_t check_actual = (intmax_t)(actual);                                                              \
        const intmax_t check_expected = (intmax_t)(expected);                                                          \
        if (check_actual != check_expected) {                                                                          \
            fprintf(stderr, "%s:%d: %s is %jd and not %jd\n", __FILE__, __LINE__, #actual, check_actual,               \
                    check_expected);                                                                                   \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* A call gives this status; names are shown, not numbers. */
#define CHECK_STATUS(call, expected)                                                                                   \
    do {                                                                                                               \
        const hostlane_status_t check_actual = (call);                                                                 \
        if (check_actual != (expected)) {                                                                              \
            fprintf(stderr, "%s:%d: %s gives %s and not %s\n", __FILE__, __LINE__, #call,                              \
                    hostlane_status_name(check_actual), hostlane_status_name(expected));                               \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define CHECK_OK(call) CHECK_STATUS(call, HOSTLANE_OK)

static inline int check_main(int argc, char **argv) {
    int ran = 0;
    for (check_test *test = check_tests; test != NULL; test = test->next) {
        int wanted = argc < 2;
        for (int at = 1; at < argc; ++at) {
            wanted |= strcmp(argv[at], test->name) == 0;
        }
        if (wanted) {
            test->run();
            printf("ok %s\n", test->name);
            ++ran;
        }
    }
    if (ran == 0) {
        fprintf(stderr, "no such test\n");
        return 1;
    }
    return 0;
}

#endif

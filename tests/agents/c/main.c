/* agent MODE ADDR ... */

#include "agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;
    int (*plain)(const char *address);
    int (*measured)(const char *address, size_t size, double seconds);
} mode;

static const mode modes[] = {
    {"files", files_run, NULL},   {"bench", NULL, lane_bench},      {"stream", NULL, lane_stream},
    {"sink", lane_sink, NULL},    {"raw-echo", raw_echo, NULL},     {"raw-bench", NULL, raw_bench},
    {"raw-sink", raw_sink, NULL}, {"raw-stream", NULL, raw_stream},
};

int main(int argc, char **argv) {
    for (size_t at = 0; argc >= 3 && at < sizeof(modes) / sizeof(modes[0]); ++at) {
        if (strcmp(argv[1], modes[at].name) != 0) {
            continue;
        }
        if (modes[at].plain != NULL && argc == 3) {
            return modes[at].plain(argv[2]);
        }
        if (modes[at].measured != NULL && argc == 5) {
            return modes[at].measured(argv[2], strtoul(argv[3], NULL, 10), strtod(argv[4], NULL));
        }
    }
    fprintf(stderr, "usage: agent files ADDR              (file paths on standard input)\n"
                    "       agent bench ADDR SIZE SECONDS\n"
                    "       agent stream ADDR SIZE SECONDS\n"
                    "       agent sink ADDR\n"
                    "       agent raw-echo PATH\n"
                    "       agent raw-bench PATH SIZE SECONDS\n"
                    "       agent raw-sink PATH\n"
                    "       agent raw-stream PATH SIZE SECONDS\n");
    return 1;
}

#include "asked.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t number(const json_t *asked, const char *name, int64_t otherwise) {
    const json_t *value = json_object_get(asked, name);
    return value == NULL ? otherwise : json_integer_value(value);
}

const char *text(const json_t *asked, const char *name) {
    const char *value = json_string_value(json_object_get(asked, name));
    return value == NULL ? "" : value;
}

int64_t limit(const json_t *asked) { return number(asked, "timeout_ms", PATIENCE); }

int32_t policy_of(const char *name) {
    static const char *const names[] = {"block", "error", "drop_oldest", "latest"};
    static const int32_t policies[] = {HOSTLANE_POLICY_BLOCK, HOSTLANE_POLICY_ERROR, HOSTLANE_POLICY_DROP_OLDEST,
                                       HOSTLANE_POLICY_LATEST};
    for (size_t at = 0; at < 4; at++) {
        if (strcmp(name, names[at]) == 0) {
            return policies[at];
        }
    }
    abort();
}

hostlane_call_options_t call_options(const json_t *asked) {
    hostlane_call_options_t options;
    hostlane_call_options_init(&options, sizeof options);
    options.channel = (uint16_t)number(asked, "channel", 0);
    options.deadline_ms = limit(asked);
    if ((options.idempotency_key_len = strlen(text(asked, "key"))) != 0) {
        options.idempotency_key = text(asked, "key");
    }
    if ((options.trace_len = strlen(text(asked, "trace"))) != 0) {
        options.trace = text(asked, "trace");
    }
    return options;
}

char *payload(const json_t *asked, size_t *len) {
    const size_t head = strlen(text(asked, "text"));
    const size_t size = (size_t)number(asked, "size", 0);
    *len = size > head ? size : head;
    char *data = must(malloc(*len + 1));
    memcpy(data, text(asked, "text"), head);
    for (size_t at = head; at < *len; at++) {
        data[at] = (char)((at - head) % 251);
    }
    return data;
}

char *numbered(long of, size_t size, size_t *len) {
    char head[32];
    const size_t head_len = (size_t)snprintf(head, sizeof head, "%ld.", of);
    *len = size > head_len ? size : head_len;
    char *data = must(malloc(*len));
    memset(data, '.', *len);
    memcpy(data, head, head_len);
    return data;
}

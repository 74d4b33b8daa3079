/* The reader of the vectors: files to cases, and which of them are played. */

#include "vectors.h"

static void *kept[4096];
static size_t kept_len;

void *keep(size_t len) {
    CHECK(kept_len < sizeof(kept) / sizeof(kept[0]));
    void *memory = calloc(1, len + 1);
    CHECK(memory != NULL);
    return kept[kept_len++] = memory;
}

static void forget(void) {
    while (kept_len > 0) {
        free(kept[--kept_len]);
    }
}

blob joined(blob first, const void *data, size_t len) {
    blob both = {keep(first.len + len), first.len + len};
    if (first.len > 0) {
        memcpy(both.data, first.data, first.len);
    }
    if (len > 0) {
        memcpy(both.data + first.len, data, len);
    }
    return both;
}

blob blob_of(const char *text) { return joined((blob){NULL, 0}, text, strlen(text)); }

bool same(blob one, const void *data, size_t len) {
    return one.len == len && (len == 0 || memcmp(one.data, data, len) == 0);
}

blob bytes_of(const json_t *value) {
    blob found = {NULL, 0};
    if (json_is_string(value)) {
        const char *digits = json_string_value(value);
        found.len = json_string_length(value) / 2;
        found.data = keep(found.len);
        for (size_t at = 0; at < found.len; ++at) {
            const char pair[3] = {digits[2 * at], digits[2 * at + 1], 0};
            found.data[at] = (uint8_t)strtoul(pair, NULL, 16);
        }
    } else if (json_is_array(value)) {
        for (size_t at = 0; at < json_array_size(value); ++at) {
            const blob part = bytes_of(json_array_get(value, at));
            found = joined(found, part.data, part.len);
        }
    } else if (json_object_get(value, "text") != NULL) {
        const json_t *text = json_object_get(value, "text");
        found = joined(found, json_string_value(text), json_string_length(text));
    } else if (json_is_object(value)) {
        const blob unit = bytes_of(json_object_get(value, "hex"));
        const size_t times = (size_t)json_number_value(json_object_get(value, "times"));
        found.len = unit.len * times;
        found.data = keep(found.len);
        for (size_t at = 0; at < times; ++at) {
            memcpy(found.data + at * unit.len, unit.data, unit.len);
        }
    }
    return found;
}

uint64_t number(const json_t *value) {
    const double number = json_number_value(value);
    return number >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)number;
}

const char *text(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

bool names_have(const json_t *names, const char *name) {
    if (json_is_string(names)) {
        return strcmp(json_string_value(names), name) == 0;
    }
    for (size_t at = 0; at < json_array_size(names); ++at) {
        if (strcmp(json_string_value(json_array_get(names, at)), name) == 0) {
            return true;
        }
    }
    return false;
}

/* What is not played, by reason. */
static struct {
    const char *reason;
    int count;
} skipped[8];
char playing[128];

static void tell(void) {
    if (playing[0] != 0) {
        fprintf(stderr, "while playing %s\n", playing);
    }
}

json_t *document_of(const char *file) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", HOSTLANE_VECTORS, file);
    json_t *document = json_load_file(path, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    CHECK(document != NULL);
    CHECK(json_array_size(json_object_get(document, "cases")) > 0);
    return document;
}

void each(const char *file, const char *(*unfit)(const json_t *), void (*play)(const json_t *)) {
    static bool telling;
    if (!telling) {
        telling = true;
        CHECK_EQ(atexit(tell), 0);
    }
    json_t *document = document_of(file);
    const json_t *cases = json_object_get(document, "cases");
    memset(skipped, 0, sizeof(skipped));
    int played = 0;
    for (size_t at = 0; at < json_array_size(cases); ++at) {
        const json_t *one = json_array_get(cases, at);
        const char *reason = unfit == NULL ? NULL : unfit(one);
        if (reason != NULL) {
            size_t slot = 0;
            while (skipped[slot].reason != NULL && strcmp(skipped[slot].reason, reason) != 0) {
                ++slot;
            }
            skipped[slot].reason = reason;
            ++skipped[slot].count;
            continue;
        }
        snprintf(playing, sizeof(playing), "%s", text(one, "id"));
        begin_case();
        play(one);
        end_case();
        forget();
        ++played;
    }
    playing[0] = 0;
    printf("%d cases of %s played\n", played, file);
    for (size_t slot = 0; skipped[slot].reason != NULL; ++slot) {
        printf("%d cases not played: %s\n", skipped[slot].count, skipped[slot].reason);
    }
    json_decref(document);
}

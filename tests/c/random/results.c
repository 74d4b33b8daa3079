#include "results.h"

#define UNTOUCHED 0xA5

/* What `*err` is before a call, which no call may read. */
static char sentinel;
#define SENTINEL ((hostlane_error_t *)(void *)&sentinel)

/* ---- what a call answered */

hostlane_error_t **err(run *r) {
    r->err = SENTINEL;
    return (r->act->nulls & 0x20) != 0 ? NULL : &r->err;
}

static void *make_output(run *r, size_t size, bool required) {
    const int at = r->outputs++;
    /* One act in four leaves some of them out. */
    if ((r->act->nulls & 0xC0) == 0xC0 && (r->act->nulls >> (at % 5) & 1) != 0) {
        r->output_size[at] = 0;
        if (required) {
            r->wrong |= WRONG_ARGUMENT;
        }
        return NULL;
    }
    r->output_size[at] = size;
    return memset(r->output[at], UNTOUCHED, size);
}

void *output(run *r, size_t size) { return make_output(r, size, true); }

void *optional_output(run *r, size_t size) { return make_output(r, size, false); }

static void see_error(run *r, const hostlane_error_t *error, hostlane_status_t status) {
    const char *text = NULL;
    size_t len = 0;
    HOLDS(r, error != NULL && error != SENTINEL);
    HOLDS(r, hostlane_error_status(error) == status);
    hostlane_error_message(error, &text, &len);
    HOLDS(r, text != NULL && strlen(text) == len);
    const int32_t sent = hostlane_error_sent(error);
    HOLDS(r, sent == HOSTLANE_SENT_NO || sent == HOSTLANE_SENT_MAYBE);
}

/* What the error of the call says, to be told. */
static const char *said(const run *r) {
    const char *text = "no error object";
    if (r->err != SENTINEL && r->err != NULL) {
        hostlane_error_message(r->err, &text, NULL);
    }
    return text;
}

static void known(run *r, hostlane_status_t status) {
    if (strcmp(hostlane_status_name(status), "unknown") == 0) {
        FAIL(r, "the status %d is not in the table", status);
    }
    if (status == HOSTLANE_E_PANIC || status == HOSTLANE_E_INTERNAL) {
        FAIL(r, "%s: %s", hostlane_status_name(status), said(r));
    }
}

/* Whether a failure is one of those that the arguments call for. */
static bool called_for(const run *r, hostlane_status_t status) {
    if ((r->wrong & WRONG_OTHERWISE) != 0) {
        return true;
    }
    switch (status) {
    case HOSTLANE_E_INVALID_ARGUMENT:
        return (r->wrong & WRONG_ARGUMENT) != 0 || r->doubtful;
    case HOSTLANE_E_INVALID_HANDLE:
        return (r->wrong & WRONG_HANDLE) != 0;
    default:
        return r->wrong == 0 || status == HOSTLANE_E_CLOSED;
    }
}

bool judge(run *r, hostlane_status_t status) {
    known(r, status);
    if (status == HOSTLANE_OK) {
        HOLDS(r, r->err == SENTINEL);
        if ((r->wrong & ~(unsigned)WRONG_OTHERWISE) != 0) {
            FAIL(r, "it succeeds although something is wrong: %#x", r->wrong);
        }
        return true;
    }
    if (!called_for(r, status)) {
        FAIL(r, "%s (%s) is not what %#x calls for", hostlane_status_name(status), said(r), r->wrong);
    }
    for (int at = 0; at < r->outputs; ++at) {
        for (size_t byte = 0; byte < r->output_size[at]; ++byte) {
            if (r->output[at][byte] != UNTOUCHED) {
                FAIL(r, "%s, and output %d was written", hostlane_status_name(status), at);
            }
        }
    }
    if ((r->act->nulls & 0x20) != 0) { /* no error was asked for */
        HOLDS(r, r->err == SENTINEL);
        return false;
    }
    see_error(r, r->err, status);
    hostlane_error_free(&r->last);
    HOLDS(r, r->last == NULL);
    r->last = r->err;
    r->err = SENTINEL;
    return false;
}

/* ---- what it gave */

void see_bytes(const void *data, size_t len) {
    /* The ends, which a sanitizer then checks. */
    if (len > 0) {
        const volatile uint8_t *at = data;
        (void)at[0];
        (void)at[len - 1];
    }
}

static void see_message(run *r, const hostlane_message_t *message) {
    size_t len = 0;
    HOLDS(r, message != NULL);
    const uint8_t *data = hostlane_message_data(message, &len);
    HOLDS(r, data != NULL);
    see_bytes(data, len);
}

bool see_text(run *r, const char *text) {
    HOLDS(r, text != NULL);
    return text[0] != 0;
}

void see_info(run *r, const hostlane_info_t *info) {
    HOLDS(r, memchr(info->peer_id, 0, sizeof(info->peer_id)) != NULL);
    HOLDS(r, memchr(info->features, 0, sizeof(info->features)) != NULL);
    HOLDS(r, memchr(info->carrier, 0, sizeof(info->carrier)) != NULL);
    HOLDS(r, info->channels_len <= 256 && info->level <= 1);
}

static void see_event(run *r, hostlane_event_t *event) {
    HOLDS(r, event->kind >= HOSTLANE_EVENT_PENDING && event->kind <= HOSTLANE_EVENT_LINK_DOWN);
    HOLDS(r, (event->error != NULL) == (event->status != HOSTLANE_OK));
    if (event->error != NULL) {
        HOLDS(r, event->kind == HOSTLANE_EVENT_FAILED || event->kind == HOSTLANE_EVENT_LINK_DOWN);
        HOLDS(r, event->status != HOSTLANE_E_PANIC && event->status != HOSTLANE_E_INTERNAL);
        see_error(r, event->error, event->status);
    } else {
        HOLDS(r, event->kind != HOSTLANE_EVENT_FAILED);
    }
    see_bytes(event->data, event->len);
    if (event->kind == HOSTLANE_EVENT_PENDING) {
        HOLDS(r, event->op != 0);
        keep_op(event->op);
    }
    const bool new_peer = event->kind == HOSTLANE_EVENT_CONNECTED || event->kind == HOSTLANE_EVENT_ACCEPTED;
    HOLDS(r, (event->peer.id != 0) == new_peer);
    if (new_peer) {
        keep(PEER, event->peer.id, r->act->length);
    }
    if (event->message != NULL && r->act->more % 8 != 0) {
        keep_message(event->message, r->act->other);
        event->message = NULL;
    }
}

void take_events(run *r, hostlane_event_t *events, size_t n) {
    for (size_t at = 0; at < n; ++at) {
        see_event(r, &events[at]);
    }
    hostlane_events_free(events, n);
    hostlane_events_free(events, n);
    for (size_t at = 0; at < n; ++at) {
        HOLDS(r, events[at].message == NULL && events[at].error == NULL);
    }
}

void take_entries(run *r, hostlane_entry_t *entries, size_t n, size_t capacity) {
    for (size_t at = 0; at < n; ++at) {
        hostlane_entry_t *entry = &entries[at];
        if (entry->offset == HOSTLANE_NO_ROOM) {
            HOLDS(r, entry->message != NULL);
            see_message(r, entry->message);
        } else {
            HOLDS(r, entry->offset <= capacity && entry->len <= capacity - entry->offset);
        }
        keep_message(entry->message, (uint8_t)(r->act->other + at));
    }
}

void take_message(run *r, hostlane_message_t **message) {
    see_message(r, *message);
    keep_message(*message, r->act->other);
}

bool one_event(run *r, hostlane_status_t status, hostlane_event_t *event) {
    if (judge(r, status)) {
        take_events(r, event, 1);
        return true;
    }
    return false;
}

bool many_events(run *r, hostlane_status_t status, hostlane_event_t *events, const size_t *n, size_t cap) {
    if (judge(r, status)) {
        HOLDS(r, *n <= cap);
        take_events(r, events, *n);
        return true;
    }
    return false;
}

bool new_handle(run *r, hostlane_status_t status, kind of, const void *handle) {
    if (judge(r, status)) {
        uint64_t id;
        memcpy(&id, handle, sizeof(id)); /* all of them are one number */
        HOLDS(r, id != 0);
        keep(of, id, r->act->more);
        return true;
    }
    return false;
}

bool new_message(run *r, hostlane_status_t status, hostlane_message_t **message) {
    if (judge(r, status)) {
        take_message(r, message);
        return true;
    }
    return false;
}

bool ended(run *r, kind of) {
    const uint64_t id = draw(r, of, r->act->object);
    if (judge(r, end(of, id, err(r)))) {
        gone(of, id);
        HOLDS(r, end(of, id, NULL) == HOSTLANE_E_CLOSED);
        return true;
    }
    return false;
}

/* The functions that answer without a status. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

/* For what is there, and for NULL. */
bool ask(run *r) {
    const act *a = r->act;
    size_t len = 77;
    size_t *length = a->nulls % 4 == 0 ? NULL : &len;
    const hostlane_error_t *error = a->nulls % 8 == 1 ? NULL : r->last;
    const hostlane_message_t *asked = hold(r, false);
    const uint8_t *data = NULL;
    switch (r->what) {
    case ACT_abi_version:
        HOLDS(r, hostlane_abi_version() == HOSTLANE_ABI_VERSION);
        break;
    case ACT_version:
        HOLDS(r, see_text(r, hostlane_version()));
        break;
    case ACT_status_name:
        HOLDS(r, see_text(r, hostlane_status_name((a->object << 8 | a->other) - 100)));
        break;
    case ACT_status_meaning:
        HOLDS(r, see_text(r, hostlane_status_meaning((a->object << 8 | a->other) - 100)));
        break;
    case ACT_error_status:
        HOLDS(r, (hostlane_error_status(error) == HOSTLANE_OK) == (error == NULL));
        break;
    case ACT_error_message: {
        const char *text = NULL;
        hostlane_error_message(error, a->nulls % 4 == 2 ? NULL : &text, length);
        HOLDS(r, a->nulls % 4 == 2 || length == NULL || strlen(text) == len);
        break;
    }
    case ACT_error_retryable:
        HOLDS(r, error != NULL || !hostlane_error_retryable(error));
        break;
    case ACT_error_sent:
        HOLDS(r, error != NULL || hostlane_error_sent(error) == HOSTLANE_SENT_NO);
        break;
    case ACT_error_remote_status:
        HOLDS(r, hostlane_error_remote_status(error) == 0 || hostlane_error_status(error) == HOSTLANE_E_REMOTE_ERROR);
        break;
    case ACT_error_data:
        data = hostlane_error_data(error, length);
        HOLDS(r, (data == NULL) == (error == NULL));
        break;
    case ACT_error_free:
        hostlane_error_free(a->nulls % 4 == 0 ? NULL : &r->last);
        HOLDS(r, a->nulls % 4 == 0 || r->last == NULL);
        break;
    case ACT_events_free: {
        hostlane_event_t none[2];
        memset(none, 0, sizeof(none));
        hostlane_events_free(a->nulls % 4 == 0 ? NULL : none, a->more % 3);
        break;
    }
    case ACT_log_events_free: {
        hostlane_log_event_t none[2];
        memset(none, 0, sizeof(none));
        hostlane_log_events_free(a->nulls % 4 == 0 ? NULL : none, a->more % 3);
        break;
    }
    case ACT_log_level: {
        const int32_t level = hostlane_log_level();
        HOLDS(r, level >= HOSTLANE_LOG_OFF && level <= HOSTLANE_LOG_DEBUG);
        break;
    }
    case ACT_message_channel:
        HOLDS(r, asked != NULL || hostlane_message_channel(asked) == 0);
        break;
    case ACT_message_data:
        data = hostlane_message_data(asked, length);
        HOLDS(r, (data == NULL) == (asked == NULL));
        break;
    case ACT_message_flags:
        HOLDS(r, hostlane_message_flags(asked) < 32 && (asked != NULL || hostlane_message_flags(asked) == 0));
        break;
    case ACT_message_is_request:
        HOLDS(r,
              hostlane_message_is_request(asked) == ((hostlane_message_flags(asked) & HOSTLANE_MESSAGE_REQUEST) != 0));
        break;
    case ACT_message_call_id:
        HOLDS(r, asked != NULL || hostlane_message_call_id(asked) == 0);
        break;
    case ACT_message_timeout_ms:
        HOLDS(r, hostlane_message_timeout_ms(asked) >= HOSTLANE_FOREVER);
        break;
    case ACT_message_idempotency_key:
        data = hostlane_message_idempotency_key(asked, length);
        HOLDS(r, data == NULL || length == NULL || (len > 0 && len <= 64));
        break;
    case ACT_message_trace:
        data = hostlane_message_trace(asked, length);
        HOLDS(r, data == NULL || length == NULL || (len > 0 && len <= 64));
        break;
    case ACT_message_is_cancelled:
        HOLDS(r, asked != NULL || !hostlane_message_is_cancelled(asked));
        break;
    default:
        end_act(r);
        hold(r, true);
        hostlane_message_free(a->nulls % 4 == 0 ? NULL : held(r));
    }
    if (data != NULL && length != NULL) {
        see_bytes(data, len);
    }
    return true;
}

/* Filling options writes what the size says and nothing behind it. */
bool init_options(run *r) {
    uint8_t *memory = r->options[0];
    const size_t size = r->act->more < 250 ? (size_t)r->act->more * 2 : SIZE_MAX - r->act->more;
    memset(memory, 0xA5, OPTIONS_ROOM);
    void *options = r->act->nulls % 8 == 0 ? NULL : memory;
    switch (r->what) {
    case ACT_call_options_init:
        hostlane_call_options_init(options, size);
        break;
    case ACT_connect_options_init:
        hostlane_connect_options_init(options, size);
        break;
    case ACT_listen_options_init:
        hostlane_listen_options_init(options, size);
        break;
    default:
        hostlane_link_options_init(options, size);
    }
    const size_t written = options == NULL || size < sizeof(size_t) ? 0 : size > OPTIONS_ROOM ? sizeof(size_t) : size;
    for (size_t at = written; at < OPTIONS_ROOM; ++at) {
        HOLDS(r, memory[at] == 0xA5);
    }
    return true;
}

/* Functions that are called on a call that was started. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

bool on_a_call(run *r) {
    if (r->what == ACT_call_cancel) {
        return ended(r, CALL);
    }
    const hostlane_call_t call = started(r);
    hostlane_message_t **answer = output(r, sizeof(hostlane_message_t *));
    const hostlane_status_t status = hostlane_call_wait(call, timeout(r), answer, err(r));
    if (answer != NULL && status != HOSTLANE_E_INVALID_HANDLE && status != HOSTLANE_E_CLOSED) {
        gone(CALL, call.id); /* whatever came of it */
    }
    return new_message(r, status, answer);
}

/* Functions that are called on a listener, and the one that makes it. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

bool on_a_listener(run *r) {
    switch (r->what) {
    case ACT_listen: {
        size_t len;
        const char *at = address(r, &len);
        const hostlane_listen_options_t *options = listen_options(r);
        hostlane_listener_t *made = output(r, sizeof(*made));
        r->wrong |= r->wrong != 0 && options != NULL ? WRONG_OTHERWISE : 0;
        return new_handle(r, hostlane_listen(at, len, options, made, err(r)), LISTENER, made);
    }
    case ACT_listener_close:
        return ended(r, LISTENER);
    default:
        break;
    }
    const hostlane_listener_t on = listener(r, r->act->object);
    switch (r->what) {
    case ACT_accept: {
        hostlane_peer_t *accepted = output(r, sizeof(*accepted));
        return new_handle(r, hostlane_accept(on, timeout(r), accepted, err(r)), PEER, accepted);
    }
    case ACT_listener_stats: {
        hostlane_listener_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_listener_stats(on, stats, err(r)));
    }
    case ACT_listener_address: {
        char *text = optional_output(r, 200);
        size_t *len = output(r, sizeof(*len));
        const size_t room = r->act->length;
        r->doubtful = text != NULL; /* it may be too little room */
        return judge(r, hostlane_listener_address(on, text, room < 200 ? room : 200, len, err(r)));
    }
    default: {
        const size_t most = r->act->length % 5;
        hostlane_refusal_t *refusals = output(r, sizeof(*refusals) * 5);
        size_t *n = output(r, sizeof(*n));
        r->wrong |= most == 0 ? WRONG_ARGUMENT : 0;
        return judge(r, hostlane_listener_refusals(on, refusals, most, n, err(r)));
    }
    }
}

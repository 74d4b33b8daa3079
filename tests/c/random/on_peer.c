/* Functions that are called on a peer, and the one that makes it. */

#include "acts.h"
#include "arguments.h"
#include "results.h"

bool on_a_peer(run *r) {
    const act *a = r->act;
    size_t len;
    switch (r->what) {
    case ACT_connect: {
        const char *to = address(r, &len);
        const hostlane_connect_options_t *options = connect_options(r);
        hostlane_peer_t *made = output(r, sizeof(*made));
        r->wrong |= r->wrong != 0 && options != NULL ? WRONG_OTHERWISE : 0;
        return new_handle(r, hostlane_connect(to, len, options, timeout(r), made, err(r)), PEER, made);
    }
    case ACT_close:
        return ended(r, PEER);
    default:
        break;
    }
    const hostlane_peer_t on = peer(r, a->object);
    switch (r->what) {
    case ACT_send_batch: {
        hostlane_bytes_t payloads[EVENTS];
        const size_t n = a->more % (EVENTS + 1);
        const uint8_t *data = payload(r, &len);
        for (size_t at = 0; at < n; ++at) {
            payloads[at] = (hostlane_bytes_t){data, len < 4096 || at == 0 ? len : 7};
        }
        r->wrong &= n == 0 ? ~(unsigned)WRONG_ARGUMENT : ~0u;
        const bool none = n > 0 && a->options % 16 == 0;
        r->wrong |= none ? WRONG_ARGUMENT : 0;
        return judge(r, hostlane_send_batch(on, channel(r), none ? NULL : payloads, n, timeout(r), err(r)));
    }
    case ACT_recv_batch: {
        const size_t most = cap(r);
        void *room = buffer(r, &len);
        hostlane_entry_t *entries = output(r, sizeof(*entries) * EVENTS);
        size_t *n = output(r, sizeof(*n));
        if (judge(r, hostlane_recv_batch(on, timeout(r), room, len, entries, most, n, err(r)))) {
            HOLDS(r, *n >= 1 && *n <= most);
            take_entries(r, entries, *n, len);
            return true;
        }
        return false;
    }
    case ACT_cork:
        return judge(r, hostlane_cork(on, err(r)));
    case ACT_uncork:
        return judge(r, hostlane_uncork(on, err(r)));
    case ACT_request: {
        const uint8_t *data = payload(r, &len);
        hostlane_message_t **answer = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_request(on, data, len, timeout(r), answer, err(r)), answer);
    }
    case ACT_request_with: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        hostlane_message_t **answer = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_request_with(on, data, len, options, timeout(r), answer, err(r)), answer);
    }
    case ACT_call_start: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        hostlane_call_t *call = output(r, sizeof(*call));
        return new_handle(r, hostlane_call_start(on, data, len, options, call, err(r)), CALL, call);
    }
    case ACT_stream_open: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        hostlane_stream_t *opened = output(r, sizeof(*opened));
        return new_handle(r, hostlane_stream_open(on, data, len, options, opened, err(r)), STREAM, opened);
    }
    case ACT_send: {
        const uint8_t *data = payload(r, &len);
        return judge(r, hostlane_send(on, channel(r), data, len, timeout(r), err(r)));
    }
    case ACT_send_with: {
        const uint8_t *data = payload(r, &len);
        const hostlane_call_options_t *options = call_options(r);
        return judge(r, hostlane_send_with(on, data, len, options, timeout(r), err(r)));
    }
    case ACT_recv: {
        hostlane_message_t **received = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_recv(on, timeout(r), received, err(r)), received);
    }
    case ACT_recv_on: {
        hostlane_message_t **received = output(r, sizeof(hostlane_message_t *));
        return new_message(r, hostlane_recv_on(on, channel(r), timeout(r), received, err(r)), received);
    }
    case ACT_ping: {
        uint64_t *rtt = output(r, sizeof(*rtt));
        return judge(r, hostlane_ping(on, timeout(r), rtt, err(r)));
    }
    case ACT_drain:
        return judge(r, hostlane_drain(on, timeout(r), err(r)));
    case ACT_attach:
        return judge(r, hostlane_attach(on, err(r)));
    case ACT_info: {
        hostlane_info_t *info = output(r, sizeof(*info));
        if (judge(r, hostlane_info(on, info, err(r)))) {
            see_info(r, info);
            return true;
        }
        return false;
    }
    case ACT_peer_address: {
        char *text = optional_output(r, 200);
        size_t *written = output(r, sizeof(*written));
        const size_t room = a->length;
        r->doubtful = text != NULL; /* it may be too little room */
        return judge(r, hostlane_peer_address(on, text, room < 200 ? room : 200, written, err(r)));
    }
    case ACT_stats: {
        hostlane_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_stats(on, stats, err(r)));
    }
    default: {
        hostlane_channel_stats_t *stats = output(r, sizeof(*stats));
        return judge(r, hostlane_stats_on(on, channel(r), stats, err(r)));
    }
    }
}

// Calls that were started, and what may go with them. Part of hostlane.hpp.

#ifndef HOSTLANE_CALL_HPP
#define HOSTLANE_CALL_HPP

#include "bytes.hpp"
#include "message.hpp"
#include "owner.hpp"
#include "result.hpp"
#include "timeout.hpp"

#include <chrono>
#include <cstdint>
#include <vector>

namespace hostlane {

/// What may go with a call, a stream or a message; what is left alone has its default. See hostlane_call_options_t.
struct call_options {
    /// The channel; 0: COMMAND for a call or a stream, DATA for a message.
    std::uint16_t channel = 0;
    /// How long the caller will wait, as the other side is told; zero: the limit of the call where it has one.
    std::chrono::milliseconds deadline{0};
    /// Says that the call may be sent again under this key; empty: none. Viewed for the call, as the next.
    payload idempotency_key;
    /// Handed to the other program as it is; empty: none.
    payload trace;
    /// Descriptors for the other process; they are duplicated and stay the caller's.
    std::vector<int> fds;
};

namespace detail {
inline hostlane_call_options_t raw(const call_options &options) noexcept {
    hostlane_call_options_t raw;
    hostlane_call_options_init(&raw, sizeof(raw));
    raw.channel = options.channel;
    raw.deadline_ms = options.deadline.count();
    if (options.idempotency_key.size() != 0) {
        raw.idempotency_key = options.idempotency_key.data();
        raw.idempotency_key_len = options.idempotency_key.size();
    }
    if (options.trace.size() != 0) {
        raw.trace = options.trace.data();
        raw.trace_len = options.trace.size();
    }
    raw.fds = options.fds.data();
    raw.fds_len = options.fds.size();
    return raw;
}
} // namespace detail

/// A call that was started; destroyed without wait() it is given up. See hostlane_call_t.
class call : public detail::owner<hostlane_call_t, hostlane_call_cancel> {
public:
    using owner::owner;

    /// Waits for the reply and ends the call, whatever comes of it. See hostlane_call_wait().
    result<message> wait(timeout limit = forever) {
        const hostlane_call_t started = release();
        return detail::run(
            static_cast<hostlane_message_t *>(nullptr),
            [&](hostlane_message_t **out, hostlane_error_t **err) {
                return hostlane_call_wait(started, limit.milliseconds(), out, err);
            },
            [](hostlane_message_t *raw) { return message(raw); });
    }
};

} // namespace hostlane

#endif // HOSTLANE_CALL_HPP

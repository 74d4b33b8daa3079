// Calls with many messages in both directions. Part of hostlane.hpp.

#ifndef HOSTLANE_STREAM_HPP
#define HOSTLANE_STREAM_HPP

#include "bytes.hpp"
#include "message.hpp"
#include "owner.hpp"
#include "result.hpp"
#include "timeout.hpp"

#include <cstdint>
#include <optional>

namespace hostlane {

/// The items of one call, both ways. One thread may send while another receives. See hostlane_stream_t.
class stream : public detail::owner<hostlane_stream_t, hostlane_stream_close> {
public:
    using owner::owner;

    /// The id of its call. See hostlane_stream_call_id().
    result<std::uint64_t> call_id() const {
        return detail::run(
            std::uint64_t{0},
            [&](std::uint64_t *out, hostlane_error_t **err) { return hostlane_stream_call_id(raw_, out, err); },
            [](std::uint64_t id) { return id; });
    }

    /// Sends an item. See hostlane_stream_send().
    result<void> send(payload item, timeout limit = forever) const {
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_stream_send(raw_, item.data(), item.size(), limit.milliseconds(), err);
        });
    }

    /// Says that this side sends no more. See hostlane_stream_finish().
    result<void> finish(timeout limit = forever) const {
        return detail::run(
            [&](hostlane_error_t **err) { return hostlane_stream_finish(raw_, limit.milliseconds(), err); });
    }

    /// The next item; none at the end. See hostlane_stream_recv().
    result<std::optional<message>> recv(timeout limit = forever) const {
        return maybe([&](hostlane_message_t **out, hostlane_error_t **err) {
            return hostlane_stream_recv(raw_, limit.milliseconds(), out, err);
        });
    }

    /// The reply that ended the call, once recv() gave the end; none before. See hostlane_stream_reply().
    result<std::optional<message>> reply() const {
        return maybe(
            [&](hostlane_message_t **out, hostlane_error_t **err) { return hostlane_stream_reply(raw_, out, err); });
    }

private:
    template <typename Call> static result<std::optional<message>> maybe(Call &&call) {
        return detail::run(static_cast<hostlane_message_t *>(nullptr), call, [](hostlane_message_t *raw) {
            return raw == nullptr ? std::optional<message>() : std::optional<message>(message(raw));
        });
    }
};

inline result<hostlane::stream> message::stream() const {
    return detail::run(
        hostlane_stream_t{},
        [&](hostlane_stream_t *out, hostlane_error_t **err) { return hostlane_message_stream(raw_, out, err); },
        [](hostlane_stream_t raw) { return hostlane::stream(raw); });
}

} // namespace hostlane

#endif // HOSTLANE_STREAM_HPP

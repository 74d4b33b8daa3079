// What a context hands out. Part of hostlane.hpp.

#ifndef HOSTLANE_EVENT_HPP
#define HOSTLANE_EVENT_HPP

#include "error.hpp"
#include "message.hpp"
#include "peer.hpp"

#include <chrono>
#include <cstdint>
#include <utility>

namespace hostlane {

/// One operation of a context, finished or pending. Owns what it carries until that is taken.
class event {
public:
    event() noexcept = default;
    /// Takes over an event of hostlane.h with its message, error and peer.
    explicit event(const hostlane_event_t &raw) noexcept : raw_(raw) {}
    event(event &&other) noexcept : raw_(std::exchange(other.raw_, hostlane_event_t{})) {}
    event &operator=(event &&other) noexcept {
        if (this != &other) {
            drop();
            raw_ = std::exchange(other.raw_, hostlane_event_t{});
        }
        return *this;
    }
    ~event() { drop(); }

    /// The number of the operation; 0 when it finished in the call that started it.
    [[nodiscard]] std::uint64_t op() const noexcept { return raw_.op; }
    /// HOSTLANE_EVENT_CONNECTED and so on.
    [[nodiscard]] std::int32_t kind() const noexcept { return raw_.kind; }
    /// Whether the operation goes on and finishes as a later event.
    [[nodiscard]] bool pending() const noexcept { return raw_.kind == HOSTLANE_EVENT_PENDING; }
    /// HOSTLANE_OK, or why the operation failed.
    [[nodiscard]] hostlane_status_t status() const noexcept { return raw_.status; }
    /// The round trip of a ping.
    [[nodiscard]] std::chrono::nanoseconds round_trip() const noexcept {
        return std::chrono::nanoseconds(static_cast<std::int64_t>(raw_.rtt_ns));
    }

    /// The received message or reply; a second call gives an empty one.
    [[nodiscard]] hostlane::message take_message() noexcept {
        return hostlane::message(std::exchange(raw_.message, nullptr));
    }
    /// The new connection; a second call gives an empty one.
    [[nodiscard]] hostlane::peer take_peer() noexcept {
        return hostlane::peer(std::exchange(raw_.peer, hostlane_peer_t{}));
    }
    /// The error of a failed operation, with its text; a second call gives the number alone.
    [[nodiscard]] hostlane::error take_error() {
        return hostlane::error(raw_.status, std::exchange(raw_.error, nullptr));
    }

private:
    void drop() noexcept {
        hostlane_events_free(&raw_, 1);
        if (raw_.peer.id != 0) {
            hostlane_close(raw_.peer, nullptr);
        }
    }

    hostlane_event_t raw_{};
};

} // namespace hostlane

#endif // HOSTLANE_EVENT_HPP

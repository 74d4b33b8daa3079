// What a context hands out. Part of hostlane.hpp.

#ifndef HOSTLANE_EVENT_HPP
#define HOSTLANE_EVENT_HPP

#include "bytes.hpp"
#include "error.hpp"
#include "message.hpp"
#include "peer.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>
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

    /// The payload of a message, a reply or an item: readable for as long as the event, or the message taken from it,
    /// or the buffer that it was received into.
    [[nodiscard]] span<const std::uint8_t> data() const noexcept { return {raw_.data, raw_.len}; }
    /// The payload as text; nobody checks that it is any.
    [[nodiscard]] std::string_view text() const noexcept {
        return {reinterpret_cast<const char *>(raw_.data), raw_.len};
    }
    /// The channel of the message.
    [[nodiscard]] std::uint16_t channel() const noexcept { return raw_.channel; }
    /// HOSTLANE_MESSAGE_REQUEST and so on, or-ed.
    [[nodiscard]] std::uint32_t flags() const noexcept { return raw_.flags; }
    /// The id of the call that a received request is; 0 otherwise.
    [[nodiscard]] std::uint64_t call_id() const noexcept { return raw_.call_id; }

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

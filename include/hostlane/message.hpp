// A received message. Part of hostlane.hpp.

#ifndef HOSTLANE_MESSAGE_HPP
#define HOSTLANE_MESSAGE_HPP

#include "bytes.hpp"
#include "result.hpp"
#include "timeout.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace hostlane {

/// A received message. It may outlive its peer.
class message {
public:
    /// Owns no message.
    message() noexcept = default;
    /// Takes over a message of hostlane.h.
    explicit message(hostlane_message_t *raw) noexcept : raw_(raw) {}
    message(message &&other) noexcept : raw_(other.release()) {}
    message &operator=(message &&other) noexcept {
        if (this != &other) {
            hostlane_message_free(&raw_);
            raw_ = other.release();
        }
        return *this;
    }
    ~message() { hostlane_message_free(&raw_); }

    /// The channel it arrived on.
    [[nodiscard]] std::uint16_t channel() const noexcept { return hostlane_message_channel(raw_); }
    /// The payload, readable for as long as the message lives.
    [[nodiscard]] span<const std::uint8_t> data() const noexcept {
        std::size_t len = 0;
        const std::uint8_t *bytes = hostlane_message_data(raw_, &len);
        return {bytes, len};
    }
    /// The payload as text; nobody checks that it is any.
    [[nodiscard]] std::string_view text() const noexcept {
        const auto bytes = data();
        return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
    }

    /// Answers on the channel it came from; for a call this is its reply. See hostlane_reply().
    result<void> reply(payload answer, timeout limit = forever) const {
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_reply(raw_, answer.data(), answer.size(), limit.milliseconds(), err);
        });
    }

    [[nodiscard]] const hostlane_message_t *get() const noexcept { return raw_; }
    /// Gives the message up; the caller frees it.
    [[nodiscard]] hostlane_message_t *release() noexcept { return std::exchange(raw_, nullptr); }

private:
    hostlane_message_t *raw_ = nullptr;
};

} // namespace hostlane

#endif // HOSTLANE_MESSAGE_HPP

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
#include <vector>

namespace hostlane {

class stream;

/// A received message, a reply, or an item of a stream. It may outlive its peer. A request that is destroyed without an
/// answer is let go. See hostlane_message_t.
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

    /// Whether somebody waits for an answer.
    [[nodiscard]] bool is_request() const noexcept { return hostlane_message_is_request(raw_); }
    /// What it is and has: HOSTLANE_MESSAGE_REQUEST and so on, or-ed.
    [[nodiscard]] std::uint32_t flags() const noexcept { return hostlane_message_flags(raw_); }
    /// The id of the call, unique in its connection; 0 for a one-way message.
    [[nodiscard]] std::uint64_t call_id() const noexcept { return hostlane_message_call_id(raw_); }
    /// How long the caller will still wait: for calls made on behalf of this one. See hostlane_message_timeout_ms().
    [[nodiscard]] timeout time_left() const noexcept { return timeout::of(hostlane_message_timeout_ms(raw_)); }
    /// The key under which the caller may send this call again; empty: none.
    [[nodiscard]] std::string_view idempotency_key() const noexcept { return view(hostlane_message_idempotency_key); }
    /// What the sender gave along to follow the message by; empty: nothing.
    [[nodiscard]] std::string_view trace() const noexcept { return view(hostlane_message_trace); }

    /// Takes the descriptors that came with it; the caller closes them. See hostlane_message_take_fds().
    result<std::vector<int>> take_fds() const {
        std::int32_t fds[HOSTLANE_MAX_FDS];
        return detail::run(
            std::size_t{0},
            [&](std::size_t *n, hostlane_error_t **err) { return hostlane_message_take_fds(raw_, fds, n, err); },
            [&](std::size_t n) { return std::vector<int>(fds, fds + n); });
    }

    /// Whether an answer is no longer wanted. See hostlane_message_is_cancelled().
    [[nodiscard]] bool is_cancelled() const noexcept { return hostlane_message_is_cancelled(raw_); }
    /// Waits until an answer is no longer wanted. See hostlane_message_wait_cancelled().
    result<void> wait_cancelled(timeout limit = forever) const {
        return detail::run(
            [&](hostlane_error_t **err) { return hostlane_message_wait_cancelled(raw_, limit.milliseconds(), err); });
    }

    /// The stream that the request opened. See hostlane_message_stream().
    inline result<hostlane::stream> stream() const;

    /// Answers a call with an error of the program's. See hostlane_fail().
    result<void> fail(std::uint32_t code, payload data = {}, timeout limit = forever) const {
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_fail(raw_, code, data.data(), data.size(), limit.milliseconds(), err);
        });
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
    std::string_view view(const std::uint8_t *(*read)(const hostlane_message_t *, std::size_t *)) const noexcept {
        std::size_t len = 0;
        const auto *bytes = reinterpret_cast<const char *>(read(raw_, &len));
        return bytes == nullptr ? std::string_view() : std::string_view(bytes, len);
    }

    hostlane_message_t *raw_ = nullptr;
};

} // namespace hostlane

#endif // HOSTLANE_MESSAGE_HPP

// One connection. Part of hostlane.hpp.

#ifndef HOSTLANE_PEER_HPP
#define HOSTLANE_PEER_HPP

#include "bytes.hpp"
#include "message.hpp"
#include "options.hpp"
#include "result.hpp"
#include "timeout.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace hostlane {

/// A connection to one other process.
class peer {
public:
    /// Owns no connection; every call gives HOSTLANE_E_INVALID_HANDLE.
    peer() noexcept = default;
    /// Takes over a peer of hostlane.h.
    explicit peer(hostlane_peer_t raw) noexcept : raw_(raw) {}
    peer(peer &&other) noexcept : raw_(other.release()) {}
    peer &operator=(peer &&other) noexcept {
        if (this != &other) {
            close();
            raw_ = other.release();
        }
        return *this;
    }
    ~peer() { close(); }

    /// Connects to an address. See hostlane_connect().
    static result<peer> connect(std::string_view address, timeout limit = forever,
                                const connect_options &options = {}) {
        const auto raw_options = detail::raw(options);
        return detail::run(
            hostlane_peer_t{},
            [&](hostlane_peer_t *out, hostlane_error_t **err) {
                return hostlane_connect(address.data(), address.size(), &raw_options, limit.milliseconds(), out, err);
            },
            [](hostlane_peer_t raw) { return peer(raw); });
    }

    /// Sends one message. See hostlane_send().
    result<void> send(std::uint16_t channel, payload data, timeout limit = forever) const {
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_send(raw_, channel, data.data(), data.size(), limit.milliseconds(), err);
        });
    }

    /// Receives the next message of any channel. See hostlane_recv().
    result<message> recv(timeout limit = forever) const {
        return received([&](hostlane_message_t **out, hostlane_error_t **err) {
            return hostlane_recv(raw_, limit.milliseconds(), out, err);
        });
    }

    /// Receives the next message of one channel. See hostlane_recv_on().
    result<message> recv_on(std::uint16_t channel, timeout limit = forever) const {
        return received([&](hostlane_message_t **out, hostlane_error_t **err) {
            return hostlane_recv_on(raw_, channel, limit.milliseconds(), out, err);
        });
    }

    /// Calls the other side and waits for its reply. See hostlane_request().
    result<message> request(payload data, timeout limit = forever) const {
        return received([&](hostlane_message_t **out, hostlane_error_t **err) {
            return hostlane_request(raw_, data.data(), data.size(), limit.milliseconds(), out, err);
        });
    }

    /// Measures a round trip. See hostlane_ping().
    result<std::chrono::nanoseconds> ping(timeout limit = forever) const {
        return detail::run(
            std::uint64_t{0},
            [&](std::uint64_t *out, hostlane_error_t **err) {
                return hostlane_ping(raw_, limit.milliseconds(), out, err);
            },
            [](std::uint64_t ns) { return std::chrono::nanoseconds(static_cast<std::int64_t>(ns)); });
    }

    /// Ends the connection in good order. See hostlane_drain().
    result<void> drain(timeout limit = forever) const {
        return detail::run([&](hostlane_error_t **err) { return hostlane_drain(raw_, limit.milliseconds(), err); });
    }

    /// Closes at once and wakes everybody who waits. Closing again does nothing.
    void close() const noexcept { hostlane_close(raw_, nullptr); }

    /// Who is on the other side. See hostlane_info().
    result<hostlane_info_t> info() const {
        return detail::run(
            hostlane_info_t{},
            [&](hostlane_info_t *out, hostlane_error_t **err) { return hostlane_info(raw_, out, err); },
            [](const hostlane_info_t &info) { return info; });
    }

    /// The address of the connection. See hostlane_peer_address().
    result<std::string> address() const {
        return detail::text([&](char *buf, std::size_t cap, std::size_t *len, hostlane_error_t **err) {
            return hostlane_peer_address(raw_, buf, cap, len, err);
        });
    }

    /// The counters. See hostlane_stats().
    result<hostlane_stats_t> stats() const {
        return detail::run(
            hostlane_stats_t{},
            [&](hostlane_stats_t *out, hostlane_error_t **err) { return hostlane_stats(raw_, out, err); },
            [](const hostlane_stats_t &stats) { return stats; });
    }

    [[nodiscard]] hostlane_peer_t get() const noexcept { return raw_; }
    /// Gives the connection up; the caller closes it.
    [[nodiscard]] hostlane_peer_t release() noexcept { return std::exchange(raw_, hostlane_peer_t{}); }

private:
    template <typename Call> static result<message> received(Call &&call) {
        return detail::run(static_cast<hostlane_message_t *>(nullptr), call,
                           [](hostlane_message_t *raw) { return message(raw); });
    }

    hostlane_peer_t raw_{};
};

} // namespace hostlane

#endif // HOSTLANE_PEER_HPP

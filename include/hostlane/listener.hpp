// A socket that others connect to. Part of hostlane.hpp.

#ifndef HOSTLANE_LISTENER_HPP
#define HOSTLANE_LISTENER_HPP

#include "options.hpp"
#include "peer.hpp"
#include "result.hpp"
#include "timeout.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hostlane {

/// A listening socket.
class listener {
public:
    /// Owns no socket; every call gives HOSTLANE_E_INVALID_HANDLE.
    listener() noexcept = default;
    /// Takes over a listener of hostlane.h.
    explicit listener(hostlane_listener_t raw) noexcept : raw_(raw) {}
    listener(listener &&other) noexcept : raw_(other.release()) {}
    listener &operator=(listener &&other) noexcept {
        if (this != &other) {
            close();
            raw_ = other.release();
        }
        return *this;
    }
    ~listener() { close(); }

    /// Listens on an address. See hostlane_listen().
    static result<listener> listen(std::string_view address, const listen_options &options = {}) {
        const auto raw_options = detail::raw(options);
        return detail::run(
            hostlane_listener_t{},
            [&](hostlane_listener_t *out, hostlane_error_t **err) {
                return hostlane_listen(address.data(), address.size(), &raw_options, out, err);
            },
            [](hostlane_listener_t raw) { return listener(raw); });
    }

    /// Waits for the next client. See hostlane_accept().
    result<peer> accept(timeout limit = forever) const {
        return detail::run(
            hostlane_peer_t{},
            [&](hostlane_peer_t *out, hostlane_error_t **err) {
                return hostlane_accept(raw_, limit.milliseconds(), out, err);
            },
            [](hostlane_peer_t raw) { return peer(raw); });
    }

    /// The address in its canonical form. See hostlane_listener_address().
    result<std::string> address() const {
        return detail::text([&](char *buf, std::size_t cap, std::size_t *len, hostlane_error_t **err) {
            return hostlane_listener_address(raw_, buf, cap, len, err);
        });
    }

    /// The counters. See hostlane_listener_stats().
    result<hostlane_listener_stats_t> stats() const {
        return detail::run(
            hostlane_listener_stats_t{},
            [&](hostlane_listener_stats_t *out, hostlane_error_t **err) {
                return hostlane_listener_stats(raw_, out, err);
            },
            [](const hostlane_listener_stats_t &stats) { return stats; });
    }

    /// Takes the clients that were turned away, oldest first. See hostlane_listener_refusals().
    result<std::vector<hostlane_refusal_t>> refusals() const {
        std::vector<hostlane_refusal_t> all(64);
        std::size_t n = 0;
        const auto got = detail::run(
            [&](hostlane_error_t **err) { return hostlane_listener_refusals(raw_, all.data(), all.size(), &n, err); });
        if (!got) {
            return got.error();
        }
        all.resize(n);
        return all;
    }

    /// Closes at once, removes the socket and wakes everybody who waits. Closing again does nothing.
    void close() const noexcept { hostlane_listener_close(raw_, nullptr); }

    [[nodiscard]] hostlane_listener_t get() const noexcept { return raw_; }
    /// Gives the socket up; the caller closes it.
    [[nodiscard]] hostlane_listener_t release() noexcept { return std::exchange(raw_, hostlane_listener_t{}); }

private:
    hostlane_listener_t raw_{};
};

} // namespace hostlane

#endif // HOSTLANE_LISTENER_HPP

// A socket that others connect to. Part of hostlane.hpp.

#ifndef HOSTLANE_LISTENER_HPP
#define HOSTLANE_LISTENER_HPP

#include "options.hpp"
#include "owner.hpp"
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
class listener : public detail::owner<hostlane_listener_t, hostlane_listener_close> {
public:
    using owner::owner;

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
};

} // namespace hostlane

#endif // HOSTLANE_LISTENER_HPP

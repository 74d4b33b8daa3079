// One connection. Part of hostlane.hpp.

#ifndef HOSTLANE_PEER_HPP
#define HOSTLANE_PEER_HPP

#include "bytes.hpp"
#include "call.hpp"
#include "message.hpp"
#include "options.hpp"
#include "owner.hpp"
#include "result.hpp"
#include "stream.hpp"
#include "timeout.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hostlane {

class batch;

/// Holds small writes of a peer back; destroying it lets them go. See hostlane_cork().
class cork : public detail::owner<hostlane_peer_t, hostlane_uncork> {
public:
    using owner::owner;

    /// Lets them go, once: corks count, and another one is not this one's to end. Used by one thread at a time.
    void close() noexcept { hostlane_uncork(release(), nullptr); }
};

/// A connection to one other process.
class peer : public detail::owner<hostlane_peer_t, hostlane_close> {
public:
    using owner::owner;

    /// Connects to an address. See hostlane_connect().
    static result<peer> connect(std::string_view address, timeout limit = forever,
                                const connect_options &options = {}) {
        const detail::raw_connect_options raw_options(options);
        return detail::run(
            hostlane_peer_t{},
            [&](hostlane_peer_t *out, hostlane_error_t **err) {
                return hostlane_connect(address.data(), address.size(), raw_options.get(), limit.milliseconds(), out,
                                        err);
            },
            [](hostlane_peer_t raw) { return peer(raw); });
    }

    /// Sends one message. See hostlane_send().
    result<void> send(std::uint16_t channel, payload data, timeout limit = forever) const {
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_send(raw_, channel, data.data(), data.size(), limit.milliseconds(), err);
        });
    }

    /// Sends one message with what goes along. See hostlane_send_with().
    result<void> send(payload data, timeout limit, const call_options &options) const {
        const auto raw_options = detail::raw(options);
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_send_with(raw_, data.data(), data.size(), &raw_options, limit.milliseconds(), err);
        });
    }

    /// Sends many messages of one channel, anything that holds what a payload is made from. See hostlane_send_batch().
    template <typename Payloads>
    result<void> send_batch(std::uint16_t channel, const Payloads &payloads, timeout limit = forever) const {
        std::vector<hostlane_bytes_t> raw;
        for (const auto &one : payloads) {
            const payload data(one);
            raw.push_back({data.data(), data.size()});
        }
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_send_batch(raw_, channel, raw.data(), raw.size(), limit.milliseconds(), err);
        });
    }

    /// Receives all that is there into a batch, waiting for the first. See hostlane_recv_batch().
    inline result<void> recv_batch(batch &into, timeout limit = forever) const;

    /// Holds small writes back until the cork is destroyed. See hostlane_cork().
    result<hostlane::cork> cork() const {
        return detail::run(
            raw_, [](hostlane_peer_t *peer, hostlane_error_t **err) { return hostlane_cork(*peer, err); },
            [](hostlane_peer_t peer) { return hostlane::cork(peer); });
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

    /// The same with what goes along. See hostlane_request_with().
    result<message> request(payload data, timeout limit, const call_options &options) const {
        const auto raw_options = detail::raw(options);
        return received([&](hostlane_message_t **out, hostlane_error_t **err) {
            return hostlane_request_with(raw_, data.data(), data.size(), &raw_options, limit.milliseconds(), out, err);
        });
    }

    /// Starts a call and does not wait. See hostlane_call_start().
    result<call> start_request(payload data, const call_options &options = {}) const {
        const auto raw_options = detail::raw(options);
        return detail::run(
            hostlane_call_t{},
            [&](hostlane_call_t *out, hostlane_error_t **err) {
                return hostlane_call_start(raw_, data.data(), data.size(), &raw_options, out, err);
            },
            [](hostlane_call_t raw) { return call(raw); });
    }

    /// Opens a stream with a request. Never waits. See hostlane_stream_open().
    result<stream> open_stream(payload data, const call_options &options = {}) const {
        const auto raw_options = detail::raw(options);
        return detail::run(
            hostlane_stream_t{},
            [&](hostlane_stream_t *out, hostlane_error_t **err) {
                return hostlane_stream_open(raw_, data.data(), data.size(), &raw_options, out, err);
            },
            [](hostlane_stream_t raw) { return stream(raw); });
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

    /// Has the I/O thread move bytes while no call does. See hostlane_attach().
    result<void> attach() const {
        return detail::run([&](hostlane_error_t **err) { return hostlane_attach(raw_, err); });
    }

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

    /// The counters of one channel. See hostlane_stats_on().
    result<hostlane_channel_stats_t> stats_on(std::uint16_t channel) const {
        return detail::run(
            hostlane_channel_stats_t{},
            [&](hostlane_channel_stats_t *out, hostlane_error_t **err) {
                return hostlane_stats_on(raw_, channel, out, err);
            },
            [](const hostlane_channel_stats_t &stats) { return stats; });
    }

private:
    template <typename Call> static result<message> received(Call &&call) {
        return detail::run(static_cast<hostlane_message_t *>(nullptr), call,
                           [](hostlane_message_t *raw) { return message(raw); });
    }
};

} // namespace hostlane

#endif // HOSTLANE_PEER_HPP

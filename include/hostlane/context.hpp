// One descriptor for a foreign event loop, and operations that finish through it. Part of hostlane.hpp.

#ifndef HOSTLANE_CONTEXT_HPP
#define HOSTLANE_CONTEXT_HPP

#include "bytes.hpp"
#include "event.hpp"
#include "listener.hpp"
#include "options.hpp"
#include "peer.hpp"
#include "result.hpp"
#include "timeout.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace hostlane {

/// Operations that never block, and one descriptor for the caller's event loop. See hostlane_context_t.
class context {
public:
    /// Owns no context; every call gives HOSTLANE_E_INVALID_HANDLE.
    context() noexcept = default;
    /// Takes over a context of hostlane.h.
    explicit context(hostlane_context_t raw) noexcept : raw_(raw) {}
    context(context &&other) noexcept : raw_(other.release()) {}
    context &operator=(context &&other) noexcept {
        if (this != &other) {
            close();
            raw_ = other.release();
        }
        return *this;
    }
    ~context() { close(); }

    /// Makes a context. See hostlane_context_new().
    static result<context> create() {
        return detail::run(
            hostlane_context_t{},
            [](hostlane_context_t *out, hostlane_error_t **err) { return hostlane_context_new(out, err); },
            [](hostlane_context_t raw) { return context(raw); });
    }

    /// The descriptor to watch for reading; it belongs to the context. See hostlane_context_fd().
    result<int> fd() const {
        return detail::run(
            std::int32_t{-1},
            [&](std::int32_t *out, hostlane_error_t **err) { return hostlane_context_fd(raw_, out, err); },
            [](std::int32_t fd) { return static_cast<int>(fd); });
    }

    /// Adds at most `budget` finished operations to `events`; true when work is left. See hostlane_context_process().
    result<bool> process(std::vector<event> &events, std::size_t budget = 64) const {
        std::vector<hostlane_event_t> batch(budget);
        events.reserve(events.size() + budget);
        std::size_t n = 0;
        bool more = false;
        const auto done = detail::run([&](hostlane_error_t **err) {
            return hostlane_context_process(raw_, batch.data(), batch.size(), &n, &more, err);
        });
        if (!done) {
            return done.error();
        }
        for (std::size_t at = 0; at < n; ++at) {
            events.emplace_back(batch[at]);
        }
        return more;
    }

    /// Waits for the next finished operation. See hostlane_context_next().
    result<event> next(timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_next(raw_, limit.milliseconds(), out, err);
        });
    }

    /// Starts peer::connect().
    result<event> connect(std::string_view address, timeout limit = forever,
                          const connect_options &options = {}) const {
        const auto raw_options = detail::raw(options);
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_connect(raw_, address.data(), address.size(), &raw_options, limit.milliseconds(),
                                            out, err);
        });
    }

    /// Starts listener::accept().
    result<event> accept(const listener &from, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_accept(raw_, from.get(), limit.milliseconds(), out, err);
        });
    }

    /// Starts peer::recv().
    result<event> recv(const peer &from, timeout limit = forever) const {
        return recv_any(from, HOSTLANE_ANY_CHANNEL, limit);
    }

    /// Starts peer::recv_on().
    result<event> recv_on(const peer &from, std::uint16_t channel, timeout limit = forever) const {
        return recv_any(from, channel, limit);
    }

    /// Starts peer::send().
    result<event> send(const peer &to, std::uint16_t channel, payload data, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_send(raw_, to.get(), channel, data.data(), data.size(), limit.milliseconds(), out,
                                         err);
        });
    }

    /// Starts message::reply().
    result<event> reply(const message &to, payload answer, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_reply(raw_, to.get(), answer.data(), answer.size(), limit.milliseconds(), out, err);
        });
    }

    /// Starts peer::request().
    result<event> request(const peer &to, payload data, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_request(raw_, to.get(), data.data(), data.size(), limit.milliseconds(), out, err);
        });
    }

    /// Starts peer::ping().
    result<event> ping(const peer &to, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_ping(raw_, to.get(), limit.milliseconds(), out, err);
        });
    }

    /// Starts peer::drain().
    result<event> drain(const peer &to, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_drain(raw_, to.get(), limit.milliseconds(), out, err);
        });
    }

    /// Gives a pending operation up; it still finishes, as failed with HOSTLANE_E_CANCELLED.
    result<void> cancel(std::uint64_t op) const {
        return detail::run([&](hostlane_error_t **err) { return hostlane_context_cancel(raw_, op, err); });
    }

    /// Closes at once, with its peers and listeners. Closing again does nothing.
    void close() const noexcept { hostlane_context_close(raw_, nullptr); }

    [[nodiscard]] hostlane_context_t get() const noexcept { return raw_; }
    /// Gives the context up; the caller closes it.
    [[nodiscard]] hostlane_context_t release() noexcept { return std::exchange(raw_, hostlane_context_t{}); }

private:
    template <typename Call> static result<event> started(Call &&call) {
        return detail::run(hostlane_event_t{}, call, [](const hostlane_event_t &raw) { return event(raw); });
    }

    result<event> recv_any(const peer &from, std::int32_t channel, timeout limit) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_recv(raw_, from.get(), channel, limit.milliseconds(), out, err);
        });
    }

    hostlane_context_t raw_{};
};

} // namespace hostlane

#endif // HOSTLANE_CONTEXT_HPP

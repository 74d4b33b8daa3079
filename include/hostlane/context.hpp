// One descriptor for a foreign event loop, and operations that finish through it. Part of hostlane.hpp.

#ifndef HOSTLANE_CONTEXT_HPP
#define HOSTLANE_CONTEXT_HPP

#include "batch.hpp"
#include "bytes.hpp"
#include "event.hpp"
#include "listener.hpp"
#include "options.hpp"
#include "owner.hpp"
#include "peer.hpp"
#include "result.hpp"
#include "stream.hpp"
#include "submissions.hpp"
#include "timeout.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace hostlane {

/// Operations that never block, and one descriptor for the caller's event loop. See hostlane_context_t.
class context : public detail::owner<hostlane_context_t, hostlane_context_close> {
public:
    using owner::owner;

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
        return processed(events, budget,
                         [&](hostlane_event_t *out, std::size_t *n, bool *more, hostlane_error_t **err) {
                             return hostlane_context_process(raw_, out, budget, n, more, err);
                         });
    }

    /// Waits for the next finished operation. See hostlane_context_next().
    result<event> next(timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_next(raw_, limit.milliseconds(), out, err);
        });
    }

    /// The same with the payloads one behind the other in `buffer`, as far as there is room. See
    /// hostlane_context_process_batch().
    result<bool> process(std::vector<event> &events, span<std::uint8_t> buffer, std::size_t budget = 64) const {
        return processed(
            events, budget, [&](hostlane_event_t *out, std::size_t *n, bool *more, hostlane_error_t **err) {
                return hostlane_context_process_batch(raw_, buffer.data(), buffer.size(), out, budget, n, more, err);
            });
    }

    /// Waits for the next finished operation and adds it and those that finished with it, at most `budget`, to
    /// `events`, with the payloads in `buffer`. See hostlane_context_next_batch().
    result<void> next(std::vector<event> &events, span<std::uint8_t> buffer, timeout limit = forever,
                      std::size_t budget = 64) const {
        const auto done =
            processed(events, budget, [&](hostlane_event_t *out, std::size_t *n, bool *, hostlane_error_t **err) {
                return hostlane_context_next_batch(raw_, limit.milliseconds(), buffer.data(), buffer.size(), out,
                                                   budget, n, err);
            });
        return done ? result<void>() : result<void>(done.error());
    }

    /// Starts many operations and writes what they send in few system calls. One event each, in order. See
    /// hostlane_context_submit().
    result<std::vector<event>> submit(const submissions &operations) const {
        std::vector<hostlane_event_t> out(operations.size());
        hostlane_event_t none; // an empty vector may have no data
        const auto done = detail::run([&](hostlane_error_t **err) {
            return hostlane_context_submit(raw_, operations.data(), operations.size(), nullptr, 0,
                                           out.empty() ? &none : out.data(), err);
        });
        if (!done) {
            return done.error();
        }
        std::vector<event> events;
        events.reserve(out.size());
        for (const auto &one : out) {
            events.emplace_back(one);
        }
        return events;
    }

    /// Starts peer::connect().
    result<event> connect(std::string_view address, timeout limit = forever,
                          const connect_options &options = {}) const {
        const detail::raw_connect_options raw_options(options);
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_connect(raw_, address.data(), address.size(), raw_options.get(),
                                            limit.milliseconds(), out, err);
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

    /// Starts peer::send() with what goes along.
    result<event> send(const peer &to, payload data, timeout limit, const call_options &options) const {
        const auto raw_options = detail::raw(options);
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_send_with(raw_, to.get(), data.data(), data.size(), &raw_options,
                                              limit.milliseconds(), out, err);
        });
    }

    /// Starts message::fail().
    result<event> fail(const message &to, std::uint32_t code, payload data = {}, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_fail(raw_, to.get(), code, data.data(), data.size(), limit.milliseconds(), out,
                                         err);
        });
    }

    /// Starts message::wait_cancelled().
    result<event> call_ended(const message &of, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_call_ended(raw_, of.get(), limit.milliseconds(), out, err);
        });
    }

    /// Waits until anything is there to receive, and takes nothing. See hostlane_context_readable().
    result<event> readable(const peer &from, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_readable(raw_, from.get(), limit.milliseconds(), out, err);
        });
    }

    /// Receives all that is there into a batch; while that is empty, the event is pending and tells when to call again.
    /// See hostlane_context_recv_batch().
    result<event> recv_batch(const peer &from, batch &into, timeout limit = forever) const {
        hostlane_event_t out{};
        const auto done = into.fill([&](void *buffer, std::size_t capacity, hostlane_entry_t *entries, std::size_t max,
                                        std::size_t *n, hostlane_error_t **err) {
            return hostlane_context_recv_batch(raw_, from.get(), limit.milliseconds(), buffer, capacity, entries, max,
                                               n, &out, err);
        });
        if (!done) {
            return done.error();
        }
        return event(out);
    }

    /// Starts stream::send().
    result<event> stream_send(const stream &to, payload item, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_stream_send(raw_, to.get(), item.data(), item.size(), limit.milliseconds(), out,
                                                err);
        });
    }

    /// Starts stream::finish().
    result<event> stream_finish(const stream &of, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_stream_finish(raw_, of.get(), limit.milliseconds(), out, err);
        });
    }

    /// Starts stream::recv().
    result<event> stream_recv(const stream &from, timeout limit = forever) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_stream_recv(raw_, from.get(), limit.milliseconds(), out, err);
        });
    }

    /// Finishes after `delay`. See hostlane_context_timer().
    result<event> timer(timeout delay) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_timer(raw_, delay.milliseconds(), out, err);
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

    /// Starts peer::request() with what goes along.
    result<event> request(const peer &to, payload data, timeout limit, const call_options &options) const {
        const auto raw_options = detail::raw(options);
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_request_with(raw_, to.get(), data.data(), data.size(), &raw_options,
                                                 limit.milliseconds(), out, err);
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

private:
    template <typename Call>
    static result<bool> processed(std::vector<event> &events, std::size_t budget, Call &&call) {
        std::vector<hostlane_event_t> out(budget);
        events.reserve(events.size() + budget);
        std::size_t n = 0;
        bool more = false;
        const auto done = detail::run([&](hostlane_error_t **err) { return call(out.data(), &n, &more, err); });
        if (!done) {
            return done.error();
        }
        for (std::size_t at = 0; at < n; ++at) {
            events.emplace_back(out[at]);
        }
        return more;
    }

    template <typename Call> static result<event> started(Call &&call) {
        return detail::run(hostlane_event_t{}, call, [](const hostlane_event_t &raw) { return event(raw); });
    }

    result<event> recv_any(const peer &from, std::int32_t channel, timeout limit) const {
        return started([&](hostlane_event_t *out, hostlane_error_t **err) {
            return hostlane_context_recv(raw_, from.get(), channel, limit.milliseconds(), out, err);
        });
    }
};

} // namespace hostlane

#endif // HOSTLANE_CONTEXT_HPP

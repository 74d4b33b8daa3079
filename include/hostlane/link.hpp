// The same program on both sides. Part of hostlane.hpp.

#ifndef HOSTLANE_LINK_HPP
#define HOSTLANE_LINK_HPP

#include "bytes.hpp"
#include "call.hpp"
#include "event.hpp"
#include "message.hpp"
#include "options.hpp"
#include "owner.hpp"
#include "result.hpp"
#include "timeout.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace hostlane {

/// How to open a link; what is left alone has its default. See hostlane_link_options_t.
struct link_options {
    /// How this side connects, where it does.
    connect_options connect;
    /// How this side listens, where it does.
    listen_options listen;
    /// Whether the link goes on after the other side was lost.
    bool reconnect = true;
    /// Attempts in a row that may fail before the link ends; of connections in a row that lasted no
    /// longer than the next pause, each after the first is one that failed. Left alone: no bound.
    std::optional<std::uint32_t> retries;
    /// The pause before the second attempt, doubled for each further one; zero: 10 ms.
    std::chrono::milliseconds delay{0};
    /// The longest pause; zero: two seconds.
    std::chrono::milliseconds max_delay{0};
};

/// Two instances of one program, joined by an address; which of them serves is no matter of the program's. See
/// hostlane_link_t.
class link : public detail::owner<hostlane_link_t, hostlane_link_close> {
public:
    using owner::owner;

    /// Opens a link. See hostlane_link_open().
    static result<link> open(std::string_view address, const link_options &options = {}) {
        const detail::raw_connect_options connect(options.connect);
        const auto listen = detail::raw(options.listen);
        hostlane_link_options_t raw_options;
        hostlane_link_options_init(&raw_options, sizeof(raw_options));
        raw_options.connect = connect.get();
        raw_options.listen = &listen;
        raw_options.no_reconnect = options.reconnect ? 0 : 1;
        if (options.retries) {
            raw_options.retries = *options.retries == 0 ? HOSTLANE_NO_RETRY : std::int64_t{*options.retries};
        }
        raw_options.delay_ms = options.delay.count();
        raw_options.max_delay_ms = options.max_delay.count();
        return detail::run(
            hostlane_link_t{},
            [&](hostlane_link_t *out, hostlane_error_t **err) {
                return hostlane_link_open(address.data(), address.size(), &raw_options, out, err);
            },
            [](hostlane_link_t raw) { return link(raw); });
    }

    /// Waits for the next event: HOSTLANE_EVENT_LINK_UP, HOSTLANE_EVENT_LINK_DOWN or HOSTLANE_EVENT_MESSAGE. See
    /// hostlane_link_next().
    result<event> next(timeout limit = forever) const {
        return detail::run(
            hostlane_event_t{},
            [&](hostlane_event_t *out, hostlane_error_t **err) {
                return hostlane_link_next(raw_, limit.milliseconds(), out, err);
            },
            [](const hostlane_event_t &raw) { return event(raw); });
    }

    /// Calls the other side and waits for its reply, also until it is there. See hostlane_link_request().
    result<message> request(payload data, timeout limit = forever, const call_options &options = {}) const {
        const auto raw_options = detail::raw(options);
        return detail::run(
            static_cast<hostlane_message_t *>(nullptr),
            [&](hostlane_message_t **out, hostlane_error_t **err) {
                return hostlane_link_request(raw_, data.data(), data.size(), &raw_options, limit.milliseconds(), out,
                                             err);
            },
            [](hostlane_message_t *raw) { return message(raw); });
    }

    /// Sends a one-way message; does not wait. See hostlane_link_send().
    result<void> send(payload data, const call_options &options = {}) const {
        const auto raw_options = detail::raw(options);
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_link_send(raw_, data.data(), data.size(), &raw_options, err);
        });
    }

    /// Answers a request that the link handed out; does not wait. See hostlane_link_reply().
    result<void> reply(const message &to, payload answer) const {
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_link_reply(raw_, to.get(), answer.data(), answer.size(), err);
        });
    }

    /// Answers a request with an error of the program's; does not wait. See hostlane_link_fail().
    result<void> fail(const message &to, std::uint32_t code, payload data = {}) const {
        return detail::run([&](hostlane_error_t **err) {
            return hostlane_link_fail(raw_, to.get(), code, data.data(), data.size(), err);
        });
    }

    /// Has `handler` take what arrives, on this thread, until the link ends; the error it ended with. `handler` gets a
    /// `message &` and answers it by reply() or fail(); one that it leaves unanswered is let go. It may make calls on
    /// this link. What it throws leaves this function, after the call was failed: that of an exception which has a
    /// remote_status() with it and its data, any other with HOSTLANE_HANDLER_FAILED and what() says.
    template <typename Handler> error serve(Handler &&handler) const {
        for (;;) {
            auto got = next();
            if (!got && got.status() != HOSTLANE_E_INTERRUPTED) {
                return got.error();
            }
            if (got && got->kind() == HOSTLANE_EVENT_MESSAGE) {
                message received = got->take_message();
#if defined(__cpp_exceptions)
                try {
                    handler(received);
                } catch (...) {
                    failed(received);
                    throw;
                }
#else
                handler(received);
#endif
            }
        }
    }

    /// Whether this side is the one that listens; none while there is no decision.
    result<std::optional<bool>> is_serving() const {
        return detail::run(
            std::int32_t{-1},
            [&](std::int32_t *out, hostlane_error_t **err) { return hostlane_link_is_serving(raw_, out, err); },
            [](std::int32_t serving) {
                return serving < 0 ? std::optional<bool>() : std::optional<bool>(serving == 1);
            });
    }

    /// Who is on the other side. See hostlane_link_info().
    result<hostlane_info_t> info() const {
        return detail::run(
            hostlane_info_t{},
            [&](hostlane_info_t *out, hostlane_error_t **err) { return hostlane_link_info(raw_, out, err); },
            [](const hostlane_info_t &info) { return info; });
    }

    /// The counters of the connection. See hostlane_link_stats().
    result<hostlane_stats_t> stats() const {
        return detail::run(
            hostlane_stats_t{},
            [&](hostlane_stats_t *out, hostlane_error_t **err) { return hostlane_link_stats(raw_, out, err); },
            [](const hostlane_stats_t &stats) { return stats; });
    }

    /// The counters of one channel. See hostlane_link_stats_on().
    result<hostlane_channel_stats_t> stats_on(std::uint16_t channel) const {
        return detail::run(
            hostlane_channel_stats_t{},
            [&](hostlane_channel_stats_t *out, hostlane_error_t **err) {
                return hostlane_link_stats_on(raw_, channel, out, err);
            },
            [](const hostlane_channel_stats_t &stats) { return stats; });
    }

    /// The descriptor to watch for reading before process(); it belongs to the link. See hostlane_link_fd().
    result<int> fd() const {
        return detail::run(
            std::int32_t{-1},
            [&](std::int32_t *out, hostlane_error_t **err) { return hostlane_link_fd(raw_, out, err); },
            [](std::int32_t fd) { return static_cast<int>(fd); });
    }

    /// Starts a call for an event loop; the number comes back as the op() of an event. See hostlane_link_start().
    result<std::uint64_t> start(payload data, timeout limit = forever, const call_options &options = {}) const {
        const auto raw_options = detail::raw(options);
        return started([&](std::uint64_t *op, hostlane_error_t **err) {
            return hostlane_link_start(raw_, data.data(), data.size(), &raw_options, limit.milliseconds(), op, err);
        });
    }

    /// Watches a request; the number comes back when no answer is wanted any more. See hostlane_link_call_ended().
    result<std::uint64_t> call_ended(const message &of) const {
        return started([&](std::uint64_t *op, hostlane_error_t **err) {
            return hostlane_link_call_ended(raw_, of.get(), op, err);
        });
    }

    /// Gives a started call up; it still comes back. See hostlane_link_cancel().
    result<void> cancel(std::uint64_t op) const {
        return detail::run([&](hostlane_error_t **err) { return hostlane_link_cancel(raw_, op, err); });
    }

    /// Moves the link on without waiting and adds at most `budget` events; true when there are more. See
    /// hostlane_link_process().
    result<bool> process(std::vector<event> &events, std::size_t budget = 64) const {
        return handed_out(events, budget, hostlane_link_process);
    }

    /// process() without what next() would give, which stays for take_events(). See hostlane_link_turn().
    result<bool> turn(std::vector<event> &events, bool &waiting, std::size_t budget = 64) const {
        return handed_out(events, budget,
                          [&](hostlane_link_t link, void *buffer, std::size_t capacity, hostlane_event_t *out,
                              std::size_t cap, std::size_t *n, bool *more, hostlane_error_t **err) {
                              return hostlane_link_turn(link, buffer, capacity, out, cap, n, more, &waiting, err);
                          });
    }

    /// Adds at most `budget` of the events that turn() left; true when there are more. See hostlane_link_events().
    result<bool> take_events(std::vector<event> &events, std::size_t budget = 64) const {
        return handed_out(events, budget, hostlane_link_events);
    }

private:
#if defined(__cpp_exceptions)
    // Tells the caller of a request that the handler threw; it may have answered before.
    void failed(const message &request) const {
        if (!request.is_request()) {
            return;
        }
        try {
            throw;
        } catch (const exception &thrown) {
            const bool remote = thrown.error().status() == HOSTLANE_E_REMOTE_ERROR;
            const auto code = remote ? thrown.error().remote_status() : std::uint32_t{HOSTLANE_HANDLER_FAILED};
            static_cast<void>(fail(request, code,
                                   remote ? payload(thrown.error().data()) : payload(std::string_view(thrown.what()))));
        } catch (const std::exception &thrown) {
            static_cast<void>(fail(request, HOSTLANE_HANDLER_FAILED, std::string_view(thrown.what())));
        } catch (...) {
            static_cast<void>(fail(request, HOSTLANE_HANDLER_FAILED, "an exception"));
        }
    }
#endif

    template <typename Call> static result<std::uint64_t> started(Call &&call) {
        return detail::run(std::uint64_t{0}, call, [](std::uint64_t op) { return op; });
    }

    template <typename Call>
    result<bool> handed_out(std::vector<event> &events, std::size_t budget, Call &&call) const {
        std::vector<hostlane_event_t> out(budget);
        hostlane_event_t none; // an empty vector may have no data
        events.reserve(events.size() + budget);
        std::size_t n = 0;
        bool more = false;
        const auto done = detail::run([&](hostlane_error_t **err) {
            return call(raw_, nullptr, 0, out.empty() ? &none : out.data(), budget, &n, &more, err);
        });
        if (!done) {
            return done.error();
        }
        for (std::size_t at = 0; at < n; ++at) {
            events.emplace_back(out[at]);
        }
        return more;
    }
};

} // namespace hostlane

#endif // HOSTLANE_LINK_HPP

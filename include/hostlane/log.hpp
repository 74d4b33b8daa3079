// What happens to connections, for a program's own log. Part of hostlane.hpp.

#ifndef HOSTLANE_LOG_HPP
#define HOSTLANE_LOG_HPP

#include "result.hpp"

#include <hostlane.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hostlane::log {

/// How much an event matters.
enum class level : std::int32_t {
    off = HOSTLANE_LOG_OFF,
    error = HOSTLANE_LOG_ERROR,
    warn = HOSTLANE_LOG_WARN,
    info = HOSTLANE_LOG_INFO,
    debug = HOSTLANE_LOG_DEBUG
};

/// The name of a level, as in the enumeration; "unknown" for a number that is none.
constexpr std::string_view name(level of) noexcept {
    switch (of) {
    case level::off:
        return "off";
    case level::error:
        return "error";
    case level::warn:
        return "warn";
    case level::info:
        return "info";
    case level::debug:
        return "debug";
    }
    return "unknown";
}

/// One event; what it views is there for as long as the handler runs. See hostlane_log_event_t.
struct event {
    /// When, by the system's clock.
    std::chrono::system_clock::time_point time;
    /// How much it matters.
    log::level level;
    /// Why, where there is a reason; otherwise HOSTLANE_OK.
    hostlane_status_t code;
    /// What happened, such as "connected".
    std::string_view name;
    /// The peer id of the connection; empty where there is none yet.
    std::string_view peer;
    /// The address connected to, or the listener's.
    std::string_view address;
    /// The details, for people.
    std::string_view text;
};

/// Keeps the events of a level and of what matters more from now on. See hostlane_log_enable().
inline result<void> enable(level from) {
    return detail::run(
        [&](hostlane_error_t **err) { return hostlane_log_enable(static_cast<std::int32_t>(from), err); });
}

/// What is kept now.
inline level enabled() noexcept { return static_cast<level>(hostlane_log_level()); }

/// Calls `handler` with each kept event, oldest first, on this thread, and gives the number of those that were dropped
/// since the last time, because nobody took them. `handler` may throw, which drops up to 63 events behind its own, and
/// may use hostlane itself. See hostlane_log_drain().
template <typename Handler> result<std::uint64_t> drain(Handler &&handler) {
    struct batch {
        std::array<hostlane_log_event_t, 64> events{};
        std::size_t n = 0;
        batch() = default;
        batch(const batch &) = delete;
        batch &operator=(const batch &) = delete;
        ~batch() { hostlane_log_events_free(events.data(), n); }
    };
    std::uint64_t all_dropped = 0;
    for (;;) {
        batch taken;
        std::uint64_t dropped = 0;
        const auto done = detail::run([&](hostlane_error_t **err) {
            return hostlane_log_drain(taken.events.data(), taken.events.size(), &taken.n, &dropped, err);
        });
        if (!done) {
            return done.error();
        }
        all_dropped += dropped;
        for (std::size_t at = 0; at < taken.n; ++at) {
            const hostlane_log_event_t &raw = taken.events[at];
            const std::chrono::microseconds since(static_cast<std::int64_t>(raw.unix_micros));
            handler(event{
                std::chrono::system_clock::time_point(
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(since)),
                static_cast<level>(raw.level),
                raw.code,
                raw.event,
                {raw.peer, raw.peer_len},
                {raw.address, raw.address_len},
                {raw.text, raw.text_len},
            });
        }
        if (taken.n < taken.events.size()) {
            return all_dropped;
        }
    }
}

} // namespace hostlane::log

#endif // HOSTLANE_LOG_HPP

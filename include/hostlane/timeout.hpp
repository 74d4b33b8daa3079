// How long a call may wait. Part of hostlane.hpp.

#ifndef HOSTLANE_TIMEOUT_HPP
#define HOSTLANE_TIMEOUT_HPP

#include <hostlane.h>

#include <chrono>
#include <cstdint>

namespace hostlane {

/// How long a call may wait: any std::chrono duration, rounded up to milliseconds, or `forever`, or `no_wait`.
class timeout {
public:
    template <typename Rep, typename Period>
    constexpr timeout(std::chrono::duration<Rep, Period> duration) noexcept
        : ms_(in_milliseconds(std::chrono::duration<double, std::milli>(duration).count())) {}

    [[nodiscard]] constexpr std::int64_t milliseconds() const noexcept { return ms_; }
    /// What hostlane.h counts in: negative means for ever.
    [[nodiscard]] static constexpr timeout of(std::int64_t milliseconds) noexcept { return timeout(milliseconds); }
    [[nodiscard]] static constexpr timeout never() noexcept { return timeout(HOSTLANE_FOREVER); }

private:
    explicit constexpr timeout(std::int64_t ms) noexcept : ms_(ms) {}

    /// Negative and not-a-number mean no wait; what no clock counts to means for ever.
    static constexpr std::int64_t in_milliseconds(double ms) noexcept {
        if (!(ms > 0)) {
            return HOSTLANE_NO_WAIT;
        }
        if (ms >= 9e18) {
            return HOSTLANE_FOREVER;
        }
        const auto whole = static_cast<std::int64_t>(ms);
        return static_cast<double>(whole) < ms ? whole + 1 : whole;
    }

    std::int64_t ms_;
};

/// Waits without limit.
inline constexpr timeout forever = timeout::never();
/// Takes only what is there now.
inline constexpr timeout no_wait = timeout(std::chrono::milliseconds(0));

} // namespace hostlane

#endif // HOSTLANE_TIMEOUT_HPP

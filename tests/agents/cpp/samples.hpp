// Round-trip times and their summary.

#ifndef SAMPLES_HPP
#define SAMPLES_HPP

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

using clock_type = std::chrono::steady_clock;

// Round trips before the clock starts.
inline constexpr std::size_t warm_up = 100;

class samples {
public:
    void add(clock_type::duration took) { values_.push_back(std::chrono::nanoseconds(took).count()); }

    // The middle one; 0 without samples.
    std::int64_t median() { return at(0.5); }

    void print() {
        const long long median = at(0.5);
        const long long p99 = at(0.99);
        std::printf("{\"median_ns\":%lld,\"p99_ns\":%lld,\"count\":%zu}\n", median, p99, values_.size());
    }

private:
    std::int64_t at(double part) {
        if (values_.empty()) {
            return 0;
        }
        std::sort(values_.begin(), values_.end());
        return values_[static_cast<std::size_t>(static_cast<double>(values_.size()) * part)];
    }

    std::vector<std::int64_t> values_;
};

inline void print_stream(std::uint64_t messages, std::size_t size, clock_type::duration took) {
    std::printf("{\"messages\":%llu,\"seconds\":%.6f,\"bytes\":%llu}\n", static_cast<unsigned long long>(messages),
                std::chrono::duration<double>(took).count(), static_cast<unsigned long long>(messages * size));
}

#endif

// Chains: messages that each carry their number and the SHA-256 over themselves and all before, so that whoever
// receives them knows what is missing, what came twice, in another order or changed. See docs/soak.md.

#pragma once

#include <hostlane.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace conformance {

/// The chains that arrive at an end, by name.
class chains {
public:
    /// Takes a message into account; false if it is of no chain.
    bool take(std::string_view message);
    /// What came of a chain so far.
    nlohmann::json report(const std::string &name);
    void forget();

private:
    /// What came of a chain.
    struct came {
        /// The number that is due.
        std::uint64_t next = 0;
        std::string head;
        std::uint64_t lost = 0, doubled = 0, reordered = 0, corrupted = 0;
    };

    std::mutex mutex_;
    std::map<std::string, came, std::less<>> all_;
};

/// Sends a chain, and tells how far it came.
nlohmann::json extend(const hostlane::peer &peer, const nlohmann::json &asked);

} // namespace conformance

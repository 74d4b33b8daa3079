// What an operation is asked to do.

#pragma once

#include <hostlane.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace conformance {

using json = nlohmann::json;
using milliseconds = std::chrono::milliseconds;

/// How long an operation may take that names no limit, in milliseconds.
constexpr std::int64_t patience = 10000;

inline milliseconds limit(const json &asked) { return milliseconds(asked.value("timeout_ms", patience)); }

template <typename Options> Options options(const json &asked) {
    Options options;
    if (asked.contains("level")) {
        options.level = asked["level"] == 0 ? HOSTLANE_LEVEL_ZERO : HOSTLANE_LEVEL_ONE;
    }
    if (asked.contains("secret")) {
        options.secret = asked["secret"].get<std::string>();
    }
    options.max_calls = asked.value("max_calls", std::uint64_t{0});
    options.keepalive = milliseconds(asked.value("keepalive_ms", 0));
    options.max_message = asked.value("max_message", std::uint64_t{0});
    options.channels = asked.value("channels", std::vector<std::uint16_t>());
    if (asked.contains("policy")) {
        const std::map<std::string, std::int32_t> policies = {{"block", HOSTLANE_POLICY_BLOCK},
                                                              {"error", HOSTLANE_POLICY_ERROR},
                                                              {"drop_oldest", HOSTLANE_POLICY_DROP_OLDEST},
                                                              {"latest", HOSTLANE_POLICY_LATEST}};
        options.policies.push_back({policies.at(asked["policy"]), asked["policy_channel"].get<std::uint16_t>()});
    }
    return options;
}

/// The text, made as long as asked.
inline std::string payload(const json &asked) {
    auto text = asked.value("text", std::string());
    const auto size = asked.value("size", std::size_t{0});
    for (unsigned at = 0; text.size() < size; at++) {
        text.push_back(static_cast<char>(at % 251));
    }
    return text;
}

/// A message that begins with its number.
inline std::string numbered(int number, std::size_t size) {
    auto text = std::to_string(number) + ".";
    text.resize(std::max(size, text.size()), '.');
    return text;
}

} // namespace conformance

// What answers the other side: the first word of a request says how.

#pragma once

#include "chain.hpp"

#include <hostlane.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace conformance {

/// The service of one end, and what it has seen.
class service : public std::enable_shared_from_this<service> {
public:
    /// Serves in a thread until the connection ends; every request but those that are held in a thread of its own.
    void serve(std::shared_ptr<hostlane::peer> peer);
    /// What came from the other side so far.
    nlohmann::json report();

    /// What came of the chains of the other side.
    chains came;

private:
    void receive(const std::shared_ptr<hostlane::peer> &peer);
    void count(const hostlane::message &message);
    void hold(hostlane::message message);
    hostlane::result<void> stream(const hostlane::message &message, const std::string &how);
    hostlane::result<void> answer(const hostlane::peer &peer, hostlane::message &message);
    void failed(const hostlane::error &error);

    std::mutex mutex_;
    std::uint64_t requests_ = 0;
    std::uint64_t cancelled_ = 0;
    std::uint64_t messages_ = 0;
    std::uint64_t disordered_ = 0;
    std::map<std::uint16_t, long> last_;
    std::string error_;
    std::vector<hostlane::message> held_;
};

} // namespace conformance

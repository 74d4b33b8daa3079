// Many operations of a context, to be started in one call. Part of hostlane.hpp.

#ifndef HOSTLANE_SUBMISSIONS_HPP
#define HOSTLANE_SUBMISSIONS_HPP

#include "bytes.hpp"
#include "message.hpp"
#include "peer.hpp"
#include "stream.hpp"
#include "timeout.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hostlane {

/// Operations for context::submit(). Payloads, messages, peers and streams are viewed until then. See
/// hostlane_submission_t.
class submissions {
public:
    /// Starts peer::send().
    submissions &send(const peer &to, std::uint16_t channel, payload data, timeout limit = forever) {
        auto &one = add(HOSTLANE_SUBMIT_SEND, limit, data);
        one.peer = to.get();
        one.channel = channel == 0 ? no_channel : channel;
        return *this;
    }
    /// Starts peer::request().
    submissions &request(const peer &to, payload data, timeout limit = forever) {
        add(HOSTLANE_SUBMIT_REQUEST, limit, data).peer = to.get();
        return *this;
    }
    /// Starts message::reply(); `through` is the peer it came from, whose writes are gathered.
    submissions &reply(const peer &through, const message &to, payload answer, timeout limit = forever) {
        auto &one = add(HOSTLANE_SUBMIT_REPLY, limit, answer);
        one.peer = through.get();
        one.message = const_cast<hostlane_message_t *>(to.get()); // only freed where `free_message` says so
        return *this;
    }
    /// Starts message::fail().
    submissions &fail(const peer &through, const message &to, std::uint32_t code, payload data = {},
                      timeout limit = forever) {
        reply(through, to, data, limit);
        operations_.back().kind = HOSTLANE_SUBMIT_FAIL;
        operations_.back().code = code;
        return *this;
    }
    /// Starts peer::recv().
    submissions &recv(const peer &from, timeout limit = forever) {
        auto &one = add(HOSTLANE_SUBMIT_RECV, limit);
        one.peer = from.get();
        one.channel = HOSTLANE_ANY_CHANNEL;
        return *this;
    }
    /// Starts stream::send(); `through` is the peer of the stream.
    submissions &stream_send(const peer &through, const stream &to, payload item, timeout limit = forever) {
        auto &one = add(HOSTLANE_SUBMIT_STREAM_SEND, limit, item);
        one.peer = through.get();
        one.stream = to.get();
        return *this;
    }
    /// Starts stream::finish().
    submissions &stream_finish(const peer &through, const stream &of, timeout limit = forever) {
        auto &one = add(HOSTLANE_SUBMIT_STREAM_FINISH, limit);
        one.peer = through.get();
        one.stream = of.get();
        return *this;
    }
    /// Starts stream::recv().
    submissions &stream_recv(const stream &from, timeout limit = forever) {
        add(HOSTLANE_SUBMIT_STREAM_RECV, limit).stream = from.get();
        return *this;
    }

    [[nodiscard]] std::size_t size() const noexcept { return operations_.size(); }
    [[nodiscard]] const hostlane_submission_t *data() const noexcept { return operations_.data(); }
    /// Forgets all of them; the memory stays.
    void clear() noexcept { operations_.clear(); }

private:
    // 0 would be the channel of the options, and is none that peer::send() takes.
    static constexpr std::int32_t no_channel = -2;

    hostlane_submission_t &add(std::int32_t kind, timeout limit, payload data = {}) {
        hostlane_submission_t one{};
        one.kind = kind;
        one.data = data.data();
        one.len = data.size();
        one.timeout_ms = limit.milliseconds();
        return operations_.emplace_back(one);
    }

    std::vector<hostlane_submission_t> operations_;
};

} // namespace hostlane

#endif // HOSTLANE_SUBMISSIONS_HPP

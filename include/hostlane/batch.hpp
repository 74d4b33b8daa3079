// Many messages in one call. Part of hostlane.hpp.

#ifndef HOSTLANE_BATCH_HPP
#define HOSTLANE_BATCH_HPP

#include "bytes.hpp"
#include "message.hpp"
#include "owner.hpp"
#include "peer.hpp"
#include "result.hpp"
#include "timeout.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace hostlane {

/// Messages received in one go, one behind the other in memory that is used again. Requests that are not answered or
/// taken out are let go when the batch is filled again or destroyed.
class batch {
public:
    /// One message of a batch; good until the batch is filled again.
    class item {
    public:
        /// The channel it arrived on.
        [[nodiscard]] std::uint16_t channel() const noexcept { return entry_->channel; }
        /// The payload; empty where the batch had no room for it and its message was taken out.
        [[nodiscard]] span<const std::uint8_t> data() const noexcept { return {bytes_, size()}; }
        /// The payload as text; nobody checks that it is any.
        [[nodiscard]] std::string_view text() const noexcept {
            return {reinterpret_cast<const char *>(bytes_), size()};
        }
        /// Whether somebody waits for an answer.
        [[nodiscard]] bool is_request() const noexcept { return (entry_->flags & HOSTLANE_MESSAGE_REQUEST) != 0; }
        /// The id of the call; 0 for a one-way message.
        [[nodiscard]] std::uint64_t call_id() const noexcept { return entry_->call_id; }

        /// What answers the request, or has what came with the message; once. Its own payload is only there when the
        /// batch had no room for it. Empty for a plain message.
        [[nodiscard]] message take_message() const noexcept { return message(std::exchange(entry_->message, nullptr)); }
        /// Answers the request. See hostlane_reply().
        result<void> reply(payload answer, timeout limit = forever) const {
            return detail::run([&](hostlane_error_t **err) {
                return hostlane_reply(entry_->message, answer.data(), answer.size(), limit.milliseconds(), err);
            });
        }
        /// Fails the request. See hostlane_fail().
        result<void> fail(std::uint32_t code, payload data = {}, timeout limit = forever) const {
            return detail::run([&](hostlane_error_t **err) {
                return hostlane_fail(entry_->message, code, data.data(), data.size(), limit.milliseconds(), err);
            });
        }

    private:
        friend class batch;
        item(hostlane_entry_t *entry, const std::uint8_t *bytes) noexcept : entry_(entry), bytes_(bytes) {}

        [[nodiscard]] std::size_t size() const noexcept { return bytes_ == nullptr ? 0 : entry_->len; }

        hostlane_entry_t *entry_;
        const std::uint8_t *bytes_;
    };

    /// Room for `messages` with `bytes` of payloads; a message beyond that room is received too, by itself.
    explicit batch(std::size_t messages = 64, std::size_t bytes = 64 * 1024) : buffer_(bytes), entries_(messages) {}
    batch(batch &&other) noexcept
        : buffer_(std::move(other.buffer_)), entries_(std::move(other.entries_)), size_(std::exchange(other.size_, 0)) {
    }
    batch &operator=(batch &&other) noexcept {
        if (this != &other) {
            clear();
            buffer_ = std::move(other.buffer_);
            entries_ = std::move(other.entries_);
            size_ = std::exchange(other.size_, 0);
        }
        return *this;
    }
    ~batch() { clear(); }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] item operator[](std::size_t at) noexcept {
        hostlane_entry_t &entry = entries_[at];
        return {&entry, entry.offset == HOSTLANE_NO_ROOM ? hostlane_message_data(entry.message, nullptr)
                                                         : buffer_.data() + entry.offset};
    }

    /// Goes through the messages, oldest first.
    class iterator {
    public:
        iterator(batch *owner, std::size_t at) noexcept : owner_(owner), at_(at) {}
        item operator*() const noexcept { return (*owner_)[at_]; }
        iterator &operator++() noexcept {
            ++at_;
            return *this;
        }
        bool operator!=(const iterator &other) const noexcept { return at_ != other.at_; }

    private:
        batch *owner_;
        std::size_t at_;
    };
    [[nodiscard]] iterator begin() noexcept { return {this, 0}; }
    [[nodiscard]] iterator end() noexcept { return {this, size_}; }

    /// Lets go of all messages; the memory stays.
    void clear() noexcept {
        for (std::size_t at = 0; at < size_; ++at) {
            hostlane_message_free(&entries_[at].message);
        }
        size_ = 0;
    }

private:
    friend class peer;
    friend class context;

    // The one place that is filled: by a call of hostlane.h with buffer, capacity, entries, max, n, err.
    template <typename Call> result<void> fill(Call &&call) {
        clear();
        return detail::run([&](hostlane_error_t **err) {
            return call(buffer_.data(), buffer_.size(), entries_.data(), entries_.size(), &size_, err);
        });
    }

    std::vector<std::uint8_t> buffer_;
    std::vector<hostlane_entry_t> entries_;
    std::size_t size_ = 0;
};

inline result<void> peer::recv_batch(batch &into, timeout limit) const {
    return into.fill([&](void *buffer, std::size_t capacity, hostlane_entry_t *entries, std::size_t max, std::size_t *n,
                         hostlane_error_t **err) {
        return hostlane_recv_batch(raw_, limit.milliseconds(), buffer, capacity, entries, max, n, err);
    });
}

} // namespace hostlane

#endif // HOSTLANE_BATCH_HPP

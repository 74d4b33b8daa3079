#include "service.hpp"

#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <utility>

using namespace std::chrono_literals;

namespace conformance {

namespace {

/// The longest wait of a handler.
constexpr hostlane::timeout patience = 20s;

/// A text before its first blank, and behind it.
std::pair<std::string, std::string> split(const std::string &text) {
    const auto at = text.find(' ');
    return at == std::string::npos ? std::pair(text, std::string())
                                   : std::pair(text.substr(0, at), text.substr(at + 1));
}

/// `tell`: what came beside the payload.
std::string told(const hostlane::message &message) {
    const auto or_none = [](std::string_view text) { return std::string(text.empty() ? "-" : text); };
    const bool limited = message.time_left().milliseconds() != HOSTLANE_FOREVER;
    return or_none(message.idempotency_key()) + " " + or_none(message.trace()) + (limited ? " deadline " : " - ") +
           std::to_string(message.channel());
}

} // namespace

void service::serve(std::shared_ptr<hostlane::peer> peer) {
    std::thread([self = shared_from_this(), peer = std::move(peer)] { self->receive(peer); }).detach();
}

void service::receive(const std::shared_ptr<hostlane::peer> &peer) {
    // The calls of this side tell how the connection ended.
    while (auto received = peer->recv()) {
        hostlane::message message = *std::move(received);
        const bool chained = came.take(message.text());
        // A call of level 0 is a plain message.
        if (!message.is_request() && message.channel() != HOSTLANE_CHANNEL_COMMAND) {
            if (!chained) {
                count(message);
            }
            continue;
        }
        {
            const std::lock_guard lock(mutex_);
            requests_++;
        }
        if (message.text().substr(0, 5) == "hold ") {
            hold(std::move(message));
            continue;
        }
        std::thread([self = shared_from_this(), peer, message = std::move(message)]() mutable {
            if (const auto answered = self->answer(*peer, message); !answered) {
                self->failed(answered.error());
            }
        }).detach();
    }
}

void service::failed(const hostlane::error &error) {
    const std::lock_guard lock(mutex_);
    error_ = error.name();
}

/// One-way messages begin with a number that grows along their channel.
void service::count(const hostlane::message &message) {
    const long number = std::atol(std::string(message.text().substr(0, 16)).c_str());
    const std::lock_guard lock(mutex_);
    messages_++;
    const auto [last, first] = last_.try_emplace(message.channel(), number);
    disordered_ += !first && number <= last->second ? 1 : 0;
    last->second = number;
}

/// `hold N SEED`: answers nobody before the Nth has come, then all in a random order.
void service::hold(hostlane::message message) {
    const std::string text(message.text());
    char *end = nullptr;
    const auto wanted = std::strtoul(text.c_str() + 5, &end, 10);
    auto random = static_cast<std::uint32_t>(std::strtoul(end, nullptr, 10));
    held_.push_back(std::move(message));
    if (held_.size() < wanted) {
        return;
    }
    for (std::size_t last = held_.size() - 1; last > 0; last--) {
        random = random * 1664525U + 1013904223U;
        std::swap(held_[last], held_[(random >> 8) % (last + 1)]);
    }
    for (const auto &one : held_) {
        if (const auto sent = one.reply(one.text(), patience); !sent) {
            failed(sent.error());
        }
    }
    held_.clear();
}

/// `stream echo`: every item goes back. `stream N`: N items once the caller has finished. The reply is the count.
hostlane::result<void> service::stream(const hostlane::message &message, const std::string &how) {
    const auto items = message.stream();
    if (!items) {
        return message.reply("no stream", patience);
    }
    int count = 0;
    for (;;) {
        const auto item = (*items).recv(patience);
        if (!item) {
            return item.error();
        }
        if (!(*item).has_value()) {
            break;
        }
        count++;
        came.take((**item).text());
        if (how == "echo") {
            if (const auto sent = (*items).send((**item).data(), patience); !sent) {
                return sent;
            }
        }
    }
    for (int number = 0; number < std::atoi(how.c_str()); number++) {
        if (const auto sent = (*items).send(std::to_string(number), patience); !sent) {
            return sent;
        }
    }
    return message.reply(std::to_string(count), patience);
}

hostlane::result<void> service::answer(const hostlane::peer &peer, hostlane::message &message) {
    const auto [verb, rest] = split(std::string(message.text().substr(0, 256)));
    if (verb == "tell") {
        return message.reply(told(message), patience);
    }
    if (verb == "sleep") {
        std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(rest.c_str())));
        return message.reply(message.text(), patience);
    }
    if (verb == "watch") {
        const auto cancelled = message.wait_cancelled(patience);
        const std::lock_guard lock(mutex_);
        cancelled_ += cancelled ? 1 : 0;
        return cancelled;
    }
    if (verb == "fail") {
        const auto [code, data] = split(rest);
        const auto failed = message.fail(static_cast<std::uint32_t>(std::stoul(code)), data, patience);
        return failed.status() == HOSTLANE_E_UNSUPPORTED ? message.reply("unsupported", patience) : failed;
    }
    if (verb == "abandon") {
        return {};
    }
    if (verb == "close") {
        peer.close();
        return {};
    }
    if (verb == "back") {
        const auto reply = peer.request(rest, message.time_left());
        return reply ? message.reply((*reply).text(), patience) : reply.error();
    }
    if (verb == "stream") {
        return stream(message, rest);
    }
    if (verb == "extend") {
        return message.reply(extend(peer, nlohmann::json::parse(rest)).dump(), patience);
    }
    return message.reply(message.text(), patience);
}

nlohmann::json service::report() {
    const std::lock_guard lock(mutex_);
    return {{"requests", requests_},
            {"cancelled", cancelled_},
            {"messages", messages_},
            {"ordered", disordered_ == 0},
            {"error", error_}};
}

} // namespace conformance

#include "chain.hpp"

#include "asked.hpp"
#include "digest.hpp"

#include <charconv>
#include <functional>
#include <optional>

namespace conformance {

namespace {

/// The head of a message behind another.
std::string head_of(const std::string &before, const std::string &name, std::uint64_t number, std::string_view body) {
    return digest({before, name + " " + std::to_string(number) + " ", body});
}

/// Takes the text before the first blank off; nothing if there is none.
std::optional<std::string_view> word(std::string_view &text) {
    const auto at = text.find(' ');
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const auto word = text.substr(0, at);
    text.remove_prefix(at + 1);
    return word;
}

/// A chain that is sent.
class chain {
public:
    explicit chain(const json &asked)
        : name_(asked["chain"]), bits_(asked["bits"]), random_(asked["seed"]), count_(asked["count"]) {}

    /// Sends the messages one after the other; `one` tells whether the right one came back.
    template <typename One> void exchange(One &&one) {
        for (; next < count_; next++) {
            wrong += one(make()) ? 0 : 1;
        }
    }

    std::string head;
    /// Messages that were sent, and what of them came back otherwise.
    std::uint64_t next = 0, wrong = 0;
    std::uint64_t bytes = 0;

private:
    /// The next message; its body has up to two to the power of `bits` bytes.
    std::string make() {
        random_ = random_ * 1664525U + 1013904223U;
        const auto width = (random_ >> 27) % (bits_ + 1);
        std::string body((random_ >> 7) & ((1U << width) - 1), '\0');
        for (std::size_t at = 0; at < body.size(); at++) {
            body[at] = static_cast<char>((next + at) % 251);
        }
        head = head_of(head, name_, next, body);
        auto message = "chain " + name_ + " " + std::to_string(next) + " " + head + " " + body;
        bytes += message.size();
        return message;
    }

    std::string name_;
    std::uint32_t bits_, random_;
    std::uint64_t count_;
};

void send(const hostlane::peer &peer, const json &asked, chain &chain) {
    const std::string how = asked["how"];
    const auto channel = asked["channel"].get<std::uint16_t>();
    const hostlane::call_options options{channel, limit(asked), {}, {}, {}};
    if (how == "send") {
        chain.exchange([&](const std::string &message) {
            peer.send(channel, message, limit(asked)).value();
            return true;
        });
    } else if (how == "call") {
        chain.exchange([&](const std::string &message) {
            return peer.request(message, limit(asked), options).value().text() == message;
        });
    } else {
        const auto stream = peer.open_stream("stream echo", options).value();
        chain.exchange([&](const std::string &message) {
            stream.send(message, limit(asked)).value();
            const auto item = stream.recv(limit(asked)).value();
            return item && item->text() == message;
        });
        stream.finish(limit(asked)).value();
        chain.wrong += stream.recv(limit(asked)).value() ? 1 : 0;
    }
}

} // namespace

bool chains::take(std::string_view message) {
    const auto chain = word(message);
    const auto name = word(message);
    const auto digits = word(message);
    const auto head = word(message);
    std::uint64_t number = 0;
    if (!head || *chain != "chain" ||
        std::from_chars(digits->data(), digits->data() + digits->size(), number).ec != std::errc()) {
        return false;
    }
    const std::lock_guard lock(mutex_);
    const std::string key(*name);
    auto &came = all_[key];
    if (number < came.next) {
        // It fills a gap if there is one.
        if (came.lost > 0) {
            came.lost--;
            came.reordered++;
        } else {
            came.doubled++;
        }
        return true;
    }
    came.lost += number - came.next;
    came.corrupted += number == came.next && *head != head_of(came.head, key, number, message) ? 1 : 0;
    came.next = number + 1;
    came.head = *head;
    return true;
}

nlohmann::json chains::report(const std::string &name) {
    const std::lock_guard lock(mutex_);
    const auto found = all_.find(name);
    const auto came = found == all_.end() ? chains::came() : found->second;
    return {{"next", came.next},       {"head", came.head},           {"lost", came.lost},
            {"doubled", came.doubled}, {"reordered", came.reordered}, {"corrupted", came.corrupted}};
}

void chains::forget() {
    const std::lock_guard lock(mutex_);
    all_.clear();
}

nlohmann::json extend(const hostlane::peer &peer, const nlohmann::json &asked) {
    chain chain(asked);
    std::string error;
    std::string sent;
    try {
        send(peer, asked, chain);
    } catch (const hostlane::exception &failed) {
        error = failed.error().name();
        sent = failed.error().may_have_been_sent() ? "maybe" : "no";
    }
    return {{"next", chain.next},   {"head", chain.head}, {"bytes", chain.bytes},
            {"wrong", chain.wrong}, {"error", error},     {"sent", sent}};
}

} // namespace conformance

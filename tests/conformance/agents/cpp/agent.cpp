// The C++ agent: one JSON object a line, operations in, outcomes out. See docs/conformance.md.

#include "asked.hpp"
#include "chain.hpp"
#include "digest.hpp"
#include "service.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace conformance {

/// A reply up to so many bytes is shown as text.
constexpr std::size_t shown_bytes = 256;

/// A reply, for the runner to judge.
json shown(const hostlane::message &reply) {
    const auto data = reply.data();
    return {{"len", data.size()},
            {"sha256", digest({reply.text()})},
            {"text", data.size() <= shown_bytes ? json(std::string(reply.text())) : json()}};
}

/// One end of a connection: the listening one, or the connecting one.
class end {
public:
    json run(const json &asked);

private:
    json listen(const json &asked);
    json connect(const json &asked);
    json calls(const json &asked);
    json stream(const json &asked);
    json stats(const json &asked);
    hostlane::peer &peer();
    hostlane::call_options call_options(const json &asked);

    /// The first connection that was accepted, for the thread that accepts and this one.
    struct accepted {
        std::mutex mutex;
        std::condition_variable came;
        std::shared_ptr<hostlane::peer> first;
    };

    std::shared_ptr<hostlane::listener> listener_;
    std::shared_ptr<accepted> accepted_ = std::make_shared<accepted>();
    std::shared_ptr<hostlane::peer> peer_;
    std::map<std::uint64_t, hostlane::call> started_;
    std::shared_ptr<service> service_ = std::make_shared<service>();
    std::string key_, trace_;
};

/// The connection; of a listener the first that is accepted.
hostlane::peer &end::peer() {
    if (!peer_ && listener_) {
        std::unique_lock lock(accepted_->mutex);
        if (accepted_->came.wait_for(lock, milliseconds(patience), [&] { return accepted_->first != nullptr; })) {
            peer_ = accepted_->first;
        }
    }
    if (!peer_) {
        throw hostlane::exception(hostlane::error(HOSTLANE_E_NOT_FOUND, nullptr));
    }
    return *peer_;
}

/// What goes with a call; it views texts that live until the next one.
hostlane::call_options end::call_options(const json &asked) {
    key_ = asked.value("key", std::string());
    trace_ = asked.value("trace", std::string());
    return {asked.value("channel", std::uint16_t{0}), limit(asked), key_, trace_, {}};
}

json end::listen(const json &asked) {
    auto opened =
        hostlane::listener::listen(asked["address"].get<std::string>(), options<hostlane::listen_options>(asked));
    listener_ = std::make_shared<hostlane::listener>(std::move(opened).value());
    std::thread([listener = listener_, accepted = accepted_, service = service_, serve = asked.value("serve", 1)] {
        while (auto accept = listener->accept()) {
            auto peer = std::make_shared<hostlane::peer>(*std::move(accept));
            if (serve == 1) {
                service->serve(peer);
            }
            // The first is the one of the operations.
            const std::lock_guard lock(accepted->mutex);
            if (!accepted->first) {
                accepted->first = std::move(peer);
                accepted->came.notify_all();
            }
        }
    }).detach();
    return {{"address", listener_->address().value()}};
}

json end::connect(const json &asked) {
    auto connected = hostlane::peer::connect(asked["address"].get<std::string>(), limit(asked),
                                             options<hostlane::connect_options>(asked));
    peer_ = std::make_shared<hostlane::peer>(std::move(connected).value());
    if (asked.value("serve", 1) == 1) {
        service_->serve(peer_);
    }
    return json::object();
}

/// Many calls at once, each with a number of its own behind its text.
json end::calls(const json &asked) {
    std::vector<std::pair<hostlane::call, std::string>> started;
    for (int number = 0; number < asked.value("count", 1); number++) {
        auto text = asked["text"].get<std::string>() + " " + std::to_string(number);
        auto call = peer().start_request(text, call_options(asked)).value();
        started.emplace_back(std::move(call), std::move(text));
    }
    int right = 0;
    int wrong = 0;
    std::map<std::string, int> errors;
    for (auto &[call, text] : started) {
        const auto reply = call.wait(limit(asked));
        if (!reply) {
            errors[std::string(reply.error().name())]++;
        } else if ((*reply).text() == text) {
            right++;
        } else {
            wrong++;
        }
    }
    return {{"right", right}, {"wrong", wrong}, {"errors", errors}};
}

/// A stream with items both ways; what comes back is numbered, too.
json end::stream(const json &asked) {
    const auto stream = peer().open_stream(payload(asked), call_options(asked)).value();
    for (int number = 0; number < asked.value("count", 0); number++) {
        stream.send(numbered(number, asked.value("item_size", std::size_t{0})), limit(asked)).value();
    }
    if (asked.value("finish", 1) == 1) {
        stream.finish(limit(asked)).value();
    }
    int items = 0;
    bool ordered = true;
    while (const auto item = stream.recv(limit(asked)).value()) {
        const std::string text(item->text());
        ordered = ordered && text.substr(0, text.find('.')) == std::to_string(items);
        items++;
    }
    const auto reply = stream.reply().value();
    return {{"items", items}, {"ordered", ordered}, {"reply", reply ? json(std::string(reply->text())) : json()}};
}

json end::stats(const json &asked) {
    const auto all = peer().stats().value();
    const auto one = peer().stats_on(asked.value("channel", std::uint16_t{HOSTLANE_CHANNEL_DATA})).value();
    return {
        {"open_calls", all.open_calls},           {"calls_served", all.calls_served}, {"open_served", all.open_served},
        {"calls_cancelled", all.calls_cancelled}, {"sent", one.messages_sent},        {"dropped", one.dropped},
        {"dropped_by_peer", one.dropped_by_peer}};
}

json end::run(const json &asked) {
    const std::string op = asked["op"];
    if (op == "hello") {
        return {{"lang", "cpp"}, {"features", {"inproc", "tcp", "unix"}}};
    }
    if (op == "listen") {
        return listen(asked);
    }
    if (op == "connect") {
        return connect(asked);
    }
    if (op == "call") {
        return shown(peer().request(payload(asked), limit(asked), call_options(asked)).value());
    }
    if (op == "calls") {
        return calls(asked);
    }
    if (op == "wait") {
        return shown(started_.at(asked["id"]).wait(limit(asked)).value());
    }
    if (op == "stream") {
        return stream(asked);
    }
    if (op == "chain") {
        return extend(peer(), asked);
    }
    if (op == "chained") {
        return service_->came.report(asked["chain"]);
    }
    if (op == "seen") {
        return service_->report();
    }
    if (op == "info") {
        const auto info = peer().info().value();
        return {{"level", info.level},
                {"max_message", info.max_message},
                {"carrier", info.carrier},
                {"channels", std::vector<std::uint16_t>(info.channels, info.channels + info.channels_len)}};
    }
    if (op == "stats") {
        return stats(asked);
    }
    if (op == "refusals") {
        json names = json::array();
        const auto refusals = listener_->refusals().value();
        for (const auto &refusal : refusals) {
            names.push_back(hostlane_status_name(refusal.status));
        }
        return {{"refused", names}};
    }
    if (op == "serve") {
        peer();
        service_->serve(peer_);
    } else if (op == "start") {
        started_[asked["id"]] = peer().start_request(payload(asked), call_options(asked)).value();
    } else if (op == "cancel") {
        started_.erase(asked["id"]);
    } else if (op == "send") {
        const auto channel = asked.value("channel", std::uint16_t{HOSTLANE_CHANNEL_DATA});
        for (int number = 0; number < asked.value("count", 0); number++) {
            peer().send(channel, numbered(number, asked.value("size", std::size_t{0})), limit(asked)).value();
        }
    } else if (op == "forget") {
        service_->came.forget();
    } else if (op == "ping") {
        static_cast<void>(peer().ping(limit(asked)).value());
    } else if (op == "drain") {
        peer().drain(limit(asked)).value();
    } else if (op == "close") {
        peer().close();
    } else if (op == "reset") {
        // The threads of this end hold what they use.
        if (listener_) {
            listener_->close();
        }
        const std::lock_guard lock(accepted_->mutex);
        if (accepted_->first) {
            accepted_->first->close();
        }
        if (peer_) {
            peer_->close();
        }
    } else {
        throw std::runtime_error("no operation " + op);
    }
    return json::object();
}

json described(const hostlane::error &error) {
    return {{"name", error.name()},
            {"sent", error.may_have_been_sent() ? "maybe" : "no"},
            {"status", error.remote_status()},
            {"data", std::string(error.data().begin(), error.data().end())}};
}

} // namespace conformance

int main() {
    std::map<std::string, conformance::end> ends;
    std::string line;
    while (std::getline(std::cin, line)) {
        const auto asked = nlohmann::json::parse(line);
        const std::string name = asked["end"];
        const auto start = std::chrono::steady_clock::now();
        nlohmann::json told;
        try {
            told["ok"] = ends[name].run(asked);
        } catch (const hostlane::exception &failed) {
            told["error"] = conformance::described(failed.error());
        }
        const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
        told["ms"] = took.count();
        std::cout << told.dump() << std::endl;
        if (asked["op"] == "reset") {
            ends.erase(name);
        }
    }
    // Threads may still wait in a connection; what they hold goes with the process.
    std::fflush(stdout);
    std::_Exit(0);
}

// What the C++ tests share: a connected pair and an echoing thread, on top of the helpers of the C tests.

#ifndef LANE_HPP
#define LANE_HPP

extern "C" {
#include "lane.h"
}

#include <hostlane.hpp>

#include <chrono>
#include <thread>

// Longer than anything should take.
inline constexpr hostlane::timeout soon = std::chrono::seconds(20);

struct pair {
    hostlane::listener listener;
    hostlane::peer client;
    hostlane::peer server;

    explicit pair(const hostlane::listen_options &listening = {}, const hostlane::connect_options &connecting = {}) {
        const std::string address = lane_path("lane");
        listener = hostlane::listener::listen(address, listening).value();
        std::thread connect([&] { client = hostlane::peer::connect(address, soon, connecting).value(); });
        server = listener.accept(soon).value();
        connect.join();
    }
};

// Answers every message until the other side ends.
class echo {
public:
    explicit echo(const hostlane::peer &peer)
        : thread_([&peer] {
              while (auto message = peer.recv()) {
                  message->reply(message->data(), soon).value();
              }
          }) {}
    ~echo() { thread_.join(); }

private:
    std::thread thread_;
};

#endif

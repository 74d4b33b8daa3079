// inspect ADDR: one program that fails a call, and tells what is known about its connection and what happened to it.

#include <hostlane.hpp>

#include <iostream>
#include <thread>

namespace {
using namespace std::chrono_literals;

void serve(const hostlane::listener &listener) {
    const auto peer = listener.accept(5s).value();
    auto request = peer.recv(5s).value();
    request.fail(42, "no such price", 5s).value();
    static_cast<void>(peer.drain(5s)); // the other side may have been first
}

// README-begin
void log(const hostlane::log::event &event) {
    std::cerr << hostlane::log::name(event.level) << ' ' << event.name << ' ' << event.peer << ' ' << event.text
              << '\n';
}

void ask(const char *addr) {
    hostlane::log::enable(hostlane::log::level::info).value();
    const auto peer = hostlane::peer::connect(addr, 5s).value();
    if (const auto reply = peer.request("price", 5s); !reply) {
        const auto &error = reply.error();
        std::cout << error.name() << ' ' << error.remote_status() << '\n';
    }
    const auto info = peer.info().value();
    std::cout << "on level " << info.level << ", to user " << info.uid << '\n';
    const auto stats = peer.stats().value();
    std::cout << stats.calls << " calls, " << stats.open_calls << " open\n";
    std::cout << stats.messages_sent << " sent, " << stats.messages_received << " received\n";
    peer.drain(5s).value();
    // All there is; a program that goes on does so from a timer or a thread.
    if (const auto dropped = hostlane::log::drain(log).value(); dropped != 0) {
        std::cerr << dropped << " events were dropped before these\n";
    }
}
// README-end
} // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::cerr << "usage: inspect ADDR\n";
        return 2;
    }
    try {
        const auto listener = hostlane::listener::listen(argv[1]).value();
        std::thread serving([&] {
            try {
                serve(listener);
            } catch (const hostlane::exception &error) {
                std::cerr << "hostlane: " << error.what() << '\n';
            }
        });
        try {
            ask(argv[1]);
        } catch (...) {
            serving.join();
            throw;
        }
        serving.join();
    } catch (const hostlane::exception &error) {
        std::cerr << "hostlane: " << error.what() << '\n';
        return 1;
    }
    return 0;
}

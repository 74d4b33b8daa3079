// Benchmarks over hostlane.

#include "agent.hpp"
#include "samples.hpp"

#include <iostream>
#include <stdexcept>
#include <thread>

void lane_bench(const std::string &address, std::size_t size, seconds time) {
    const auto peer = hostlane::peer::connect(address, limit).value();
    const std::string payload(size, 'Z');
    samples samples;
    for (std::size_t round = 0; round < warm_up; ++round) {
        (void)peer.request(payload, limit).value();
    }
    const auto end = clock_type::now() + time;
    for (auto started = clock_type::now(); started < end; started = clock_type::now()) {
        const auto reply = peer.request(payload, limit).value();
        samples.add(clock_type::now() - started);
        if (reply.data().size() != size) {
            throw std::runtime_error("the reply has another size");
        }
    }
    samples.print();
}

void lane_stream(const std::string &address, std::size_t size, seconds time) {
    const auto peer = hostlane::peer::connect(address, limit).value();
    const std::string payload(size, 'Z');
    std::uint64_t messages = 0;
    const auto started = clock_type::now();
    while (clock_type::now() < started + time) {
        peer.send(HOSTLANE_CHANNEL_DATA, payload, limit).value();
        ++messages;
    }
    const auto count = peer.request("count", limit).value();
    const auto took = clock_type::now() - started;
    if (count.text() != std::to_string(messages)) {
        throw std::runtime_error("sent " + std::to_string(messages) + " messages, the sink counted " +
                                 std::string(count.text()));
    }
    print_stream(messages, size, took);
}

// Counts what arrives on DATA; whoever calls is told.
static hostlane::error count(const hostlane::peer &peer) {
    std::uint64_t messages = 0;
    hostlane::batch batch(64, 256 * 1024);
    for (;;) {
        if (const auto received = peer.recv_batch(batch); !received) {
            return received.error();
        }
        for (const auto message : batch) {
            if (message.channel() == HOSTLANE_CHANNEL_DATA) {
                ++messages;
            } else if (const auto replied = message.reply(std::to_string(messages), limit); !replied) {
                return replied.error();
            }
        }
    }
}

void lane_sink(const std::string &address) {
    const auto listener = hostlane::listener::listen(address).value();
    std::cout << "ready " << address << std::endl;
    for (;;) {
        std::thread([peer = listener.accept().value()] {
            const auto end = count(peer);
            if (end.status() != HOSTLANE_E_PEER_CLOSED) {
                std::cerr << "agent: " << end.name() << ": " << end.message() << '\n';
            }
        }).detach();
    }
}

// stream ADDR: one program that serves sums over a stream, and asks for one.

#include <hostlane.hpp>

#include <iostream>
#include <string>
#include <thread>

using namespace std::chrono_literals;

namespace {
int number(std::string_view text) { return std::stoi(std::string(text)); }

// README-begin
void serve(const hostlane::peer &peer) {
    auto request = peer.recv(5s).value();
    const auto stream = request.stream().value();
    int sum = number(request.text());
    while (const auto item = stream.recv(5s).value()) {
        sum += number(item->text());
        stream.send(std::to_string(sum) + " so far", 5s).value();
    }
    request.reply(std::to_string(sum), 5s).value();
    peer.drain(5s).value();
}

void ask(const hostlane::peer &peer) {
    const auto stream = peer.open_stream("100").value();
    for (int n = 1; n <= 3; ++n) {
        stream.send(std::to_string(n), 5s).value();
    }
    stream.finish(5s).value();
    while (const auto item = stream.recv(5s).value()) {
        std::cout << item->text() << '\n';
    }
    std::cout << "the sum is " << stream.reply().value()->text() << '\n';
    peer.drain(5s).value();
}
// README-end
} // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::cerr << "usage: stream ADDR\n";
        return 2;
    }
    try {
        const auto listener = hostlane::listener::listen(argv[1]).value();
        std::thread serving([&] {
            try {
                serve(listener.accept(5s).value());
            } catch (const hostlane::exception &error) {
                std::cerr << "hostlane: " << error.what() << '\n';
            }
        });
        try {
            ask(hostlane::peer::connect(argv[1], 5s).value());
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

// request ADDR TEXT: calls the server at ADDR with TEXT and prints its reply.

// README-begin
#include <hostlane.hpp>
#include <iostream>

int main(int argc, char **argv) {
    using namespace std::chrono_literals;
    if (argc != 3) {
        std::cerr << "usage: request ADDR TEXT\n";
        return 2;
    }
    try {
        const auto peer = hostlane::peer::connect(argv[1], 5s).value();
        const auto reply = peer.request(argv[2], 5s).value();
        std::cout << reply.text() << '\n';
    } catch (const hostlane::exception &error) {
        std::cerr << "hostlane: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
// README-end

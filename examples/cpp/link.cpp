// link ADDR NAME: two of this program, in whatever order, greet each other; when one leaves, another may join.

#include <hostlane.hpp>

#include <iostream>
#include <limits>
#include <string>
#include <thread>

namespace {
// README-begin
void run(const hostlane::link &link, const std::string &name) {
    std::thread([&link, name] {
        link.serve([&](const hostlane::message &message) {
            // Whoever asked may have left meanwhile.
            static_cast<void>(link.reply(message, name + " got: " + std::string(message.text())));
        });
    }).detach();
    const auto greeting = link.request("hello from " + name).value();
    std::cout << (link.is_serving().value() == true ? "serving" : "connected") << '\n' << greeting.text() << std::endl;
}
// README-end
} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::cerr << "usage: link ADDR NAME\n";
        return 2;
    }
    try {
        // Never destroyed: a thread serves it until the process ends.
        static const auto link = hostlane::link::open(argv[1]).value();
        run(link, argv[2]);
    } catch (const hostlane::exception &error) {
        std::cerr << "hostlane: " << error.what() << '\n';
        return 1;
    }
    std::cin.ignore(std::numeric_limits<std::streamsize>::max());
    return 0;
}

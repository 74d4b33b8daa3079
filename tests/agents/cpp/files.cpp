// Sends files and hands back what came back, for somebody else to compare.

#include "agent.hpp"
#include "samples.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string_view>

namespace {
constexpr std::size_t piece_size = 256 * 1024;

void answer(const char *kind, std::string_view bytes, std::int64_t ns) {
    std::cout << kind << ' ' << bytes.size() << ' ' << ns << '\n' << bytes;
}

// Every piece as a DATA message, each echo awaited before the next.
std::string echo(const hostlane::peer &peer, std::string_view file, samples &samples) {
    std::string back;
    back.reserve(file.size());
    std::size_t at = 0;
    do {
        const std::string_view piece = file.substr(at, piece_size);
        const auto started = clock_type::now();
        peer.send(HOSTLANE_CHANNEL_DATA, piece, limit).value();
        const auto message = peer.recv_on(HOSTLANE_CHANNEL_DATA, limit).value();
        samples.add(clock_type::now() - started);
        back += message.text();
        at += piece.size();
    } while (at < file.size());
    return back;
}

// One file there and back, both ways.
void carry(const hostlane::peer &peer, std::string_view file) {
    samples samples;
    const std::string back = echo(peer, file, samples);
    answer("data", back, samples.median());
    const auto started = clock_type::now();
    const auto reply = peer.request(file, limit).value();
    const std::chrono::nanoseconds took = clock_type::now() - started;
    answer("call", reply.text(), took.count());
}

std::optional<std::string> read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        return std::nullopt;
    }
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (file.bad()) {
        return std::nullopt;
    }
    return bytes;
}
} // namespace

void files_run(const std::string &address) {
    std::optional<hostlane::peer> peer;
    for (std::string path; std::getline(std::cin, path);) {
        const auto file = read_file(path);
        if (!file) {
            std::cout << "error io " << path << ": " << std::strerror(errno) << std::endl;
            continue;
        }
        try {
            if (!peer) {
                peer = hostlane::peer::connect(address, limit).value();
            }
            carry(*peer, *file);
        } catch (const hostlane::exception &exception) {
            std::cout << "error " << exception.error().name() << ' ' << exception.error().message() << '\n';
            peer.reset();
        }
        std::cout.flush();
    }
}

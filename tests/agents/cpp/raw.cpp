// The floor: the same work over a hand-written, blocking Unix socket.
//
// A message is its length (8 bytes, little-endian) and that many bytes, written in one call. Length 0 asks a sink for
// its count, which comes back as a length.

#include "agent.hpp"
#include "samples.hpp"

#include <cerrno>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {
constexpr std::size_t header = 8;
constexpr std::size_t chunk = 64 * 1024;

[[noreturn]] void broken(const char *what) { throw std::system_error(errno, std::generic_category(), what); }

void put_number(std::uint8_t *bytes, std::uint64_t value) {
    for (int at = 0; at < 8; ++at) {
        bytes[at] = static_cast<std::uint8_t>(value >> (8 * at));
    }
}

std::uint64_t number(const std::uint8_t *bytes) {
    std::uint64_t value = 0;
    for (int at = 7; at >= 0; --at) {
        value = value << 8 | bytes[at];
    }
    return value;
}

// A connected socket, and the whole messages that come out of it: one read for as many as have arrived, one buffer.
class connection {
public:
    explicit connection(int fd) : fd_(fd), bytes_(chunk) {}
    connection(connection &&other) noexcept
        : fd_(std::exchange(other.fd_, -1)), bytes_(std::move(other.bytes_)), start_(other.start_), end_(other.end_) {}
    connection(const connection &) = delete;
    ~connection() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }

    void write(hostlane::span<const std::uint8_t> bytes) const {
        const std::uint8_t *from = bytes.begin();
        while (from < bytes.end()) {
            const ssize_t n = ::send(fd_, from, static_cast<std::size_t>(bytes.end() - from), MSG_NOSIGNAL);
            if (n < 0 && errno != EINTR) {
                broken("send");
            }
            from += n > 0 ? n : 0;
        }
    }

    // The next message with its header; empty at the end.
    hostlane::span<const std::uint8_t> next() {
        if (!fill(header)) {
            return {};
        }
        const std::size_t len = header + number(bytes_.data() + start_);
        if (!fill(len)) {
            throw std::runtime_error("the stream ended inside a message");
        }
        const hostlane::span<const std::uint8_t> message(bytes_.data() + start_, len);
        start_ += len;
        return message;
    }

    // One bare number.
    std::uint64_t next_number() {
        if (!fill(header)) {
            throw std::runtime_error("the stream ended");
        }
        start_ += header;
        return number(bytes_.data() + start_ - header);
    }

private:
    bool fill(std::size_t need) {
        if (start_ == end_) {
            start_ = end_ = 0;
        }
        if (bytes_.size() - start_ < need) {
            std::memmove(bytes_.data(), bytes_.data() + start_, end_ - start_);
            end_ -= start_;
            start_ = 0;
            bytes_.resize(std::max(bytes_.size(), need));
        }
        while (end_ - start_ < need) {
            const ssize_t n = ::read(fd_, bytes_.data() + end_, bytes_.size() - end_);
            if (n == 0) {
                return false;
            }
            if (n < 0 && errno != EINTR) {
                broken("read");
            }
            end_ += n > 0 ? static_cast<std::size_t>(n) : 0;
        }
        return true;
    }

    int fd_;
    std::vector<std::uint8_t> bytes_;
    std::size_t start_ = 0;
    std::size_t end_ = 0;
};

sockaddr_un address_of(const std::string &path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        throw std::runtime_error("the path is too long");
    }
    path.copy(address.sun_path, path.size());
    return address;
}

int new_socket() {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        broken("socket");
    }
    return fd;
}

connection connect_to(const std::string &path) {
    const sockaddr_un address = address_of(path);
    const int fd = new_socket();
    connection connection(fd);
    if (::connect(fd, reinterpret_cast<const sockaddr *>(&address), sizeof(address)) != 0) {
        broken("connect");
    }
    return connection;
}

std::vector<std::uint8_t> message_of(std::size_t size) {
    std::vector<std::uint8_t> message(header + size, 'Z');
    put_number(message.data(), size);
    return message;
}

// A thread for each connection.
template <typename Handle> void serve(const std::string &path, Handle handle) {
    const sockaddr_un address = address_of(path);
    const int listening = new_socket();
    if (::bind(listening, reinterpret_cast<const sockaddr *>(&address), sizeof(address)) != 0 ||
        ::listen(listening, 64) != 0) {
        broken("listen");
    }
    std::cout << "ready " << path << std::endl;
    for (;;) {
        const int fd = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) {
            broken("accept");
        }
        std::thread([handle, client = connection(fd)]() mutable {
            try {
                handle(client);
            } catch (const std::exception &error) {
                std::cerr << "agent: " << error.what() << '\n';
            }
        }).detach();
    }
}
} // namespace

void raw_echo(const std::string &path) {
    serve(path, [](connection &client) {
        for (auto message = client.next(); !message.empty(); message = client.next()) {
            client.write(message);
        }
    });
}

void raw_sink(const std::string &path) {
    serve(path, [](connection &client) {
        std::uint64_t messages = 0;
        for (auto message = client.next(); !message.empty(); message = client.next()) {
            if (message.size() > header) {
                ++messages;
                continue;
            }
            std::uint8_t answer[header];
            put_number(answer, messages);
            client.write({answer, header});
        }
    });
}

void raw_bench(const std::string &path, std::size_t size, seconds time) {
    connection peer = connect_to(path);
    const auto message = message_of(size);
    const auto round_trip = [&] {
        peer.write({message.data(), message.size()});
        if (peer.next().size() != message.size()) {
            throw std::runtime_error("the echo has another size");
        }
    };
    samples samples;
    for (std::size_t round = 0; round < warm_up; ++round) {
        round_trip();
    }
    const auto end = clock_type::now() + time;
    for (auto started = clock_type::now(); started < end; started = clock_type::now()) {
        round_trip();
        samples.add(clock_type::now() - started);
    }
    samples.print();
}

void raw_stream(const std::string &path, std::size_t size, seconds time) {
    if (size == 0) {
        throw std::runtime_error("an empty message asks for the count; stream at least one byte");
    }
    connection peer = connect_to(path);
    const auto message = message_of(size);
    const std::uint8_t question[header] = {};
    std::uint64_t messages = 0;
    const auto started = clock_type::now();
    while (clock_type::now() < started + time) {
        peer.write({message.data(), message.size()});
        ++messages;
    }
    peer.write({question, header});
    const std::uint64_t count = peer.next_number();
    const auto took = clock_type::now() - started;
    if (count != messages) {
        throw std::runtime_error("the sink counted another number of messages");
    }
    print_stream(messages, size, took);
}

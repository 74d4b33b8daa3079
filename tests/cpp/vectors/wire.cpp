// The raw side of the vectors: what it writes, and the frames that it reads.

#include "vectors.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace vectors {

const std::map<std::string, std::uint8_t> kinds = {
    {"AUTH", 0x03},      {"READY", 0x04},   {"PING", 0x05},    {"PONG", 0x06},     {"GOAWAY", 0x07},
    {"DRAIN_ACK", 0x08}, {"CLOSE", 0x09},   {"ERROR", 0x0A},   {"CREDIT", 0x0B},   {"CANCEL", 0x0C},
    {"REFUSE", 0x0D},    {"MESSAGE", 0x10}, {"REQUEST", 0x11}, {"RESPONSE", 0x12}, {"STREAM", 0x13},
};

static std::string name_of(std::uint8_t kind) {
    for (const auto &[name, number] : kinds) {
        if (number == kind) {
            return name;
        }
    }
    return "";
}

bool reserved(const json &channel) {
    const auto number = channel.get<int>();
    return number == 0 || (number > 4 && number < 256);
}

std::uint64_t little(std::string_view text, std::size_t at, std::size_t len) {
    std::uint64_t value = 0;
    while (len-- > 0) {
        value = value << 8 | static_cast<unsigned char>(text.at(at + len));
    }
    return value;
}

static bytes packed(std::uint64_t value, std::size_t len) {
    bytes found;
    for (std::size_t at = 0; at < len; ++at) {
        found.push_back(static_cast<char>(value >> 8 * at));
    }
    return found;
}

bytes frame(std::uint16_t channel, const bytes &payload) {
    return "IP" + packed(payload.size(), 4) + packed(channel, 2) + payload;
}

bytes frame1(const std::string &kind, unsigned flags, std::uint16_t channel, std::uint64_t id, const bytes &payload) {
    return packed(payload.size(), 4) + packed(kinds.at(kind), 1) + packed(flags, 1) + packed(channel, 2) +
           packed(id, 8) + payload;
}

bytes hello(const std::vector<std::uint16_t> &channels) {
    return json{{"protocol", "ipcprims"}, {"version", "1.0"}, {"channels", channels}}.dump();
}

bytes proof(const bytes &secret, bool connector, const bytes &request, const bytes &response) {
    const auto digest = [](const bytes &text) {
        bytes found(SHA256_DIGEST_LENGTH, 0);
        SHA256(reinterpret_cast<const unsigned char *>(text.data()), text.size(),
               reinterpret_cast<unsigned char *>(found.data()));
        return found;
    };
    const bytes text = std::string("hostlane auth 1") + (connector ? "c" : "a") + digest(request) + digest(response);
    bytes found(EVP_MAX_MD_SIZE, 0);
    unsigned len = 0;
    CHECK(HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
               reinterpret_cast<const unsigned char *>(text.data()), text.size(),
               reinterpret_cast<unsigned char *>(found.data()), &len) != nullptr);
    found.resize(len);
    return found;
}

void sent::read_extensions() {
    const std::size_t len = 2 + little(payload, 0, 2);
    for (std::size_t at = 2; at < len; at += 4 + little(payload, at + 2, 2)) {
        switch (little(payload, at, 2)) {
        case 1:
            deadline = little(payload, at + 4, 8);
            break;
        case 4:
            status = little(payload, at + 4, 4);
            break;
        }
    }
    payload.erase(0, len);
}

void raw::open(int fd) {
    fd_ = fd;
    CHECK_EQ(fcntl(fd_, F_SETFL, O_NONBLOCK), 0);
}

void raw::leave() { close(fd_); }

pollfd raw::waits() const {
    const short events = out_.empty() ? POLLIN : POLLIN | POLLOUT;
    return {ended_ ? -1 : fd_, events, 0};
}

void raw::read() {
    char buffer[65536];
    ssize_t n;
    while ((n = recv(fd_, buffer, sizeof(buffer), 0)) > 0) {
        in_.append(buffer, static_cast<std::size_t>(n));
    }
    ended_ |= n == 0 || (errno != EAGAIN && errno != EINTR);
}

void raw::write() {
    while (!out_.empty()) {
        const auto n = send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        // Whoever found a fault hangs up in the middle.
        out_.erase(0, n < 0 ? out_.size() : static_cast<std::size_t>(n));
    }
    if (std::exchange(hanging_up_, false)) {
        shutdown(fd_, SHUT_WR);
    }
}

bool raw::settled() const {
    sockaddr_un other;
    socklen_t len = sizeof(other);
    int unread = 0;
    const bool gone = getpeername(fd_, reinterpret_cast<sockaddr *>(&other), &len) != 0;
    // SIOCOUTQ: bytes the other side has not taken.
    return gone || (out_.empty() && (ioctl(fd_, TIOCOUTQ, &unread) != 0 || unread == 0));
}

void raw::put(const bytes &data) {
    out_ += data;
    write();
}

void raw::hang_up() {
    hanging_up_ = true;
    write();
}

bool raw::has(std::size_t len, int ms) {
    const auto deadline = lane_now() + ms;
    while (in_.size() < len) {
        if (ended_ || lane_now() >= deadline) {
            return false;
        }
        pump(std::min(ms, 20));
    }
    return true;
}

bytes raw::take(std::size_t len) {
    bytes taken = in_.substr(0, len);
    in_.erase(0, len);
    return taken;
}

std::optional<std::pair<std::uint16_t, bytes>> raw::frame0(int ms) {
    if (!has(8, ms)) {
        return std::nullopt;
    }
    CHECK(in_.compare(0, 2, "IP") == 0);
    const auto len = little(in_, 2, 4);
    const auto channel = static_cast<std::uint16_t>(little(in_, 6, 2));
    in_.erase(0, 8);
    CHECK(has(len, LONG));
    return std::pair(channel, take(len));
}

std::optional<sent> raw::frame1(int ms) {
    while (has(16, ms)) {
        sent out;
        const auto len = little(in_, 0, 4);
        const auto kind = static_cast<std::uint8_t>(little(in_, 4, 1));
        out.kind = name_of(kind);
        out.flags = static_cast<unsigned>(little(in_, 5, 1));
        out.channel = static_cast<std::uint16_t>(little(in_, 6, 2));
        out.id = little(in_, 8, 8);
        in_.erase(0, 16);
        CHECK(has(len, LONG));
        out.payload = take(len);
        if (out.kind.empty()) {
            continue; // NOP, GREASE and the like
        }
        if (kind < 0x10) {
            return out;
        }
        if ((out.flags & flag_ext) != 0) {
            out.read_extensions();
        }
        if ((out.flags & (flag_first | flag_last)) == flag_first) {
            out.payload.erase(0, 4);
        }
        if ((out.flags & flag_first) == 0) {
            sent before = std::move(open_[out.channel]);
            before.payload += out.payload;
            before.flags |= out.flags & flag_last;
            out = std::move(before);
        }
        if ((out.flags & flag_last) != 0) {
            return out;
        }
        open_[out.channel] = std::move(out);
    }
    return std::nullopt;
}

} // namespace vectors

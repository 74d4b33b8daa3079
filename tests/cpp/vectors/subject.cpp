// The side under test of the vectors, driven by a context.

#include "vectors.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace vectors {

void operation::finished(hostlane::event &event) {
    op = event.op();
    kind = event.kind();
    done = !event.pending();
    if (!done) {
        return;
    }
    status = event.status();
    flags = event.flags();
    data = bytes(event.text());
    message = event.take_message();
    peer = event.take_peer();
    if (kind == HOSTLANE_EVENT_FAILED) {
        error = event.take_error();
    }
}

hostlane::common_options options_of(const json &side) {
    hostlane::common_options options;
    options.channels = {1, 2};
    if (member(side, "secret").is_string()) {
        options.secret = side["secret"].get<std::string>();
    }
    if (member(side, "demand") == true) {
        options.level = HOSTLANE_LEVEL_ONE;
    }
    options.fds = !member(side, "features").empty();
    return options;
}

subject::subject(bool serving, const hostlane::common_options &options) {
    const std::string path = lane_path("vector");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    int fd;
    if (serving) {
        hostlane::listen_options listening;
        static_cast<hostlane::common_options &>(listening) = options;
        listener_ = hostlane::listener::listen(path, listening).value();
        made_ = begin(context_.accept(*listener_, soon));
        fd = lane_raw_connect("vector");
    } else {
        hostlane::connect_options connecting;
        static_cast<hostlane::common_options &>(connecting) = options;
        const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(bind(server, reinterpret_cast<sockaddr *>(&address), sizeof(address)), 0);
        CHECK_EQ(::listen(server, 1), 0);
        made_ = begin(context_.connect(path, soon, connecting));
        fd = ::accept(server, nullptr, nullptr);
        close(server);
        unlink(path.c_str());
    }
    CHECK(fd >= 0);
    open(fd);
}

subject::~subject() { leave(); }

operation *subject::begin(hostlane::result<hostlane::event> started) {
    operation &op = operations_.emplace_back();
    if (started) {
        op.finished(*started);
    } else {
        op.done = true;
        op.kind = HOSTLANE_EVENT_FAILED;
        op.status = started.status();
        op.error = started.error();
    }
    return &op;
}

operation &subject::ended(operation *op) {
    CHECK(op != nullptr);
    const auto deadline = lane_now() + LONG;
    while (!op->done) {
        CHECK(lane_now() < deadline);
        pump(20);
    }
    return *op;
}

void subject::pump(int ms) {
    write();
    pollfd both[2] = {{context_.fd().value(), POLLIN, 0}, waits()};
    CHECK(poll(both, 2, ms) >= 0);
    read();
    std::vector<hostlane::event> events;
    while (context_.process(events).value()) {
    }
    for (auto &event : events) {
        for (auto &op : operations_) {
            if (!op.done && op.op == event.op()) {
                op.finished(event);
                break;
            }
        }
    }
}

void subject::settle() {
    const auto deadline = lane_now() + LONG;
    for (;;) {
        pump(0);
        if (settled()) {
            pump(0);
            return;
        }
        CHECK(lane_now() < deadline);
        pump(1);
    }
}

bytes subject::handshake() {
    auto got = frame0(LONG);
    CHECK(got && got->first == 0);
    return std::move(got->second);
}

void subject::level1() {
    json request = json::parse(hello());
    request["hostlane"] = {{"versions", {1}}, {"instance", std::string(32, '0')}};
    put(frame(0, request.dump()));
    handshake();
}

hostlane_status_t subject::outcome() {
    const auto deadline = lane_now() + LONG;
    while (!made_->done) {
        CHECK(lane_now() < deadline);
        pump(5);
        if (listener_) {
            const auto refusals = listener_->refusals().value();
            if (!refusals.empty()) {
                return refusals.front().status;
            }
        }
    }
    return made_->status;
}

hostlane::peer &subject::peer() {
    CHECK_OK(outcome());
    return made_->peer;
}

operation &subject::receive(int ms) { return ended(begin(context_.recv(peer(), std::chrono::milliseconds(ms)))); }

hostlane_status_t subject::end() {
    hostlane_status_t status = outcome();
    while (status == HOSTLANE_OK) {
        status = receive(LONG).status;
    }
    return status;
}

operation &subject::expect_message(const json &channel, const bytes &payload) {
    operation &op = receive(LONG);
    CHECK_STATUS(op.status, HOSTLANE_OK);
    CHECK_EQ(op.message.channel(), channel.get<int>());
    CHECK(op.data == payload);
    return op;
}

void subject::expect_end(const json &expected) {
    if (names_have(expected, "more")) {
        settle();
        CHECK_STATUS(receive(hold).status, HOSTLANE_E_TIMEOUT);
    } else {
        check_named(end(), names_have(expected, "clean") ? json("peer_closed") : expected);
    }
}

} // namespace vectors

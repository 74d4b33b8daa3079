// The shared vectors of tests/vectors, played against a real listener or a real connection, driven by a context: the
// test is the other side, at a raw socket. What the steps mean stands in tests/vectors/README.md.

#include "lane.hpp"

#include <nlohmann/json.hpp>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <deque>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <poll.h>
#include <set>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

using json = nlohmann::json;
using bytes = std::string;

namespace {

// How long nothing may come where nothing is to come.
constexpr int hold = 15;

const std::map<std::string, std::uint8_t> kinds = {
    {"AUTH", 0x03},      {"READY", 0x04},   {"PING", 0x05},    {"PONG", 0x06},     {"GOAWAY", 0x07},
    {"DRAIN_ACK", 0x08}, {"CLOSE", 0x09},   {"ERROR", 0x0A},   {"CREDIT", 0x0B},   {"CANCEL", 0x0C},
    {"REFUSE", 0x0D},    {"MESSAGE", 0x10}, {"REQUEST", 0x11}, {"RESPONSE", 0x12}, {"STREAM", 0x13},
};

constexpr unsigned flag_first = 0x01, flag_last = 0x02, flag_ext = 0x04, flag_fin = 0x08, flag_stream = 0x10;

std::string name_of(std::uint8_t kind) {
    for (const auto &[name, number] : kinds) {
        if (number == kind) {
            return name;
        }
    }
    return "";
}

// ---- cases -------------------------------------------------------------------------------------------------

// A byte value of tests/vectors/README.md.
bytes bytes_of(const json &value) {
    bytes found;
    if (value.is_string()) {
        const auto &digits = value.get_ref<const std::string &>();
        for (std::size_t at = 0; at < digits.size(); at += 2) {
            found.push_back(static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16)));
        }
    } else if (value.is_array()) {
        for (const auto &part : value) {
            found += bytes_of(part);
        }
    } else if (value.contains("text")) {
        found = value["text"].get<std::string>();
    } else if (value.contains("hex")) {
        const bytes unit = bytes_of(value["hex"]);
        const auto times = value["times"].get<std::size_t>();
        found.reserve(unit.size() * times);
        for (std::size_t at = 0; at < times; ++at) {
            found += unit;
        }
    }
    return found;
}

// Whether `names` is this name, or has it.
bool names_have(const json &names, std::string_view name) {
    if (names.is_string()) {
        return names.get<std::string>() == name;
    }
    return std::any_of(names.begin(), names.end(), [&](const json &one) { return one.get<std::string>() == name; });
}

// What is played now, for whoever reads that it failed.
std::string playing;

void tell() {
    if (!playing.empty()) {
        std::fprintf(stderr, "while playing %s\n", playing.c_str());
    }
}

void check_named(hostlane_status_t status, const json &names) {
    if (!names_have(names, hostlane_status_name(status))) {
        std::fprintf(stderr, "it is %s and not %s\n", hostlane_status_name(status), names.dump().c_str());
        std::exit(1);
    }
}

json cases_of(const std::string &file) {
    std::ifstream in(std::string(HOSTLANE_VECTORS) + "/" + file);
    json document = json::parse(in);
    CHECK(!document["cases"].empty());
    return std::move(document["cases"]);
}

const char *fits(const json &) { return nullptr; }

// Plays each case of a file; what `unfit` gives a reason against is counted under it.
void each(const std::string &file, const char *(*unfit)(const json &), void (*play)(const json &)) {
    static const int telling = std::atexit(tell);
    CHECK_EQ(telling, 0);
    std::map<std::string, int> skipped;
    int played = 0;
    for (const auto &one : cases_of(file)) {
        if (const char *reason = unfit(one)) {
            ++skipped[reason];
            continue;
        }
        playing = one["id"].get<std::string>();
        play(one);
        ++played;
    }
    playing.clear();
    std::printf("%d cases of %s played\n", played, file.c_str());
    for (const auto &[reason, count] : skipped) {
        std::printf("%d cases not played: %s\n", count, reason.c_str());
    }
}

std::uint64_t little(std::string_view text, std::size_t at, std::size_t len) {
    std::uint64_t value = 0;
    while (len-- > 0) {
        value = value << 8 | static_cast<unsigned char>(text.at(at + len));
    }
    return value;
}

bytes packed(std::uint64_t value, std::size_t len) {
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

// What a side proves a secret by.
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

// ---- the side under test, and the raw one ------------------------------------------------------------------

// Something the program asked for, and what came of it.
struct operation {
    bool done = false;
    std::uint64_t op = 0;
    std::int32_t kind = HOSTLANE_EVENT_PENDING;
    hostlane_status_t status = HOSTLANE_OK;
    std::uint32_t flags = 0;
    bytes data;
    hostlane::message message;
    hostlane::peer peer;
    std::optional<hostlane::error> error;

    void finished(hostlane::event &event) {
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
};

// What the side under test sent.
struct sent {
    std::string kind;
    unsigned flags = 0;
    std::uint16_t channel = 0;
    std::uint64_t id = 0;
    bytes payload;
    std::optional<std::uint64_t> status;
    std::optional<std::uint64_t> deadline;

    void read_extensions() {
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
};

// A listener with its one client, or a connection, while the test is its other side.
class subject {
public:
    subject(bool serving, const hostlane::common_options &options) {
        const std::string path = lane_path("vector");
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof(address.sun_path) - 1);
        if (serving) {
            hostlane::listen_options listening;
            static_cast<hostlane::common_options &>(listening) = options;
            listener_ = hostlane::listener::listen(path, listening).value();
            made_ = begin(context_.accept(*listener_, soon));
            fd_ = lane_raw_connect("vector");
        } else {
            hostlane::connect_options connecting;
            static_cast<hostlane::common_options &>(connecting) = options;
            const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            CHECK_EQ(bind(server, reinterpret_cast<sockaddr *>(&address), sizeof(address)), 0);
            CHECK_EQ(::listen(server, 1), 0);
            made_ = begin(context_.connect(path, soon, connecting));
            fd_ = ::accept(server, nullptr, nullptr);
            close(server);
            unlink(path.c_str());
        }
        CHECK(fd_ >= 0);
        CHECK_EQ(fcntl(fd_, F_SETFL, O_NONBLOCK), 0);
    }

    ~subject() { close(fd_); }

    subject(const subject &) = delete;
    subject &operator=(const subject &) = delete;

    hostlane::context &context() { return context_; }

    // Keeps what was started until it has ended.
    operation *begin(hostlane::result<hostlane::event> started) {
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

    operation &ended(operation *op) {
        CHECK(op != nullptr);
        const auto deadline = lane_now() + LONG;
        while (!op->done) {
            CHECK(lane_now() < deadline);
            pump(20);
        }
        return *op;
    }

    // Moves everything that can be moved, and waits `ms` at most while nothing can.
    void pump(int ms) {
        pollfd both[2] = {{context_.fd().value(), POLLIN, 0}, {ended_ ? -1 : fd_, POLLIN, 0}};
        write();
        if (!out_.empty()) {
            both[1].events |= POLLOUT;
        }
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

    void put(const bytes &data) {
        out_ += data;
        write();
    }

    void hang_up() {
        hanging_up_ = true;
        write();
    }

    // Until what was written was taken, or nobody will take it.
    void settle() {
        const auto deadline = lane_now() + LONG;
        for (;;) {
            sockaddr_un other;
            socklen_t len = sizeof(other);
            int unread = 0;
            pump(0);
            const bool gone = getpeername(fd_, reinterpret_cast<sockaddr *>(&other), &len) != 0;
            // SIOCOUTQ: bytes the other side has not taken.
            if (gone || (out_.empty() && (ioctl(fd_, TIOCOUTQ, &unread) != 0 || unread == 0))) {
                pump(0);
                return;
            }
            CHECK(lane_now() < deadline);
            pump(1);
        }
    }

    // A frame of level 0, if one comes: channel and payload.
    std::optional<std::pair<std::uint16_t, bytes>> frame0(int ms) {
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

    bytes handshake() {
        auto got = frame0(LONG);
        CHECK(got && got->first == 0);
        return std::move(got->second);
    }

    // A control frame or a whole message of level 1, if one comes.
    std::optional<sent> frame1(int ms) {
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

    // HOSTLANE_OK once there is a connection, or why there is none.
    hostlane_status_t outcome() {
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

    hostlane::peer &peer() {
        CHECK_OK(outcome());
        return made_->peer;
    }

    operation &receive(int ms) { return ended(begin(context_.recv(peer(), std::chrono::milliseconds(ms)))); }

    // Why the connection is over.
    hostlane_status_t end() {
        hostlane_status_t status = outcome();
        while (status == HOSTLANE_OK) {
            status = receive(LONG).status;
        }
        return status;
    }

    // What comes of the bytes that were put has to be this message.
    operation &expect_message(const json &channel, const bytes &payload) {
        operation &op = receive(LONG);
        CHECK_STATUS(op.status, HOSTLANE_OK);
        CHECK_EQ(op.message.channel(), channel.get<int>());
        CHECK(op.data == payload);
        return op;
    }

    // And then this end: "more", "clean" or names.
    void expect_end(const json &expected) {
        if (names_have(expected, "more")) {
            settle();
            CHECK_STATUS(receive(hold).status, HOSTLANE_E_TIMEOUT);
        } else {
            check_named(end(), names_have(expected, "clean") ? json("peer_closed") : expected);
        }
    }

private:
    void write() {
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

    void read() {
        char buffer[65536];
        ssize_t n;
        while ((n = recv(fd_, buffer, sizeof(buffer), 0)) > 0) {
            in_.append(buffer, static_cast<std::size_t>(n));
        }
        ended_ |= n == 0 || (errno != EAGAIN && errno != EINTR);
    }

    // Whether so many bytes come within `ms`.
    bool has(std::size_t len, int ms) {
        const auto deadline = lane_now() + ms;
        while (in_.size() < len) {
            if (ended_ || lane_now() >= deadline) {
                return false;
            }
            pump(std::min(ms, 20));
        }
        return true;
    }

    bytes take(std::size_t len) {
        bytes taken = in_.substr(0, len);
        in_.erase(0, len);
        return taken;
    }

    hostlane::context context_ = hostlane::context::create().value();
    std::optional<hostlane::listener> listener_;
    std::deque<operation> operations_;
    operation *made_ = nullptr;
    int fd_ = -1;
    bytes out_;
    bytes in_;
    bool hanging_up_ = false;
    bool ended_ = false;
    std::map<std::uint16_t, sent> open_;
};

// ---- handshakes --------------------------------------------------------------------------------------------

const json nothing = json::object();

// A member, or nothing.
const json &member(const json &object, const char *name) {
    const auto found = object.find(name);
    return found == object.end() ? nothing : *found;
}

void refuses(const bytes &payload, const json &names) {
    const json error = json::parse(payload)["error"];
    CHECK(names_have(names, error["name"].get<std::string>()));
    CHECK(error["name"] == hostlane_status_name(error["code"].get<hostlane_status_t>()));
}

std::vector<std::uint16_t> channels_of(const hostlane_info_t &info) {
    return {info.channels, info.channels + info.channels_len};
}

bool reserved(const json &channel) {
    const auto number = channel.get<int>();
    return number == 0 || (number > 4 && number < 256);
}

bytes hello(const std::vector<std::uint16_t> &channels = {1, 2, 3, 4}) {
    return json{{"protocol", "ipcprims"}, {"version", "1.0"}, {"channels", channels}}.dump();
}

TEST(the_error_table) {
    std::set<int> known;
    for (const auto &row : cases_of("errors.json")) {
        const hostlane::error error(row["number"].get<hostlane_status_t>(), nullptr);
        CHECK(error.name() == row["name"].get<std::string>());
        CHECK(row["doc"] == hostlane_status_meaning(error.status()));
        known.insert(error.status());
    }
    const std::string unknown = hostlane_status_name(-1);
    for (int code = 1; code < 1000; ++code) {
        CHECK_EQ(known.count(code) != 0, hostlane_status_name(code) != unknown);
    }
}

const char *unfit_request(const json &one) {
    const auto &channels = one["server"]["channels"];
    const bool any = std::any_of(channels.begin(), channels.end(), reserved);
    return any ? "a program cannot ask for a reserved channel to be served" : nullptr;
}

void play_request(const json &one) {
    const auto &server = one["server"];
    const auto &expect = one["expect"];
    hostlane::common_options options;
    options.channels = server["channels"].get<std::vector<std::uint16_t>>();
    if (!server["auth_token"].is_null()) {
        options.auth_token = server["auth_token"].get<std::string>();
    }
    subject side(true, options);
    side.put(frame(0, bytes_of(one["payload"])));
    const bytes answer = side.handshake();
    if (expect.contains("refused")) {
        refuses(answer, expect["refused"]);
        check_named(side.end(), expect["refused"]);
        return;
    }
    CHECK(json::parse(answer)["channels"] == expect["channels"]);
    CHECK(json(channels_of(side.peer().info().value())) == expect["channels"]);
}

TEST(requests) { each("framing/requests.json", unfit_request, play_request); }

void play_response(const json &one) {
    const auto &expect = one["expect"];
    hostlane::common_options options;
    options.channels = one["asked"].get<std::vector<std::uint16_t>>();
    subject side(false, options);
    CHECK(json::parse(side.handshake())["channels"] == one["asked"]);
    side.put(frame(0, bytes_of(one["payload"])));
    if (expect.contains("error")) {
        check_named(side.outcome(), expect["error"]);
        return;
    }
    const auto info = side.peer().info().value();
    CHECK(json(channels_of(info)) == expect["channels"]);
    CHECK(expect["peer_id"] == info.peer_id);
}

TEST(responses) { each("framing/responses.json", fits, play_response); }

const char *unfit_frames(const json &one) {
    const auto &frames = one["expect"]["frames"];
    const bool any =
        std::any_of(frames.begin(), frames.end(), [](const json &frame) { return reserved(frame["channel"]); });
    return any ? "a frame on a channel that is no program's" : nullptr;
}

void play_frames(const json &one) {
    hostlane::common_options options;
    options.channels = {1, 2, 3, 4};
    options.max_message = one["limit"].get<std::uint64_t>();
    for (const auto &frame : one["expect"]["frames"]) {
        const auto channel = frame["channel"].get<std::uint16_t>();
        if (std::find(options.channels.begin(), options.channels.end(), channel) == options.channels.end()) {
            options.channels.push_back(channel);
        }
    }
    subject side(true, options);
    side.put(frame(0, hello(options.channels)));
    side.handshake();
    side.peer();
    side.put(bytes_of(one["chunks"]));
    if (one["eof"].get<bool>()) {
        side.hang_up();
    }
    for (const auto &frame : one["expect"]["frames"]) {
        side.expect_message(frame["channel"], bytes_of(frame["payload"]));
    }
    side.expect_end(one["expect"]["end"]);
}

TEST(frames) { each("framing/frames.json", unfit_frames, play_frames); }

void play_control(const json &one) {
    const auto &expect = one["expect"];
    subject side(true, {});
    side.put(frame(0, hello()));
    side.handshake();
    side.peer();
    side.put(frame(0, bytes_of(one["payload"])));
    if (expect.contains("error") || expect["type"] == "shutdown_force") {
        check_named(side.end(), expect.value("error", json("peer_closed")));
        return;
    }
    const bool shutting = expect["type"] == "shutdown_request";
    if (!shutting && expect["type"] != "ping") {
        // What comes next is the answer to the ping behind it.
        side.put(frame(0, R"({"type":"ping"})"));
    }
    CHECK(json::parse(side.handshake()) == json({{"type", shutting ? "shutdown_ack" : "pong"}}));
}

TEST(control) { each("framing/control.json", fits, play_control); }

// The options of a side of offers.json, grants.json or transcripts.json.
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

const char *unfit_features(const json &side) {
    for (const auto &feature : side["features"]) {
        if (feature != "fds") {
            return "a feature that this language does not have";
        }
    }
    return nullptr;
}

const char *unfit_offer(const json &one) { return unfit_features(one["server"]); }

const char *unfit_grant(const json &one) { return unfit_features(one["client"]); }

void play_offer(const json &one) {
    const auto &expect = one["expect"];
    subject side(true, options_of(one["server"]));
    side.put(frame(0, bytes_of(one["payload"])));
    const bytes answer = side.handshake();
    if (expect.contains("refused")) {
        refuses(answer, expect["refused"]);
        return;
    }
    const json parsed = json::parse(answer);
    CHECK_EQ(parsed.contains("hostlane"), expect["level"] == 1);
    if (!parsed.contains("hostlane")) {
        CHECK_EQ(side.peer().info().value().level, 0);
        return;
    }
    CHECK_EQ(names_have(parsed["hostlane"]["features"], "fds"), names_have(expect["features"], "fds"));
    CHECK_EQ(parsed["hostlane"].contains("auth"), expect["auth"].get<bool>());
}

TEST(offers) { each("level1/offers.json", unfit_offer, play_offer); }

void play_grant(const json &one) {
    const auto &expect = one["expect"];
    subject side(false, options_of(one["client"]));
    const bytes request = side.handshake();
    const bytes response = bytes_of(one["payload"]);
    side.put(frame(0, response));
    if (expect.contains("error")) {
        check_named(side.outcome(), expect["error"]);
        return;
    }
    if (expect["level"] == 1) {
        if (expect["auth"].get<bool>()) {
            const auto secret = one["client"]["secret"].get<std::string>();
            side.put(frame1("AUTH", 0, 0, 0, proof(secret, false, request, response)));
        }
        side.put(frame1("READY", 0, 0, 0, ""));
    }
    const auto info = side.peer().info().value();
    CHECK_EQ(info.level, expect["level"].get<int>());
    CHECK_EQ(std::string(info.features) == "fds", names_have(member(expect, "features"), "fds"));
}

TEST(grants) { each("level1/grants.json", unfit_grant, play_grant); }

void play_proof(const json &one) {
    for (const bool connector : {true, false}) {
        const bytes right =
            proof(bytes_of(one["secret"]), connector, bytes_of(one["request"]), bytes_of(one["response"]));
        CHECK(right == bytes_of(one["expect"][connector ? "connector" : "acceptor"]));
    }
}

TEST(proofs_of_the_raw_side) { each("level1/proofs.json", fits, play_proof); }

// ---- level 1, one rule at a time ---------------------------------------------------------------------------

// Offers level 1, up to the READY of this side.
void offer(subject &side) {
    json request = json::parse(hello());
    request["hostlane"] = {{"versions", {1}}, {"instance", std::string(32, '0')}};
    side.put(frame(0, request.dump()));
    side.handshake();
}

void ready(subject &side) {
    side.put(frame1("READY", 0, 0, 0, ""));
    side.peer();
}

const char *unfit_frames1(const json &one) {
    static const std::set<std::string> shown = {"MESSAGE", "PING", "READY", "CREDIT"};
    for (const auto &item : one["expect"]["items"]) {
        if (shown.count(item["type"].get<std::string>()) == 0) {
            return "a frame that takes a call, a secret or another ending to be right";
        }
    }
    return nullptr;
}

void play_frames1(const json &one) {
    hostlane::common_options options;
    options.max_message = one["max_message"].get<std::uint64_t>();
    subject side(true, options);
    offer(side);
    if (one["ready"].get<bool>()) {
        ready(side);
    }
    side.put(bytes_of(one["chunks"]));
    if (one["eof"].get<bool>()) {
        side.hang_up();
    }
    for (const auto &item : one["expect"]["items"]) {
        if (item["type"] == "MESSAGE") {
            side.expect_message(item["channel"], bytes_of(item["payload"]));
        }
    }
    side.expect_end(one["expect"]["end"]);
}

TEST(frames_of_level_1) { each("level1/frames.json", unfit_frames1, play_frames1); }

const char *unfit_extensions(const json &one) {
    const json &deadline = member(member(one["expect"], "extensions"), "deadline_us");
    const bool hasty = deadline.is_number() && deadline.get<std::uint64_t>() < 1000000;
    return hasty ? "a deadline that may pass before a program takes the call" : nullptr;
}

void play_extensions(const json &one) {
    const auto &expect = one["expect"];
    subject side(true, {});
    offer(side);
    if (one["form"] == "ready") {
        side.put(frame1("READY", 0, 0, 0, bytes_of(one["payload"])));
    } else {
        ready(side);
        side.put(frame1("REQUEST", flag_first | flag_last | flag_ext, 1, 1, bytes_of(one["payload"])));
        if (!expect.contains("error")) {
            const auto text = [](const auto &found) { return bytes(found.begin(), found.end()); };
            const json &told = expect["extensions"];
            const auto &message = side.expect_message(1, bytes_of(expect["rest"])).message;
            CHECK(text(message.idempotency_key()) == bytes_of(member(told, "idempotency")));
            CHECK(text(message.trace()) == bytes_of(member(told, "trace")));
        }
    }
    side.expect_end(expect.value("error", json("more")));
}

TEST(extensions) { each("level1/extensions.json", unfit_extensions, play_extensions); }

const char *unfit_control1(const json &one) {
    const auto &type = one["type"];
    const bool shown = one["expect"].contains("error") || type == "PING" || type == "PONG" || type == "CLOSE";
    return shown ? nullptr : "a frame that takes a call or a handshake to be right";
}

void play_control1(const json &one) {
    const auto &expect = one["expect"];
    json end = expect.value("error", json("more"));
    if (one["type"] == "CLOSE" && !expect.contains("error")) {
        const auto code = static_cast<hostlane_status_t>(expect["fields"]["code"].get<std::uint32_t>());
        end = hostlane_status_name(code);
        end = end == hostlane_status_name(-1) ? json("remote_error") : end == "closed" ? json("peer_closed") : end;
    }
    subject side(true, {});
    offer(side);
    ready(side);
    side.put(frame1(one["type"].get<std::string>(), 0, 0, 0, bytes_of(one["payload"])));
    side.expect_end(end);
    if (one["type"] == "PING" && end == "more") {
        std::optional<sent> out;
        do {
            out = side.frame1(LONG);
            CHECK(out.has_value());
        } while (out->kind != "PONG");
        CHECK(out->payload == bytes_of(expect["fields"]["token"]));
    }
}

TEST(control_frames_of_level_1) { each("level1/control.json", unfit_control1, play_control1); }

// ---- whole conversations -----------------------------------------------------------------------------------

const char *unfit_transcript(const json &one) {
    const json &limits = member(one, "limits");
    if (limits.contains("window") || limits.contains("stream_window")) {
        return "a window of another size is no option";
    }
    for (const auto &step : one["steps"]) {
        if (step.contains("clock")) {
            return "the clock of a process cannot be set";
        }
        const json &does = member(step, "does");
        if (member(does, "fin") == true && does["payload"] != "") {
            return "a program says the end of a stream apart from a payload";
        }
    }
    return nullptr;
}

// A conversation under way.
class talk {
public:
    talk(const json &one, const hostlane::common_options &options)
        : side_(one["role"] == "server", options), client_(one["role"] == "client"),
          secret_(options.secret.value_or("")) {}

    void play(const json &steps) {
        for (std::size_t at = 0; at < steps.size(); ++at) {
            const std::string name = steps[at].begin().key();
            const std::string before = std::exchange(playing, playing + ", step " + std::to_string(at) + ", " + name);
            // Behind the step before the end, one CLOSE is nobody's business.
            over_ |= at + 1 < steps.size() && steps[at + 1].contains("ends") && name != "closes";
            step(name, steps[at].begin().value());
            playing = before;
        }
        silent();
    }

private:
    void step(const std::string &name, const json &value) {
        using play = void (talk::*)(const json &);
        static const std::map<std::string, play> steps = {
            {"arrives", &talk::arrives}, {"asks", &talk::asks},         {"answers", &talk::answers},
            {"does", &talk::does},       {"sends", &talk::sends},       {"closes", &talk::closes},
            {"credits", &talk::credits}, {"delivers", &talk::delivers}, {"replies", &talk::replies},
            {"fails", &talk::fails},     {"proof", &talk::proves},
        };
        if (const auto found = steps.find(name); found != steps.end()) {
            (this->*found->second)(value);
        } else if (name == "eof") {
            over_ = hung_up_ = true;
            side_.hang_up();
        } else if (name == "refuses") {
            refuses(side_.handshake(), value);
        } else if (name == "silent") {
            silent();
        } else if (name == "item") {
            const auto &op = side_.ended(next_item(value["call"]));
            CHECK_EQ(op.kind, HOSTLANE_EVENT_ITEM);
            CHECK(op.data == bytes_of(value["payload"]));
        } else if (name == "finished") {
            CHECK_EQ(side_.ended(next_item(value)).kind, HOSTLANE_EVENT_STREAM_END);
        } else if (name == "told") {
            const auto &message = taken_.at(value["call"]);
            CHECK_EQ(side_.ended(side_.begin(side_.context().call_ended(message, soon))).kind,
                     HOSTLANE_EVENT_CALL_ENDED);
        } else if (name == "ponged") {
            CHECK_EQ(last_of("ping").kind, HOSTLANE_EVENT_PONG);
        } else if (name == "drained") {
            CHECK_EQ(last_of("drain").kind, HOSTLANE_EVENT_DRAINED);
        } else {
            CHECK(name == "ends");
            over_ = true;
            check_named(side_.end(), value);
        }
    }

    // -- what goes out

    // Waits for what goes out, and keeps it for `take`.
    void look(int ms) {
        while (!next_) {
            auto out = side_.frame1(ms);
            if (!out) {
                return;
            }
            if (out->kind == "CREDIT") {
                auto &total = credit_[{out->channel, out->id}];
                total = std::max(total, little(out->payload, 0, 8));
            } else if (!(out->kind == "CLOSE" && over_) && !(out->kind == "CANCEL" && hung_up_)) {
                next_ = std::move(out);
            }
        }
    }

    sent take() {
        look(LONG);
        CHECK(next_.has_value());
        return *std::exchange(next_, std::nullopt);
    }

    void silent() {
        side_.settle();
        if (level1_) {
            look(hold);
            CHECK(!next_);
        } else {
            CHECK(!side_.frame0(hold));
        }
    }

    void sends(const json &value) {
        if (!value.contains("type")) {
            const auto [channel, payload] = side_.frame0(LONG).value();
            CHECK_EQ(channel, value["channel"].get<int>());
            if (!value.contains("json")) {
                CHECK(payload == bytes_of(value["payload"]));
                return;
            }
            json got = json::parse(payload);
            if (client_) {
                got.erase("hostlane");
            }
            CHECK(got == value["json"]);
            return;
        }
        const sent out = take();
        CHECK(value["type"] == out.kind);
        CHECK_EQ(out.channel, value.value("channel", out.channel));
        CHECK_EQ(out.id, value.value("id", out.id));
        if (kinds.at(out.kind) >= 0x10) {
            CHECK(out.payload == bytes_of(value["payload"]));
            CHECK_EQ((out.flags & flag_fin) != 0, value.value("fin", false));
            CHECK_EQ((out.flags & flag_stream) != 0, value.value("stream", false));
            CHECK_EQ(out.status.has_value(), value.contains("status"));
            CHECK(!out.status || *out.status == value["status"].get<std::uint64_t>());
            if (value.contains("deadline_us")) {
                CHECK(out.deadline && *out.deadline > 0 && *out.deadline <= value["deadline_us"].get<std::uint64_t>());
            }
            return;
        }
        for (const char *total : {"last", "total"}) {
            CHECK(!value.contains(total) || little(out.payload, 0, 8) == value[total].get<std::uint64_t>());
        }
        CHECK(!value.contains("code") || out.kind == "GOAWAY" ||
              little(out.payload, 0, 4) == value["code"].get<std::uint64_t>());
        CHECK(!value.contains("token") || out.payload == bytes_of(value["token"]));
        CHECK(!value.value("proof", false) || out.payload == proof(secret_, client_, request_, response_));
    }

    void closes(const json &names) {
        const sent out = take();
        CHECK(out.kind == "CLOSE");
        check_named(static_cast<hostlane_status_t>(little(out.payload, 0, 4)), names);
        silent();
        over_ = true;
    }

    void credits(const json &value) {
        const auto deadline = lane_now() + LONG;
        const std::pair key(value.value("channel", std::uint16_t{0}), value.value("id", std::uint64_t{0}));
        while (credit_[key] < value["at_least"].get<std::uint64_t>()) {
            CHECK(lane_now() < deadline);
            look(hold);
        }
    }

    void asks(const json &value) {
        request_ = side_.handshake();
        const json offered = json::parse(request_)["hostlane"];
        const auto &versions = offered["versions"];
        CHECK(std::find(versions.begin(), versions.end(), 1) != versions.end());
        CHECK_EQ(offered.contains("auth"), value["auth"].get<bool>());
    }

    void answers(const json &value) {
        response_ = side_.handshake();
        const json parsed = json::parse(response_);
        const json &answered = member(parsed, "hostlane");
        CHECK_EQ(answered.value("version", 0), value["level"].get<int>());
        CHECK_EQ(answered.contains("auth"), value["auth"].get<bool>());
        level1_ = parsed.contains("hostlane");
    }

    // -- what comes in

    void arrives(const json &value) {
        const bytes data = bytes_of(value);
        if (!client_ && request_.empty()) {
            request_ = data.substr(8);
        } else if (client_ && !request_.empty() && response_.empty()) {
            response_ = data.substr(8, little(data, 2, 4));
            level1_ = json::parse(response_).contains("hostlane");
        }
        side_.put(data);
        side_.settle();
    }

    void proves(const json &which) {
        const bytes secret = which == "other-secret" ? secret_ + "?" : secret_;
        const bool connector = which == "reflected" ? client_ : !client_;
        side_.put(frame1("AUTH", 0, 0, 0, proof(secret, connector, request_, response_)));
        side_.settle();
    }

    // -- what the program does

    void does(const json &value) {
        const std::string what = value["what"];
        const std::string call = value.value("call", "");
        const bytes data = bytes_of(member(value, "payload"));
        const auto &to = side_.peer();
        const auto &context = side_.context();
        const auto start = [&](hostlane::result<hostlane::event> started) {
            operations_[value.value("op", what)] = side_.begin(std::move(started));
        };
        if (what == "send") {
            start(context.send(to, value["channel"].get<std::uint16_t>(), data, soon));
        } else if (what == "request") {
            start(context.request(to, data, soon));
        } else if (what == "call") {
            hostlane::call_options options;
            options.channel = value.value("channel", std::uint16_t{1});
            if (value.value("stream", false)) {
                streams_.emplace(value["op"], to.open_stream(data, options).value());
            } else {
                start(context.request(to, data, hostlane::forever, options));
            }
        } else if (what == "cancel") {
            cancel(call);
        } else if (what == "reply" && value.contains("status")) {
            start(context.fail(taken_.at(call), value["status"].get<std::uint32_t>(), data, soon));
        } else if (what == "reply") {
            start(context.reply(taken_.at(call), data, soon));
        } else if (what == "abandon") {
            streams_.erase(call);
            taken_.erase(call);
        } else if (what == "item" && value.value("fin", false)) {
            start(context.stream_finish(stream(call), soon));
        } else if (what == "item") {
            start(context.stream_send(stream(call), data, soon));
        } else if (what == "ping") {
            start(context.ping(to, soon));
        } else if (what == "drain") {
            start(context.drain(to, soon));
        } else {
            CHECK(what == "close");
            side_.peer().close();
        }
        side_.pump(0);
    }

    void cancel(const std::string &call) {
        const auto found = streams_.find(call);
        if (found == streams_.end()) {
            side_.context().cancel(operations_.at(call)->op).value();
            return;
        }
        // Whoever waits for an item is told.
        operations_[call] = next_item(call);
        found->second.close();
    }

    // That of a call of either side.
    const hostlane::stream &stream(const std::string &call) {
        const auto found = streams_.find(call);
        return found != streams_.end() ? found->second
                                       : streams_.emplace(call, taken_.at(call).stream().value()).first->second;
    }

    operation *next_item(const std::string &call) {
        return side_.begin(side_.context().stream_recv(stream(call), soon));
    }

    // -- what the program is told

    // How an operation or a call ended.
    operation &last_of(const std::string &name) {
        const auto found = operations_.find(name);
        if (found != operations_.end()) {
            return side_.ended(found->second);
        }
        for (;;) {
            operation &op = side_.ended(next_item(name));
            if (op.kind != HOSTLANE_EVENT_ITEM) {
                return op;
            }
        }
    }

    void delivers(const json &value) {
        operation &op = side_.expect_message(value["channel"], bytes_of(value["payload"]));
        CHECK_EQ((op.flags & HOSTLANE_MESSAGE_REQUEST) != 0, value.contains("call"));
        CHECK_EQ((op.flags & HOSTLANE_MESSAGE_STREAM) != 0, value.value("stream", false));
        if (value.contains("call")) {
            taken_.emplace(value["call"], std::move(op.message));
        }
    }

    void replies(const json &value) {
        const auto &op = last_of(value.is_string() ? "request" : value["call"].get<std::string>());
        CHECK_STATUS(op.status, HOSTLANE_OK);
        CHECK(op.data == bytes_of(value.is_string() ? value : value["payload"]));
    }

    void fails(const json &value) {
        const auto &op = last_of(value[value.contains("call") ? "call" : "op"]);
        CHECK_EQ(op.kind, HOSTLANE_EVENT_FAILED);
        check_named(op.status, value["error"]);
        if (value.contains("sent")) {
            CHECK_EQ(op.error->may_have_been_sent(), value["sent"] == "maybe");
        }
        if (value.contains("code")) {
            CHECK_EQ(op.error->remote_status(), value["code"].get<std::uint32_t>());
            CHECK(bytes(op.error->data().begin(), op.error->data().end()) == bytes_of(member(value, "payload")));
        }
    }

    subject side_;
    bool client_;
    bytes secret_;
    bytes request_;
    bytes response_;
    bool level1_ = false;
    bool over_ = false;
    bool hung_up_ = false;
    std::optional<sent> next_;
    std::map<std::pair<std::uint16_t, std::uint64_t>, std::uint64_t> credit_;
    std::map<std::string, operation *> operations_;
    std::map<std::string, hostlane::message> taken_;
    std::map<std::string, hostlane::stream> streams_;
};

void play_transcript(const json &one) {
    const json &limits = member(one, "limits");
    hostlane::common_options options = options_of(one);
    options.channels = one["channels"].get<std::vector<std::uint16_t>>();
    for (const auto channel : options.channels) {
        options.policies.push_back({HOSTLANE_POLICY_BLOCK, channel});
    }
    options.max_message = limits.value("max_message", std::uint64_t{0});
    options.max_calls = limits.value("max_calls", std::uint64_t{0});
    talk(one, options).play(one["steps"]);
}

TEST(transcripts) { each("framing/transcripts.json", unfit_transcript, play_transcript); }

TEST(transcripts_of_level_1) { each("level1/transcripts.json", unfit_transcript, play_transcript); }

} // namespace

int main(int argc, char **argv) { return check_main(argc, argv); }

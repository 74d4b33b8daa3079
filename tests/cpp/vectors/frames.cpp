// The vectors of frames: of level 0, of level 1, and what control frames and extensions say.

#include "vectors.hpp"

#include <algorithm>
#include <set>

namespace vectors {

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

static void ready(subject &side) {
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
    side.level1();
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

const char *unfit_extensions(const json &one) {
    const json &deadline = member(member(one["expect"], "extensions"), "deadline_us");
    const bool hasty = deadline.is_number() && deadline.get<std::uint64_t>() < 1000000;
    return hasty ? "a deadline that may pass before a program takes the call" : nullptr;
}

void play_extensions(const json &one) {
    const auto &expect = one["expect"];
    subject side(true, {});
    side.level1();
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
        end = end == hostlane_status_name(-1) ? json("connection_lost") : end == "closed" ? json("peer_closed") : end;
    }
    subject side(true, {});
    side.level1();
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

} // namespace vectors

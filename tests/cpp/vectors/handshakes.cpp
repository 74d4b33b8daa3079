// The vectors of handshakes: requests and responses, offers and grants, proofs.

#include "vectors.hpp"

#include <algorithm>

namespace vectors {

void refuses(const bytes &payload, const json &names) {
    const json error = json::parse(payload)["error"];
    CHECK(names_have(names, error["name"].get<std::string>()));
    CHECK(error["name"] == hostlane_status_name(error["code"].get<hostlane_status_t>()));
}

static std::vector<std::uint16_t> channels_of(const hostlane_info_t &info) {
    return {info.channels, info.channels + info.channels_len};
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

static const char *unfit_features(const json &side) {
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

void play_proof(const json &one) {
    for (const bool connector : {true, false}) {
        const bytes right =
            proof(bytes_of(one["secret"]), connector, bytes_of(one["request"]), bytes_of(one["response"]));
        CHECK(right == bytes_of(one["expect"][connector ? "connector" : "acceptor"]));
    }
}

} // namespace vectors

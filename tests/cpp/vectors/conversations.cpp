// The vectors of whole conversations. What the steps mean stands in tests/vectors/README.md.

#include "vectors.hpp"

#include <algorithm>

namespace vectors {

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

namespace {

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

} // namespace

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

} // namespace vectors

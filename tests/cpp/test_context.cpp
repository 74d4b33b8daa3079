// The context as a C++ object, in a poll loop.

#include "lane.hpp"

#include <map>
#include <poll.h>

using namespace std::chrono_literals;

namespace {
// Polls and processes until every operation of `wanted` finished.
std::map<std::uint64_t, hostlane::event> finish(const hostlane::context &context, std::size_t wanted) {
    std::map<std::uint64_t, hostlane::event> finished;
    pollfd ready{context.fd().value(), POLLIN, 0};
    while (finished.size() < wanted) {
        CHECK_EQ(poll(&ready, 1, LONG), 1);
        std::vector<hostlane::event> events;
        while (context.process(events, 2).value()) {
        }
        for (auto &event : events) {
            const std::uint64_t op = event.op();
            CHECK(finished.emplace(op, std::move(event)).second);
        }
    }
    return finished;
}
} // namespace

TEST(a_call_through_a_poll_loop) {
    const std::string address = lane_path("context");
    const auto listener = hostlane::listener::listen(address).value();
    const auto context = hostlane::context::create().value();
    const std::uint64_t accepting = context.accept(listener, soon).value().op();
    const std::uint64_t connecting = context.connect(address, soon).value().op();
    auto opened = finish(context, 2);
    const hostlane::peer server = opened.at(accepting).take_peer();
    const hostlane::peer client = opened.at(connecting).take_peer();
    CHECK_EQ(opened.at(accepting).kind(), HOSTLANE_EVENT_ACCEPTED);
    CHECK_EQ(opened.at(connecting).kind(), HOSTLANE_EVENT_CONNECTED);
    CHECK_EQ(opened.at(connecting).take_peer().get().id, 0);

    const std::uint64_t receiving = context.recv_on(server, HOSTLANE_CHANNEL_COMMAND, soon).value().op();
    const std::uint64_t requesting = context.request(client, "question", soon).value().op();
    auto received = finish(context, 1);
    const hostlane::message question = received.at(receiving).take_message();
    CHECK(question.text() == "question");
    const auto replied = context.reply(question, "answer", soon).value();
    CHECK(replied.pending() || replied.kind() == HOSTLANE_EVENT_SENT);
    auto answered = finish(context, replied.pending() ? 2 : 1);
    CHECK(answered.at(requesting).take_message().text() == "answer");

    const std::uint64_t pinging = context.ping(client, soon).value().op();
    CHECK(finish(context, 1).at(pinging).round_trip() > 0ns);
    const std::uint64_t draining = context.drain(client, soon).value().op();
    CHECK_EQ(finish(context, 1).at(draining).kind(), HOSTLANE_EVENT_DRAINED);
    CHECK_STATUS(client.recv(soon).status(), HOSTLANE_E_WRONG_DRIVER);
}

TEST(cancelled_and_failed_operations) {
    const auto listener = hostlane::listener::listen(lane_path("context")).value();
    const auto context = hostlane::context::create().value();
    const std::uint64_t accepting = context.accept(listener).value().op();
    context.cancel(accepting).value();
    auto event = context.next(soon).value();
    CHECK_EQ(event.op(), accepting);
    CHECK_EQ(event.kind(), HOSTLANE_EVENT_FAILED);
    CHECK_STATUS(event.status(), HOSTLANE_E_CANCELLED);
    CHECK(!event.take_error().message().empty());
    CHECK_STATUS(event.take_error().status(), HOSTLANE_E_CANCELLED);
    CHECK_STATUS(context.next(10ms).status(), HOSTLANE_E_TIMEOUT);
    context.close();
    CHECK_STATUS(context.next(soon).status(), HOSTLANE_E_CLOSED);
    context.close();
}

TEST(what_nobody_takes_is_closed) {
    const std::string address = lane_path("context");
    const auto listener = hostlane::listener::listen(address).value();
    const auto context = hostlane::context::create().value();
    const std::uint64_t accepting = context.accept(listener, soon).value().op();
    const std::uint64_t connecting = context.connect(address, soon).value().op();
    auto opened = finish(context, 2);
    const hostlane::peer client = opened.at(connecting).take_peer();
    opened.erase(accepting);
    const std::uint64_t receiving = context.recv(client, soon).value().op();
    CHECK_STATUS(finish(context, 1).at(receiving).status(), HOSTLANE_E_PEER_CLOSED);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

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

struct seats {
    hostlane::listener listener;
    hostlane::context context;
    hostlane::peer server;
    hostlane::peer client;
};

// A connection with both of its sides in one context.
seats seated() {
    const std::string address = lane_path("context");
    auto listener = hostlane::listener::listen(address).value();
    auto context = hostlane::context::create().value();
    const std::uint64_t accepting = context.accept(listener, soon).value().op();
    const std::uint64_t connecting = context.connect(address, soon).value().op();
    auto opened = finish(context, 2);
    return {std::move(listener), std::move(context), opened.at(accepting).take_peer(),
            opened.at(connecting).take_peer()};
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

TEST(batches_of_operations) {
    const auto [listener, context, server, client] = seated();

    hostlane::submissions operations;
    const std::string first = "first";
    const std::string second = "second";
    operations.request(client, first, soon).request(client, second, soon).send(client, 2, "one-way", soon);
    auto events = context.submit(operations).value();
    CHECK_EQ(events.size(), 3);
    CHECK(events[0].pending() && events[1].pending() && events[2].kind() == HOSTLANE_EVENT_SENT);
    const std::uint64_t ops[] = {events[0].op(), events[1].op()};

    hostlane::batch batch;
    std::vector<hostlane::message> questions;
    std::vector<std::string> answers;
    operations.clear();
    for (std::size_t seen = 0; seen < 3; seen += batch.size()) {
        const auto event = context.recv_batch(server, batch, soon).value();
        CHECK_EQ(event.pending(), batch.empty());
        if (event.pending()) {
            CHECK_EQ(finish(context, 1).at(event.op()).kind(), HOSTLANE_EVENT_READABLE);
            continue;
        }
        for (const auto item : batch) {
            if (item.is_request()) {
                answers.emplace_back("re: " + std::string(item.text()));
                questions.push_back(item.take_message());
            } else {
                CHECK(item.text() == "one-way");
            }
        }
    }
    CHECK_EQ(questions.size(), 2);
    const auto watch = context.call_ended(questions[1], soon).value();
    CHECK(watch.pending());
    operations.reply(server, questions[0], answers[0], soon).fail(server, questions[1], 5, answers[1], soon);
    events = context.submit(operations).value();
    CHECK(events[0].kind() == HOSTLANE_EVENT_SENT && events[1].kind() == HOSTLANE_EVENT_SENT);

    auto finished = finish(context, 3);
    CHECK_EQ(finished.at(watch.op()).kind(), HOSTLANE_EVENT_CALL_ENDED);
    CHECK(finished.at(ops[0]).text() == "re: first");
    const auto error = finished.at(ops[1]).take_error();
    CHECK_STATUS(error.status(), HOSTLANE_E_REMOTE_ERROR);
    CHECK_EQ(error.remote_status(), 5);
    CHECK(std::string(error.data().begin(), error.data().end()) == "re: second");
    CHECK(context.submit(hostlane::submissions()).value().empty());
    operations.clear();
    operations.send(client, 0, "to no channel", soon);
    events = context.submit(operations).value();
    CHECK_STATUS(events[0].status(), HOSTLANE_E_INVALID_CHANNEL);
    CHECK_STATUS(context.send(client, 0, "to no channel", soon).status(), HOSTLANE_E_INVALID_CHANNEL);
    const auto timer = context.timer(10ms).value();
    CHECK_EQ(finish(context, 1).at(timer.op()).kind(), HOSTLANE_EVENT_TIMER);
}

TEST(waiting_for_many) {
    const auto [listener, context, server, client] = seated();
    CHECK(context.recv(server, soon).value().pending() && context.recv(server, soon).value().pending());
    hostlane::submissions operations;
    operations.send(client, 2, "one", soon).send(client, 2, "two", soon);
    const auto sent = context.submit(operations).value();
    CHECK(sent[0].kind() == HOSTLANE_EVENT_SENT && sent[1].kind() == HOSTLANE_EVENT_SENT);
    std::vector<std::uint8_t> buffer(64);
    const hostlane::span<std::uint8_t> room(buffer.data(), buffer.size());
    std::vector<hostlane::event> events;
    std::string texts;
    while (events.size() < 2) {
        const std::size_t before = events.size();
        context.next(events, room, soon).value();
        for (std::size_t at = before; at < events.size(); ++at) {
            texts += events[at].text();
        }
    }
    CHECK(texts == "onetwo");
    CHECK_STATUS(context.next(events, room, hostlane::no_wait).status(), HOSTLANE_E_TIMEOUT);
    CHECK_EQ(events.size(), 2);
}

TEST(a_stream_and_a_buffer) {
    const auto [listener, context, server, client] = seated();
    const auto receiving = context.recv(server, soon).value();
    const auto stream = client.open_stream("open").value();
    auto received = finish(context, 1);
    const auto request = received.at(receiving.op()).take_message();
    const auto served = request.stream().value();

    auto item = context.stream_recv(served, soon).value();
    CHECK(item.pending());
    hostlane::submissions operations;
    operations.stream_send(client, stream, "item", soon).stream_finish(client, stream, soon);
    const auto sent = context.submit(operations).value();
    std::vector<std::uint8_t> buffer(64);
    std::vector<hostlane::event> events;
    pollfd ready{context.fd().value(), POLLIN, 0};
    const std::size_t wanted = 1 + (sent[0].pending() ? 1 : 0) + (sent[1].pending() ? 1 : 0);
    while (events.size() < wanted) {
        CHECK_EQ(poll(&ready, 1, LONG), 1);
        (void)context.process(events, hostlane::span<std::uint8_t>(buffer.data(), buffer.size())).value();
    }
    bool seen = false;
    for (auto &event : events) {
        if (event.op() == item.op()) {
            CHECK_EQ(event.kind(), HOSTLANE_EVENT_ITEM);
            CHECK(event.text() == "item" && event.data().data() == buffer.data());
            CHECK(event.take_message().get() == nullptr);
            seen = true;
        }
    }
    CHECK(seen);
    item = context.stream_recv(served, soon).value();
    if (item.pending()) {
        item = std::move(finish(context, 1).at(item.op()));
    }
    CHECK_EQ(item.kind(), HOSTLANE_EVENT_STREAM_END);
    const auto end = context.stream_recv(stream, soon).value();
    const auto replied = context.reply(request, "total", soon).value();
    auto finished = finish(context, replied.pending() ? 2 : 1);
    CHECK_EQ(finished.at(end.op()).kind(), HOSTLANE_EVENT_STREAM_END);
    CHECK(finished.at(end.op()).text() == "total");
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

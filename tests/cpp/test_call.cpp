// Calls of wire level 1 as C++ objects.

#include "lane.hpp"

#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {
// One more call works: the connection goes on.
void goes_on(const pair &pair) {
    auto call = pair.client.start_request("still there?").value();
    pair.server.recv(soon).value().reply("yes", soon).value();
    CHECK(call.wait(soon).value().text() == "yes");
}
} // namespace

TEST(calls_are_answered_out_of_order) {
    pair pair;
    auto first = pair.client.start_request("first").value();
    auto second = pair.client.start_request("second").value();
    const auto one = pair.server.recv(soon).value();
    const auto two = pair.server.recv(soon).value();
    CHECK(one.is_request() && one.text() == "first" && two.text() == "second");
    CHECK(one.call_id() < two.call_id());
    two.reply("2", soon).value();
    one.reply("1", soon).value();
    CHECK(first.wait(soon).value().text() == "1");
    CHECK(second.wait(soon).value().text() == "2");
    CHECK_STATUS(second.wait(soon).status(), HOSTLANE_E_INVALID_HANDLE);
}

TEST(what_goes_along_arrives) {
    pair pair;
    hostlane::call_options options;
    options.deadline = 5s;
    options.idempotency_key = "key-1";
    options.trace = "span";
    options.channel = HOSTLANE_CHANNEL_DATA;
    const auto call = pair.client.start_request("x", options).value();
    const auto message = pair.server.recv(soon).value();
    CHECK(message.idempotency_key() == "key-1" && message.trace() == "span");
    CHECK_EQ(message.channel(), HOSTLANE_CHANNEL_DATA);
    CHECK_EQ(message.flags(), HOSTLANE_MESSAGE_REQUEST | HOSTLANE_MESSAGE_KEY | HOSTLANE_MESSAGE_TRACE);
    CHECK(message.time_left().milliseconds() > 0 && message.time_left().milliseconds() <= 5000);
    hostlane::call_options traced;
    traced.trace = "other";
    pair.client.send("one-way", soon, traced).value();
    const auto plain = pair.server.recv(soon).value();
    CHECK(plain.trace() == "other" && plain.idempotency_key().empty() && !plain.is_request());
    CHECK_EQ(plain.time_left().milliseconds(), HOSTLANE_FOREVER);
    CHECK_STATUS(plain.fail(1).status(), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(a_call_that_is_let_go_is_cancelled) {
    pair pair;
    hostlane::message message;
    {
        const auto call = pair.client.start_request("never mind").value();
        message = pair.server.recv(soon).value();
        CHECK(!message.is_cancelled());
        CHECK_STATUS(message.wait_cancelled(10ms).status(), HOSTLANE_E_TIMEOUT);
    }
    message.wait_cancelled(soon).value();
    CHECK(message.is_cancelled());
    CHECK_STATUS(message.reply("late", soon).status(), HOSTLANE_E_CALL_ENDED);
    goes_on(pair);
}

TEST(failing_carries_a_code_and_data) {
    pair pair;
    auto call = pair.client.start_request("divide by zero").value();
    pair.server.recv(soon).value().fail(42, "no way", soon).value();
    const auto reply = call.wait(soon);
    CHECK_STATUS(reply.status(), HOSTLANE_E_REMOTE_ERROR);
    CHECK_EQ(reply.error().remote_status(), 42);
    CHECK(std::string(reply.error().data().begin(), reply.error().data().end()) == "no way");
    auto abandoned = pair.client.start_request("anybody?").value();
    (void)pair.server.recv(soon).value();
    CHECK_STATUS(abandoned.wait(soon).status(), HOSTLANE_E_CALL_ABANDONED);
}

TEST(calls_nest) {
    pair pair;
    std::thread server([&] {
        const auto message = pair.server.recv(soon).value();
        CHECK(message.time_left().milliseconds() > 0);
        const auto name = pair.server.request("your name?", message.time_left()).value();
        message.reply(name.data(), soon).value();
    });
    std::thread client([&] { pair.client.recv(soon).value().reply("Ada", soon).value(); });
    CHECK(pair.client.request("greet me", soon).value().text() == "Ada");
    server.join();
    client.join();
}

TEST(descriptors_go_along) {
    hostlane::listen_options server;
    hostlane::connect_options client;
    server.fds = client.fds = true;
    pair pair(server, client);
    int ends[2];
    char byte = 0;
    CHECK_EQ(pipe(ends), 0);
    hostlane::call_options options;
    options.fds = {ends[1]};
    pair.client.send("take it", soon, options).value();
    CHECK_EQ(close(ends[1]), 0);
    const auto message = pair.server.recv(soon).value();
    const auto taken = message.take_fds().value();
    CHECK_EQ(taken.size(), 1);
    CHECK_EQ(write(taken[0], "!", 1), 1);
    CHECK_EQ(close(taken[0]), 0);
    CHECK(read(ends[0], &byte, 1) == 1 && byte == '!');
    CHECK(message.take_fds().value().empty());
    CHECK_EQ(close(ends[0]), 0);
}

TEST(a_stream_goes_both_ways) {
    pair pair;
    const auto stream = pair.client.open_stream("open").value();
    const auto request = pair.server.recv(soon).value();
    CHECK_EQ(request.flags(), HOSTLANE_MESSAGE_REQUEST | HOSTLANE_MESSAGE_STREAM);
    const auto served = request.stream().value();
    CHECK_EQ(stream.call_id().value(), request.call_id());
    for (int at = 0; at < 100; ++at) {
        stream.send(std::to_string(at), soon).value();
    }
    stream.finish(soon).value();
    for (int at = 0; at < 100; ++at) {
        CHECK(served.recv(soon).value().value().text() == std::to_string(at));
    }
    CHECK(!served.recv(soon).value());
    served.send("echo", soon).value();
    CHECK(!stream.reply().value());
    request.reply("100 items", soon).value();
    CHECK(stream.recv(soon).value().value().text() == "echo");
    CHECK(!stream.recv(soon).value());
    CHECK(stream.reply().value().value().text() == "100 items");
    CHECK_STATUS(stream.send("late", soon).status(), HOSTLANE_E_CALL_ENDED);
    CHECK_STATUS(pair.server.recv(hostlane::no_wait).status(), HOSTLANE_E_TIMEOUT);
}

TEST(a_stream_without_a_reader_waits_for_credit) {
    pair pair;
    auto stream = pair.client.open_stream("open").value();
    const auto request = pair.server.recv(soon).value();
    const std::string item(65536, 'x');
    int sent = 0;
    while (stream.send(item, 100ms)) {
        CHECK(++sent < 64);
    }
    const auto served = request.stream().value();
    for (int at = 0; at < sent; ++at) {
        CHECK_EQ(served.recv(soon).value()->data().size(), item.size());
    }
    stream.send("credit came back", soon).value();
    CHECK(served.recv(soon).value()->text() == "credit came back");
    stream = hostlane::stream();
    request.wait_cancelled(soon).value();
}

TEST(batches) {
    pair pair;
    const std::vector<std::string> texts = {"one", "", "a message of twenty.", "four"};
    pair.client.send_batch(2, texts, soon).value();
    auto call = pair.client.start_request("call").value();
    hostlane::batch batch(3, 10);
    std::vector<std::string> got;
    while (got.size() < 5) {
        pair.server.recv_batch(batch, soon).value();
        CHECK(!batch.empty() && batch.size() <= 3);
        for (const auto item : batch) {
            got.emplace_back(item.text());
            CHECK_EQ(item.data().size(), item.text().size());
            CHECK_EQ(item.is_request(), item.channel() == HOSTLANE_CHANNEL_COMMAND);
            if (item.is_request()) {
                CHECK(item.call_id() != 0);
                item.reply("reply", soon).value();
            }
        }
    }
    CHECK(got[0] == "one" && got[1].empty() && got[2] == texts[2] && got[3] == "four" && got[4] == "call");
    CHECK(call.wait(soon).value().text() == "reply");
    CHECK_STATUS(pair.server.recv_batch(batch, hostlane::no_wait).status(), HOSTLANE_E_TIMEOUT);
    CHECK(batch.empty());
    auto kept = pair.client.start_request("kept").value();
    auto dropped = pair.client.start_request("dropped").value();
    hostlane::message later;
    for (int seen = 0; seen < 2;) {
        pair.server.recv_batch(batch, soon).value();
        for (const auto item : batch) {
            ++seen;
            if (item.text() == "kept") {
                later = item.take_message();
            }
        }
    }
    batch.clear();
    CHECK_STATUS(dropped.wait(soon).status(), HOSTLANE_E_CALL_ABANDONED);
    later.reply("still", soon).value();
    CHECK(kept.wait(soon).value().text() == "still");
}

TEST(a_cork_holds_back) {
    pair pair;
    {
        const auto cork = pair.client.cork().value();
        pair.client.send(2, "held", soon).value();
        CHECK_STATUS(pair.server.recv(20ms).status(), HOSTLANE_E_TIMEOUT);
    }
    CHECK(pair.server.recv(soon).value().text() == "held");
    CHECK_STATUS(hostlane::peer().cork().status(), HOSTLANE_E_INVALID_HANDLE);
}

TEST(policies_and_counters) {
    hostlane::listen_options server;
    hostlane::connect_options client;
    client.policies = {{HOSTLANE_POLICY_LATEST, 2}, {HOSTLANE_POLICY_ERROR, 4}};
    pair pair(server, client);
    pair.server.attach().value();
    const std::string piece(65536, 'x');
    for (int at = 0; at < 200; ++at) {
        pair.client.send(2, piece, soon).value();
    }
    const auto stats = pair.client.stats_on(2).value();
    CHECK(stats.dropped > 0 && stats.send_queued <= 1);
    hostlane_status_t status = HOSTLANE_OK;
    for (int at = 0; at < 200 && status == HOSTLANE_OK; ++at) {
        status = pair.client.send(4, piece, soon).status();
    }
    CHECK_STATUS(status, HOSTLANE_E_WOULD_BLOCK);
}

TEST(a_secret_and_a_level) {
    hostlane::listen_options server;
    hostlane::connect_options client;
    server.secret = client.secret = "the same";
    server.level = HOSTLANE_LEVEL_ONE;
    server.max_calls = 2;
    server.spin_us = HOSTLANE_SPIN_OFF;
    {
        pair pair(server, client);
        CHECK_EQ(pair.client.info().value().level, 1);
        goes_on(pair);
    }
    hostlane::connect_options old;
    old.level = HOSTLANE_LEVEL_ZERO;
    pair pair({}, old);
    goes_on(pair);
    CHECK_STATUS(pair.client.open_stream("x").status(), HOSTLANE_E_UNSUPPORTED);
    hostlane::call_options options;
    options.idempotency_key = "k";
    CHECK_STATUS(pair.client.request("x", soon, options).status(), HOSTLANE_E_UNSUPPORTED);
    const auto call = pair.client.start_request("x").value();
    CHECK_STATUS(pair.server.recv(soon).value().fail(1).status(), HOSTLANE_E_UNSUPPORTED);
    client.secret = "";
    CHECK_STATUS(hostlane::peer::connect(lane_path("lane"), soon, client).status(), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(a_stopped_process_is_noticed) {
    const std::string path = lane_path("stopped"); // before the fork, so that both have the same
    int ready[2];
    char byte = 0;
    CHECK_EQ(pipe(ready), 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(ready[1]);
        if (read(ready[0], &byte, 1) == 1) {
            const auto peer = hostlane::peer::connect(path, soon).value();
            (void)peer.recv(soon);
        }
        _exit(1);
    }
    hostlane::listen_options options;
    options.keepalive = 400ms; // a slow machine answers within two of it
    const auto listener = hostlane::listener::listen(path, options).value();
    CHECK_EQ(write(ready[1], "!", 1), 1);
    const auto peer = listener.accept(soon).value();
    CHECK_EQ(kill(child, SIGSTOP), 0);
    CHECK_STATUS(peer.recv(soon).status(), HOSTLANE_E_PEER_UNRESPONSIVE);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, nullptr, 0), child);
    close(ready[0]);
    close(ready[1]);
}

TEST(drain_lets_calls_finish) {
    pair pair;
    auto call = pair.client.start_request("before").value();
    const auto message = pair.server.recv(soon).value();
    std::thread drain([&] { pair.client.drain(soon).value(); });
    lane_wait_pending(pair.client.get(), 2);
    CHECK_STATUS(pair.server.recv(50ms).status(), HOSTLANE_E_TIMEOUT);
    CHECK_STATUS(pair.server.request("new", soon).status(), HOSTLANE_E_DRAINING);
    message.reply("done", soon).value();
    CHECK(call.wait(soon).value().text() == "done");
    CHECK_STATUS(pair.server.recv(soon).status(), HOSTLANE_E_PEER_CLOSED);
    drain.join();
}

int main(int argc, char **argv) { return check_main(argc, argv); }

// Connections, listeners and messages as C++ objects.

#include "lane.hpp"

#include <atomic>
#include <unistd.h>

using namespace std::chrono_literals;

TEST(messages_cross) {
    pair pair;
    std::string every;
    for (int byte = 0; byte < 256; ++byte) {
        every.push_back(static_cast<char>(byte));
    }
    pair.client.send(HOSTLANE_CHANNEL_DATA, every, soon).value();
    pair.client.send(HOSTLANE_CHANNEL_TELEMETRY, {}, soon).value();
    const auto empty = pair.server.recv_on(HOSTLANE_CHANNEL_TELEMETRY, soon).value();
    const auto full = pair.server.recv(soon).value();
    CHECK(empty.data().empty() && empty.channel() == HOSTLANE_CHANNEL_TELEMETRY);
    CHECK(full.text() == every && full.channel() == HOSTLANE_CHANNEL_DATA);
    std::size_t count = 0;
    for (const std::uint8_t byte : full.data()) {
        CHECK_EQ(byte, count++);
    }
    CHECK_EQ(full.data()[255], 255);
}

TEST(a_request_gets_its_reply) {
    pair pair;
    const echo echo(pair.server);
    for (int round = 0; round < 50; ++round) {
        const std::string question = std::to_string(round);
        CHECK(pair.client.request(question, soon).value().text() == question);
    }
    CHECK(pair.client.ping(soon).value() > 0ns);
    pair.client.drain(soon).value();
}

TEST(errors_are_values) {
    hostlane::listen_options small;
    small.max_message = 10;
    hostlane::connect_options same;
    same.max_message = 10;
    pair pair(small, same);
    CHECK_STATUS(pair.client.send(2, "12345678901").status(), HOSTLANE_E_PAYLOAD_TOO_LARGE);
    CHECK_STATUS(pair.client.send(0, "x").status(), HOSTLANE_E_INVALID_CHANNEL);
    CHECK_STATUS(pair.client.send(300, "x").status(), HOSTLANE_E_INVALID_CHANNEL);
    CHECK_STATUS(pair.client.recv(hostlane::no_wait).status(), HOSTLANE_E_TIMEOUT);
    CHECK_STATUS(hostlane::peer::connect("\xFF").status(), HOSTLANE_E_INVALID_UTF8);
    CHECK_STATUS(hostlane::peer::connect("two words").status(), HOSTLANE_E_INVALID_ADDRESS);
    CHECK_STATUS(hostlane::peer().send(2, "x").status(), HOSTLANE_E_INVALID_HANDLE);
    CHECK_STATUS(hostlane::listener().accept().status(), HOSTLANE_E_INVALID_HANDLE);
    CHECK_STATUS(hostlane::message().reply("x").status(), HOSTLANE_E_INVALID_ARGUMENT);
    const auto lost = pair.client.request("x", 20ms);
    CHECK_STATUS(lost.status(), HOSTLANE_E_TIMEOUT);
    CHECK(lost.error().may_have_been_sent());
}

TEST(destruction_closes) {
    pair pair;
    {
        const hostlane::peer gone = std::move(pair.client);
        CHECK_STATUS(pair.client.send(2, "x").status(), HOSTLANE_E_INVALID_HANDLE);
        gone.send(2, "last", soon).value();
    }
    CHECK(pair.server.recv(soon).value().text() == "last");
    CHECK_STATUS(pair.server.recv(soon).status(), HOSTLANE_E_PEER_CLOSED);
}

TEST(assignment_closes_what_was_there) {
    pair pair;
    const hostlane_peer_t raw = pair.client.get();
    pair.client = hostlane::peer();
    CHECK_STATUS(hostlane_close(raw, nullptr), HOSTLANE_E_CLOSED);
    hostlane::peer &same = pair.server;
    pair.server = std::move(same);
    CHECK(pair.server.info().has_value());
}

TEST(release_gives_up_ownership) {
    pair pair;
    const hostlane_peer_t raw = pair.client.release();
    pair.client.close();
    CHECK_OK(hostlane_send(raw, 2, "mine", 4, LONG, nullptr));
    hostlane::message message = pair.server.recv(soon).value();
    hostlane_message_t *released = message.release();
    CHECK(message.get() == nullptr && message.data().empty());
    hostlane_message_free(&released);
    CHECK_OK(hostlane_close(raw, nullptr));
}

TEST(close_wakes_another_thread) {
    pair pair;
    hostlane_status_t received = HOSTLANE_OK;
    hostlane_status_t accepted = HOSTLANE_OK;
    std::thread recv([&] { received = pair.client.recv().status(); });
    std::thread accept([&] { accepted = pair.listener.accept().status(); });
    lane_wait_pending(pair.client.get(), 1);
    pair.client.close();
    pair.listener.close();
    recv.join();
    accept.join();
    CHECK_STATUS(received, HOSTLANE_E_CLOSED);
    CHECK_STATUS(accepted, HOSTLANE_E_CLOSED);
    pair.client.close();
    pair.listener.close();
    CHECK_STATUS(pair.client.send(2, "x").status(), HOSTLANE_E_CLOSED);
}

TEST(a_cork_that_was_closed_ends_no_other) {
    pair lane;
    auto outer = lane.client.cork().value();
    {
        auto inner = lane.client.cork().value();
        inner.close();
        inner.close();
    }
    lane.client.send(2, "held", soon).value();
    CHECK_STATUS(lane.server.recv(hostlane::no_wait).status(), HOSTLANE_E_TIMEOUT);
    outer.close();
    CHECK(lane.server.recv(soon).value().text() == "held");
}

TEST(a_payload_that_was_taken_out_is_not_there) {
    pair lane;
    hostlane::batch batch(4, 4);
    lane.client.send(2, "too long", soon).value();
    lane.server.recv_batch(batch, soon).value();
    CHECK_EQ(batch.size(), 1);
    CHECK(batch[0].text() == "too long");
    const auto message = batch[0].take_message();
    CHECK(message.text() == "too long");
    CHECK(batch[0].text().empty() && batch[0].data().empty());
}

TEST(facts_and_counters) {
    pair pair;
    const std::string address = std::string("unix:") + lane_path("lane");
    CHECK(pair.listener.address().value() == address);
    CHECK(pair.client.address().value() == address);
    CHECK_EQ(pair.client.info().value().uid, getuid());
    pair.client.send(2, "12345", soon).value();
    CHECK_EQ(pair.client.stats().value().bytes_sent, 5);
    CHECK_EQ(pair.listener.stats().value().accepted, 1);
    CHECK(pair.listener.refusals().value().empty());
}

TEST(options_reach_the_other_side) {
    hostlane::listen_options server;
    server.auth_token = "right";
    server.channels = {1, 2, 300};
    server.handshake_timeout = 2s;
    server.allow_uids = {static_cast<std::uint32_t>(getuid())};
    server.backlog = 4;
    hostlane::connect_options client;
    client.auth_token = "right";
    client.channels = {300, 1};
    pair pair(server, client);
    pair.client.send(300, "own channel", soon).value();
    CHECK(pair.server.recv(soon).value().text() == "own channel");
    CHECK_STATUS(pair.client.send(2, "x").status(), HOSTLANE_E_INVALID_CHANNEL);

    hostlane_status_t refused = HOSTLANE_OK;
    const std::string address = lane_path("lane");
    std::thread stranger([&] { refused = hostlane::peer::connect(address, soon).status(); });
    while (pair.listener.stats().value().refused == 0) {
        CHECK_STATUS(pair.listener.accept(5ms).status(), HOSTLANE_E_TIMEOUT);
    }
    stranger.join();
    CHECK_STATUS(refused, HOSTLANE_E_AUTHENTICATION_FAILED);
    const auto refusals = pair.listener.refusals().value();
    CHECK_EQ(refusals.size(), 1);
    CHECK_STATUS(refusals[0].status, HOSTLANE_E_AUTHENTICATION_FAILED);
}

TEST(an_empty_secret_is_refused) {
    const std::string address = lane_path("secret");
    hostlane::listen_options server;
    server.auth_token = "";
    CHECK_STATUS(hostlane::listener::listen(address, server).status(), HOSTLANE_E_INVALID_ARGUMENT);
    server.auth_token.reset();
    const auto listener = hostlane::listener::listen(address, server).value();
    hostlane::connect_options client;
    client.auth_token = std::string();
    CHECK_STATUS(hostlane::peer::connect(address, soon, client).status(), HOSTLANE_E_INVALID_ARGUMENT);
    const auto context = hostlane::context::create().value();
    CHECK_STATUS(context.connect(address, soon, client).status(), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(an_empty_list_of_users_admits_nobody) {
    const std::string address = lane_path("users");
    hostlane::listen_options server;
    server.allow_uids.emplace();
    const auto closed = hostlane::listener::listen(address, server).value();
    hostlane_status_t refused = HOSTLANE_OK;
    std::thread stranger([&] { refused = hostlane::peer::connect(address, soon).status(); });
    while (closed.stats().value().refused == 0) {
        CHECK_STATUS(closed.accept(5ms).status(), HOSTLANE_E_TIMEOUT);
    }
    stranger.join();
    CHECK_STATUS(refused, HOSTLANE_E_PERMISSION_DENIED);

    const std::string open = lane_path("open");
    const auto listener = hostlane::listener::listen(open).value();
    hostlane::connect_options client;
    client.allow_uids.emplace();
    CHECK_STATUS(hostlane::peer::connect(open, soon, client).status(), HOSTLANE_E_PERMISSION_DENIED);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

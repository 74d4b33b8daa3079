// Links and the log as C++ objects.

#include "lane.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>

using namespace std::chrono_literals;

namespace {
// A thread that answers with its name and what was asked, until the link is closed.
class serving {
public:
    serving(const hostlane::link &link, std::string name)
        : link_(link), thread_([&link, name = std::move(name)] {
              const auto end = link.serve([&](hostlane::message &message) {
                  if (message.text() == "fail") {
                      link.fail(message, 9, "as asked").value();
                  } else if (message.is_request()) {
                      link.reply(message, name + ": " + std::string(message.text())).value();
                  }
              });
              CHECK_STATUS(end.status(), HOSTLANE_E_CLOSED);
          }) {}
    ~serving() {
        link_.close();
        thread_.join();
    }

private:
    const hostlane::link &link_;
    std::thread thread_;
};

// What makes this program the other side of a link at that address.
constexpr const char *partner = "HOSTLANE_TEST_PARTNER";

int serve_as_partner(const char *address) {
    const auto link = hostlane::link::open(address).value();
    const auto end = link.serve([&](hostlane::message &message) {
        if (message.text() == "die") {
            _exit(3);
        }
        link.reply(message, "other: " + std::string(message.text())).value();
    });
    return end.status();
}

// This program again, as the partner, until it is killed.
class process {
public:
    explicit process(const std::string &address) {
        std::string setting = std::string(partner) + "=" + address;
        std::string name = "partner";
        char self[256] = {}; // not /proc/self/exe itself: under valgrind that is valgrind
        CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
        char *const arguments[] = {name.data(), nullptr};
        char *const environment[] = {setting.data(), nullptr};
        pid_ = fork();
        CHECK(pid_ >= 0);
        if (pid_ == 0) {
            alarm(50);
            execve(self, arguments, environment);
            _exit(127);
        }
    }
    ~process() { kill(); }
    void kill() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            waitpid(pid_, nullptr, 0);
            pid_ = 0;
        }
    }

private:
    pid_t pid_;
};
} // namespace

TEST(calls_go_both_ways) {
    const std::string address = lane_path("link");
    const auto a = hostlane::link::open(address).value();
    const auto b = hostlane::link::open(address).value();
    {
        const serving of_a(a, "a");
        const serving of_b(b, "b");
        CHECK(a.request("hello", soon).value().text() == "b: hello");
        CHECK(b.request("hello", soon).value().text() == "a: hello");
        CHECK(a.is_serving().value() == true);
        CHECK(b.is_serving().value() == false);
        const auto failed = a.request("fail", soon);
        CHECK_STATUS(failed.status(), HOSTLANE_E_REMOTE_ERROR);
        CHECK_EQ(failed.error().remote_status(), 9);
        CHECK_OK(a.send("one way").status());
        CHECK_EQ(a.info().value().level, 1);
        CHECK_EQ(a.info().value().max_calls, 1024);
        CHECK_EQ(a.stats().value().calls, 2);
        CHECK_EQ(a.stats_on(HOSTLANE_CHANNEL_DATA).value().messages_sent, 1);
    }
    CHECK_STATUS(a.next(soon).status(), HOSTLANE_E_CLOSED);
    CHECK_STATUS(a.request("?", soon).status(), HOSTLANE_E_CLOSED);
    CHECK_STATUS(a.is_serving().status(), HOSTLANE_E_CLOSED);
}

TEST(what_a_handler_throws_fails_the_call_and_leaves_serve) {
    const std::string address = lane_path("link");
    const auto a = hostlane::link::open(address).value();
    const auto b = hostlane::link::open(address).value();
    int thrown = 0;
    std::thread serving([&] {
        for (;;) {
            try {
                const auto end = b.serve([&](hostlane::message &message) {
                    if (message.text() == "throw") {
                        throw std::runtime_error("on purpose");
                    }
                    if (message.text() == "no exception") {
                        throw 5;
                    }
                    if (message.text() == "answered") {
                        b.reply(message, "before").value();
                        throw std::runtime_error("too late");
                    }
                    static_cast<void>(b.request("pass it on", soon).value());
                });
                CHECK_STATUS(end.status(), HOSTLANE_E_CLOSED);
                return;
            } catch (const std::exception &) {
                ++thrown;
            } catch (int) {
                ++thrown;
            }
        }
    });
    std::thread other([&] {
        const auto end = a.serve([&](hostlane::message &message) { a.fail(message, 9, "as asked").value(); });
        CHECK_STATUS(end.status(), HOSTLANE_E_CLOSED);
    });
    const auto text = [](const hostlane::error &error) {
        return std::string(error.data().begin(), error.data().end());
    };
    const auto failed = a.request("throw", soon);
    CHECK_STATUS(failed.status(), HOSTLANE_E_REMOTE_ERROR);
    CHECK_EQ(failed.error().remote_status(), HOSTLANE_HANDLER_FAILED);
    CHECK(text(failed.error()) == "on purpose");
    const auto strange = a.request("no exception", soon);
    CHECK_EQ(strange.error().remote_status(), HOSTLANE_HANDLER_FAILED);
    const auto passed = a.request("pass it on", soon);
    CHECK_EQ(passed.error().remote_status(), 9);
    CHECK(text(passed.error()) == "as asked");
    CHECK(a.request("answered", soon).value().text() == "before");
    // Its exception has left once the next call is served.
    CHECK_EQ(a.request("throw", soon).error().remote_status(), HOSTLANE_HANDLER_FAILED);
    a.close();
    b.close();
    serving.join();
    other.join();
    CHECK_EQ(thrown, 5);
}

TEST(the_survivor_serves_and_the_next_joins) {
    const std::string address = lane_path("link");
    const auto link = hostlane::link::open(address).value();
    const serving this_side(link, "this");
    auto other = std::make_unique<process>(address);
    CHECK(link.request("hello", soon).value().text() == "other: hello");
    const auto lost = link.request("die", soon);
    CHECK_STATUS(lost.status(), HOSTLANE_E_CONNECTION_LOST);
    CHECK(lost.error().may_have_been_sent());
    // Made while nobody is there.
    other = std::make_unique<process>(address);
    CHECK(link.request("again", soon).value().text() == "other: again");
    other->kill();
    CHECK(link.is_serving().value() == true);
}

TEST(options_and_ends) {
    const std::string missing = lane_path("missing/link");
    hostlane::link_options options;
    options.retries = 1;
    options.delay = 2ms;
    options.max_delay = 3ms;
    const auto link = hostlane::link::open(missing, options).value();
    CHECK_STATUS(link.next(soon).status(), HOSTLANE_E_NOT_FOUND);
    CHECK_STATUS(link.next(soon).status(), HOSTLANE_E_NOT_FOUND);
    CHECK(link.is_serving().value() == std::nullopt);
    options.retries = 0;
    CHECK_STATUS(hostlane::link::open(missing, options).status(), HOSTLANE_E_NOT_FOUND);
    options.max_delay = 1ms;
    CHECK_STATUS(hostlane::link::open(missing, options).status(), HOSTLANE_E_INVALID_ARGUMENT);
    options = {};
    options.connect.level = HOSTLANE_LEVEL_ZERO;
    CHECK_STATUS(hostlane::link::open(missing, options).status(), HOSTLANE_E_INVALID_ARGUMENT);
    CHECK_STATUS(hostlane::link::open("stdio:").status(), HOSTLANE_E_UNSUPPORTED);
    CHECK_STATUS(hostlane::link().next(soon).status(), HOSTLANE_E_INVALID_HANDLE);

    const std::string address = lane_path("link");
    options = {};
    options.reconnect = false;
    const auto once = hostlane::link::open(address, options).value();
    {
        const auto other = hostlane::link::open(address).value();
        std::thread drives([&] { static_cast<void>(other.next(soon)); });
        CHECK_EQ(once.next(soon).value().kind(), HOSTLANE_EVENT_LINK_UP);
        drives.join();
    }
    auto down = once.next(soon).value();
    CHECK_EQ(down.kind(), HOSTLANE_EVENT_LINK_DOWN);
    CHECK_STATUS(down.take_error().status(), HOSTLANE_E_PEER_CLOSED);
    CHECK_STATUS(once.next(soon).status(), HOSTLANE_E_PEER_CLOSED);
}

TEST(a_poll_loop) {
    const std::string address = lane_path("link");
    const auto a = hostlane::link::open(address).value();
    const auto b = hostlane::link::open(address).value();
    const std::uint64_t call = b.start("question", soon).value();
    const std::uint64_t lost = b.start("lost", soon).value();
    pollfd ready[] = {{a.fd().value(), POLLIN, 0}, {b.fd().value(), POLLIN, 0}};
    std::string answer;
    std::uint64_t watched = 0;
    hostlane::message kept;
    for (bool ended = false; !ended || answer.empty();) {
        CHECK(poll(ready, 2, LONG) > 0);
        std::vector<hostlane::event> events;
        while (a.process(events).value()) {
        }
        for (auto &event : events) {
            if (event.kind() == HOSTLANE_EVENT_MESSAGE && event.text() == "question") {
                CHECK_OK(a.reply(event.take_message(), "answer").status());
            } else if (event.kind() == HOSTLANE_EVENT_MESSAGE) {
                kept = event.take_message();
                watched = a.call_ended(kept).value();
                CHECK_OK(b.cancel(lost).status());
            }
            ended = ended || (event.kind() == HOSTLANE_EVENT_CALL_ENDED && event.op() == watched);
        }
        std::vector<hostlane::event> results;
        bool waiting = false;
        while (b.turn(results, waiting).value()) {
        }
        for (const auto &event : results) {
            if (event.op() == call) {
                CHECK_EQ(event.kind(), HOSTLANE_EVENT_REPLY);
                answer = event.text();
            } else {
                CHECK_EQ(event.op(), lost);
                CHECK_STATUS(event.status(), HOSTLANE_E_CANCELLED);
            }
        }
    }
    CHECK(answer == "answer");
    std::vector<hostlane::event> events;
    CHECK(!b.take_events(events).value());
    CHECK_EQ(events.size(), 1);
    CHECK_EQ(events[0].kind(), HOSTLANE_EVENT_LINK_UP);
    CHECK_STATUS(b.process(events, 0).status(), HOSTLANE_E_INVALID_ARGUMENT);
}

TEST(the_log) {
    std::vector<std::string> names;
    const auto keep = [&](const hostlane::log::event &event) {
        CHECK(event.level == hostlane::log::level::info);
        CHECK(event.time.time_since_epoch() > std::chrono::hours(24 * 365 * 50));
        names.emplace_back(event.name);
    };
    {
        const pair lane;
    }
    CHECK_EQ(hostlane::log::drain(keep).value(), 0);
    CHECK(names.empty());

    CHECK_OK(hostlane::log::enable(hostlane::log::level::info).status());
    CHECK(hostlane::log::enabled() == hostlane::log::level::info);
    {
        const pair lane;
        const auto info = lane.client.info().value();
        const auto address = lane.client.address().value();
        CHECK_EQ(hostlane::log::drain([&](const hostlane::log::event &event) {
                     keep(event);
                     CHECK(event.peer == info.peer_id);
                     CHECK(event.address == address);
                     CHECK_STATUS(event.code, HOSTLANE_OK);
                 }).value(),
                 0);
    }
    CHECK(names == std::vector<std::string>({"connected", "connected"}));
    // What was taken is freed, also when the handler throws.
    try {
        static_cast<void>(hostlane::log::drain([](const auto &) { throw std::runtime_error("handler"); }));
        CHECK(false);
    } catch (const std::runtime_error &) {
    }
    for (int at = 0; at < 300; ++at) {
        const pair lane;
    }
    names.clear();
    CHECK_EQ(hostlane::log::drain([&](const hostlane::log::event &event) { names.emplace_back(event.name); }).value(),
             300 * 4 - 1024);
    CHECK_EQ(names.size(), 1024);
    CHECK_OK(hostlane::log::enable(hostlane::log::level::off).status());
    using hostlane::log::level;
    std::string all;
    for (const auto of : {level::off, level::error, level::warn, level::info, level::debug, static_cast<level>(9)}) {
        all += std::string(hostlane::log::name(of)) + ' ';
    }
    CHECK(all == "off error warn info debug unknown ");
    CHECK_STATUS(hostlane::log::enable(static_cast<hostlane::log::level>(9)).status(), HOSTLANE_E_INVALID_ARGUMENT);
}

int main(int argc, char **argv) {
    const char *address = std::getenv(partner);
    return address != nullptr ? serve_as_partner(address) : check_main(argc, argv);
}

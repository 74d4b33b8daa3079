// Results, errors, and the small value types.

#include "lane.hpp"

#include <array>
#include <memory>

using namespace std::chrono_literals;

TEST(value_throws_the_error) {
    auto peer = hostlane::peer::connect(lane_path("nobody"), soon);
    CHECK(!peer && !peer.has_value());
    CHECK_STATUS(peer.status(), HOSTLANE_E_NOT_FOUND);
    CHECK(peer.error().name() == "not_found");
    CHECK(peer.error().retryable() && !peer.error().may_have_been_sent());
    CHECK(peer.error().message().find(lane_path("nobody")) != std::string::npos);
    bool thrown = false;
    try {
        (void)peer.value();
    } catch (const hostlane::exception &exception) {
        thrown = true;
        CHECK_STATUS(exception.error().status(), HOSTLANE_E_NOT_FOUND);
        CHECK(std::string_view(exception.what()).substr(0, 11) == "not_found: ");
    }
    CHECK(thrown);
}

TEST(a_result_of_nothing) {
    const hostlane::result<void> good;
    CHECK(good && good.status() == HOSTLANE_OK);
    good.value();
    const hostlane::result<void> bad = hostlane::error(HOSTLANE_E_TIMEOUT, nullptr);
    CHECK(!bad && bad.error().name() == "timeout" && bad.error().message().empty());
    bool thrown = false;
    try {
        bad.value();
    } catch (const std::runtime_error &) {
        thrown = true;
    }
    CHECK(thrown);
}

TEST(a_result_moves_its_value_out) {
    hostlane::result<std::unique_ptr<int>> held(std::make_unique<int>(7));
    CHECK(**held == 7 && held->get() != nullptr);
    const std::unique_ptr<int> taken = std::move(held).value();
    CHECK(*taken == 7);
}

TEST(timeouts_round_up) {
    CHECK_EQ(hostlane::timeout(5s).milliseconds(), 5000);
    CHECK_EQ(hostlane::timeout(1ns).milliseconds(), 1);
    CHECK_EQ(hostlane::timeout(1500us).milliseconds(), 2);
    CHECK_EQ(hostlane::timeout(0ms).milliseconds(), HOSTLANE_NO_WAIT);
    CHECK_EQ(hostlane::timeout(-5s).milliseconds(), HOSTLANE_NO_WAIT);
    CHECK_EQ(hostlane::forever.milliseconds(), HOSTLANE_FOREVER);
    CHECK_EQ(hostlane::no_wait.milliseconds(), HOSTLANE_NO_WAIT);
}

TEST(payloads_view_anything_of_bytes) {
    const std::string text = "text";
    const std::vector<std::uint8_t> vector(3);
    const std::array<std::byte, 2> array{};
    CHECK_EQ(hostlane::payload(text).size(), 4);
    CHECK(hostlane::payload(text).data() == text.data());
    CHECK_EQ(hostlane::payload("literal").size(), 7);
    CHECK_EQ(hostlane::payload(std::string_view("a\0b", 3)).size(), 3);
    CHECK_EQ(hostlane::payload(vector).size(), 3);
    CHECK_EQ(hostlane::payload(array).size(), 2);
    CHECK_EQ(hostlane::payload().size(), 0);
    static_assert(!std::is_convertible_v<std::vector<int>, hostlane::payload>, "only bytes are payloads");
}

TEST(owners_only_move) {
    static_assert(!std::is_copy_constructible_v<hostlane::peer> &&
                  std::is_nothrow_move_constructible_v<hostlane::peer>);
    static_assert(!std::is_copy_constructible_v<hostlane::listener> &&
                  std::is_nothrow_move_constructible_v<hostlane::listener>);
    static_assert(!std::is_copy_constructible_v<hostlane::message> &&
                  std::is_nothrow_move_constructible_v<hostlane::message>);
    static_assert(!std::is_copy_constructible_v<hostlane::context> &&
                  std::is_nothrow_move_constructible_v<hostlane::context>);
    static_assert(!std::is_copy_constructible_v<hostlane::event> &&
                  std::is_nothrow_move_constructible_v<hostlane::event>);
    static_assert(std::is_nothrow_destructible_v<hostlane::peer>);
}

int main(int argc, char **argv) { return check_main(argc, argv); }

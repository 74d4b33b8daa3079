// hostlane.hpp stands on its own, and compiles without exceptions and run-time types.
#include <hostlane.hpp>

// Used, so that the templates are made.
hostlane::result<hostlane::message> ask(std::string_view address);
hostlane::result<hostlane::message> ask(std::string_view address) {
    auto peer = hostlane::peer::connect(address);
    if (!peer) {
        return peer.error();
    }
    return peer->request("question").value();
}

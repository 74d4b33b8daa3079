// Options of connecting and listening. Part of hostlane.hpp.

#ifndef HOSTLANE_OPTIONS_HPP
#define HOSTLANE_OPTIONS_HPP

#include <hostlane.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hostlane {

/// What both sides can set; what is left alone has its default.
struct common_options {
    /// Channels to offer or to grant; empty: 1 to 4.
    std::vector<std::uint16_t> channels;
    /// Limit of the whole handshake; zero: five seconds.
    std::chrono::milliseconds handshake_timeout{0};
    /// Shared secret, 1 to 4096 bytes; left alone: none. An empty one is refused, it does not mean none.
    std::optional<std::string> auth_token;
    /// Largest payload to send or accept, in bytes; 0: 16 MiB, which is also the most.
    std::uint64_t max_message = 0;
    /// User ids the other side may run as; left alone (or set to `{}`, which is std::nullopt): for a per-user name this
    /// user and root, elsewhere whoever the file mode of the socket lets in. An empty vector lets nobody in.
    std::optional<std::vector<std::uint32_t>> allow_uids;
    /// Wire levels to agree to: HOSTLANE_LEVEL_AUTO and so on.
    std::int32_t level = HOSTLANE_LEVEL_AUTO;
    /// Secret that both sides prove to each other without sending it; demands wire level 1, mandatory for `tcp:`.
    std::optional<std::string> secret;
    /// Whether messages may carry descriptors, where the other side agrees too.
    bool fds = false;
    /// Pings when nothing arrived for so long, and ends the connection when nothing arrives for twice as long again;
    /// zero: never.
    std::chrono::milliseconds keepalive{0};
    /// Calls of the other side that are served at a time; 0: 1024.
    std::uint64_t max_calls = 0;
    /// What sends do without credit: HOSTLANE_POLICY_BLOCK and so on, by channel.
    std::vector<hostlane_policy_t> policies;
    /// How blocking waits look again before they sleep: HOSTLANE_SPIN_AUTO, HOSTLANE_SPIN_OFF or microseconds.
    std::int64_t spin_us = HOSTLANE_SPIN_AUTO;
};

/// How to connect; what is left alone has its default.
struct connect_options : common_options {
    /// Program and arguments of the address `spawn:`, word for word.
    std::vector<std::string> command;
};

/// How to listen; what is left alone has its default.
struct listen_options : common_options {
    /// Connections the kernel holds before they are accepted; 0: 1024.
    std::uint16_t backlog = 0;
};

namespace detail {
template <typename Raw> void fill(Raw &raw, const common_options &options) noexcept {
    if (!options.channels.empty()) {
        raw.channels = options.channels.data();
        raw.channels_len = options.channels.size();
    }
    raw.handshake_timeout_ms = options.handshake_timeout.count();
    if (options.auth_token) {
        raw.auth_token = options.auth_token->data(); // never NULL, also when empty
        raw.auth_token_len = options.auth_token->size();
    }
    raw.max_message = options.max_message;
    if (options.allow_uids) {
        static constexpr std::uint32_t nobody = 0; // an empty vector may have no data, and NULL would be the default
        raw.allow_uids = options.allow_uids->empty() ? &nobody : options.allow_uids->data();
        raw.allow_uids_len = options.allow_uids->size();
    }
    raw.level = options.level;
    raw.fds = options.fds ? 1 : 0;
    if (options.secret) {
        raw.secret = options.secret->data(); // never NULL, also when empty
        raw.secret_len = options.secret->size();
    }
    raw.keepalive_ms = options.keepalive.count();
    raw.max_calls = options.max_calls;
    raw.policies = options.policies.data();
    raw.policies_len = options.policies.size();
    raw.spin_us = options.spin_us;
}

// The options of connecting as hostlane.h reads them, with the array they point to.
class raw_connect_options {
public:
    explicit raw_connect_options(const connect_options &options) {
        hostlane_connect_options_init(&raw_, sizeof(raw_));
        fill(raw_, options);
        for (const auto &word : options.command) {
            words_.push_back({word.data(), word.size()});
        }
        if (!words_.empty()) {
            raw_.command = words_.data();
            raw_.command_len = words_.size();
        }
    }
    raw_connect_options(const raw_connect_options &) = delete;
    raw_connect_options &operator=(const raw_connect_options &) = delete;

    [[nodiscard]] const hostlane_connect_options_t *get() const noexcept { return &raw_; }

private:
    hostlane_connect_options_t raw_;
    std::vector<hostlane_bytes_t> words_;
};

inline hostlane_listen_options_t raw(const listen_options &options) noexcept {
    hostlane_listen_options_t raw;
    hostlane_listen_options_init(&raw, sizeof(raw));
    fill(raw, options);
    raw.backlog = options.backlog;
    return raw;
}
} // namespace detail

} // namespace hostlane

#endif // HOSTLANE_OPTIONS_HPP

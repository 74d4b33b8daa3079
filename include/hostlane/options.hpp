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

/// How to connect; what is left alone has its default.
struct connect_options {
    /// Channels to offer; empty: 1 to 4.
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
};

/// How to listen; what is left alone has its default.
struct listen_options : connect_options {
    /// Connections the kernel holds before they are accepted; 0: 1024.
    std::uint16_t backlog = 0;
};

namespace detail {
template <typename Raw> void fill(Raw &raw, const connect_options &options) noexcept {
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
}

inline hostlane_connect_options_t raw(const connect_options &options) noexcept {
    hostlane_connect_options_t raw;
    hostlane_connect_options_init(&raw);
    fill(raw, options);
    return raw;
}

inline hostlane_listen_options_t raw(const listen_options &options) noexcept {
    hostlane_listen_options_t raw;
    hostlane_listen_options_init(&raw);
    fill(raw, options);
    raw.backlog = options.backlog;
    return raw;
}
} // namespace detail

} // namespace hostlane

#endif // HOSTLANE_OPTIONS_HPP

// Why a call failed. Part of hostlane.hpp.

#ifndef HOSTLANE_ERROR_HPP
#define HOSTLANE_ERROR_HPP

#include <hostlane.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

namespace hostlane {

/// Why a call failed.
class error {
public:
    /// Takes over and frees what a function of hostlane.h stored in its `err`.
    error(hostlane_status_t status, hostlane_error_t *raw) : status_(status) {
        if (raw != nullptr) {
            const char *text = nullptr;
            std::size_t len = 0;
            hostlane_error_message(raw, &text, &len);
            message_.assign(text, len);
            retryable_ = hostlane_error_retryable(raw);
            may_have_been_sent_ = hostlane_error_sent(raw) != HOSTLANE_SENT_NO;
            remote_status_ = hostlane_error_remote_status(raw);
            const std::uint8_t *data = hostlane_error_data(raw, &len);
            data_.assign(data, data + len);
            hostlane_error_free(&raw);
        }
    }

    /// The number of the error: HOSTLANE_E_TIMEOUT and so on, the same in every language.
    [[nodiscard]] hostlane_status_t status() const noexcept { return status_; }
    /// Its name, such as "timeout".
    [[nodiscard]] std::string_view name() const noexcept { return hostlane_status_name(status_); }
    /// What happened, for people. Never parse it.
    [[nodiscard]] const std::string &message() const noexcept { return message_; }
    /// Whether the same call may succeed later without a change in the program.
    [[nodiscard]] bool retryable() const noexcept { return retryable_; }
    /// Whether what the failed call sent may have reached the other side.
    [[nodiscard]] bool may_have_been_sent() const noexcept { return may_have_been_sent_; }

    /// For HOSTLANE_E_REMOTE_ERROR the code that the program on the other side failed the call with; else 0.
    [[nodiscard]] std::uint32_t remote_status() const noexcept { return remote_status_; }
    /// For HOSTLANE_E_REMOTE_ERROR the bytes that it gave along; else empty.
    [[nodiscard]] const std::vector<std::uint8_t> &data() const noexcept { return data_; }

private:
    hostlane_status_t status_;
    std::uint32_t remote_status_ = 0;
    std::vector<std::uint8_t> data_;
    std::string message_;
    bool retryable_ = false;
    bool may_have_been_sent_ = false;
};

#if defined(__cpp_exceptions)
/// What result::value() throws: the error, as an exception.
class exception : public std::runtime_error {
public:
    explicit exception(hostlane::error error)
        : std::runtime_error(std::string(error.name()) + ": " + error.message()), error_(std::move(error)) {}

    [[nodiscard]] const hostlane::error &error() const noexcept { return error_; }

private:
    hostlane::error error_;
};
#endif

} // namespace hostlane

#endif // HOSTLANE_ERROR_HPP

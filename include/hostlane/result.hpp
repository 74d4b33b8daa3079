// A value or an error, and how the calls of hostlane.h become one. Part of hostlane.hpp.

#ifndef HOSTLANE_RESULT_HPP
#define HOSTLANE_RESULT_HPP

#include "error.hpp"

#include <cstddef>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

namespace hostlane {

namespace detail {
// Without exceptions there is nobody to tell, so a value() that has no value ends the program.
[[noreturn]] inline void raise([[maybe_unused]] const error &error) {
#if defined(__cpp_exceptions)
    throw exception(error);
#else
    std::abort();
#endif
}
} // namespace detail

/// A value or an error.
template <typename T> class [[nodiscard]] result {
public:
    result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    result(hostlane::error error) : state_(std::in_place_index<1>, std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    /// HOSTLANE_OK, or the number of the error.
    [[nodiscard]] hostlane_status_t status() const noexcept { return has_value() ? HOSTLANE_OK : error().status(); }
    /// The error; only when there is one.
    [[nodiscard]] const hostlane::error &error() const noexcept { return *std::get_if<1>(&state_); }

    /// The value; only when there is one.
    [[nodiscard]] T &operator*() & noexcept { return *std::get_if<0>(&state_); }
    [[nodiscard]] const T &operator*() const & noexcept { return *std::get_if<0>(&state_); }
    [[nodiscard]] T &&operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
    [[nodiscard]] T *operator->() noexcept { return std::get_if<0>(&state_); }
    [[nodiscard]] const T *operator->() const noexcept { return std::get_if<0>(&state_); }

    /// The value, or hostlane::exception.
    [[nodiscard]] T &value() & {
        if (!has_value()) {
            detail::raise(error());
        }
        return **this;
    }
    [[nodiscard]] T &&value() && {
        if (!has_value()) {
            detail::raise(error());
        }
        return *std::move(*this);
    }

private:
    std::variant<T, hostlane::error> state_;
};

/// Success or an error.
template <> class [[nodiscard]] result<void> {
public:
    result() noexcept = default;
    result(hostlane::error error) : state_(std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }
    /// HOSTLANE_OK, or the number of the error.
    [[nodiscard]] hostlane_status_t status() const noexcept { return has_value() ? HOSTLANE_OK : error().status(); }
    /// The error; only when there is one.
    [[nodiscard]] const hostlane::error &error() const noexcept { return *std::get_if<1>(&state_); }
    /// Nothing, or hostlane::exception.
    void value() const {
        if (!has_value()) {
            detail::raise(error());
        }
    }

private:
    std::variant<std::monostate, hostlane::error> state_;
};

namespace detail {
// The pattern of every call: the status of `call(&err)`, and the error behind it.
template <typename Call> result<void> run(Call &&call) {
    hostlane_error_t *raw = nullptr;
    const hostlane_status_t status = call(&raw);
    if (status == HOSTLANE_OK) {
        return {};
    }
    return error(status, raw);
}

// The same for a call with one output, which `make` turns into the value.
template <typename Raw, typename Call, typename Make>
auto run(Raw output, Call &&call, Make &&make) -> result<decltype(make(output))> {
    hostlane_error_t *raw = nullptr;
    const hostlane_status_t status = call(&output, &raw);
    if (status == HOSTLANE_OK) {
        return make(output);
    }
    return error(status, raw);
}

// Asks twice: for the length, then for the text.
template <typename Call> result<std::string> text(Call &&call) {
    std::string text;
    std::size_t len = 0;
    const auto asked = run([&](hostlane_error_t **err) { return call(nullptr, std::size_t{0}, &len, err); });
    if (!asked) {
        return asked.error();
    }
    text.resize(len);
    const auto got = run([&](hostlane_error_t **err) { return call(text.data(), text.size(), &len, err); });
    if (!got) {
        return got.error();
    }
    return text;
}
} // namespace detail

} // namespace hostlane

#endif // HOSTLANE_RESULT_HPP

// Owning a handle of hostlane.h. Part of hostlane.hpp.

#ifndef HOSTLANE_OWNER_HPP
#define HOSTLANE_OWNER_HPP

#include <hostlane.h>

#include <utility>

namespace hostlane::detail {

/// What the owners of a handle have in common: they only move, and close when they are destroyed.
template <typename Raw, hostlane_status_t (*Close)(Raw, hostlane_error_t **)> class owner {
public:
    /// Owns nothing; every call gives HOSTLANE_E_INVALID_HANDLE.
    owner() noexcept = default;
    /// Takes over a handle of hostlane.h.
    explicit owner(Raw raw) noexcept : raw_(raw) {}
    owner(owner &&other) noexcept : raw_(other.release()) {}
    owner &operator=(owner &&other) noexcept {
        if (this != &other) {
            close();
            raw_ = other.release();
        }
        return *this;
    }
    ~owner() { close(); }

    /// Closes at once and wakes everybody who waits. Closing again does nothing.
    void close() const noexcept { Close(raw_, nullptr); }

    [[nodiscard]] Raw get() const noexcept { return raw_; }
    /// Gives the handle up; the caller closes it.
    [[nodiscard]] Raw release() noexcept { return std::exchange(raw_, Raw{}); }

protected:
    Raw raw_{};
};

} // namespace hostlane::detail

#endif // HOSTLANE_OWNER_HPP

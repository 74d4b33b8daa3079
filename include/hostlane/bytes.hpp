// What is sent and what is viewed. Part of hostlane.hpp.

#ifndef HOSTLANE_BYTES_HPP
#define HOSTLANE_BYTES_HPP

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

namespace hostlane {

/// A view of `size()` values that somebody else owns.
template <typename T> class span {
public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}

    [[nodiscard]] constexpr T *data() const noexcept { return data_; }
    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
    [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] constexpr T *begin() const noexcept { return data_; }
    [[nodiscard]] constexpr T *end() const noexcept { return data_ + size_; }
    [[nodiscard]] constexpr T &operator[](std::size_t at) const noexcept { return data_[at]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/// The bytes of a message to send, viewed for the call: made from anything contiguous whose elements are bytes, such as
/// string_view, std::string, std::vector<std::uint8_t>, std::array<std::byte, N> or a span.
class payload {
public:
    constexpr payload() noexcept = default;
    constexpr payload(const void *data, std::size_t size) noexcept : data_(data), size_(size) {}
    constexpr payload(const char *text) noexcept : payload(std::string_view(text)) {}

    template <typename Range, typename Element = std::remove_pointer_t<decltype(std::declval<const Range &>().data())>,
              typename = std::enable_if_t<sizeof(Element) == 1 && std::is_trivially_copyable_v<Element>>>
    constexpr payload(const Range &range) noexcept : payload(range.data(), range.size()) {}

    [[nodiscard]] constexpr const void *data() const noexcept { return data_; }
    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

private:
    const void *data_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace hostlane

#endif // HOSTLANE_BYTES_HPP

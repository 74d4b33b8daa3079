// SHA-256 as lower-case hexadecimal.

#pragma once

#include <openssl/evp.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

namespace conformance {

/// The digest of some pieces, one behind the other.
inline std::string digest(std::initializer_list<std::string_view> pieces) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    bool fine = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
    for (const auto piece : pieces) {
        fine = fine && EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1;
    }
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (!fine || EVP_DigestFinal_ex(context.get(), bytes, &length) != 1) {
        std::abort();
    }
    std::string hex;
    for (unsigned at = 0; at < length; at++) {
        char pair[3];
        std::snprintf(pair, sizeof pair, "%02x", bytes[at]);
        hex += pair;
    }
    return hex;
}

} // namespace conformance

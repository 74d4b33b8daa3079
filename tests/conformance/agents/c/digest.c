#include "digest.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

void digest(const piece *pieces, size_t count, char hex[DIGEST]) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        abort();
    }
    for (size_t at = 0; at < count; at++) {
        if (EVP_DigestUpdate(context, pieces[at].data, pieces[at].len) != 1) {
            abort();
        }
    }
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_DigestFinal_ex(context, bytes, &len) != 1 || 2 * len + 1 != DIGEST) {
        abort();
    }
    EVP_MD_CTX_free(context);
    for (size_t at = 0; at < len; at++) {
        snprintf(hex + 2 * at, 3, "%02x", bytes[at]);
    }
}

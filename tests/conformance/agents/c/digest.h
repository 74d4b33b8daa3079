// SHA-256 as lower-case hexadecimal.

#pragma once

#include <stddef.h>

// A part of what is digested.
typedef struct {
    const void *data;
    size_t len;
} piece;

// Its digits, and the zero behind them.
enum { DIGEST = 65 };

void digest(const piece *pieces, size_t count, char hex[DIGEST]);

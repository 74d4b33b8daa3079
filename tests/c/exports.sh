#!/bin/sh
# exports.sh LIBRARY HEADER: the library exports the functions that the header declares, and nothing else.
set -eu
exported=$(nm -D --defined-only "$1" | awk '{ print $3 }' | sort)
declared=$(grep -o 'hostlane_[a-z_]*(' "$2" | tr -d '(' | sort -u)
# Comments of the header name functions with their parentheses too, but only such as it declares.
if [ "$exported" != "$declared" ]; then
    echo "exported and declared differ:"
    printf '%s\n' "$exported" >"${TMPDIR:-/tmp}/exported.$$"
    printf '%s\n' "$declared" | diff "${TMPDIR:-/tmp}/exported.$$" - || true
    rm -f "${TMPDIR:-/tmp}/exported.$$"
    exit 1
fi

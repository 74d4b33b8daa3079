#!/bin/sh
# What cli/README.md shows of links and streams. `hostlane` is in PATH, the working directory is writable.
set -eu

# README-begin
# Two of the same: the first serves, the second connects; here it calls the first, waiting until that is there.
hostlane link ./pair >heard &
hostlane link ./pair --call --data 'hello' --format raw

# Standard input to a server and back, piece by piece.
seq 3 | hostlane stream 'spawn:hostlane echo stdio:' --pieces 4096 --format raw
# README-end

kill -INT "$!"
wait "$!"
grep -q '"text":"hello"' heard

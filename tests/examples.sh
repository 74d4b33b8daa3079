#!/bin/sh
# Runs an example in C or C++: `examples.sh stream PROGRAM`, the same with `link` and `inspect`.
set -eu
kind=$1
program=$2
folder=$(mktemp -d)
children=
trap 'for child in $children; do kill "$child" 2>/dev/null || :; done; rm -rf "$folder"' EXIT

stream() {
    "$program" "$folder/s" >"$folder/told"
    printf '101 so far\n103 so far\n106 so far\nthe sum is 106\n' | diff - "$folder/told"
}

inspect() {
    "$program" "$folder/s" >"$folder/told" 2>"$folder/log"
    printf 'remote_error 42\non level 1, to user %s\n1 calls, 0 open\n1 sent, 1 received\n' "$(id -u)" | diff - "$folder/told"
    grep -q '^info connected peer-1 ' "$folder/log"
    grep -q '^info ended peer-1 ' "$folder/log"
}

# Both read from a pipe that stays open until both were greeted.
link() {
    for name in a b; do
        mkfifo "$folder/$name.in" "$folder/$name.out"
        "$program" "$folder/s" $name <"$folder/$name.in" >"$folder/$name.out" &
        children="$children $!"
    done
    exec 3>"$folder/a.in" 4>"$folder/b.in" 5<"$folder/a.out" 6<"$folder/b.out"
    read -r role_a <&5 && read -r told_a <&5
    read -r role_b <&6 && read -r told_b <&6
    [ "$told_a" = "b got: hello from a" ]
    [ "$told_b" = "a got: hello from b" ]
    case "$role_a $role_b" in
        "serving connected" | "connected serving") ;;
        *) echo "$role_a and $role_b" >&2; exit 1 ;;
    esac
    exec 3>&- 4>&-
    for child in $children; do wait "$child"; done
    children=
}

$kind

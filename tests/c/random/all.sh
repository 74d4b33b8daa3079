#!/bin/sh
# all.sh ACTS HEADER: the random calls know every function that the header declares.
set -eu
declared=$(grep -o 'hostlane_[a-z_]*(' "$2" | tr -d '(' | sort -u)
known=$(sed -n 's/^ *X(\([a-z_]*\), .*/hostlane_\1/p' "$1" | sort -u)
for function in $declared; do
    case " $(echo $known) " in *" $function "*) ;; *) echo "$function is never called"; missing=1 ;; esac
done
test -z "${missing:-}"

#!/bin/sh
# Lends the card of this machine to the farm that sent this script; `farm node invite` prints the line that
# runs it. Nothing happens before its last line has arrived.
set -eu

farm=@FARM@
package=@PACKAGE@
sha256=@SHA256@

fail() {
    printf 'join: %s\n' "$1" >&2
    exit 1
}

is_right() {
    "$1" -I -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2> /dev/null
}

find_python() {
    if [ -n "${FARM_PYTHON:-}" ]; then
        python=$FARM_PYTHON
        is_right "$python" || fail "FARM_PYTHON is $python, which is no Python 3.11 to 3.14: name another one"
        return
    fi
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if is_right "$python"; then
            return
        fi
    done
    found=$(python3 --version 2> /dev/null) || found='no Python'
    fail "this needs Python 3.11 to 3.14 and found $found: install one, and run the line again"
}

fetch() {
    curl @CURL@ --retry 3 --output "$folder/$package" "$farm/join/$package" ||
        fail "the program of a node did not arrive from $farm; the line above says why"
    "$python" -I -c '
import hashlib, sys
with open(sys.argv[1], "rb") as file:
    sys.exit(hashlib.sha256(file.read()).hexdigest() != sys.argv[2])
' "$folder/$package" "$sha256" ||
        fail "what arrived from $farm is not the program that it named: run the line again"
}

main() {
    umask 077
    folder=${FARM_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/shotfarm}
    find_python
    cat << EOF
@SUMMARY@

EOF
    if [ -t 0 ]; then
        printf 'Press Enter to go on, or Ctrl-C to stop. '
        read -r _
    fi
    if ! mkdir -p "$folder" || ! folder=$(CDPATH= cd -- "$folder" && pwd); then
        fail "the folder $folder cannot be made: name another one by FARM_HOME"
    fi
    fetch
    exec "$python" -I -c 'import sys; sys.path.insert(0, sys.argv[1]); import gpu_node.install as it; it.main()' \
        "$folder/$package" "$@"
}

main "$@"

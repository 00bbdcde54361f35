#!/bin/sh
# Installs the packages of system-packages.txt (Debian, Ubuntu; as root) without starting or enabling a DHCP server, and
# pydhcp in an environment of its own, made with $PYTHON. With --optional also the packages of optional-packages.txt, for
# the servers that are measured only when asked for.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
lists=$here/system-packages.txt
if [ "${1:-}" = --optional ]; then lists="$lists $here/optional-packages.txt"; fi
# shellcheck disable=SC2086  # a list of files
wanted() { sed 's/#.*//' $lists; }

# What can't be had is skipped by the benchmark, which says so.
pydhcp=$here/build/pydhcp
if ! "$pydhcp/bin/python" -c 'import pydhcp' 2>/dev/null; then
    echo "setup.sh: installing pydhcp into $pydhcp"
    rm -rf "$pydhcp"
    mkdir -p "$here/build"
    if ! { "${PYTHON:-python3}" -m venv "$pydhcp" &&
        "$pydhcp/bin/pip" install -q --disable-pip-version-check pydhcp==0.9.1; } >"$here/build/pydhcp.log" 2>&1; then
        tail -n 3 "$here/build/pydhcp.log" >&2
        echo "setup.sh: going on without pydhcp" >&2
        rm -rf "$pydhcp"
    fi
fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "setup.sh: needs root and apt-get; install these yourself:" >&2
    wanted >&2
    exit 1
fi

missing=
for package in $(wanted); do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "setup.sh: nothing to install"
    exit 0
fi

apt-get update -qq
# shellcheck disable=SC2086  # a list of words
DEBIAN_FRONTEND=noninteractive "$here/no-services.sh" apt-get install -y -q --no-install-recommends $missing

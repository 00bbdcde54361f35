#!/bin/sh
# Installs the packages of system-packages.txt (Debian, Ubuntu; as root) without starting or enabling a DHCP server.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "setup.sh: needs root and apt-get; install these yourself:" >&2
    grep -v '^#' "$here/system-packages.txt" >&2
    exit 1
fi

missing=
for package in $(grep -v '^#' "$here/system-packages.txt"); do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "setup.sh: nothing to install"
    exit 0
fi

apt-get update -qq
# shellcheck disable=SC2086  # a list of words
DEBIAN_FRONTEND=noninteractive "$here/no-services.sh" apt-get install -y -q --no-install-recommends $missing

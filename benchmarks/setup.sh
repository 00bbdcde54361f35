#!/bin/sh
# Installs the packages of system-packages.txt (Debian, Ubuntu; as root) without starting or enabling a DHCP server.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
policy=/usr/sbin/policy-rc.d
kept=$policy.before-aiodhcp-bench
ours=no

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

running() { ps -e -o pid=,comm= | awk '$2 ~ /^(kea-dhcp4|dhcpd|dnsmasq)$/' | sort; }

restore() {
    if [ "$ours" = yes ]; then
        rm -f "$policy"
        if [ -e "$kept" ]; then mv "$kept" "$policy"; fi
        ours=no
    fi
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# invoke-rc.d and deb-systemd-invoke start nothing while policy-rc.d answers 101. One that says so already may stay.
answer=0
if [ -x "$policy" ]; then "$policy" kea-dhcp4-server start >/dev/null 2>&1 || answer=$?; fi
if [ "$answer" != 101 ]; then
    if [ -e "$policy" ]; then mv "$policy" "$kept"; fi
    ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

before=$(running)
apt-get update -qq
# shellcheck disable=SC2086  # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
restore

# Nor at the next boot, if it was we who brought the server here.
for service in kea-dhcp4-server isc-dhcp-server; do
    case " $missing " in
    *" $service "*) update-rc.d "$service" disable >/dev/null 2>&1 || true ;;
    esac
done

if [ "$(running)" != "$before" ]; then
    echo "setup.sh: a DHCP server is running that was not before:" >&2
    running >&2
    exit 1
fi

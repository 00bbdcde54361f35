#!/bin/sh
# Runs a command, like apt-get install, during which no service is started; and sees to it that no DHCP server that it
# brings starts at the next boot (Debian, Ubuntu; as root).
set -eu

policy=/usr/sbin/policy-rc.d
kept=$policy.before-aiodhcp
services="kea-dhcp4-server isc-dhcp-server coredhcp-server"
ours=no

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]; }
running() { ps -e -o pid=,comm= | awk '$2 ~ /^(kea-dhcp4|dhcpd|dnsmasq|coredhcp)$/' | sort; }

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

new=
for service in $services; do installed "$service" || new="$new $service"; done
before=$(running)
status=0
"$@" || status=$?
restore

for service in $new; do
    if installed "$service"; then
        update-rc.d "$service" disable >/dev/null 2>&1 || true
        deb-systemd-helper disable "$service.service" >/dev/null 2>&1 || true
    fi
done

if [ "$(running)" != "$before" ]; then
    echo "no-services.sh: the DHCP servers that run are not those of before:" >&2
    running >&2
    exit 1
fi
exit "$status"

#!/bin/sh
# Makes sure that etcd and etcdctl are there for tests and measures that need real ones, or says how to get them.
#
#   sh scripts/install_etcd.sh
#
# As root on Debian the packages are installed when missing. Nothing of them starts, now or at the next
# boot: tests start their own on free ports. Whatever cannot be done is said and is no failure here:
# what needs etcd is left out then, and its run says so.
set -eu

cd "$(dirname "$0")/.."
. scripts/apt_packages.sh

packages='etcd-server etcd-client'
policy=/usr/sbin/policy-rc.d
saved=$policy.before-ottla
mark='ottla: nothing starts while etcd is installed'

present() { command -v etcd >/dev/null 2>&1 && command -v etcdctl >/dev/null 2>&1; }

exists() { [ -e "$1" ] || [ -L "$1" ]; }

# Puts back what stood there before, also after a run that was cut off.
restore_policy() {
    if grep -qsF "$mark" "$policy"; then rm -f "$policy"; fi
    if exists "$saved"; then mv -f "$saved" "$policy"; fi
}

# Debian's packages ask this program whether to start what they bring; 101 forbids it.
forbid_starts() {
    restore_policy
    if [ -x "$policy" ]; then
        status=0
        "$policy" etcd start >/dev/null 2>&1 || status=$?
        if [ "$status" = 101 ]; then return; fi
    fi
    trap restore_policy EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if exists "$policy"; then mv "$policy" "$saved"; fi
    printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
}

if present; then exit 0; fi
if ! command -v apt-get >/dev/null 2>&1; then
    say "ottla: etcd is missing; what needs it is left out"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    say "ottla: etcd is missing, what needs it is left out; run: $(install_line "$packages")"
    exit 0
fi

mkdir -p .cache
if command -v flock >/dev/null 2>&1; then
    exec 9>.cache/install-etcd.lock
    flock 9
    if present; then exit 0; fi
fi
forbid_starts
if (install_packages "$packages"); then
    # Else it would start with the machine.
    update-rc.d etcd disable >/dev/null 2>&1 || true
else
    say "ottla: etcd could not be installed; what needs it is left out"
fi

# Debian packages for the scripts that need one: sourced, never run by itself.
#
# Owns waiting for another apt-get, asking no questions, and what people are told who may not install.
# shellcheck shell=sh

say() { printf '%s\n' "$*" >&2; }

fail() { say "ottla: $*"; exit 1; }

# The command that installs $1, the packages.
install_command() { printf 'apt-get install -y --no-install-recommends %s' "$1"; }

# What somebody who is not root runs to have the packages $1.
install_line() { printf 'sudo apt-get update && sudo %s' "$(install_command "$1")"; }

# The lists have a lock of their own, for which apt-get does not wait by itself.
update_package_lists() {
    attempts=0
    until messages=$(LC_ALL=C apt-get -qq update 2>&1); do
        attempts=$((attempts + 1))
        case $messages in
            *"Could not get lock"*) [ "$attempts" -lt 60 ] || fail "apt-get update: $messages" ;;
            *) fail "apt-get update: $messages" ;;
        esac
        sleep 5
    done
}

install_packages() {
    say "Installing $1"
    export DEBIAN_FRONTEND=noninteractive
    update_package_lists
    # shellcheck disable=SC2046 # the words of the command are meant to split
    messages=$($(install_command "$1") -qq -o DPkg::Lock::Timeout=300 </dev/null 2>&1) ||
        fail "$(install_command "$1"): $messages"
}

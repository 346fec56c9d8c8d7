#!/bin/sh
# Makes a virtual environment from a hash-pinned lock, or does nothing when it is up to date.
#
#   sh scripts/setup_venv.sh DIRECTORY LOCK [self]
#
# With `self`, ottla itself is installed editable on top. Works on a machine that has git and make
# alone: python3-venv is installed when missing and we may (root on Debian), else the line to run is
# printed. Nothing unpinned is fetched: every package is a wheel whose hash the lock names; what is
# published as source only (LOCK's `-source` companion) and ottla are built by the tools of that lock.
set -eu

directory=$1
lock=$2
source_lock=${lock%.lock}-source.lock
[ -f "$source_lock" ] || source_lock=
self=${3:-}
cd "$(dirname "$0")/.."
unset PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET || true
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

. scripts/apt_packages.sh

usable() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Prints what an interpreter stands on: an activated environment's is a loan from another, which must
# neither look like a new interpreter nor be the one that wipes the environment it lives in.
base_of() {
    "$1" -c 'import os, sys
base = getattr(sys, "_base_executable", None) or sys.executable
print(base if os.access(base, os.X_OK) else sys.executable)'
}

find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3 python3.13 python3.12 python3.11
    do
        if usable "$candidate"; then
            base=$(base_of "$candidate")
            if usable "$base"; then printf '%s' "$base"; else printf '%s' "$candidate"; fi
            return
        fi
    done
}

install_python() {
    command -v apt-get >/dev/null 2>&1 || fail "needs Python 3.11 or newer with its venv module"
    [ "$(id -u)" = 0 ] || fail "python3-venv is missing; run: $(install_line python3-venv)"
    install_packages python3-venv
}

python=$(find_python)
if [ -z "$python" ]; then
    install_python
    python=$(find_python)
    [ -n "$python" ] || fail "needs Python 3.11 or newer; python3 here is older"
fi

# Two runs at once (`make demo` beside `make test`) must not build the same environment.
mkdir -p .cache
if command -v flock >/dev/null 2>&1; then
    exec 9>".cache/$(basename "$directory").lock"
    flock 9
fi

digest() { cat "$@" | "$python" -c 'import hashlib, sys
print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'; }

stamp="$directory/.ottla-stamp"
version=$("$python" -c 'import os, sys
print(os.path.realpath(sys.executable), sys.version.split()[0])')
packages="packages $(digest "$lock" ${source_lock:+"$source_lock"} scripts/setup_venv.sh) $version $PWD"
project="$self $(digest pyproject.toml)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$packages
$project" ]; then
    exit 0
fi

if [ ! -f "$stamp" ] || [ "$(head -n 1 "$stamp")" != "$packages" ]; then
    say "Setting up $directory from $lock"
    "$python" -m venv --clear "$directory"
    "$directory/bin/python" -m pip install --quiet --no-deps --only-binary :all: \
        --require-hashes --requirement "$lock" </dev/null
    if [ -n "$source_lock" ]; then
        "$directory/bin/python" -m pip install --quiet --no-deps --no-build-isolation \
            --require-hashes --requirement "$source_lock" </dev/null
    fi
fi
rm -f "$stamp"
if [ -n "$self" ]; then
    "$directory/bin/python" -m pip install --quiet --no-deps --no-build-isolation --no-index \
        --editable . </dev/null
    "$directory/bin/python" -m pip check --quiet
fi
printf '%s\n%s\n' "$packages" "$project" >"$stamp"

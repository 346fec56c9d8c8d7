#!/bin/sh
# Resolves pyproject.toml into the hash-pinned files of requirements/, for Python 3.11 and newer.
#
#   sh scripts/lock_requirements.sh [--upgrade]
#
# Run through `make lock`, which provides the pinned resolver. Without --upgrade, versions that
# still fit stay as they are. The locks name versions and hashes, never where they come from.
set -eu
cd "$(dirname "$0")/.."

compile() {
    name=$1
    shift
    "${UV:-.cache/venv-lock/bin/uv}" pip compile --quiet --universal --python-version 3.11 \
        --generate-hashes --no-header --no-annotate --no-emit-index-url "$@" \
        --output-file "requirements/$name.lock"
}

compile lock --group lock ${1:+"$1"}
compile proto --group proto ${1:+"$1"}
compile oldest --group oldest ${1:+"$1"}
compile base pyproject.toml ${1:+"$1"}
compile runtime pyproject.toml --extra cli --extra server --group build ${1:+"$1"}
compile dev pyproject.toml --extra cli --extra server --extra otel --group build --group dev \
    --constraint requirements/runtime.lock --no-emit-package forbiddenfruit ${1:+"$1"}
compile peers pyproject.toml --extra cli --extra server --group build --group peers \
    --constraint requirements/runtime.lock ${1:+"$1"}
# Published as source only: a second step, built by the setuptools of the first.
echo forbiddenfruit | compile dev-source - ${1:+"$1"}

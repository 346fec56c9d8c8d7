#!/bin/sh
# Makes sure that gRPC for C++ is there for the program of clients/cpp, or says how to get it.
#
#   sh scripts/install_cpp_grpc.sh
#
# As root on Debian the packages are installed when missing. Whatever cannot be done is said and is no
# failure here: the run that needs them tells what it ran without.
set -eu

cd "$(dirname "$0")/.."
. scripts/apt_packages.sh

packages='g++ make pkg-config protobuf-compiler-grpc libgrpc++-dev libprotobuf-dev'

present() {
    for name in g++ make pkg-config protoc grpc_cpp_plugin; do
        command -v "$name" >/dev/null 2>&1 || return 1
    done
    pkg-config --exists grpc++ protobuf zlib
}

if present; then exit 0; fi
if ! command -v apt-get >/dev/null 2>&1; then
    say "ottla: gRPC for C++ is missing, its program is left out"
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    say "ottla: gRPC for C++ is missing, its program is left out; run: $(install_line "$packages")"
    exit 0
fi

mkdir -p .cache
if command -v flock >/dev/null 2>&1; then
    exec 9>.cache/install-cpp-grpc.lock
    flock 9
    if present; then exit 0; fi
fi
if ! (install_packages "$packages"); then
    say "ottla: gRPC for C++ could not be installed, its program is left out"
fi

#!/bin/sh
# Generates the stubs of proto/ottla/api into this module, with the plugins that go.mod pins.
set -eu
cd "$(dirname "$0")"
protos=../../proto
module=github.com/ottla/ottla/clients/go
GOBIN=$PWD/bin go install -mod=readonly tool
PATH=$PWD/bin:$PATH "${PROTOC:-protoc}" -I "$protos" \
    --go_out=. --go_opt="module=$module" --go-grpc_out=. --go-grpc_opt="module=$module" \
    "$protos"/ottla/api/*/v1/*.proto

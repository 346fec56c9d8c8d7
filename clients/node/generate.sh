#!/bin/sh
# Generates the stubs of proto/ottla/api, and of the messages that a failed call carries, into stubs/.
# The latter are Google's: GOOGLEAPIS names the folder that has google/rpc/status.proto.
set -eu
cd "$(dirname "$0")"
protos=../../proto
google=${GOOGLEAPIS:-googleapis}
mkdir -p stubs
"${PROTOC:-protoc}" --plugin=node_modules/.bin/protoc-gen-ts_proto -I "$protos" -I "$google" \
    --ts_proto_out=stubs \
    --ts_proto_opt=env=node,outputServices=grpc-js,esModuleInterop=true \
    --ts_proto_opt=oneof=unions-value,forceLong=bigint,useOptionals=messages \
    "$protos"/ottla/api/*/v1/*.proto "$google"/google/rpc/status.proto \
    "$google"/google/rpc/error_details.proto

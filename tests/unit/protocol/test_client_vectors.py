"""The client guide's vectors: what they say is what the product reads, writes and counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict
from google.rpc import status_pb2

from ottla.api.error.v1 import error_pb2
from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.client.core.fetch_wire import parse_response
from ottla.protocol import error_details
from ottla.protocol.errors import FieldError, InvalidRequest, error_class, error_classes
from ottla.protocol.partitioner import murmur2, partition_for_key
from ottla_broker.core.fetch_credit import CreditLedger, Turns
from ottla_broker.rpc.produce_requests import check_terms, parse_request

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors"


def loaded(file: str, section: str) -> list[dict[str, Any]]:
    found = json.loads((VECTORS / f"{file}.json").read_text(encoding="utf-8"))[section]
    assert found
    return list(found)


def named(file: str, section: str, **fields: Any) -> pytest.MarkDecorator:
    """One test a vector, by its name; of those alone that have these values."""
    found = loaded(file, section)
    vectors = [each for each in found if all(each.get(k) == v for k, v in fields.items())]
    assert vectors
    return pytest.mark.parametrize("vector", vectors, ids=[each["name"] for each in vectors])


@pytest.mark.parametrize("vector", loaded("partitioner", "keys"))
def test_key_hashes_and_places_as_listed(vector: dict[str, Any]) -> None:
    key = bytes.fromhex(vector["key_hex"])
    assert murmur2(key) == vector["murmur2"]
    found = {count: partition_for_key(key, int(count)) for count in vector["partitions"]}
    assert found == vector["partitions"]


def test_keys_cover_every_tail_and_both_signs_of_the_hash() -> None:
    keys = loaded("partitioner", "keys")
    assert {len(bytes.fromhex(each["key_hex"])) % 4 for each in keys} == {0, 1, 2, 3}
    assert {each["murmur2"] >> 31 for each in keys} == {0, 1}


# Errors


def test_reasons_listed_are_the_table() -> None:
    numbers = {name: number for name, number in error_pb2.ErrorReason.items() if number}
    listed = loaded("errors", "reasons")
    assert {f"ERROR_REASON_{each['reason']}": each["number"] for each in listed} == numbers
    assert {each["reason"] for each in listed} == set(error_classes()) - {"BUFFER_FULL"}
    for each in listed:
        known = error_class(each["reason"])
        assert (known.status.name, int(known.status)) == (each["status"], each["status_number"])
        assert known.retriable is each["retriable"]
        assert known.refresh_metadata is each["refresh_metadata"]
        assert list(known.metadata_keys) == each["metadata_keys"]


@named("errors", "statuses")
def test_a_failed_call_says_what_the_vector_lists(vector: dict[str, Any]) -> None:
    error = error_details.from_status(bytes.fromhex(vector["status_hex"]))
    if vector["reason"] is None:
        assert error is None
        return
    assert error is not None
    assert (error.reason, int(error.status)) == (vector["reason"], vector["code"])
    assert (error.message, dict(error.metadata)) == (vector["message"], vector["metadata"])
    assert error.retry_after_ms == vector["retry_after_ms"]
    assert [list(each) for each in error.field_errors] == vector["field_errors"]


@pytest.mark.parametrize(
    "vector", [each for each in loaded("errors", "statuses") if each["reason"] in error_classes()]
)
def test_a_listed_status_is_what_servers_send_today(vector: dict[str, Any]) -> None:
    made = error_class(vector["reason"])(
        vector["message"],
        metadata=vector["metadata"],
        retry_after_ms=vector["retry_after_ms"],
        field_errors=[FieldError(*each) for each in vector["field_errors"]],
    )
    sent = status_pb2.Status.FromString(error_details.to_status(made))
    listed = status_pb2.Status.FromString(bytes.fromhex(vector["status_hex"]))
    assert MessageToDict(sent) == MessageToDict(listed)


@named("errors", "items")
def test_an_item_says_what_the_vector_lists(vector: dict[str, Any]) -> None:
    listed = error_pb2.Error.FromString(bytes.fromhex(vector["error_hex"]))
    error = error_details.from_proto(listed)
    assert (error.reason, error.message) == (vector["reason"], vector["message"])
    assert dict(error.metadata) == vector["metadata"]
    assert error.retry_after_ms == vector["retry_after_ms"]
    assert error_details.to_proto(error) == listed


# Credit


@named("credit", "traces")
def test_credit_goes_as_the_trace_says(vector: dict[str, Any]) -> None:
    ledger = CreditLedger()
    turns = Turns(ledger)
    for subscription_id in vector["ready"]:
        turns.add(subscription_id)
    turn = None
    for step in vector["steps"]:
        if "ends_with" in step:
            with pytest.raises(InvalidRequest) as refused:
                ledger.grant(step["grant"])
            assert refused.value.reason == step["ends_with"]
            return
        if "grant" in step:
            ledger.grant(step["grant"])
        else:
            assert step["of"] == turn
            ledger.sent(step["of"], step["message"])
        turn = turns.next(subscription_count=vector["subscription_count"])
        held = {str(each): ledger.held(each) for each in vector["ready"] if ledger.held(each)}
        assert (ledger.balance, held, turn) == (step["balance"], step["held"], step["next"])


# Messages


@pytest.fixture(scope="module")
def plain_types(tmp_path_factory: pytest.TempPathFactory) -> descriptor_pool.DescriptorPool:
    """Types as a protoc compiles them from the proto files, knowing nothing of generated code."""
    compiled = tmp_path_factory.mktemp("protos") / "api.binpb"
    root = ROOT / "proto"
    files = sorted(str(path.relative_to(root)) for path in root.glob("ottla/api/*/v1/*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", "--include_imports"]
    subprocess.run([*command, f"--descriptor_set_out={compiled}", *files], check=True)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file:
        pool.Add(file)
    return pool


@pytest.mark.slow  # one run of protoc for all
@named("messages", "messages")
def test_a_message_says_what_the_vector_lists(
    vector: dict[str, Any], plain_types: descriptor_pool.DescriptorPool
) -> None:
    kind = message_factory.GetMessageClass(plain_types.FindMessageTypeByName(vector["type"]))
    message = kind.FromString(bytes.fromhex(vector["message_hex"]))
    assert MessageToDict(message, preserving_proto_field_name=True) == vector["says"]


@pytest.mark.slow  # as above
@named("batches", "batches")
def test_any_protobuf_library_reads_the_headers_listed(
    vector: dict[str, Any], plain_types: descriptor_pool.DescriptorPool
) -> None:
    name = "ottla.api.record.v1.LogSegment"
    segment = message_factory.GetMessageClass(plain_types.FindMessageTypeByName(name))
    read: Any = segment.FromString(bytes.fromhex(vector["frame_hex"]))
    (batch,) = read.batches
    assert {name: getattr(batch, name) for name in vector["header"]} == vector["header"]
    if vector["codec"] == "none":
        assert len(batch.records) == vector["decompressed_size"]


@named("messages", "messages", type="ottla.api.fetch.v1.FetchResponse")
def test_only_messages_with_batches_take_credit_and_their_whole_size(
    vector: dict[str, Any],
) -> None:
    message = parse_response(bytes.fromhex(vector["message_hex"]))
    assert vector["credit"] == (message.size if len(message.batches) else 0)


@named("messages", "messages", type="ottla.api.produce.v1.ProduceRequest")
def test_a_broker_takes_the_produce_requests_listed(vector: dict[str, Any]) -> None:
    request = parse_request(memoryview(bytes.fromhex(vector["message_hex"])))
    if request.fields.heartbeat:
        assert not request.frames
        return
    terms = check_terms(request)
    assert (len(request.frames), terms.timeout_ms, terms.leader_epoch) == (1, 30_000, 7)
    assert request.fields.acks == produce_pb2.ACKS_ALL


def test_messages_listed_are_of_every_kind_of_the_streams() -> None:
    said: dict[str, set[str]] = {}
    for each in loaded("messages", "messages"):
        said.setdefault(each["type"].rpartition(".")[2], set()).update(each["says"])
    kinds = fetch_pb2.FetchRequest.DESCRIPTOR.oneofs_by_name["kind"].fields
    events = fetch_pb2.FetchResponse.DESCRIPTOR.oneofs_by_name["event"].fields
    assert said["FetchRequest"] == {kind.name for kind in kinds}
    assert {event.name for event in events} | {"batches"} <= said["FetchResponse"]

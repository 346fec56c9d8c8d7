"""What `ottla topics` does: calls of AdminService, and what came of them on stdout.

Owns requests, paging and layout. Results are per topic: those that failed are said on stderr, and
the exit code is the worst of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import grpc

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.error.v1 import error_pb2
from ottla.client.calls import Caller
from ottla.protocol.error_details import from_proto
from ottla_cli.failures import EXIT_OK, UsageFailed, from_platform
from ottla_cli.terminal import Output, print_json, print_table, say

_PAGE_SIZE = 1_000


class _Result(Protocol):
    name: str

    @property
    def error(self) -> error_pb2.Error: ...

    def HasField(self, field_name: Any, /) -> bool: ...  # noqa: N802 - protobuf's name


_Item = TypeVar("_Item", bound=_Result)


def parse_configs(texts: Sequence[str]) -> dict[str, str]:
    """Settings written as `name=value`.

    Raises:
        UsageFailed: one is not of that form, or is given twice.
    """
    configs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageFailed(f"setting {text!r}: write name=value, as retention.ms=86400000")
        if name in configs:
            raise UsageFailed(f"setting {name} is given twice")
        configs[name] = value
    return configs


def new_topics(
    names: Sequence[str],
    *,
    partition_count: int,
    replication_factor: int,
    configs: dict[str, str],
) -> list[admin_pb2.NewTopic]:
    """Topics to create, alike but for their names."""
    return [
        admin_pb2.NewTopic(
            name=name,
            partition_count=partition_count,
            replication_factor=replication_factor,
            configs=configs,
        )
        for name in names
    ]


async def create(
    caller: Caller,
    wanted: Sequence[admin_pb2.NewTopic],
    *,
    if_not_exists: bool,
    validate_only: bool,
    output: Output,
) -> int:
    """Create topics, print what they became, and return the exit code."""
    request = admin_pb2.CreateTopicsRequest(topics=wanted, validate_only=validate_only)
    response = await caller.call(
        lambda channel, timeout: _stub(channel).CreateTopics(request, timeout=timeout)
    )

    def is_fine(error: error_pb2.Error) -> bool:
        return if_not_exists and error.reason == error_pb2.ERROR_REASON_TOPIC_EXISTS

    made, code = _sorted_out(response.results, is_fine=is_fine)
    if output is Output.JSON:
        print_json(
            [
                {
                    "name": each.name,
                    "topic_id": each.topic_id.hex(),
                    "partition_count": each.partition_count,
                    "replication_factor": each.replication_factor,
                }
                for each in made
            ]
        )
    else:
        verb = "Would create" if validate_only else "Created"
        for each in made:
            say(
                f"{verb} {each.name}: {_counted(each.partition_count, 'partition')},"
                f" {_counted(each.replication_factor, 'replica')} each"
            )
    return code


async def list_all(caller: Caller, *, prefix: str, internal: bool, output: Output) -> None:
    """Print every topic, a page at a time."""
    listings: list[admin_pb2.TopicListing] = []
    token = ""
    while True:
        request = admin_pb2.ListTopicsRequest(
            prefix=prefix, include_internal=internal, page_size=_PAGE_SIZE, page_token=token
        )
        page = await caller.call(_list_attempt(request))
        listings += page.topics
        token = page.next_page_token
        if not token:
            break
    if output is Output.JSON:
        print_json(
            [
                {
                    "name": each.name,
                    "topic_id": each.topic_id.hex(),
                    "partition_count": each.partition_count,
                    "replication_factor": each.replication_factor,
                    "internal": each.internal,
                }
                for each in listings
            ]
        )
        return
    rows = [(each.name, each.partition_count, each.replication_factor) for each in listings]
    print_table(["topic", "#partitions", "#replicas"], rows)


async def describe(caller: Caller, names: Sequence[str], *, output: Output) -> int:
    """Print topics with their partitions, and return the exit code."""
    described, code = _sorted_out(await _described(caller, names))
    if output is Output.JSON:
        documents = [_topic_document(each) for each in described]
        if len(names) != 1:
            print_json(documents)
        elif documents:
            print_json(documents[0])
        return code
    for number, each in enumerate(described):
        if number:
            sys.stdout.write("\n")
        _print_topic(each)
    return code


async def delete(caller: Caller, names: Sequence[str], *, output: Output) -> int:
    """Delete topics, and return the exit code."""
    request = admin_pb2.DeleteTopicsRequest(
        topics=[admin_pb2.TopicRef(name=name) for name in names]
    )
    response = await caller.call(
        lambda channel, timeout: _stub(channel).DeleteTopics(request, timeout=timeout)
    )
    gone, code = _sorted_out(response.results)
    if output is Output.JSON:
        print_json([{"name": each.name, "topic_id": each.topic_id.hex()} for each in gone])
    else:
        for each in gone:
            say(f"Deleted {each.name}")
    return code


async def _described(caller: Caller, names: Sequence[str]) -> list[admin_pb2.TopicDescription]:
    """Descriptions with all their partitions, which may be spread over pages."""
    topics: list[admin_pb2.TopicDescription] = []
    token = ""
    while True:
        request = admin_pb2.DescribeTopicsRequest(
            topics=[admin_pb2.TopicRef(name=name) for name in names], page_token=token
        )
        page = await caller.call(_describe_attempt(request))
        for each in page.topics:
            if topics and each.topic_id and topics[-1].topic_id == each.topic_id:
                topics[-1].partitions.extend(each.partitions)
            else:
                topics.append(each)
        token = page.next_page_token
        if not token:
            return topics


def _stub(channel: grpc.aio.Channel) -> Any:
    return admin_pb2_grpc.AdminServiceStub(channel)


def _list_attempt(request: admin_pb2.ListTopicsRequest) -> Callable[..., Any]:
    return lambda channel, timeout: _stub(channel).ListTopics(request, timeout=timeout)


def _describe_attempt(request: admin_pb2.DescribeTopicsRequest) -> Callable[..., Any]:
    return lambda channel, timeout: _stub(channel).DescribeTopics(request, timeout=timeout)


def _sorted_out(
    results: Sequence[_Item], *, is_fine: Callable[[error_pb2.Error], bool] | None = None
) -> tuple[list[_Item], int]:
    """Those that succeeded, and the exit code; says on stderr why others failed."""
    succeeded = []
    code = EXIT_OK
    for each in results:
        if not each.HasField("error"):
            succeeded.append(each)
        elif is_fine is None or not is_fine(each.error):
            failure = from_platform(from_proto(each.error))
            say(f"ottla: {each.name}: {failure}", style="bold red")
            if failure.hint:
                say(f"       {failure.hint}")
            code = max(code, failure.code)
    return succeeded, code


def _topic_document(topic: admin_pb2.TopicDescription) -> dict[str, object]:
    return {
        "name": topic.name,
        "topic_id": topic.topic_id.hex(),
        "partition_count": topic.partition_count,
        "replication_factor": topic.replication_factor,
        "internal": topic.internal,
        "durability": _enum_word(admin_pb2.Durability.Name(topic.durability), "DURABILITY_"),
        "version": topic.version,
        "configs": dict(sorted(topic.configs.items())),
        "partitions": [
            {
                "partition": each.partition,
                "leader": each.leader if each.HasField("leader") else None,
                "leader_epoch": each.leader_epoch,
                "replicas": list(each.replicas),
                "isr": list(each.isr),
                "eligible_leader_replicas": list(each.eligible_leader_replicas),
                "offline_replicas": list(each.offline_replicas),
            }
            for each in topic.partitions
        ],
    }


def _print_topic(topic: admin_pb2.TopicDescription) -> None:
    facts = [
        _counted(topic.partition_count, "partition"),
        f"{_counted(topic.replication_factor, 'replica')} each",
        f"acks=all is {_enum_word(admin_pb2.Durability.Name(topic.durability), 'DURABILITY_')}",
        *(f"{name}={value}" for name, value in sorted(topic.configs.items())),
    ]
    rows = [
        (
            each.partition,
            each.leader if each.HasField("leader") else "none",
            each.leader_epoch,
            _ids(each.replicas),
            _ids(each.isr),
            _ids(each.offline_replicas),
        )
        for each in topic.partitions
    ]
    columns = ["#partition", "#leader", "#epoch", "replicas", "isr", "offline"]
    print_table(columns, rows, title=f"{topic.name}  ({', '.join(facts)})")


def _ids(node_ids: Sequence[int]) -> str:
    return ",".join(map(str, node_ids)) or "–"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _enum_word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()

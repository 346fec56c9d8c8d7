"""DescribeLogDirectories over many brokers: who is asked, who is silent, where pages end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.clock import ManualClock
from ottla.api.admin.v1 import admin_pb2
from ottla.internal.broker.v1 import broker_pb2
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import InvalidRequest
from ottla.protocol.ids import DirectoryId, NodeId, TopicId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.replica.replica_table import DirectoryDescription, ReplicaDescription
from ottla_broker.rpc.directory_pages import directories_page
from ottla_broker.rpc.log_directories import LogDirectories

from .cluster_messages import broker
from .scripted_brokers import ScriptedBrokers

Request = admin_pb2.DescribeLogDirectoriesRequest
Response = admin_pb2.DescribeLogDirectoriesResponse


def described(count: int, *, path: str = "/logs") -> list[DirectoryDescription]:
    replicas = tuple(
        ReplicaDescription("t", TopicId(b"t" * 16), number, 1, 0, 1, None)
        for number in range(count)
    )
    return [DirectoryDescription(Path(path), DirectoryId(b"d" * 16), True, None, 9, 4, replicas)]


class OwnReplicas:
    """This broker's replicas, as the table describes them."""

    def __init__(self, count: int) -> None:
        self.count = count

    def describe(self) -> list[DirectoryDescription]:
        return described(self.count)


Answer = Callable[
    [broker_pb2.DescribeReplicaDirectoriesRequest], broker_pb2.DescribeReplicaDirectoriesResponse
]


def holding(node_id: int, count: int) -> Answer:
    """A broker with one directory of so many replicas."""

    def answer(
        request: broker_pb2.DescribeReplicaDirectoriesRequest,
    ) -> broker_pb2.DescribeReplicaDirectoriesResponse:
        directories, token = directories_page(
            described(count),
            node_id=node_id,
            page_size=request.page_size,
            token=request.page_token,
        )
        return broker_pb2.DescribeReplicaDirectoriesResponse(
            directories=directories, next_page_token=token
        )

    return answer


class Cluster:
    """Broker 1 is asked; the others hold what the test says, or are silent."""

    def __init__(self, own_count: int, **others: int) -> None:
        self.table = ClusterTable()
        self.brokers = ScriptedBrokers(self.table)
        self.table.apply([broker(1)])
        for name, count in others.items():
            node_id = int(name.removeprefix("n"))
            self.table.apply([broker(node_id, fenced=count < 0)])
            if count >= 0:
                self.brokers.answers[node_id] = holding(node_id, count)
        self.clock = ManualClock()
        self.directories = LogDirectories(
            self.table,
            OwnReplicas(own_count),  # type: ignore[arg-type]  # all that is asked of it
            self.brokers,
            node_id=NodeId(1),
            clock=self.clock,
        )

    async def page(self, *, within_ms: int = 30_000, **fields: Any) -> Response:
        return await self.directories.page(
            Request(**fields),
            principal="User:x",
            deadline_ms=self.clock.monotonic_ms() + within_ms,
        )

    async def pages(self, **fields: Any) -> list[Response]:
        found = [await self.page(**fields)]
        while found[-1].next_page_token:
            found.append(await self.page(**fields, page_token=found[-1].next_page_token))
        return found


def counts(pages: list[Response]) -> dict[int, int]:
    """Replicas by node id."""
    found: dict[int, int] = {}
    for page in pages:
        for each in page.directories:
            found[each.node_id] = found.get(each.node_id, 0) + len(each.replicas)
    return found


async def test_all_brokers_are_asked_when_none_is_named() -> None:
    (page,) = await Cluster(2, n2=3, n3=0).pages()
    assert [(each.node_id, len(each.replicas)) for each in page.directories] == [
        (1, 2),
        (2, 3),
        (3, 0),
    ]


async def test_only_the_named_brokers_are_asked() -> None:
    cluster = Cluster(2, n2=3, n3=4)
    (page,) = await cluster.pages(node_ids=[3, 3])
    assert counts([page]) == {3: 4}
    assert [node for node, _ in cluster.brokers.asked] == [3]


async def test_a_broker_that_does_not_answer_is_a_row_with_its_error() -> None:
    (page,) = await Cluster(1, n2=-1, n3=2).pages()
    silent = page.directories[1]
    assert (silent.node_id, silent.path, silent.online) == (2, "", False)
    assert from_proto(silent.error).reason == "LEADER_NOT_AVAILABLE"
    assert counts([page]) == {1: 1, 2: 0, 3: 2}


async def test_a_broker_that_is_not_there_is_a_row_with_its_error() -> None:
    (page,) = await Cluster(1).pages(node_ids=[9])
    assert from_proto(page.directories[0].error).message == "there is no broker 9"


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 100])
async def test_pages_hold_every_replica_once(page_size: int) -> None:
    pages = await Cluster(5, n2=0, n3=4, n4=-1, n5=6).pages(page_size=page_size)
    assert counts(pages) == {1: 5, 2: 0, 3: 4, 4: 0, 5: 6}
    sizes = [sum(len(each.replicas) for each in page.directories) for page in pages]
    assert max(sizes) <= page_size


async def test_few_brokers_are_asked_at_once_and_none_beyond_a_full_page() -> None:
    cluster = Cluster(1, **{f"n{number}": 1 for number in range(2, 31)})
    page = await cluster.page(page_size=4)
    assert counts([page]) == {1: 1, 2: 1, 3: 1, 4: 1}
    assert len(cluster.brokers.asked) == 7
    assert sum(counts(await cluster.pages(page_size=4)).values()) == 30


async def test_a_page_ends_before_the_call_would() -> None:
    cluster = Cluster(1, **{f"n{number}": 1 for number in range(2, 31)})
    page = await cluster.page(within_ms=4_000)
    assert len(page.directories) == 8
    assert page.next_page_token == "9:"


@pytest.mark.parametrize("token", ["x", "1", ":", "1:x", "1:0:zz:0", "9" * 600])
async def test_a_token_of_others_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        await Cluster(1).page(page_token=token)


@pytest.mark.parametrize("fields", [{"page_size": 2_001}, {"node_ids": range(1_001)}])
async def test_too_much_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await Cluster(1).page(**fields)

"""What controllers do while etcd loses its leader or its majority."""

from __future__ import annotations

import asyncio

import pytest

from kit.etcd import EtcdCluster
from ottla.api.admin.v1 import admin_pb2
from ottla.protocol.errors import MetadataStoreUnavailable

from .platform import Platform, client_of, error_of_call, eventually
from .writer import check, writing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.may_block(reason="the test starts processes"),
]


async def test_writes_go_on_after_the_leader_of_etcd_is_killed(
    large: Platform, trio: EtcdCluster
) -> None:
    async with client_of(large) as client:
        async with writing(client) as ledger:
            killed = await asyncio.to_thread(trio.leader)
            killed.kill()
            await ledger.grows_by(5)
            await asyncio.to_thread(trio.start, killed)
            await ledger.grows_by(3)
        await check(client, ledger)
        assert "broker.session_lost" not in large.broker.log_text()


async def test_without_a_majority_reads_go_on_and_writes_are_refused_until_it_is_back(
    large: Platform, trio: EtcdCluster
) -> None:
    leader, calls = await large.active()
    assert not (await calls.create("flights")).HasField("error")
    stream = large.calls(leader).watch()
    first = await stream.read()
    for member in trio.members[:2]:
        member.kill()

    async def refused() -> object:
        error = await error_of_call(calls.create("late"))
        return error if isinstance(error, MetadataStoreUnavailable) else None

    await eventually(refused, what="write that is refused for want of a store")

    async def stepped_down() -> object:
        described = await calls.described()
        return described if not any(each.active for each in described.controllers) else None

    described = await eventually(stepped_down, what="end of the term")
    assert isinstance(described, admin_pb2.DescribeClusterResponse)
    assert described.topic_count == 1, "what is known is still told"
    fresh = await large.calls(leader).watch().read()
    assert fresh.snapshot_begin
    assert fresh.version.generation == first.version.generation
    await asyncio.to_thread(trio.start, *trio.members[:2])
    _, following = await large.active()
    result = await following.create("flights")
    assert not result.HasField("error"), "as it was"
    async with client_of(large) as client, writing(client) as ledger:
        await ledger.grows_by(3)

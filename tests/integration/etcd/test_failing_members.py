"""The etcd store while members of a real cluster are killed, paused, cut off and restarted.

Where members fail, a test writes and watches all the time, and holds at its end what was
acknowledged against what was seen and what is stored.
"""

from __future__ import annotations

import socket

import pytest
from integration.etcd.arrangement import (
    done_in_thread,
    running_store,
    settings_of,
    until,
    writing_and_watching,
)

from kit.etcd import EtcdCluster
from ottla.protocol.errors import MetadataStoreUnavailable, OutcomeUnknown
from ottla_controller.store.etcd_settings import EtcdSettings
from ottla_controller.store.interface import MetadataStore, PutKey

pytestmark = pytest.mark.slow


async def test_a_leader_that_is_killed_loses_nothing_and_repeats_nothing(
    trio: EtcdCluster,
) -> None:
    async with (
        running_store(settings_of(trio)) as store,
        writing_and_watching(store) as (writer, _),
    ):
        leader = await done_in_thread(trio.leader)
        await done_in_thread(leader.kill)
        await writer.goes_on()


async def test_members_that_fall_silent_are_left_and_nothing_is_lost(trio: EtcdCluster) -> None:
    settings = settings_of(trio)
    async with running_store(settings) as store, writing_and_watching(store) as (writer, watcher):
        for member in trio.members:  # the one in use among them, and the leader
            member.pause()
            await writer.goes_on(10)
            await watcher.catches_up(writer)
            member.resume()
            await until(lambda: _answers(store))


async def test_every_member_is_restarted_in_turn_and_nothing_is_lost(trio: EtcdCluster) -> None:
    async with (
        running_store(settings_of(trio)) as store,
        writing_and_watching(store) as (writer, _),
    ):
        for member in trio.members:
            await done_in_thread(trio.restart, member)
            await writer.goes_on()


@pytest.mark.parametrize("way", ["killed", "silent"])
async def test_without_a_majority_calls_fail_clearly_and_all_recovers_by_itself(
    trio: EtcdCluster, way: str
) -> None:
    async with (
        running_store(settings_of(trio)) as store,
        writing_and_watching(store) as (writer, _),
    ):
        leader = await done_in_thread(trio.leader)
        others = [member for member in trio.members if member is not leader]
        for member in others:
            await done_in_thread(member.kill if way == "killed" else member.pause)
        await until(lambda: _fails(store))
        with pytest.raises(MetadataStoreUnavailable, match="etcd at 127"):
            await store.read(b"")
        with pytest.raises((MetadataStoreUnavailable, OutcomeUnknown)):
            await store.transact([], [PutKey(b"a", b"1")])
        if way == "killed":
            await done_in_thread(trio.start, *others)
        else:
            for member in others:
                member.resume()
        await writer.goes_on()


async def test_a_store_opens_while_one_member_is_dead_and_another_address_is_wrong(
    trio: EtcdCluster,
) -> None:
    await done_in_thread(trio.members[0].kill)
    trio.members[0].client_port = 1
    for _ in range(3):  # wherever it begins
        async with running_store(settings_of(trio)) as store:
            assert (await store.transact([], [PutKey(b"a", b"1")])).succeeded


async def test_an_address_that_takes_connections_and_says_nothing_is_passed_over(
    lone: EtcdCluster,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        number = mute.getsockname()[1]
        settings = EtcdSettings.parsed(f"127.0.0.1:{number},{lone.connect}/test")
        for _ in range(3):  # wherever it begins
            async with running_store(settings) as store:
                assert (await store.transact([], [PutKey(b"a", b"1")])).succeeded


async def _answers(store: MetadataStore) -> bool:
    try:
        await store.read(b"")
    except MetadataStoreUnavailable:
        return False
    return True


async def _fails(store: MetadataStore) -> bool:
    return not await _answers(store)

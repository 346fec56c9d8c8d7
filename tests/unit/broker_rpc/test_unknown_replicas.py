"""Replicas that the metadata does not know are set aside for days: deleted, or forgotten?"""

from __future__ import annotations

import asyncio
from pathlib import Path

from kit.storage import StorageContext
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.views import ClusterVersion
from ottla_broker.storage.log_directory import KEPT_MS

from .cluster_messages import Change, cluster, removed, topic, topic_id
from .test_replica_sync import Synced, led


def seen_anew(synced: Synced, *changes: Change, generation: int = 1) -> None:
    """The broker sees a snapshot that has these topics alone."""
    snapshot = ClusterTable()
    snapshot.apply([cluster(), *changes])
    snapshot.version = ClusterVersion(generation, synced.table.version.revision + 1)
    touched = synced.table.become(snapshot)
    touched.everything = True
    synced.sync.changed(touched)


async def kept_in(context: StorageContext) -> list[str]:
    def names() -> list[str]:
        return sorted(path.name.rpartition("-")[0] for path in context.paths[0].glob("~kept-*"))

    return await asyncio.to_thread(names)


async def made(synced: Synced, *numbers: int) -> None:
    for number in numbers:
        synced.change(topic(number, f"topic-{number}"), *led(number, 1))
    assert await synced.sync.apply()


async def test_what_a_snapshot_does_not_know_is_set_aside_and_not_deleted(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        await made(synced, 1, 2)
        seen_anew(synced, topic(1, "topic-1"), *led(1, 1))
        assert await synced.sync.apply()
        assert [each.topic for each in replicas.partitions()] == ["topic-1"]
        assert await kept_in(context) == [f"~kept-{topic_id(2).hex()}-0"]


async def test_what_was_seen_to_be_deleted_is_deleted(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        await made(synced, 1)
        synced.change(removed(1))
        assert await synced.sync.apply()
        assert replicas.partitions() == []
        assert await kept_in(context) == []


async def test_what_is_set_aside_goes_after_its_time(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        await made(synced, 1)
        seen_anew(synced)
        assert await synced.sync.apply()
        (directory,) = replicas._directories
        context.clock.jump_wall(KEPT_MS)
        await directory.changes.remove_kept()
        assert len(await kept_in(context)) == 1
        context.clock.jump_wall(1)
        await directory.changes.remove_kept()
        assert await kept_in(context) == []


async def test_nothing_goes_any_more_once_metadata_was_restored(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        await made(synced, 1)
        seen_anew(synced)
        assert await synced.sync.apply()
        seen_anew(synced, generation=2)
        assert await synced.sync.apply()
        (directory,) = replicas._directories
        context.clock.jump_wall(KEPT_MS + 1)
        await directory.changes.remove_kept()
        assert len(await kept_in(context)) == 1
    async with context.opened() as replicas:
        (directory,) = replicas._directories
        await directory.changes.remove_kept()
        assert len(await kept_in(context)) == 1

"""What the embedded store does beyond the common contract: its files, its failures, its lock."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest

from kit.clock import ManualClock
from ottla.protocol.errors import (
    CorruptLog,
    MetadataStoreUnavailable,
    OutcomeUnknown,
    UnsupportedVersion,
)
from ottla_controller.store.data_directory import DATABASE_NAME, DataDirectory, DirectoryInUseError
from ottla_controller.store.interface import PutKey, RevisionEvents
from ottla_controller.store.sqlite_revisions import SqliteRevisions
from ottla_controller.store.sqlite_schema import FORMAT_VERSION, open_database
from ottla_controller.store.sqlite_store import SqliteMetadataStore


def opened(path: Path) -> AbstractAsyncContextManager[SqliteMetadataStore]:
    return SqliteMetadataStore.opened(path, clock=ManualClock())


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        done = await store.transact([], [PutKey(b"a", b"1")])
    async with opened(tmp_path) as store:
        page = await store.read(b"")
        assert [(item.key, item.value) for item in page.items] == [(b"a", b"1")]
        assert page.revision == done.revision


async def test_keys_on_leases_of_a_process_that_is_gone_are_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        lease_id = await store.grant_lease(1_000)
        await store.transact([], [PutKey(b"a", b"1", lease_id), PutKey(b"b", b"1")])
        await store.transact([], [PutKey(b"c", b"1", lease_id)])
        await store.transact([], [PutKey(b"c", b"2")])
    async with opened(tmp_path) as store:
        assert [item.key for item in (await store.read(b"")).items] == [b"b", b"c"]
        assert await store.grant_lease(1_000) > lease_id


async def test_a_directory_is_used_by_one_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(DirectoryInUseError, match="another controller uses"):
            async with opened(tmp_path):
                pass
        assert (await store.transact([], [PutKey(b"a", b"1")])).succeeded
    async with opened(tmp_path):
        pass


def read_format_version(path: Path) -> int:
    with closing(sqlite3.connect(path / DATABASE_NAME)) as connection:
        rows = connection.execute("SELECT number FROM store WHERE name = 'format_version'")
        return int(rows.fetchone()[0])


def test_a_format_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_database(tmp_path / DATABASE_NAME).close()
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute(
            "UPDATE store SET number = ? WHERE name = 'format_version'", (FORMAT_VERSION + 1,)
        )
    with pytest.raises(UnsupportedVersion, match="start a release that is at least as new"):
        open_database(tmp_path / DATABASE_NAME)
    assert read_format_version(tmp_path) == FORMAT_VERSION + 1


def test_a_file_that_is_no_database_is_told_as_damaged(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"no database at all, " * 500)
    with pytest.raises(CorruptLog, match="restore it from a backup"):
        open_database(tmp_path / DATABASE_NAME)


def test_a_directory_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MetadataStoreUnavailable, match="cannot use the data directory"):
        DataDirectory.claim(tmp_path / "file" / "data")


async def test_a_watch_sees_a_write_whose_caller_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as store, store.watch(b"", from_revision=1) as revisions:
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(store.transact([], [PutKey(b"a", b"1")]), name="write")
            await asyncio.sleep(0)
            writing.cancel()
        assert (await anext(revisions)).events[0].value == b"1"


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        pass
    with pytest.raises(MetadataStoreUnavailable):
        await store.read(b"")


class FailingConnection(sqlite3.Connection):
    """A connection whose commits can be made to fail before or after they took effect."""

    fails = ""

    def execute(self, statement: str, *arguments: object) -> sqlite3.Cursor:
        if statement == "COMMIT" and self.fails == "before":
            self.fails = ""
            raise sqlite3.OperationalError("disk I/O error")
        cursor = super().execute(statement, *arguments)  # type: ignore[arg-type]  # checked by what is called
        if statement == "COMMIT" and self.fails == "after":
            self.fails = ""
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


@pytest.fixture
def failing(tmp_path: Path) -> tuple[FailingConnection, SqliteRevisions, ManualClock]:
    open_database(tmp_path / DATABASE_NAME).close()
    connection = sqlite3.connect(
        tmp_path / DATABASE_NAME, isolation_level=None, factory=FailingConnection
    )
    clock = ManualClock()
    return connection, SqliteRevisions(connection, clock=clock), clock


def values(revisions: SqliteRevisions) -> dict[bytes, bytes]:
    page = revisions.read(b"", after=b"", limit=100, revision=None)
    return {item.key: item.value for item in page.items}


def test_a_commit_that_failed_for_sure_changes_nothing(
    failing: tuple[FailingConnection, SqliteRevisions, ManualClock],
) -> None:
    connection, revisions, _ = failing
    revisions.transact([], [PutKey(b"a", b"1")])
    connection.fails = "before"
    with pytest.raises(MetadataStoreUnavailable, match="disk I/O error"):
        revisions.transact([], [PutKey(b"a", b"2")])
    assert values(revisions) == {b"a": b"1"}
    assert revisions.transact([], [PutKey(b"a", b"3")]).revision == 2
    connection.close()


def test_after_a_commit_of_unknown_outcome_the_file_is_believed(
    failing: tuple[FailingConnection, SqliteRevisions, ManualClock],
) -> None:
    connection, revisions, clock = failing
    revisions.grant_lease(1_000)
    connection.fails = "after"
    with pytest.raises(OutcomeUnknown):
        revisions.transact([], [PutKey(b"a", b"1"), PutKey(b"leased", b"", 1)])
    assert values(revisions) == {b"a": b"1", b"leased": b""}
    assert revisions.transact([], [PutKey(b"a", b"2")]).revision == 2
    clock.tick(1_000)
    assert values(revisions) == {b"a": b"2"}, "the lease knows the keys it got then"
    connection.close()


def test_a_full_disk_refuses_writes_and_reads_go_on(tmp_path: Path) -> None:
    connection = open_database(tmp_path / DATABASE_NAME)
    revisions = SqliteRevisions(connection, clock=ManualClock())
    revisions.transact([], [PutKey(b"a", b"1")])
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(MetadataStoreUnavailable, match="full"):
        revisions.transact([], [PutKey(b"b", bytes(100_000))])
    assert values(revisions) == {b"a": b"1"}
    connection.execute("PRAGMA max_page_count = 1000000")
    assert revisions.transact([], [PutKey(b"b", bytes(100_000))]).succeeded
    connection.close()


def test_compaction_gives_rows_back(tmp_path: Path) -> None:
    connection = open_database(tmp_path / DATABASE_NAME)
    revisions = SqliteRevisions(connection, clock=ManualClock())
    for number in range(50):
        revisions.transact([], [PutKey(b"a", b"%d" % number)])
    revisions.compact(50)
    assert connection.execute("SELECT COUNT(*) FROM revisions").fetchone() == (1,)
    connection.close()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    connection = open_database(tmp_path / DATABASE_NAME)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.close()


async def test_a_watch_with_nothing_new_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_count = 0
    events = SqliteRevisions.events

    def counted(self: SqliteRevisions, prefix: bytes, *, from_revision: int) -> object:
        nonlocal look_count
        look_count += 1
        return events(self, prefix, from_revision=from_revision)

    monkeypatch.setattr(SqliteRevisions, "events", counted)
    async with (
        opened(tmp_path) as store,
        store.watch(b"", from_revision=1) as revisions,
        asyncio.TaskGroup() as group,
    ):
        waiting = group.create_task(_next_keys(revisions), name="watch")
        for _ in range(20):
            await asyncio.to_thread(int)  # turns for the worker thread as well
        assert look_count <= 2
        await store.transact([], [PutKey(b"a", b"1")])
        assert await waiting == [b"a"]


async def _next_keys(revisions: AsyncIterator[RevisionEvents]) -> list[bytes]:
    return [event.key for event in (await anext(revisions)).events]

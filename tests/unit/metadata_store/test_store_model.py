"""A metadata store against a model: any sequence of operations, any restart in between.

The model keeps every state there ever was, as plain dictionaries.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kit.clock import ManualClock
from ottla_controller.store.interface import (
    CompactedError,
    CreateRevisionIs,
    DeleteKey,
    FutureRevisionError,
    KeyEvent,
    LeaseLostError,
    MetadataStore,
    ModRevisionIs,
    Operation,
    PutKey,
    RevisionEvents,
)

from .conftest import KINDS, STORES, StoreKind

KEYS = st.sampled_from([b"a", b"a/1", b"a/2", b"b", b"b\xff", b"c"])
PREFIXES = st.sampled_from([b"", b"a", b"a/", b"b\xff", b"z"])
VALUES = st.binary(max_size=3)
TTL_MS = 1_000_000
Value = TypeVar("Value")


class StoreMachine(RuleBasedStateMachine):
    """Drives one store; `kind` is set by the test of each implementation."""

    kind: StoreKind

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.path = Path(tempfile.mkdtemp(prefix="store-model-"))
        self.clock = ManualClock()
        # key → (value, create revision, mod revision, lease)
        self.history: dict[int, dict[bytes, tuple[bytes, int, int, int]]] = {}
        self.leases: dict[int, int] = {}
        self.ended: list[int] = []
        self.watched: dict[bytes, int] = {}
        self._open()
        # Where others were before, history begins here.
        self.compacted = self.revision = self.run(self.store.read(b"")).revision
        self.history[self.revision] = {}
        with suppress(CompactedError):
            self.run(self.store.compact(self.revision))

    def _open(self) -> None:
        self.stack = AsyncExitStack()
        opening = type(self).kind.open(self.path, self.clock)
        self.store: MetadataStore = self.run(self.stack.enter_async_context(opening))

    def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        return self.loop.run_until_complete(asyncio.wait_for(work, 10))

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()
        shutil.rmtree(self.path)

    def drawn(self, data: st.DataObject, first: int, last: int) -> int:
        """A revision; drawn as a distance, because where history begins is not Hypothesis's."""
        return first + data.draw(st.integers(0, last - first))

    @property
    def now(self) -> dict[bytes, tuple[bytes, int, int, int]]:
        return self.history[self.revision]

    def commit(self, after: dict[bytes, tuple[bytes, int, int, int]]) -> None:
        self.revision += 1
        self.history[self.revision] = after

    def expire(self) -> None:
        """Leases that are over end one by one, in the order of their ids."""
        for lease_id in sorted(self.leases):
            if self.leases[lease_id] <= self.clock.monotonic_ms():
                self.end(lease_id)

    def end(self, lease_id: int) -> None:
        del self.leases[lease_id]
        self.ended.append(lease_id)
        after = {key: item for key, item in self.now.items() if item[3] != lease_id}
        if after != self.now:
            self.commit(after)

    @rule(
        puts=st.dictionaries(KEYS, VALUES, max_size=4),
        deletes=st.sets(KEYS, max_size=2),
        leased=st.booleans(),
    )
    def write(self, puts: dict[bytes, bytes], deletes: set[bytes], leased: bool) -> None:
        self.expire()
        lease_id = max(self.leases, default=0) if leased else 0
        operations: list[Operation] = [PutKey(k, v, lease_id) for k, v in puts.items()]
        operations += [DeleteKey(key) for key in sorted(deletes - set(puts))]
        done = self.run(self.store.transact([], operations))
        after = dict(self.now)
        for key in deletes - set(puts):
            after.pop(key, None)
        for key, value in puts.items():
            create = self.now[key][1] if key in self.now else self.revision + 1
            after[key] = (value, create, self.revision + 1, lease_id)
        if after != self.now:
            self.commit(after)
        assert (done.succeeded, done.revision) == (True, self.revision)

    @rule(key=KEYS, other=KEYS, offset=st.integers(-1, 1), of_create=st.booleans())
    def write_if(self, key: bytes, other: bytes, offset: int, of_create: bool) -> None:
        self.expire()
        _, create, mod, _ = self.now.get(key, (b"", 0, 0, 0))
        asked = max(0, (create if of_create else mod) + offset)
        compare = CreateRevisionIs(key, asked) if of_create else ModRevisionIs(key, asked)
        done = self.run(self.store.transact([compare], [PutKey(other, b"if")]))
        holds = asked == (create if of_create else mod)
        assert done.succeeded == holds
        if holds:
            made = self.now[other][1] if other in self.now else self.revision + 1
            self.commit({**self.now, other: (b"if", made, self.revision + 1, 0)})
        assert done.revision == self.revision

    @rule()
    def grant(self) -> None:
        self.expire()
        lease_id = self.run(self.store.grant_lease(TTL_MS))
        assert lease_id not in self.leases
        assert lease_id not in self.ended
        self.leases[lease_id] = self.clock.monotonic_ms() + TTL_MS

    @rule(steps=st.integers(1, 5))
    def time_passes(self, steps: int) -> None:
        # In such steps no lease is left moments, in which etcd would really have to answer.
        self.clock.tick(steps * TTL_MS * 3 // 20)

    @precondition(lambda self: self.leases or self.ended)
    @rule(data=st.data())
    def keep_or_revoke(self, data: st.DataObject) -> None:
        self.expire()
        lease_id = data.draw(st.sampled_from(sorted([*self.leases, *self.ended])))
        if data.draw(st.booleans()):
            self.run(self.store.revoke_lease(lease_id))
            if lease_id in self.leases:
                self.end(lease_id)
        elif lease_id in self.leases:
            self.run(self.store.keep_lease_alive(lease_id))
            self.leases[lease_id] = self.clock.monotonic_ms() + TTL_MS
        else:
            with pytest.raises(LeaseLostError):
                self.run(self.store.keep_lease_alive(lease_id))

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        self.expire()
        revision = self.drawn(data, max(0, self.compacted - 1), self.revision + 1)
        if revision <= self.compacted:
            with pytest.raises(CompactedError):
                self.run(self.store.compact(revision))
        elif revision > self.revision:
            with pytest.raises(FutureRevisionError):
                self.run(self.store.compact(revision))
        else:
            self.run(self.store.compact(revision))
            self.compacted = revision

    @rule(prefix=PREFIXES, size=st.integers(1, 3), data=st.data())
    def read_in_pages(self, prefix: bytes, size: int, data: st.DataObject) -> None:
        self.expire()
        revision = self.drawn(data, self.compacted, self.revision)
        found: dict[bytes, tuple[bytes, int, int, int]] = {}
        after, more = b"", True
        while more:
            page = self.run(self.store.read(prefix, after=after, limit=size, revision=revision))
            assert page.revision == revision
            for item in page.items:
                after = item.key
                found[item.key] = (
                    item.value, item.create_revision, item.mod_revision, item.lease_id,
                )  # fmt: skip
            more = page.more
        expected = {k: v for k, v in self.history[revision].items() if k.startswith(prefix)}
        assert found == expected
        assert list(found) == sorted(found)

    @rule(prefix=PREFIXES, data=st.data())
    def watch_the_past(self, prefix: bytes, data: st.DataObject) -> None:
        self.expire()
        first = self.drawn(data, self.compacted + 1, self.revision + 1)
        expected = [
            events
            for revision in range(first, self.revision + 1)
            if (events := self.changes(revision, prefix)) is not None
        ]

        async def watched() -> list[RevisionEvents]:
            async with self.store.watch(prefix, from_revision=first) as revisions:
                return [await anext(revisions) for _ in expected]

        assert self.run(watched()) == expected

    def changes(self, revision: int, prefix: bytes) -> RevisionEvents | None:
        before, after = self.history[revision - 1], self.history[revision]
        events = []
        for key in sorted({*before, *after}):
            if not key.startswith(prefix):
                continue
            if key in after and after[key][2] == revision:
                events.append(KeyEvent(key, after[key][0], after[key][1]))
            elif key in before and key not in after:
                events.append(KeyEvent(key, None, 0))
        return RevisionEvents(revision, tuple(events)) if events else None

    @rule()
    def restart(self) -> None:
        """Leases end with the process; everything else stays."""
        self.expire()
        self.run(self.store.read(b""))  # lets leases that are over end one by one
        self.run(self.stack.aclose())
        self._open()
        if not type(self).kind.leases_end_together:
            for lease_id in sorted(self.leases):
                self.end(lease_id)
        after = {key: item for key, item in self.now.items() if not item[3]}
        if after != self.now:
            self.commit(after)
        self.ended += self.leases
        self.leases = {}

    @invariant()
    def the_present_is_as_expected(self) -> None:
        self.expire()
        page = self.run(self.store.read(b""))
        assert page.revision == self.revision
        assert {item.key: item.value for item in page.items} == {
            key: item[0] for key, item in self.now.items()
        }


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.slow
def test_a_store_behaves_like_a_dictionary_with_a_memory(name: str) -> None:
    class Machine(StoreMachine):
        kind = STORES[name]

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=STORES[name].examples_max, stateful_step_count=30, deadline=None
        ),
    )

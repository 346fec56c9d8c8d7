"""Several controllers on one store: who leads, what the others say, who sees a restored store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy

import pytest

from kit.clock import ManualClock, settle
from ottla.api.cluster.v1.cluster_pb2 import MetadataVersion
from ottla.internal.controller.v1.controller_pb2 import HeartbeatRequest
from ottla.protocol.errors import NotController
from ottla.storage.metadata.v1.metadata_record_pb2 import ControllerRecord
from ottla_controller.core.generations import Position
from ottla_controller.core.record_keys import key_of
from ottla_controller.store.interface import PutKey
from ottla_runtime.failures import StartError

from ..metadata_store.memory_store import Contents, MemoryMetadataStore
from .control_context import ControllerContext


@asynccontextmanager
async def controllers(
    count: int = 2, *, store: MemoryMetadataStore | None = None
) -> AsyncIterator[list[ControllerContext]]:
    """Controllers of which one leads, that one first."""
    clock = ManualClock()
    store = store or MemoryMetadataStore(clock=clock)
    async with AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(
                ControllerContext.running(store=store, clock=clock, node_id=node_id, active=False)
            )
            for node_id in range(1, count + 1)
        ]
        await started[0].advance(1_000)
        yield sorted(started, key=lambda each: each.controller.active_epoch, reverse=True)


async def test_a_standby_is_of_use_once_it_knows_who_leads_and_says_so() -> None:
    async with controllers(3) as (active, *standbys):
        record = active.controller.active()
        assert record is not None
        for standby in standbys:
            assert standby.controller.is_of_use.is_set()
            assert standby.controller.active_epoch == 0
            assert standby.controller.active() == record
            assert sorted(standby.state.controllers) == [1, 2, 3]
            with pytest.raises(NotController) as caught:
                standby.controller.term()
            assert caught.value.metadata == {"owner_host": "127.0.0.1", "owner_port": "9093"}


async def test_who_resigns_is_followed_at_once_and_is_listed_no_more() -> None:
    async with controllers() as (active, standby):
        await active.start_broker(1)
        active.controller.resign()
        await settle()
        assert active.controller.active_epoch == 0
        assert standby.controller.active_epoch > 0, "no time has passed"
        assert list(standby.state.controllers) == [standby.controller.identity.node_id]
        assert not (await standby.heartbeat(1)).fenced


async def test_what_was_taken_before_a_resignation_is_done_first() -> None:
    async with controllers() as (active, standby):
        async with asyncio.TaskGroup() as group:
            registering = group.create_task(active.register(1), name="registration")
            await asyncio.sleep(0)
            active.controller.resign()
        epoch = registering.result()
        await settle()
        assert standby.state.brokers[1].broker_epoch == epoch
        with pytest.raises(NotController):
            await active.register(2)


async def test_a_controller_that_was_stopped_does_not_serve_beyond_its_lease() -> None:
    async with controllers() as (active, standby):
        term = active.controller.term()
        active.clock.tick(2_000)  # and no task of it has run since
        assert active.controller.active_epoch == 0
        with pytest.raises(NotController):
            active.controller.term()
        standby.store.expire()
        await standby.advance(1_000)
        epochs = {each.controller.active_epoch for each in (active, standby)}
        assert min(epochs) == 0, "one of them leads"
        assert max(epochs) > term.epoch


async def refusal(context: ControllerContext) -> str:
    """Why a controller will not run."""
    with pytest.raises(StartError) as caught:
        await context.controller.run()
    return str(caught.value)


async def test_two_controllers_with_one_node_id_cannot_both_be() -> None:
    clock = ManualClock()
    store = MemoryMetadataStore(clock=clock)
    async with ControllerContext.running(store=store, clock=clock, node_id=1) as first:
        second = ControllerContext(clock=clock, store=store, node_id=1)
        await second.image.load()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(refusal(second), name="second")
            await first.advance(5_000)
            assert not running.done(), "it may be this one's own last life"
            await first.advance(3_000)
        assert "node id 1 is alive; give each controller a node.id of its own" in running.result()
        assert first.controller.active_epoch > 0


async def test_a_standby_of_another_cluster_ends_when_it_sees_which_it_is() -> None:
    clock = ManualClock()
    store = MemoryMetadataStore(clock=clock)
    other = ControllerContext(clock=clock, store=store, node_id=2, cluster_id="another")
    await other.image.load()
    async with ControllerContext.running(store=store, clock=clock, cluster_id="mine"):
        async with asyncio.TaskGroup() as group:
            following = group.create_task(other.image.run(), name="image")
            running = group.create_task(refusal(other), name="other")
            await settle()
            following.cancel()
        assert "of cluster 'mine', not 'another'; choose another" in running.result()


async def test_a_new_term_of_a_restored_store_begins_with_its_generation() -> None:
    clock, kept = ManualClock(), Contents()
    store = MemoryMetadataStore(clock=clock, contents=kept)
    store.store_id = "a"
    async with ControllerContext.running(store=store, clock=clock) as context:
        await context.register(1)
        assert context.state.cluster.store_id == "a"
    store = MemoryMetadataStore(clock=clock, contents=kept)
    store.store_id = "b"
    context = ControllerContext(clock=clock, store=store, node_id=2)
    await context.image.load()
    assert not context.image.is_settled, "nothing is shown of it"
    async with ControllerContext.running(store=store, clock=clock, node_id=2) as context:
        assert context.image.is_settled
        cluster = context.state.cluster
        assert (cluster.store_id, cluster.generation) == ("b", 2)


def heartbeat(context: ControllerContext, applied: Position) -> HeartbeatRequest:
    return HeartbeatRequest(
        node_id=1,
        broker_epoch=context.state.brokers[1].broker_epoch,
        applied_version=MetadataVersion(generation=applied[0], revision=applied[1]),
    )


async def test_a_broker_that_has_applied_more_than_the_store_has_begins_a_generation() -> None:
    async with ControllerContext.running() as context:
        await context.register(1)
        behind = Position(1, context.store.revision)
        await context.controller.term().heartbeat(heartbeat(context, behind))
        await settle()
        assert context.state.cluster.generation == 1
        ahead = Position(1, context.store.revision + 100)
        await context.controller.term().heartbeat(heartbeat(context, ahead))
        await settle()
        assert context.state.cluster.generation == 2
        await context.controller.term().heartbeat(heartbeat(context, ahead))
        await settle()
        assert context.state.cluster.generation == 2, "that was settled"


async def test_a_registration_raises_the_generation_before_it_is_answered() -> None:
    async with ControllerContext.running() as context:
        request = context.registration(1)
        request.applied_version.generation, request.applied_version.revision = 1, 5_000
        request.broker_epoch_seen = 5_001
        written = await context.controller.term().register(request)
        assert written.response == 5_002
        assert context.image.version_at(written.revision).generation == 2


async def test_what_a_standby_hears_of_a_loss_reaches_the_controller_that_leads() -> None:
    async with controllers() as (active, standby):
        seen = Position(1, standby.store.revision + 100)
        await standby.controller.look_into(seen)
        await settle()
        assert active.state.cluster.generation == 2
        assert standby.image.is_settled
        await standby.controller.look_into(seen)
        await settle()
        assert active.state.cluster.generation == 2


async def test_a_standby_that_lags_takes_a_later_version_for_no_loss() -> None:
    async with controllers() as (active, standby):
        seen = Position(1, active.store.revision)
        await standby.controller.look_into(seen)
        await settle()
        assert active.state.cluster.generation == 1
        assert standby.image.lost_generation == 0


async def test_a_store_put_back_under_a_running_controller_ends_its_term_and_generation() -> None:
    async with ControllerContext.running() as context:
        await context.register(1)
        backup = deepcopy(context.store.contents.history)
        term = context.controller.active_epoch
        for node_id in range(2, 12):
            await context.register(node_id)
        seen = context.store.revision
        context.store.contents.history[:] = backup
        context.store.restored = True
        await context.advance(5_000)
        assert context.controller.active_epoch not in {0, term}
        assert sorted(context.state.brokers) == [1]
        version = context.image.version
        assert (version.generation, version.revision) > (1, seen)
        assert context.image.is_settled


async def test_a_write_that_lands_behind_what_was_seen_ends_the_term() -> None:
    async with ControllerContext.running() as context:
        await context.register(1)
        backup = deepcopy(context.store.contents.history)
        for node_id in range(2, 22):
            await context.register(node_id)
        context.store.contents.history[:] = backup  # and the store itself notices nothing
        with pytest.raises(NotController, match="restored from a backup"):
            await context.register(30)
        await context.advance(5_000)
        assert context.controller.active_epoch > 0
        assert context.state.cluster.generation == 2


async def test_a_controllers_record_goes_with_its_lease() -> None:
    async with controllers() as (active, standby):
        record = ControllerRecord(node_id=9)
        lease = await active.store.grant_lease(1_000)
        await active.store.transact([], [PutKey(key_of(record), b"\x08\x09", lease)])
        await settle()
        assert 9 in standby.state.controllers
        await active.store.revoke_lease(lease)
        await settle()
        assert 9 not in standby.state.controllers

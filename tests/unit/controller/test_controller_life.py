"""A controller's life: forming a cluster, sessions and fencing, losing and taking over."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from structlog.testing import capture_logs

from kit.clock import ManualClock, settle
from ottla.api.admin.v1.admin_pb2 import NewTopic, TopicRef
from ottla.protocol.errors import (
    ClusterMismatch,
    DuplicateNodeId,
    MetadataStoreUnavailable,
    OutcomeUnknown,
)
from ottla_controller.control.controller import ControlTimes, check_cluster
from ottla_controller.core.topic_creation import Creation, create_topics
from ottla_controller.core.topic_deletion import delete_topics
from ottla_controller.core.topic_drafts import TopicDraft

from ..metadata_store.memory_store import Contents, MemoryMetadataStore
from .cluster_context import RULES, contents, directory
from .control_context import ControllerContext


async def create(context: ControllerContext, name: str = "flights", partitions: int = 1) -> None:
    topic = NewTopic(name=name, partition_count=partitions)
    creation = Creation(draft=TopicDraft.of(topic), topic_id=name.encode().ljust(16), seed=1)
    handler = partial(create_topics, creations=[creation], rules=RULES, validate_only=False)
    written = await context.write(handler)
    assert not written.response[0].HasField("error")


def leader(context: ControllerContext, name: str = "flights", partition: int = 0) -> int | None:
    topic = context.state.topic_named(name)
    assert topic is not None
    record = context.state.partitions_of(topic.topic_id)[partition]
    return record.leader_id if record.HasField("leader_id") else None


async def test_the_first_controller_forms_the_cluster_and_the_next_keeps_it() -> None:
    kept = Contents()
    async with ControllerContext.running(contents=kept, cluster_id="mine") as context:
        assert context.state.cluster.cluster_id == "mine"
        assert context.state.cluster.generation == 1
        first_epoch = context.controller.active_epoch
    async with ControllerContext.running(contents=kept) as context:
        assert context.state.cluster.cluster_id == "mine"
        assert context.controller.active_epoch > first_epoch
        (record,) = context.state.controllers.values()
        assert [endpoint.port for endpoint in record.endpoints] == [9093]


async def test_a_store_of_another_cluster_is_refused() -> None:
    kept = Contents()
    async with ControllerContext.running(contents=kept, cluster_id="mine"):
        pass
    store = MemoryMetadataStore(clock=ManualClock(), contents=kept)
    other = ControllerContext(clock=ManualClock(), store=store, cluster_id="another")
    await other.image.load()
    with pytest.raises(ClusterMismatch, match="of cluster 'mine', not 'another'"):
        check_cluster(other.image.state, other.controller.identity)


async def test_a_broker_that_falls_silent_is_fenced_and_let_in_again() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        await create(context)
        for _ in range(10):
            await context.advance(500)
            await context.heartbeat(1)
        assert leader(context) == 1
        await context.advance(1_950)
        assert leader(context) == 1
        await context.advance(300)
        assert context.state.brokers[1].fenced
        assert leader(context) is None
        assert not (await context.heartbeat(1)).fenced
        assert leader(context) == 1


async def test_a_restarted_broker_waits_for_the_end_of_its_own_session() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        await context.advance(500)
        with pytest.raises(DuplicateNodeId) as caught:
            await context.register(1)
        assert caught.value.retry_after_ms is not None
        assert 1_000 < caught.value.retry_after_ms <= 2_000
        await context.advance(2_100)
        before = context.state.brokers[1].broker_epoch
        assert await context.register(1) > before


async def test_a_controller_that_was_late_fences_nobody_for_it() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        await context.advance(1_500)
        context.clock.tick(1_000)  # its loop stood still
        await context.advance(200)
        assert not context.state.brokers[1].fenced
        await context.advance(500)
        assert context.state.brokers[1].fenced, "the broker was silent by itself as well"


async def test_a_controller_that_slept_leads_anew_and_gives_full_sessions() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        first_epoch = context.controller.active_epoch
        context.clock.tick(3_600_000)  # a machine that was suspended
        await context.advance(1_500)
        assert context.controller.active_epoch > first_epoch
        assert not context.state.brokers[1].fenced
        assert not (await context.heartbeat(1)).fenced


async def test_a_broker_that_stops_in_good_order_hands_over_and_may_come_back_at_once() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        await create(context)
        assert not (await context.heartbeat(1, wants_shutdown=True)).may_shut_down
        standing = await context.heartbeat(1, wants_shutdown=True)
        assert standing.may_shut_down
        assert leader(context) is None
        again = context.registration(1)
        again.clean_shutdown_epoch = context.state.brokers[1].broker_epoch
        await context.controller.term().register(again)
        assert not (await context.heartbeat(1)).fenced
        assert leader(context) == 1


async def test_failed_directories_of_a_heartbeat_are_written() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        await context.heartbeat(1, offline=[directory(1)])
        assert [each.online for each in context.state.brokers[1].directories] == [False]


async def test_a_successor_finds_everything_and_gives_each_broker_a_full_session() -> None:
    kept, clock = Contents(), ManualClock()
    async with ControllerContext.running(contents=kept, clock=clock) as context:
        await context.start_broker(1)
        await create(context, partitions=300)
        before = contents(context.state)
    clock.tick(3_600_000)
    async with ControllerContext.running(contents=kept, clock=clock) as context:
        after = contents(context.state)
        assert after.pop(b"records/controller/0000000001") != before.pop(
            b"records/controller/0000000001"
        ), "it leads under an epoch of its own"
        assert after == before
        await context.advance(1_900)
        assert not context.state.brokers[1].fenced
        assert not (await context.heartbeat(1)).fenced, "it does not have to register again"
        await context.advance(2_300)
        assert context.state.brokers[1].fenced


async def test_a_delete_is_finished_by_the_successor() -> None:
    kept = Contents()
    async with ControllerContext.running(contents=kept) as context:
        await context.start_broker(1)
        await create(context, partitions=300)
        handler = partial(delete_topics, refs=[TopicRef(name="flights")], validate_only=False)
        await context.write(handler)
    async with ControllerContext.running(contents=kept) as context:
        await context.advance(1_000)
        assert context.state.topics == {}
        assert context.state.partition_count == 0
    assert not [key for key in kept.history[-1] if key.startswith((b"records/t", b"records/p"))]


async def test_a_create_that_a_failing_store_cut_off_is_removed() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        context.store.lost_requests = 1
        with pytest.raises(OutcomeUnknown):
            await create(context, partitions=300)
        await context.advance(1_500)
        assert context.state.topics == {}
        await create(context, partitions=300)
        assert leader(context, partition=299) == 1


async def test_a_controller_whose_store_is_silent_gives_up_and_comes_back() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        first_epoch = context.controller.active_epoch
        context.store.unavailable = True
        await context.advance(4_000)
        assert context.controller.active_epoch == 0
        with pytest.raises(MetadataStoreUnavailable, match=r"no controller leads: .* not answer"):
            context.controller.term()
        context.store.unavailable = False
        await context.advance(3_000)
        assert context.controller.active_epoch > first_epoch
        assert not (await context.heartbeat(1)).fenced


async def test_a_standby_takes_over_and_sees_everything() -> None:
    clock = ManualClock()
    store = MemoryMetadataStore(clock=clock)
    async with ControllerContext.running(store=store, clock=clock, node_id=2, active=False) as two:
        async with ControllerContext.running(
            store=store, clock=clock, node_id=1, active=False
        ) as one:
            await one.advance(500)
            active, standby = (one, two) if one.controller.active_epoch else (two, one)
            assert standby.controller.active_epoch == 0
            await active.start_broker(1)
            await create(active)
            await settle()
            assert contents(standby.state) == contents(active.state)
            first_epoch = active.controller.active_epoch
            lease = next(
                item.lease_id for key, item in store.now.items() if key.startswith(b"election/")
            )
            await store.revoke_lease(lease)
            await standby.advance(1_000)
            assert standby.controller.active_epoch > first_epoch
            assert not (await standby.heartbeat(1)).fenced


async def test_old_revisions_are_forgotten() -> None:
    times = ControlTimes(session_timeout_ms=2_000, lease_ttl_ms=2_000, history_ms=1_000)
    async with ControllerContext.running(times=times) as context:
        await context.start_broker(1)
        kept_from = context.state.revision
        await context.advance(2_000)
        assert context.store.contents.compacted == kept_from
        await context.advance(5_000)
        assert context.state.brokers[1].fenced, "the watch went on"


async def test_a_heartbeat_does_not_wait_for_a_slow_store() -> None:
    async with ControllerContext.running() as context:
        await context.register(1)
        context.store.unavailable = True
        async with asyncio.timeout(5):
            assert (await context.heartbeat(1)).fenced
        context.store.unavailable = False


async def test_a_store_that_stays_away_is_told_of_once_and_asked_ever_less_often() -> None:
    clock = ManualClock()
    store = MemoryMetadataStore(clock=clock)
    told: list[str] = []
    context = ControllerContext(clock=clock, store=store, on_setback=told.append)
    await context.image.load()
    store.unavailable = True
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(work, name="controller")
                for work in (context.image.run(), context.controller.run())
            ]
            await context.advance(60_000)
            assert sorted(each["event"] for each in logs) == [
                "controller.term_ended",
                "metadata_store.watch_failed",
            ]
            assert len(set(told)) == 1
            assert 25 <= len(told) <= 40, "the waits double from 0.2 s to 2 s"
            store.unavailable = False
            await context.advance(2_000)
            assert context.controller.active_epoch > 0
            store.unavailable = True
            await context.advance(60_000)
            assert [each["event"] for each in logs].count("controller.term_ended") <= 4
            for each in running:
                each.cancel()

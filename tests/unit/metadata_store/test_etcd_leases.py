"""Leases in etcd by script: an answer keeps one only if it was the cluster's, not a member's own.

A leader that is cut off from the others goes on for a while, and keeps leases alive without asking
anybody, though another leader may have begun to count their time already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from kit.clock import ManualClock
from kit.entropy import SeededEntropy
from ottla.internal.etcd.v1 import etcd_pb2
from ottla.protocol.errors import MetadataStoreUnavailable
from ottla_controller.store.etcd_connection import EtcdConnection
from ottla_controller.store.etcd_failures import cut_off
from ottla_controller.store.etcd_leases import EtcdLeases
from ottla_controller.store.etcd_member import AnyStream, Metadata
from ottla_controller.store.etcd_requests import (
    LEASE_GRANT,
    LEASE_KEEP_ALIVE,
    RANGE,
    AnyMethod,
    KeySpace,
)
from ottla_controller.store.etcd_settings import EtcdEndpoint, EtcdSettings
from ottla_controller.store.interface import LeaseLostError

TTL_MS = 10_000
LEASE_ID = 7
ANSWER_MS = 100


class MovingClock(ManualClock):
    """Moves on by itself when somebody waits for it."""

    async def sleep_until(self, monotonic_ms: int) -> None:
        self.tick(max(0, monotonic_ms - self.monotonic_ms()))


class Beginning(SeededEntropy):
    """Begins with the first member."""

    def random(self) -> float:
        return 0.0


@dataclass
class LeasingMember:
    """A member that keeps every lease alive; cut off, nothing else."""

    endpoint: EtcdEndpoint
    clock: ManualClock
    term: int = 1
    is_cut_off: bool = False
    kept: list[int] = field(default_factory=list)
    """When it was asked to keep a lease."""

    async def connect(self, timeout_ms: int) -> None:
        pass

    async def ask(
        self, method: AnyMethod, request: Any, *, timeout_ms: int, metadata: Metadata
    ) -> Any:
        sent_ms = self.clock.monotonic_ms()
        if self.is_cut_off and method is not LEASE_KEEP_ALIVE:
            self.clock.tick(timeout_ms)
            raise cut_off("deadline exceeded")
        self.clock.tick(ANSWER_MS)
        header = etcd_pb2.ResponseHeader(cluster_id=1, revision=1, raft_term=self.term)
        if method is LEASE_GRANT:
            return etcd_pb2.LeaseGrantResponse(header=header, id=LEASE_ID, ttl=request.ttl)
        if method is LEASE_KEEP_ALIVE:
            self.kept.append(sent_ms)
            return etcd_pb2.LeaseKeepAliveResponse(header=header, id=request.id, ttl=10)
        assert method is RANGE
        return etcd_pb2.RangeResponse(header=header)

    def open_stream(self, method: AnyMethod, metadata: Metadata) -> AnyStream:
        raise AssertionError("no stream is opened here")

    def close_stream(self, call: AnyStream) -> None:
        raise AssertionError("no stream is opened here")

    def cut_streams(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Arrangement:
    """Leases on so many members, beginning with the first."""

    def __init__(self, count: int) -> None:
        self.clock = MovingClock()
        self.members = tuple(
            LeasingMember(EtcdEndpoint(f"m{number}", 2379), self.clock) for number in range(count)
        )
        settings = EtcdSettings(tuple(each.endpoint for each in self.members), b"/p/")
        connection = EtcdConnection(self.members, settings, clock=self.clock, entropy=Beginning())
        self.leases = EtcdLeases(connection, KeySpace(b"/p/"), clock=self.clock)


async def test_a_lease_lasts_from_the_sending_of_what_kept_it() -> None:
    context = Arrangement(1)
    lease_id = await context.leases.grant(TTL_MS)
    context.clock.tick(TTL_MS // 2)
    sent_ms = context.clock.monotonic_ms()
    await context.leases.keep_alive(lease_id)
    assert context.leases.next_deadline_ms() == sent_ms + TTL_MS


async def test_a_lease_that_a_member_keeps_for_itself_alone_is_not_kept() -> None:
    context = Arrangement(1)
    granted_ms = context.clock.monotonic_ms()
    lease_id = await context.leases.grant(TTL_MS)
    context.members[0].is_cut_off = True
    with pytest.raises((MetadataStoreUnavailable, LeaseLostError)):
        await context.leases.keep_alive(lease_id)
    assert context.leases.next_deadline_ms() == granted_ms + TTL_MS
    context.clock.tick(TTL_MS)
    with pytest.raises(LeaseLostError):
        await context.leases.keep_alive(lease_id)


async def test_a_lease_that_was_kept_under_a_leader_that_is_over_is_kept_anew() -> None:
    context = Arrangement(2)
    lease_id = await context.leases.grant(TTL_MS)
    old, new = context.members
    old.is_cut_off = True
    new.term = 2
    await context.leases.keep_alive(lease_id)
    assert len(old.kept) == 1
    assert context.leases.next_deadline_ms() == new.kept[-1] + TTL_MS

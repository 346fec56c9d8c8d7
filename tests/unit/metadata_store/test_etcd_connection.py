"""Which member is asked, and asked again: by script, on a clock that moves by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from kit.clock import ManualClock
from kit.entropy import SeededEntropy
from ottla.internal.etcd.v1 import etcd_pb2
from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotAuthenticated,
    NotAuthorized,
    OttlaError,
    OutcomeUnknown,
)
from ottla_controller.store.etcd_connection import EtcdConnection
from ottla_controller.store.etcd_failures import AttemptFailedError, judge, not_begun
from ottla_controller.store.etcd_member import CHANNEL_OPTIONS, AnyStream, Metadata
from ottla_controller.store.etcd_requests import AUTHENTICATE, LEASE_GRANT, RANGE, TXN, AnyMethod
from ottla_controller.store.etcd_settings import EtcdEndpoint, EtcdSettings
from ottla_controller.store.etcd_store import EtcdMetadataStore
from ottla_controller.store.interface import StoreRestoredError

Code = grpc.StatusCode
ANSWERS = None


def fails(code: Code, details: str = "") -> AttemptFailedError:
    return AttemptFailedError(judge(code, details))


UNREACHABLE = not_begun("connection refused")
BROKEN = fails(Code.UNAVAILABLE, "Socket closed")
NO_LEADER = fails(Code.UNAVAILABLE, "etcdserver: no leader")
STALE_TOKEN = fails(Code.UNAUTHENTICATED, "etcdserver: invalid auth token")


class ScriptedMember:
    """A member that does what its script says, one entry a call; then it answers everything."""

    def __init__(
        self, name: str, calls: list[str], script: list[AttemptFailedError | None]
    ) -> None:
        self.endpoint = EtcdEndpoint(name, 2379)
        self.script = script
        self.revision = 7
        self.waited: list[int] = []
        self.metadata: list[Metadata] = []
        self._calls = calls

    async def connect(self, timeout_ms: int) -> None:
        if self.script and self.script[0] is UNREACHABLE:
            self._calls.append(f"{self.endpoint.host} unreachable")
            raise self.script.pop(0) or UNREACHABLE

    async def ask(
        self, method: AnyMethod, request: Any, *, timeout_ms: int, metadata: Metadata
    ) -> Any:
        self._calls.append(f"{self.endpoint.host} {method.path.rpartition('/')[2]}")
        self.waited.append(timeout_ms)
        self.metadata.append(metadata)
        failure = self.script.pop(0) if self.script else ANSWERS
        if failure is not None:
            raise failure
        header = etcd_pb2.ResponseHeader(cluster_id=1, revision=self.revision, raft_term=1)
        if method is AUTHENTICATE:
            number = sum("Authenticate" in call for call in self._calls)
            return etcd_pb2.AuthenticateResponse(header=header, token=f"token-{number}")
        return method.response(header=header)

    def open_stream(self, method: AnyMethod, metadata: Metadata) -> AnyStream:
        raise AssertionError("no stream is opened here")

    def close_stream(self, call: AnyStream) -> None:
        raise AssertionError("no stream is opened here")

    def cut_streams(self) -> None:
        self._calls.append(f"{self.endpoint.host} cut")

    async def close(self) -> None:
        self._calls.append(f"{self.endpoint.host} closed")


class AutomaticClock(ManualClock):
    """Moves on by itself when somebody waits for it."""

    async def sleep_until(self, monotonic_ms: int) -> None:
        self.tick(max(0, monotonic_ms - self.monotonic_ms()))


class FirstThenHalf(SeededEntropy):
    """Begins with the first member; waits half of the longest wait."""

    _draws = 0

    def random(self) -> float:
        self._draws += 1
        return 0.0 if self._draws == 1 else 0.5


class Arrangement:
    """A connection to members `a`, `b` and so on, beginning with the first."""

    def __init__(self, *scripts: Sequence[AttemptFailedError | None], username: str = "") -> None:
        self.calls: list[str] = []
        self.clock = AutomaticClock()
        self.members = [
            ScriptedMember(name, self.calls, list(script))
            for name, script in zip("abc", scripts, strict=False)
        ]
        settings = EtcdSettings(
            tuple(member.endpoint for member in self.members),
            b"/p/",
            username=username,
            password=username,
        )
        entropy = FirstThenHalf()
        self.connection = EtcdConnection(
            tuple(self.members), settings, clock=self.clock, entropy=entropy
        )
        self.store = EtcdMetadataStore(self.connection, settings, clock=self.clock, entropy=entropy)

    async def read(self) -> Any:
        return await self.connection.call(RANGE, etcd_pb2.RangeRequest())

    async def write(self) -> Any:
        return await self.connection.call(TXN, etcd_pb2.TxnRequest())


async def test_a_member_that_works_is_kept() -> None:
    etcd = Arrangement([], [])
    for _ in range(3):
        await etcd.read()
    assert etcd.calls == ["a Range"] * 3


@pytest.mark.parametrize("failure", [UNREACHABLE, BROKEN, NO_LEADER])
async def test_a_read_goes_on_with_the_next_member_and_stays_there(
    failure: AttemptFailedError,
) -> None:
    etcd = Arrangement([failure], [], [])
    await etcd.read()
    await etcd.read()
    begun = "a unreachable" if failure is UNREACHABLE else "a Range"
    assert etcd.calls == [begun, "a cut", "b Range", "b Range"]


@pytest.mark.parametrize("failure", [UNREACHABLE, NO_LEADER])
async def test_a_write_that_was_not_begun_is_done_elsewhere(failure: AttemptFailedError) -> None:
    etcd = Arrangement([ANSWERS, failure], [])
    await etcd.read()
    await etcd.write()
    assert etcd.calls[2:] == ["a cut", "b Range", "b Txn"]


@pytest.mark.parametrize(
    "failure",
    [
        BROKEN,
        fails(Code.DEADLINE_EXCEEDED),
        fails(Code.UNAVAILABLE, "etcdserver: request timed out"),
        fails(Code.UNAVAILABLE, "etcdserver: leader changed"),
    ],
)
async def test_a_write_that_may_have_been_done_is_never_repeated(
    failure: AttemptFailedError,
) -> None:
    etcd = Arrangement([ANSWERS, failure], [])
    await etcd.read()
    with pytest.raises(OutcomeUnknown):
        await etcd.write()
    assert etcd.calls[1:] == ["a Txn", "a cut"]
    await etcd.write()
    assert etcd.calls[3:] == ["b Range", "b Txn"]


async def test_a_write_is_sent_only_to_a_member_that_has_answered_since_it_came_into_use() -> None:
    silent = fails(Code.DEADLINE_EXCEEDED)
    etcd = Arrangement([ANSWERS, silent, silent], [NO_LEADER])
    await etcd.read()
    with pytest.raises(OutcomeUnknown):
        await etcd.write()
    await etcd.write()
    assert etcd.calls == [
        *("a Range", "a Txn", "a cut"),
        *("b Range", "b cut"),  # an election goes on
        *("a Range", "a cut"),  # and this one still says nothing: no write waits for it
        *("b Range", "b Txn"),
    ]


async def test_a_write_gets_all_the_time_and_a_read_a_part_of_it() -> None:
    etcd = Arrangement([])
    await etcd.read()
    await etcd.write()
    assert etcd.members[0].waited == [600, 2_000]


async def test_when_no_member_answers_in_time_the_last_reason_is_told() -> None:
    etcd = Arrangement(*([NO_LEADER] * 1_000 for _ in "abc"))
    begin_ms = etcd.clock.monotonic_ms()
    with pytest.raises(MetadataStoreUnavailable, match="no leader"):
        await etcd.read()
    assert etcd.clock.monotonic_ms() - begin_ms <= 2_000


async def test_what_etcd_refuses_is_refused_at_once() -> None:
    denied = fails(Code.PERMISSION_DENIED, "etcdserver: permission denied")
    etcd = Arrangement([ANSWERS, denied], [])
    await etcd.read()
    with pytest.raises(NotAuthorized):
        await etcd.write()
    assert etcd.calls[1:] == ["a Txn"]


async def test_a_full_etcd_is_not_left_and_a_write_to_it_may_have_been_done() -> None:
    full = fails(Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    etcd = Arrangement([ANSWERS, full, full], [])
    await etcd.read()
    with pytest.raises(OutcomeUnknown, match="full"):
        await etcd.write()
    with pytest.raises(MetadataStoreUnavailable, match="full"):
        await etcd.connection.call(LEASE_GRANT, etcd_pb2.LeaseGrantRequest())
    assert etcd.calls == ["a Range", "a Txn", "a LeaseGrant"]


async def test_who_may_not_compact_is_told_to_have_etcd_do_it() -> None:
    denied = fails(Code.PERMISSION_DENIED, "etcdserver: permission denied")
    etcd = Arrangement([ANSWERS, denied], [])
    with pytest.raises(NotAuthorized, match="auto-compaction-retention"):
        await etcd.store.compact(5)
    assert etcd.calls == ["a Range", "a Compact"]


async def test_every_call_wants_a_member_that_knows_a_leader() -> None:
    etcd = Arrangement([])
    await etcd.read()
    assert etcd.members[0].metadata == [(("hasleader", "true"),)]


async def test_a_token_goes_with_every_call_and_is_renewed_once_it_is_refused() -> None:
    etcd = Arrangement([ANSWERS, ANSWERS, STALE_TOKEN], username="u")
    await etcd.read()
    await etcd.write()
    assert etcd.calls == ["a Authenticate", "a Range", "a Txn", "a Authenticate", "a Txn"]
    tokens = [dict(each).get("token") for each in etcd.members[0].metadata]
    assert tokens == [None, "token-1", "token-1", None, "token-2"]


async def test_who_cannot_log_in_here_does_so_elsewhere_before_anything_is_sent() -> None:
    etcd = Arrangement([BROKEN], [], username="u")
    await etcd.write()
    assert etcd.calls == ["a Authenticate", "a cut", "b Authenticate", "b Range", "b Txn"]


@pytest.mark.parametrize(
    ("script", "username", "error"),
    [
        (
            [fails(Code.INVALID_ARGUMENT, "etcdserver: authentication failed")],
            "u",
            NotAuthenticated,
        ),
        ([fails(Code.INVALID_ARGUMENT, "etcdserver: user name is empty")], "", NotAuthenticated),
        ([ANSWERS, STALE_TOKEN] * 10, "u", NotAuthenticated),
    ],
)
async def test_who_is_not_let_in_hears_it_and_is_not_tried_for_ever(
    script: list[AttemptFailedError | None], username: str, error: type[OttlaError]
) -> None:
    etcd = Arrangement(script, [], username=username)
    with pytest.raises(error):
        await etcd.read()
    assert len(etcd.calls) < 10


async def test_a_member_with_an_older_history_is_not_believed() -> None:
    etcd = Arrangement([ANSWERS, BROKEN], [])
    etcd.members[1].revision = 6
    await etcd.read()
    for call in (etcd.read, etcd.write):
        with pytest.raises(StoreRestoredError):
            await call()


async def test_a_closed_connection_says_so() -> None:
    etcd = Arrangement([])
    await etcd.connection.close()
    with pytest.raises(MetadataStoreUnavailable, match="closed"):
        await etcd.read()
    assert etcd.calls == ["a closed"]


def test_grpc_repeats_nothing_and_pings_only_as_often_as_etcd_allows() -> None:
    options = dict(CHANNEL_OPTIONS)
    assert options["grpc.enable_retries"] == 0
    assert options["grpc.keepalive_time_ms"] >= 10_000
    assert options["grpc.keepalive_permit_without_calls"] == 0

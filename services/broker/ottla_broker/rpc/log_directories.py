"""DescribeLogDirectories: the pages of many brokers, one behind the other by node id.

    page ─► a few brokers asked at once, in order ─► filled up to its bound ─► token: broker, place

Owns which brokers are asked and what stands for one that doesn't answer. A page also ends when the
next brokers could outlast the call: its token goes on with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ottla.api.admin.v1 import admin_pb2
from ottla.internal.broker.v1 import broker_pb2
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import FieldError, InvalidRequest, OttlaError
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.replica.replica_table import ReplicaTable
from ottla_broker.rpc.broker_calls import BrokerCalls
from ottla_broker.rpc.directory_pages import (
    PAGE_SIZE_MAX,
    TOKEN_CHARS_MAX,
    Directory,
    DirectoryPlace,
    directories_page,
    replicas_limit,
)
from ottla_broker.rpc.page_tokens import split_token
from ottla_runtime.clock import Clock

NODES_MAX: Final = 1_000
ASKED_AT_ONCE_MAX: Final = 8
ASK_MS_MAX: Final = 5_000
"""How long one broker is waited for."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one broker answered, and where it goes on."""

    directories: Sequence[Directory]
    rest: str = ""


class LogDirectories:
    """Describes log directories: this broker's own, and those of others."""

    def __init__(
        self,
        table: ClusterTable,
        replicas: ReplicaTable,
        brokers: BrokerCalls,
        *,
        node_id: NodeId,
        clock: Clock,
    ) -> None:
        self._table = table
        self._replicas = replicas
        self._brokers = brokers
        self._node_id = node_id
        self._clock = clock

    def own_page(
        self, request: broker_pb2.DescribeReplicaDirectoriesRequest
    ) -> broker_pb2.DescribeReplicaDirectoriesResponse:
        """One page of this broker's directories. Raises InvalidRequest."""
        directories, token = directories_page(
            self._replicas.describe(),
            node_id=self._node_id,
            page_size=request.page_size,
            token=request.page_token,
        )
        return broker_pb2.DescribeReplicaDirectoriesResponse(
            directories=directories, next_page_token=token
        )

    async def page(
        self,
        request: admin_pb2.DescribeLogDirectoriesRequest,
        *,
        principal: str,
        deadline_ms: int,
    ) -> admin_pb2.DescribeLogDirectoriesResponse:
        """One page of the directories of the brokers asked for.

        Raises:
            InvalidRequest: too many brokers are named, or page size or token are out of bounds.
        """
        room = replicas_limit(request.page_size)
        first, inner = _place(request.page_token)
        nodes = [node for node in self._asked(request) if node >= first]
        response = admin_pb2.DescribeLogDirectoriesResponse()
        size = 0
        while nodes:
            now, nodes = nodes[:ASKED_AT_ONCE_MAX], nodes[ASKED_AT_ONCE_MAX:]
            parts = await self._parts(now, first=first, inner=inner, room=room, principal=principal)
            for node, part in zip(now, parts, strict=True):
                part_size = sum(each.ByteSize() for each in part.directories)
                count = sum(len(each.replicas) for each in part.directories)
                if response.directories and (count > room or size + part_size > PAGE_SIZE_MAX):
                    response.next_page_token = f"{node}:"
                    return response
                response.directories.extend(part.directories)
                room, size = room - count, size + part_size
                if part.rest:
                    response.next_page_token = f"{node}:{part.rest}"
                    return response
            is_late = self._clock.monotonic_ms() + ASK_MS_MAX >= deadline_ms
            if nodes and (room < 1 or is_late):
                response.next_page_token = f"{nodes[0]}:"
                return response
        return response

    def _asked(self, request: admin_pb2.DescribeLogDirectoriesRequest) -> list[NodeId]:
        if len(request.node_ids) > NODES_MAX:
            raise InvalidRequest(
                f"at most {NODES_MAX} brokers may be named at once",
                field_errors=[FieldError("node_ids", f"at most {NODES_MAX}")],
            )
        named = {NodeId(node_id) for node_id in request.node_ids}
        return sorted(named or self._table.brokers)

    async def _parts(
        self, nodes: Sequence[NodeId], *, first: int, inner: str, room: int, principal: str
    ) -> list[_Part]:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    self._part(
                        node,
                        broker_pb2.DescribeReplicaDirectoriesRequest(
                            page_size=max(room, 1), page_token=inner if node == first else ""
                        ),
                        principal=principal,
                    ),
                    name="describe-directories",
                )
                for node in nodes
            ]
        return [task.result() for task in tasks]

    async def _part(
        self,
        node: NodeId,
        request: broker_pb2.DescribeReplicaDirectoriesRequest,
        *,
        principal: str,
    ) -> _Part:
        try:
            answer = await self._answer(node, request, principal=principal)
        except OttlaError as error:
            return _Part([Directory(node_id=node, error=to_proto(error))])
        return _Part(answer.directories, answer.next_page_token)

    async def _answer(
        self,
        node: NodeId,
        request: broker_pb2.DescribeReplicaDirectoriesRequest,
        *,
        principal: str,
    ) -> broker_pb2.DescribeReplicaDirectoriesResponse:
        if node == self._node_id:
            return self.own_page(request)
        if node not in self._table.brokers:
            raise InvalidRequest(f"there is no broker {node}")
        return await self._brokers.ask(
            node,
            request,
            broker_pb2.DescribeReplicaDirectoriesResponse,
            principal=principal,
            timeout_seconds=ASK_MS_MAX / 1_000,
        )


def _place(token: str) -> tuple[int, str]:
    """The broker a page begins with, and that broker's own token."""
    node, inner = split_token(token, chars_max=TOKEN_CHARS_MAX)
    DirectoryPlace.of(inner)
    return node, inner

"""Other brokers, which answer calls of BrokerService as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from ottla.protocol.errors import LeaderNotAvailable
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.rpc.broker_calls import BrokerCalls
from ottla_broker.rpc.peer_channels import PeerChannels

_Answer = TypeVar("_Answer", bound=Message)


class ScriptedBrokers(BrokerCalls):
    """One answer function a broker; those without can't be reached."""

    def __init__(self, table: ClusterTable) -> None:
        peers = PeerChannels(table, listener="public", open_channel=_no_channel)
        super().__init__(table, peers, node_id=NodeId(1))
        self.answers: dict[int, Callable[[Any], Message]] = {}
        self.asked: list[tuple[int, Any]] = []
        self.principals: set[str] = set()

    async def ask(
        self,
        node_id: NodeId,
        request: Message,
        answer_type: type[_Answer],
        *,
        principal: str,
        timeout_seconds: float,
    ) -> _Answer:
        self.asked.append((node_id, request))
        self.principals.add(principal)
        answer = self.answers.get(node_id)
        if answer is None:
            raise LeaderNotAvailable(f"broker {node_id} can't be reached at the moment")
        return cast("_Answer", answer(request))


def _no_channel(endpoint: object) -> Any:
    raise AssertionError("scripted brokers have no channel")

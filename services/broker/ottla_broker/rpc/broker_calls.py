"""Calls of one broker to another's BrokerService, on behalf of whoever asked the first.

Owns how such a call is marked, and what it means when it breaks. Nothing that goes this way does
harm when done twice, so a call that broke counts as one that was not answered.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message

from ottla.internal.broker.v1 import broker_pb2_grpc
from ottla.protocol.errors import LeaderNotAvailable, NotAuthorized
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.rpc.forwarded_calls import Forwarded, forwarded_metadata
from ottla_broker.rpc.peer_channels import PeerChannels
from ottla_runtime.rpc_errors import TransportFailed, error_of

ANSWER_SECONDS_MAX: Final = 10.0
"""How long one try at a broker takes at most; who waits longer tries again."""

Context = grpc.aio.ServicerContext[Any, Any]
_Answer = TypeVar("_Answer", bound=Message)


class BrokerCalls:
    """Used by many calls at once."""

    def __init__(self, table: ClusterTable, peers: PeerChannels, *, node_id: NodeId) -> None:
        self._table = table
        self._peers = peers
        self._node_id = node_id

    async def ask(
        self,
        node_id: NodeId,
        request: Message,
        answer_type: type[_Answer],
        *,
        principal: str,
        timeout_seconds: float,
    ) -> _Answer:
        """The answer of another broker; the contracts name requests and answers after their RPC.

        Raises:
            LeaderNotAvailable: it can't be reached, or its answer was lost.
            OutcomeUnknown: it didn't answer in time.
            OttlaError: as it answered.
        """
        stub: Any = broker_pb2_grpc.BrokerServiceStub(await self._peers.channel(node_id))
        method = getattr(stub, answer_type.DESCRIPTOR.name.removesuffix("Response"))
        metadata = forwarded_metadata(
            node_id=self._node_id, version=self._table.version, principal=principal
        )
        try:
            answer = await method(
                request, timeout=min(timeout_seconds, ANSWER_SECONDS_MAX), metadata=metadata
            )
        except grpc.RpcError as error:
            failed = error_of(error)
            if isinstance(failed, TransportFailed):
                raise LeaderNotAvailable(
                    f"broker {node_id} doesn't answer: {failed.message}"
                ) from error
            raise failed from error
        assert isinstance(answer, answer_type), answer
        return answer


def passed_on_by_broker(context: Context) -> Forwarded:
    """What a call of BrokerService says of having been passed on.

    Raises:
        NotAuthorized: it wasn't. Whoever called by mistake is told where such calls are taken.
    """
    forwarded = Forwarded.of(context.invocation_metadata())
    if not forwarded.by_broker:
        raise NotAuthorized("BrokerService is for brokers; AdminService, at any of them, asks it")
    return forwarded

"""The names of topics, and the cluster at a glance.

Owns the answers to ListTopics and DescribeCluster from the state. Reads only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ottla.api.admin.v1.admin_pb2 import (
    BROKER_STATE_ACTIVE,
    BROKER_STATE_DRAINING,
    BROKER_STATE_FENCED,
    BrokerDescription,
    BrokerState,
    ControllerDescription,
    DescribeClusterResponse,
    ListTopicsRequest,
    ListTopicsResponse,
    TopicListing,
)
from ottla.protocol.errors import FieldError, InvalidRequest
from ottla.protocol.ids import INTERNAL_TOPIC_PREFIX
from ottla.storage.metadata.v1.metadata_record_pb2 import BrokerRecord, TopicRecord
from ottla_controller.core import limits
from ottla_controller.core.page_token import decode_token, encode_token, page_size
from ottla_controller.core.state import ClusterState

_KIND = "topics"


def list_topics(state: ClusterState, request: ListTopicsRequest) -> ListTopicsResponse:
    """One page of topics by name.

    Raises:
        InvalidRequest: prefix, page size or token are out of bounds.
    """
    size = page_size(request.page_size, maximum=limits.LIST_PAGE_MAX)
    if len(request.prefix) > limits.PREFIX_CHARS_MAX:
        rule = f"has at most {limits.PREFIX_CHARS_MAX} characters"
        raise InvalidRequest(f"prefix {rule}", field_errors=[FieldError("prefix", rule)])
    names = state.ready_names
    begin = bisect_left(names, request.prefix)
    if request.page_token:
        begin = max(begin, bisect_right(names, decode_token(request.page_token, _KIND)[0]))
    response = ListTopicsResponse()
    for name in names[begin:]:
        if not name.startswith(request.prefix):
            break
        if name.startswith(INTERNAL_TOPIC_PREFIX) and not request.include_internal:
            continue
        if len(response.topics) == size:
            response.next_page_token = encode_token(_KIND, response.topics[-1].name, 0)
            break
        topic = state.topic_named(name)
        assert topic is not None, "names and topics agree"
        response.topics.append(_listing(topic))
    return response


def _listing(topic: TopicRecord) -> TopicListing:
    return TopicListing(
        name=topic.name,
        topic_id=topic.topic_id,
        partition_count=topic.partition_count,
        replication_factor=topic.replication_factor,
        internal=topic.internal,
    )


def describe_cluster(
    state: ClusterState, *, active_node_id: int | None, metadata_store: str
) -> DescribeClusterResponse:
    """The cluster's services and counts; versions and epochs are the caller's to add."""
    return DescribeClusterResponse(
        cluster_id=state.cluster.cluster_id,
        brokers=[_broker(state, state.brokers[node_id]) for node_id in sorted(state.brokers)],
        controllers=[
            ControllerDescription(
                node_id=node_id,
                endpoints=state.controllers[node_id].endpoints,
                active=node_id == active_node_id,
            )
            for node_id in sorted(state.controllers)
        ],
        feature_level=state.cluster.feature_level,
        metadata_store=metadata_store,
        topic_count=len(state.ready_names),
        partition_count=state.partition_count,
    )


def _broker(state: ClusterState, broker: BrokerRecord) -> BrokerDescription:
    return BrokerDescription(
        node_id=broker.node_id,
        endpoints=broker.endpoints,
        rack=broker.rack,
        state=_broker_state(broker),
        broker_epoch=broker.broker_epoch,
        server_version=broker.server_version,
        leader_count=state.leader_count(broker.node_id),
        replica_count=state.replica_count(broker.node_id),
    )


def _broker_state(broker: BrokerRecord) -> BrokerState.ValueType:
    if broker.fenced:
        return BROKER_STATE_FENCED
    return BROKER_STATE_DRAINING if broker.draining else BROKER_STATE_ACTIVE

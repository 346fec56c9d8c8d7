"""Which broker a partition's batches go to, and the links to those brokers.

Owns the links, made when first needed, and the queues that nobody leads at the moment, which wait
for metadata. A queue is offered wherever its leader is; the link asks again before it sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ottla.client.cluster_access import ClusterAccess
from ottla.client.core.partition_queue import PartitionQueue
from ottla.client.produce_link import LinkTerms, ProduceLink
from ottla.protocol.errors import OttlaError, UnknownTopicOrPartition


class ProduceRouter:
    """Belongs to one producer."""

    def __init__(
        self,
        access: ClusterAccess,
        *,
        terms: LinkTerms,
        queues: Callable[[], Iterable[PartitionQueue]],
    ) -> None:
        self._queues = queues
        self._access = access
        self._terms = terms
        self._links: dict[int, ProduceLink] = {}
        self._leaderless: dict[PartitionQueue, None] = {}

    def schedule(self, queue: PartitionQueue) -> None:
        """The queue may have something to send."""
        if queue.is_scheduled:
            return
        leader = self._access.view.leader(queue.topic, queue.partition)
        leader_id = None if leader is None else leader.node_id
        node_id = queue.node_id if queue.sent_count else leader_id
        link = None if node_id is None else self._link(node_id)
        if link is None:
            self._leaderless[queue] = None
            self._access.follower.refresh(queue.topic)
        else:
            link.offer(queue)

    def _link(self, node_id: int) -> ProduceLink | None:
        address = self._access.view.broker(node_id)
        link = self._links.get(node_id)
        if link is not None:
            if address is not None:
                link.address = address  # the next session goes there
            return link
        if address is None:
            return None
        link = ProduceLink(node_id, address, owner=self, terms=self._terms)
        self._links[node_id] = link
        self._access.tasks.start(link.run(), name=f"ottla-produce-{node_id}")
        return link

    def metadata_changed(self) -> None:
        """Try again to find leaders for the queues without one."""
        waiting, self._leaderless = self._leaderless, {}
        for queue in waiting:
            self.schedule_if_any(queue)

    def schedule_if_any(self, queue: PartitionQueue) -> None:
        """Schedule a queue unless it is empty."""
        if not queue.is_empty:
            self.schedule(queue)

    # What links ask

    def target(self, queue: PartitionQueue, node_id: int) -> tuple[bytes, int] | None:
        topic = self._access.view.topic(queue.topic)
        leader = self._access.view.leader(queue.topic, queue.partition)
        if topic is None or leader is None or leader.node_id != node_id:
            if not queue.sent_count:  # else its answers bring it here again
                self._reroute(queue, node_id)
            return None
        if queue.topic_id is None or queue.is_empty:
            queue.topic_id = topic.topic_id
        elif queue.topic_id != topic.topic_id:
            queue.topic_id = topic.topic_id
            queue.abandon(
                UnknownTopicOrPartition(
                    f"topic {queue.topic} was deleted and created again",
                    metadata={"topic": queue.topic, "partition": queue.partition},
                )
            )
            return None
        return topic.topic_id, leader.epoch

    def _reroute(self, queue: PartitionQueue, from_node_id: int) -> None:
        leader = self._access.view.leader(queue.topic, queue.partition)
        if leader is None or leader.node_id is None or leader.node_id == from_node_id:
            self._leaderless[queue] = None
            self._access.follower.refresh(queue.topic)
        else:
            self.schedule_if_any(queue)

    def progressed(self, queue: PartitionQueue) -> None:
        if queue.is_empty:
            queue.topic_id = None  # what comes next is meant for the topic there is by then
        else:
            self.schedule(queue)

    def refused(self, error: OttlaError) -> bool:
        is_news = self._access.view.take_hint(error)
        if error.refresh_metadata and not is_news and error.topic is not None:
            self._access.follower.refresh(error.topic)
        return is_news

    def link_broke(self, node_id: int, error: OttlaError) -> None:
        for topic in {queue.topic for queue in self._queues() if queue.node_id == node_id}:
            self._access.follower.refresh(topic)

"""Which replica it is: the topic's id and name, and the partition."""

from __future__ import annotations

from dataclasses import dataclass

from ottla.protocol.errors import InvalidTopic
from ottla.protocol.ids import TOPIC_ID_SIZE, TopicId, check_topic_name
from ottla_broker.core.documents import DamagedDocumentError, decode_document, encode_document

_FILE_NAME_SIZE_MAX = 255
_KIND = "partition"


@dataclass(frozen=True, slots=True)
class ReplicaName:
    """A topic id, its name and a partition. The name is for people and paths, the id decides."""

    topic_id: TopicId
    topic: str
    partition: int

    @property
    def key(self) -> tuple[TopicId, int]:
        """What tells replicas apart, also when a topic is deleted and created again."""
        return self.topic_id, self.partition

    @property
    def directory_name(self) -> str:
        """Name of the replica's directory. Raises InvalidTopic if there can be no such file."""
        name = f"{self.topic}-{self.partition}"
        if len(name) > _FILE_NAME_SIZE_MAX:
            raise InvalidTopic(f"{name} is longer than a directory's name may be")
        return name

    @property
    def details(self) -> dict[str, object]:
        """The metadata of errors about it."""
        return {"topic": self.topic, "partition": self.partition}

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def encode_replica_name(name: ReplicaName) -> bytes:
    """The document `partition.meta`."""
    body = {"topic_id": name.topic_id.hex(), "topic": name.topic, "partition": name.partition}
    return encode_document(_KIND, body)


def decode_replica_name(data: bytes) -> ReplicaName:
    """What `partition.meta` says. Raises DamagedDocumentError, UnsupportedVersion."""
    body = decode_document(_KIND, data)
    try:
        topic_id = TopicId(bytes.fromhex(body["topic_id"]))
        name = ReplicaName(topic_id, check_topic_name(body["topic"]), int(body["partition"]))
    except (KeyError, TypeError, ValueError, InvalidTopic) as error:
        raise DamagedDocumentError(f"unreadable: {error!r}") from None
    if len(topic_id) != TOPIC_ID_SIZE or name.partition < 0:
        raise DamagedDocumentError(f"no replica has the name {body!r}")
    return name

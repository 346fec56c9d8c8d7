"""Topics made when somebody first produces to them, where the cluster is set so, and only then."""

from __future__ import annotations

import pytest

import ottla
import ottla.testing
from ottla.protocol.errors import InvalidTopic, UnknownTopicOrPartition

SETTING = "auto.create.topics.enable"


async def names(admin: ottla.Admin) -> list[str]:
    return [each.name for each in await admin.list_topics()]


async def test_producing_makes_a_missing_topic_as_soon_as_the_cluster_is_set_so() -> None:
    async with (
        ottla.testing.cluster() as cluster,
        ottla.Admin(cluster.bootstrap) as admin,
        ottla.Producer(cluster.bootstrap, default_api_timeout_ms=500) as producer,
    ):
        with pytest.raises(UnknownTopicOrPartition):
            await (await producer.send("new", b"x"))
        assert await names(admin) == []
        await admin.alter_config("cluster", values={SETTING: "true"})
        delivery = await producer.send("new", b"x")
        assert (await delivery).offset == 0
        with pytest.raises(InvalidTopic):
            await (await producer.send("no name!", b"x"))
        await admin.alter_config("cluster", values={SETTING: None})
        with pytest.raises(UnknownTopicOrPartition):
            await (await producer.send("another", b"x"))
        assert await names(admin) == ["new"]


async def test_consuming_and_asking_make_no_topic() -> None:
    async with (
        ottla.testing.cluster(broker_settings={SETTING: True}) as cluster,
        ottla.Admin(cluster.bootstrap) as admin,
        ottla.Consumer(cluster.bootstrap, default_api_timeout_ms=500) as consumer,
    ):
        with pytest.raises(UnknownTopicOrPartition):
            await consumer.assign(["new"])
        (described,) = await admin.describe_topics(["new"])
        assert isinstance(described.error, UnknownTopicOrPartition)
        assert await names(admin) == []

"""The blocking admin client: the asyncio one's methods, waited for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from integration.blocking.cluster_process import ClusterProcess

from ottla import blocking
from ottla.client.admin import Admin as AsyncAdmin
from ottla.client.consumer import Consumer as AsyncConsumer
from ottla.client.producer import Producer as AsyncProducer
from ottla.protocol.errors import InvalidRequest, TopicExists, UnknownTopicOrPartition

FACES = [
    (AsyncAdmin, blocking.Admin),
    (AsyncConsumer, blocking.Consumer),
    (AsyncProducer, blocking.Producer),
]
CUT_DIFFERENTLY = {"import_metadata"}
"""Its argument is asked for in the caller's thread, so it can't be an asynchronous one."""


def test_topics_and_settings_are_operated(cluster: ClusterProcess) -> None:
    with blocking.Admin(cluster.bootstrap) as admin:
        created = admin.create_topic("new", partition_count=2, configs={"retention.ms": "1000"})
        assert (created.name, created.partition_count) == ("new", 2)
        with pytest.raises(TopicExists):
            admin.create_topic("new", partition_count=3)
        assert "new" in [listing.name for listing in admin.list_topics()]
        (described,) = admin.describe_topics(["new"])
        assert len(described.partitions) == 2
        assert len(admin.describe_cluster().brokers) == 1
        (deleted,) = admin.delete_records({("new", 1): -1})
        assert (deleted.partition, deleted.log_start_offset, deleted.error) == (1, 0, None)
        (directory,) = admin.describe_log_directories()
        assert directory.is_online
        admin.delete_topic("new")
        with pytest.raises(UnknownTopicOrPartition):
            admin.delete_topic("new")


def test_metadata_goes_out_and_in_a_piece_at_a_time(cluster: ClusterProcess) -> None:
    with blocking.Admin(cluster.bootstrap) as admin:
        whole = b"".join(admin.export_metadata())
        assert len(whole) > 10
        begun = admin.export_metadata()
        assert next(iter(begun)) == whole
        with pytest.raises(InvalidRequest, match="import goes into a cluster without any"):
            admin.import_metadata(iter([whole[:5], whole[5:]]))

        def failing() -> Iterator[bytes]:
            yield whole[:5]
            raise KeyError("the caller's own")

        with pytest.raises(KeyError):
            admin.import_metadata(failing())
        assert len(admin.describe_cluster().brokers) == 1
    with pytest.raises(InvalidRequest, match="closed"):
        next(iter(begun))


@pytest.mark.parametrize(("awaited", "waiting"), FACES)
def test_both_faces_have_the_same_names_and_arguments(awaited: type, waiting: type) -> None:
    for name in dir(awaited):
        method = getattr(awaited, name)
        if name.startswith("_") or not callable(method) or name in CUT_DIFFERENTLY:
            continue
        theirs = inspect.signature(method).parameters
        ours = inspect.signature(getattr(waiting, name)).parameters
        assert [*ours.values()] == [*theirs.values()], name
    initial = inspect.signature(awaited.__init__)  # type: ignore[misc]  # of the class, on purpose
    assert inspect.signature(waiting.__init__) == initial  # type: ignore[misc]  # likewise
    assert [name for name in dir(awaited) if name[0] != "_" and not hasattr(waiting, name)] == []


@pytest.mark.may_block(reason="a notebook's cell blocks its loop; that it may is what is tested")
async def test_a_caller_on_a_running_loop_is_served_as_in_a_notebook(
    cluster: ClusterProcess,
) -> None:
    with (
        blocking.Admin(cluster.bootstrap) as admin,
        blocking.Producer(cluster.bootstrap) as producer,
        blocking.Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer,
    ):
        admin.create_topic("cells")
        assert producer.send("cells", b"1").result().offset == 0
        consumer.assign(["cells"])
        assert next(consumer).value == b"1"

"""A broker's log directories, cut into pages that are put together again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.protocol.errors import CorruptLog, InvalidRequest, OttlaError, StorageOffline
from ottla.protocol.ids import DirectoryId, TopicId
from ottla_broker.replica.replica_table import DirectoryDescription, ReplicaDescription
from ottla_broker.rpc.directory_pages import (
    PAGE_REPLICAS_MAX,
    PAGE_SIZE_MAX,
    Directory,
    DirectoryPlace,
    directories_page,
)


def replica(
    topic: str, partition: int = 0, *, error: OttlaError | None = None, number: int = 1
) -> ReplicaDescription:
    topic_id = TopicId(bytes([number]) * 16)
    return ReplicaDescription(topic, topic_id, partition, 10, 2, 5, error)


def directory(
    path: str, *replicas: ReplicaDescription, error: OttlaError | None = None
) -> DirectoryDescription:
    return DirectoryDescription(
        path=Path(path),
        directory_id=DirectoryId(b"d" * 16),
        online=error is None,
        error=error,
        total_bytes=100,
        usable_bytes=40,
        replicas=replicas,
    )


def pages(*directories: DirectoryDescription, page_size: int) -> list[list[Directory]]:
    found, token = [], ""
    while True:
        page, token = directories_page(directories, node_id=7, page_size=page_size, token=token)
        found.append(page)
        if not token:
            return found


def together(cut: list[list[Directory]]) -> dict[str, list[tuple[str, bytes, int]]]:
    whole: dict[str, list[tuple[str, bytes, int]]] = {}
    for page in cut:
        for each in page:
            names = [(one.topic, one.topic_id, one.partition) for one in each.replicas]
            whole.setdefault(each.path, []).extend(names)
    return whole


def test_a_directory_says_where_it_is_and_what_it_holds() -> None:
    ((shown,),) = pages(directory("/a", replica("t", 3)), page_size=0)
    assert (shown.node_id, shown.path, shown.online) == (7, "/a", True)
    assert (shown.total_bytes, shown.free_bytes) == (100, 40)
    (held,) = shown.replicas
    assert (held.topic, held.partition) == ("t", 3)
    assert (held.size_bytes, held.log_start_offset, held.log_end_offset) == (10, 2, 5)
    assert not shown.HasField("error")
    assert not held.HasField("error")


def test_an_offline_directory_says_why_once() -> None:
    gone = StorageOffline("the disk is gone")
    ((shown,),) = pages(directory("/a", replica("t", error=gone), error=gone), page_size=0)
    assert not shown.online
    assert shown.error.message == "the disk is gone"
    assert not shown.replicas[0].HasField("error")


def test_a_damaged_replica_of_a_good_directory_says_why() -> None:
    ((shown,),) = pages(directory("/a", replica("t", error=CorruptLog("bad sum"))), page_size=0)
    assert shown.online
    assert shown.replicas[0].error.message == "bad sum"


def test_directories_come_by_path_and_replicas_by_name_and_number() -> None:
    two = directory("/b", replica("z"), replica("a", 1), replica("a", 0))
    ((first, second),) = pages(two, directory("/a"), page_size=0)
    assert [first.path, second.path] == ["/a", "/b"]
    assert [(each.topic, each.partition) for each in second.replicas] == [
        ("a", 0),
        ("a", 1),
        ("z", 0),
    ]


replicas = st.builds(
    replica,
    st.sampled_from(["a", "b", "b.c", "topic-1"]),
    st.integers(0, 3),
    number=st.integers(1, 2),
)


@given(
    st.lists(st.lists(replicas, unique_by=lambda r: (r.topic, r.partition, r.topic_id))),
    st.integers(1, 5),
)
def test_pages_hold_every_replica_once_whatever_their_size(
    contents: list[list[ReplicaDescription]], page_size: int
) -> None:
    directories = [directory(f"/{number}", *each) for number, each in enumerate(contents)]
    cut = pages(*directories, page_size=page_size)
    assert all(sum(len(each.replicas) for each in page) <= page_size for page in cut)
    assert together(cut) == {
        f"/{number}": [
            (one.topic, one.topic_id, one.partition)
            for one in sorted(each, key=lambda one: (one.topic, one.partition, one.topic_id))
        ]
        for number, each in enumerate(contents)
    }


def test_a_page_ends_before_it_exceeds_a_mebibyte() -> None:
    long = [replica("n" * 249, number) for number in range(2_000)]
    many = [directory(f"/{'d' * 200}{disk}", *long) for disk in range(3)]
    cut = pages(*many, page_size=PAGE_REPLICAS_MAX)
    assert all(sum(each.ByteSize() for each in page) <= PAGE_SIZE_MAX for page in cut)
    assert sum(len(names) for names in together(cut).values()) == 6_000


@pytest.mark.parametrize(
    "token",
    [
        *("x", "1", "0:0:zz:t", "a:0::t", "0:-1::t", "0:99999999999::t"),
        *("0:0:" + "00" * 17 + ":t", "9" * 600, "0:0::" + "t" * 250),
    ],
)
def test_tokens_of_others_are_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        DirectoryPlace.of(token)


def test_a_token_brings_its_place_back() -> None:
    place = DirectoryPlace(3, "topic:with-colon", 7, b"\x01" * 16)
    assert DirectoryPlace.of(place.token()) == place


def test_too_large_a_page_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        directories_page([], node_id=1, page_size=PAGE_REPLICAS_MAX + 1, token="")

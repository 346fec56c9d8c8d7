"""Revisions put together from what etcd sends, however that is cut and whenever it breaks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla.internal.etcd.v1 import etcd_pb2
from ottla_controller.store.etcd_requests import KeySpace
from ottla_controller.store.etcd_watch import RevisionAssembly
from ottla_controller.store.interface import KeyEvent, RevisionEvents

KEYS = KeySpace(b"/p/")


def put(key: bytes, revision: int) -> etcd_pb2.Event:
    kv = etcd_pb2.KeyValue(
        key=b"/p/" + key, value=b"v", create_revision=revision, mod_revision=revision
    )
    return etcd_pb2.Event(kv=kv)


def answer(
    *events: etcd_pb2.Event, fragment: bool = False, revision: int = 0
) -> etcd_pb2.WatchResponse:
    header = etcd_pb2.ResponseHeader(revision=revision)
    return etcd_pb2.WatchResponse(header=header, events=events, fragment=fragment)


def whole(revision: int, *keys: bytes) -> RevisionEvents:
    return RevisionEvents(revision, tuple(KeyEvent(key, b"v", revision) for key in keys))


def test_a_revision_is_given_out_once_it_is_whole() -> None:
    assembly = RevisionAssembly(KEYS, from_revision=5)
    assert assembly.take(answer(put(b"b", 5), put(b"a", 6), fragment=True)) == [whole(5, b"b")]
    assert assembly.take(answer(put(b"c", 6), fragment=True)) == []
    assert assembly.take(answer(put(b"b", 6))) == [whole(6, b"a", b"b", b"c")]
    assert assembly.next_revision == 7


def test_what_is_half_there_when_the_stream_breaks_comes_again_and_counts_once() -> None:
    assembly = RevisionAssembly(KEYS, from_revision=5)
    assembly.take(answer(put(b"a", 5), put(b"a", 6), fragment=True))
    assembly.begin()
    assert assembly.next_revision == 6
    again = answer(put(b"a", 5), put(b"a", 6), put(b"b", 6))
    assert assembly.take(again) == [whole(6, b"a", b"b")]


def test_a_deletion_has_no_value_and_no_create_revision() -> None:
    assembly = RevisionAssembly(KEYS, from_revision=5)
    gone = etcd_pb2.Event(
        type=etcd_pb2.Event.TYPE_DELETE, kv=etcd_pb2.KeyValue(key=b"/p/a", mod_revision=5)
    )
    assert assembly.take(answer(gone)) == [RevisionEvents(5, (KeyEvent(b"a", None, 0),))]


def test_a_sign_of_life_moves_the_place_to_resume_at_but_never_back() -> None:
    assembly = RevisionAssembly(KEYS, from_revision=5)
    assembly.take(answer(revision=9))
    assert assembly.next_revision == 10
    assembly.take(answer(revision=7))
    assert assembly.next_revision == 10


def test_the_answer_that_begins_a_watch_says_nothing_about_revisions() -> None:
    assembly = RevisionAssembly(KEYS, from_revision=5)
    begun = etcd_pb2.WatchResponse(header=etcd_pb2.ResponseHeader(revision=50), created=True)
    assembly.take(begun)
    assert assembly.next_revision == 5


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    cuts=st.sets(st.integers(1, 31)),
    breaks=st.sets(st.integers(0, 10)),
)
def test_any_cutting_and_any_breaking_gives_the_same_revisions(
    sizes: list[int], cuts: set[int], breaks: set[int]
) -> None:
    expected = [whole(5 + i, *(b"%d" % k for k in range(size))) for i, size in enumerate(sizes)]
    assembly = RevisionAssembly(KEYS, from_revision=5)
    seen: list[RevisionEvents] = []
    tries = 0
    while len(seen) < len(expected):
        first = assembly.next_revision - 1  # a watch begins one early
        events = [
            put(event.key, each.revision)
            for each in expected
            for event in each.events
            if each.revision >= first
        ]
        assembly.begin()
        ends = [*sorted(cut for cut in cuts if cut < len(events)), len(events)]
        begin = 0
        for number, end in enumerate(ends):
            if tries * 3 + number in breaks:
                break
            seen += assembly.take(answer(*events[begin:end], fragment=end < len(events)))
            begin = end
        tries += 1
    assert seen == expected

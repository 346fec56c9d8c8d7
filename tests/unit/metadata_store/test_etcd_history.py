"""A restored backup shows in what etcd answers; a member that lags behind looks like none."""

from __future__ import annotations

import pytest

from ottla.internal.etcd.v1.etcd_pb2 import ResponseHeader
from ottla_controller.store.etcd_history import StoreHistory
from ottla_controller.store.interface import StoreRestoredError


def header(*, revision: int = 10, term: int = 3, cluster_id: int = 0xAB) -> ResponseHeader:
    return ResponseHeader(cluster_id=cluster_id, revision=revision, raft_term=term, member_id=1)


@pytest.fixture
def history() -> StoreHistory:
    history = StoreHistory()
    history.saw(header(), since=history.mark())
    return history


def test_a_store_is_named_for_its_cluster(history: StoreHistory) -> None:
    assert StoreHistory().store_id == ""
    assert history.store_id == "00000000000000ab"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (header(revision=9), "was at revision 10 and is at 9 now"),
        (header(revision=500, term=2), "was in term 3 and is in 2 now"),
        (header(revision=500, cluster_id=0xCD), "was cluster 00000000000000ab"),
    ],
)
def test_an_answer_of_another_history_is_refused_and_so_is_every_one_after_it(
    history: StoreHistory, answer: ResponseHeader, told: str
) -> None:
    with pytest.raises(StoreRestoredError, match=told):
        history.saw(answer, since=history.mark())
    for again in (history.check, lambda: history.saw(header(revision=11), since=None)):
        with pytest.raises(StoreRestoredError, match=told):
            again()


def test_answers_may_overtake_each_other(history: StoreHistory) -> None:
    early = history.mark()
    history.saw(header(revision=12, term=4), since=history.mark())
    history.saw(header(revision=11, term=3), since=early)
    with pytest.raises(StoreRestoredError):
        history.saw(header(revision=11, term=4), since=history.mark())


def test_a_member_that_answers_for_itself_may_be_behind(history: StoreHistory) -> None:
    history.saw(header(revision=2, term=1), since=None)
    history.saw(header(revision=10), since=history.mark())


def test_a_member_that_knows_no_term_yet_tells_none(history: StoreHistory) -> None:
    history.saw(header(term=0), since=history.mark())


def test_once_accepted_the_other_history_counts_and_late_answers_do_not(
    history: StoreHistory,
) -> None:
    late = history.mark()
    with pytest.raises(StoreRestoredError):
        history.saw(header(revision=4, term=2), since=late)
    history.begin_anew()
    history.saw(header(revision=4, term=2, cluster_id=0xCD), since=history.mark())
    history.saw(header(revision=4, term=2, cluster_id=0xCD), since=late)
    assert history.store_id == "00000000000000cd"
    with pytest.raises(StoreRestoredError):
        history.saw(header(revision=3, term=2, cluster_id=0xCD), since=history.mark())

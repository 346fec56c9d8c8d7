"""All metadata leaves a cluster as bytes and comes into another, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla.protocol.errors import (
    InvalidRequest,
    MetadataStoreUnavailable,
    OttlaError,
    UnsupportedVersion,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    TOPIC_STATE_READY,
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    ExportedRecord,
    IdBlockRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core import brokers, limits
from ottla_controller.core.export import encoded_length, exported_chunks, exported_records
from ottla_controller.core.import_stream import ImportRules, ImportStream
from ottla_controller.core.import_writing import import_metadata, undo_import
from ottla_controller.core.publication import as_change, snapshot
from ottla_controller.core.record_keys import CLUSTER_KEY
from ottla_controller.core.result import Result
from ottla_controller.core.state import ClusterState

from .alterations import OF_CLUSTER, grow, of_broker, set_configs
from .cluster_context import ClusterContext, contents
from .exports import RULES, encoded, export, exported, piece, sealed, stream, unsealed


@pytest.fixture
def source() -> ClusterContext:
    """A cluster with something of everything."""
    source = ClusterContext()
    source.start_brokers(1, 2)
    source.create(partitions=150, replicas=2, configs={"retention.ms": "5"})
    source.create("small", assignments=[[2]])
    source.assign_all()
    set_configs(source, OF_CLUSTER, {"log.level": "debug"})
    set_configs(source, of_broker(2), {"segment.ms": "7"})
    return source


def take_over(
    target: ClusterContext, data: bytes, *, stop_after: int | None = None
) -> ImportStream:
    """Imports into a cluster, or only as far as the controller lived."""
    found = stream(data)
    target.write(import_metadata(target.state, found.state), stop_after=stop_after)
    return found


def test_what_is_exported_comes_in_as_it_was(source: ClusterContext) -> None:
    target = ClusterContext()
    found = take_over(target, export(source))
    assert found.record_count == 1 + 2 + 2 + 2 + 151
    before, after = contents(source.state), contents(target.state)
    assert set(before) == set(after)
    for key, record in after.items():
        if isinstance(record, TopicRecord | ConfigRecord):
            assert record == before[key]
    assert target.state.cluster.cluster_id == source.state.cluster.cluster_id
    assert target.state.cluster.generation == source.state.cluster.generation + 1
    assert not target.state.has_leftovers
    assert contents(target.restarted()) == after


def test_epochs_rise_and_nobody_leads_before_registering(source: ClusterContext) -> None:
    target = ClusterContext()
    take_over(target, export(source))
    for number in range(150):
        before, after = source.partition(number), target.partition(number)
        assert not after.HasField("leader_id")
        assert after.leader_epoch > before.leader_epoch
        assert after.partition_epoch > before.partition_epoch
        assert after.replicas == before.replicas, "also the directories they are in"
        assert list(after.isr) == []
        assert set(after.eligible_leader_replicas) == set(before.isr)
    assert target.broker(1).fenced
    epoch = target.register(1)
    assert epoch > source.epoch(1)
    target.unfence(1)
    assert {target.leader(number) for number in range(150)} == {1}


def test_a_broker_process_that_lives_on_gets_a_new_epoch(source: ClusterContext) -> None:
    target = ClusterContext()
    take_over(target, export(source))
    assert target.broker(1).incarnation_id == b""
    target._incarnations = 0
    assert target.register(1) > source.epoch(1), "it is the source's process number 1"


def test_an_export_begins_with_the_cluster_and_leaves_out_what_nobody_sees(
    source: ClusterContext,
) -> None:
    source.create("half", partitions=500, stop_after=2)
    source.create("gone")
    source.delete("gone")
    grow(source, 600, stop_after=2)
    records = exported(export(source))
    assert records[0].cluster.cluster_id == source.state.cluster.cluster_id
    assert {each.topic.name for each in records if each.HasField("topic")} == {"flights", "small"}
    assert sum(each.HasField("partition") for each in records) == 151
    kinds = [each.WhichOneof("record") for each in records]
    assert kinds[:5] == ["cluster", "broker", "broker", "config", "config"]


def test_chunks_end_before_a_mebibyte_and_hold_whole_records(
    source: ClusterContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert limits.PAGE_BYTES_MAX < 1_048_576
    whole = export(source)
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 1_000)
    chunks = list(exported_chunks(exported_records(source.state)))
    assert len(chunks) > 5
    assert max(map(len, chunks)) <= 1_000
    assert sum(len(exported(chunk)) for chunk in chunks) == 158
    assert b"".join(chunks) == whole


@pytest.mark.parametrize("chunk", [1, 7, 64, 4_096])
def test_chunks_of_an_import_may_end_anywhere(source: ClusterContext, chunk: int) -> None:
    data = export(source)
    assert contents(stream(data, chunk=chunk).state) == contents(stream(data).state)


def test_a_stream_that_ends_early_brings_nothing(source: ClusterContext) -> None:
    data = export(source)
    pieces = [piece(record) for record in exported(data)]
    between = [sum(map(len, pieces[:count])) for count in (1, 3, 5, 156, 158)]
    assert data.startswith(unsealed(data))
    assert between[-1] == len(unsealed(data))
    for end in [*range(0, len(data), 397), *between, len(data) - 1]:
        with pytest.raises(InvalidRequest, match=r"ends before|in the middle"):
            stream(data[:end])


def test_nothing_comes_behind_the_end_of_an_export(source: ClusterContext) -> None:
    data = export(source)
    for more in (data, piece(exported(data)[0]), data.removeprefix(unsealed(data))):
        with pytest.raises(InvalidRequest, match="behind the end"):
            stream(data + more)


@pytest.mark.parametrize("step_count", [0, 1, 2, 4, 6, 7, 100, 156, 158])
def test_an_import_cut_off_anywhere_is_not_seen_and_taken_back(
    source: ClusterContext, step_count: int
) -> None:
    target = ClusterContext()
    before = contents(target.state)
    target.published.clear()
    steps = list(import_metadata(target.state, stream(export(source)).state).steps)
    assert len(steps) == 159
    target.write(Result(None, steps[:step_count]))
    assert target.published == []
    for state in (target.state, target.restarted()):
        shown = [as_change(record).WhichOneof("change") for record in snapshot(state)]
        assert shown == ["cluster"]
        assert state.has_leftovers is (step_count > 0)
    while target.sweep():
        pass
    assert {change.WhichOneof("change") for change in target.published} <= {"cluster"}
    assert contents(target.state) == before
    take_over(target, export(source))
    assert target.state.topic_named("flights") is not None


@pytest.mark.parametrize("removed_count", [1, 2, 90, 150, 152, 157, 158])
def test_taking_an_import_back_can_be_cut_off_anywhere_too(
    source: ClusterContext, removed_count: int
) -> None:
    target = ClusterContext()
    before = dict(target.store)
    steps = list(import_metadata(target.state, stream(export(source)).state).steps)
    target.write(Result(None, steps[:-1]))
    target.write(Result(None, list(undo_import(target.state).steps)[:removed_count]))
    successor = ClusterContext()
    successor.store, successor.state = target.store, target.restarted()
    successor.write(brokers.reconcile(successor.state))
    while successor.sweep():
        pass
    assert successor.store == before
    assert successor.state.partition_count == 0


def test_with_its_last_transaction_everything_is_seen_at_once(source: ClusterContext) -> None:
    target = ClusterContext()
    target.published.clear()
    take_over(target, export(source))
    kinds = [change.WhichOneof("change") for change in target.published]
    assert kinds.count("partition") == 151
    assert kinds[0] == "cluster"
    assert set(contents(target.state)) == set(contents(source.state))


def test_while_an_import_is_taken_back_nobody_joins_and_nothing_comes_in(
    source: ClusterContext,
) -> None:
    target = ClusterContext()
    take_over(target, export(source), stop_after=1)
    with pytest.raises(MetadataStoreUnavailable, match="being written, or taken back"):
        target.register(3)
    with pytest.raises(MetadataStoreUnavailable):
        take_over(target, export(source))
    target.write(undo_import(target.state), stop_after=0)
    target.write(undo_import(target.state))
    assert target.write(undo_import(target.state)) == 0
    target.register(3)


@pytest.mark.parametrize("what", ["topic", "broker", "settings"])
def test_a_cluster_that_has_something_takes_nothing_in(source: ClusterContext, what: str) -> None:
    target = ClusterContext()
    if what == "settings":
        set_configs(target, OF_CLUSTER, {"log.level": "debug"})
    else:
        target.start_brokers(7)
    if what == "topic":
        target.create()
    before = contents(target.state)
    with pytest.raises(InvalidRequest, match="import goes into a cluster without any"):
        take_over(target, export(source))
    assert contents(target.state) == before


def test_an_import_repeated_after_its_answer_was_lost_succeeds_until_something_happened(
    source: ClusterContext,
) -> None:
    target = ClusterContext()
    data = export(source)
    take_over(target, data)
    before = contents(target.state)
    assert take_over(target, data).record_count == 158
    assert contents(target.state) == before
    target.start_brokers(1)
    with pytest.raises(InvalidRequest, match="an import before this one has succeeded"):
        take_over(target, data)


def test_generations_only_grow(source: ClusterContext) -> None:
    target = ClusterContext()
    record = ClusterRecord()
    record.CopyFrom(target.state.cluster)
    record.generation, record.store_id = 7, "here"
    target.state.replay(target.state.revision + 1, [(CLUSTER_KEY, record)])
    take_over(target, export(source))
    assert (target.state.cluster.generation, target.state.cluster.store_id) == (7, "here")


Change = Callable[[list[ExportedRecord]], object]
FIRST_PARTITION = 6


def no_more_than(count: int) -> Change:
    def cut(records: list[ExportedRecord]) -> None:
        del records[count:]

    return cut


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda records: records.clear(), "the export has no records"),
        (lambda records: records.pop(0), "record 1 of the import: the cluster comes first"),
        (lambda records: records.insert(1, records[0]), "the cluster comes first"),
        (lambda records: records.insert(2, records[1]), "comes a second time"),
        (lambda records: records.insert(4, records[3]), "comes a second time"),
        (lambda records: records.insert(7, records[6]), "comes a second time"),
        (lambda records: records.append(records[5]), "comes a second time"),
        (lambda records: records.append(records[1]), "brokers and settings come before topics"),
        (lambda records: records.pop(1), "node id 1|brokers that came before"),
        (lambda records: records.pop(5), "a partition comes behind its topic"),
        (lambda records: records.pop(8), "has 150 partitions, 149 of which came"),
        (lambda records: records.append(records[6]), "a partition comes behind its topic"),
        (no_more_than(100), "has 150 partitions, 94 of which came"),
    ],
)  # fmt: skip
def test_records_that_do_not_fit_together_are_refused(
    source: ClusterContext, change: Change, problem: str
) -> None:
    records = exported(export(source))
    assert records[FIRST_PARTITION].HasField("partition")
    change(records)
    with pytest.raises(InvalidRequest, match=problem):
        stream(encoded(records))


def topic(**fields: object) -> ExportedRecord:
    """A topic's record with something wrong in it."""
    right = {"partition_count": 1, "replication_factor": 1, "name": "t"}
    record = TopicRecord(topic_id=b"i" * 16, state=TOPIC_STATE_READY, **{**right, **fields})  # type: ignore[arg-type]  # checked by protobuf
    return ExportedRecord(topic=record)


WRONG: Sequence[tuple[str, ExportedRecord, str]] = [
    ("cluster", ExportedRecord(cluster=ClusterRecord()), "id has 1 to 64 characters"),
    ("cluster", ExportedRecord(cluster=ClusterRecord(cluster_id="x" * 65)), "id has 1 to 64"),
    ("cluster", ExportedRecord(cluster=ClusterRecord(cluster_id="c", format_version=2)), "newer"),
    ("cluster", ExportedRecord(cluster=ClusterRecord(cluster_id="c", feature_level=9)), "newer"),
    ("cluster", ExportedRecord(cluster=ClusterRecord(cluster_id="c", generation=2**63)), "too hi"),
    ("broker", ExportedRecord(broker=BrokerRecord()), "node id is 1 or more"),
    ("broker", ExportedRecord(broker=BrokerRecord(node_id=9, broker_epoch=2**63)), "too high"),
    ("broker", ExportedRecord(broker=BrokerRecord(node_id=9, rack="r" * 300)), "out of bounds"),
    ("broker", ExportedRecord(broker=BrokerRecord(
        node_id=9, static_topic_configs={"x": "y" * 70_000})), "settings exceed"),
    ("config", ExportedRecord(config=ConfigRecord(node_id=9)), "no broker has node id 9"),
    ("config", ExportedRecord(config=ConfigRecord(configs={"what": "1"})), "have no setting"),
    ("config", ExportedRecord(config=ConfigRecord(configs={"log.level": "x"})), "must be one of"),
    ("topic", ExportedRecord(topic=TopicRecord()), "a topic's id has 16 bytes"),
    ("topic", ExportedRecord(topic=TopicRecord(topic_id=b"i" * 16)), "when it is ready"),
    ("topic", topic(partition_count=0), "1 to 10000 partitions"),
    ("topic", topic(partition_count=10_001), "1 to 10000 partitions"),
    ("topic", topic(replication_factor=0), "1 to 32767 replicas"),
    ("topic", topic(name="a b"), "name"),
    ("topic", topic(configs={"log.level": "info"}), "topics have no setting"),
    ("topic", topic(version=2**63), "too high"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "record", "problem"), WRONG)
def test_a_record_out_of_bounds_is_refused(
    source: ClusterContext, kind: str, record: ExportedRecord, problem: str
) -> None:
    records = exported(export(source))
    place = next(n for n, each in enumerate(records) if each.WhichOneof("record") == kind)
    records[place] = record
    with pytest.raises(InvalidRequest, match=problem):
        stream(encoded(records))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"partition": 150}, "has no partition 150"),
        ({"replicas": []}, "replicas are on brokers"),
        ({"replicas": [{"node_id": 1}, {"node_id": 1}]}, "one on each"),
        ({"replicas": [{"node_id": 9}]}, "brokers that came before"),
        ({"replicas": [{"node_id": 1, "directory_id": b"short"}]}, "directory's id"),
        ({"isr": [1, 1]}, "in sync"),
        ({"isr": [9]}, "in sync"),
        ({"eligible_leader_replicas": [1]}, "one of the first two"),
        ({"last_known_leader_replicas": [7]}, "in sync, eligible or last known"),
        ({"last_known_leader_replicas": [1, 1]}, "named once"),
        ({"isr": [1], "leader_id": 2}, "a leader is in sync"),
        ({"leader_epoch": 2**31}, "too high"),
        ({"partition_epoch": 2**63}, "too high"),
    ],
)  # fmt: skip
def test_a_partition_that_contradicts_itself_is_refused(
    source: ClusterContext, fields: dict[str, object], problem: str
) -> None:
    records = exported(export(source))
    partition = records[FIRST_PARTITION].partition
    wrong = PartitionRecord()
    wrong.CopyFrom(partition)
    for name, value in fields.items():
        wrong.ClearField(name)  # type: ignore[arg-type]  # a field's name
        wrong.MergeFrom(PartitionRecord(**{name: value}))  # type: ignore[arg-type]  # checked by protobuf
    records[FIRST_PARTITION] = ExportedRecord(partition=wrong)
    with pytest.raises(InvalidRequest, match=problem):
        stream(encoded(records))


def test_what_a_newer_release_keeps_is_refused_and_not_lost(source: ClusterContext) -> None:
    records = exported(export(source))
    records.insert(1, ExportedRecord(producer_ids=IdBlockRecord(next_id=5)))
    with pytest.raises(UnsupportedVersion, match="keeps no producer_ids"):
        stream(encoded(records))
    records[1] = ExportedRecord.FromString(b"\xfa\x01\x01x")
    with pytest.raises(UnsupportedVersion, match="import with the release that exported"):
        stream(encoded(records))


def test_limits_of_an_import(source: ClusterContext) -> None:
    data = export(source)
    small = ImportRules(format_version=1, feature_level=1, cluster_partitions_max=150)
    with pytest.raises(InvalidRequest, match="holds 150 partitions at most"):
        stream(data, rules=small)
    other = ImportRules(
        format_version=1, feature_level=1, cluster_partitions_max=1_000, cluster_id="mine"
    )
    with pytest.raises(InvalidRequest, match="was started for 'mine'"):
        stream(data, rules=other)
    with pytest.raises(InvalidRequest, match="more than 1048576"):
        stream(encoded_length(limits.RECORD_BYTES_MAX + 1))
    with pytest.raises(InvalidRequest, match="is no length"):
        stream(b"\xff" * 5)


def test_names_that_share_a_shape_cannot_both_come_in(source: ClusterContext) -> None:
    records = exported(export(source))
    last_topic = max(n for n, each in enumerate(records) if each.HasField("topic"))
    records[last_topic].topic.name = "flights"
    with pytest.raises(InvalidRequest, match="second time"):
        stream(encoded(records))


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_arbitrary_bytes_are_refused_in_words(chunks: list[bytes]) -> None:
    found = ImportStream(RULES)
    with pytest.raises(OttlaError):
        for chunk in chunks:
            found.feed(chunk)
        found.finish()


@settings(max_examples=40)
@given(st.data())
def test_records_that_were_altered_with_their_checksum_are_taken_whole_or_refused(
    data: st.DataObject,
) -> None:
    source = ClusterContext()
    source.start_brokers(1)
    source.create(partitions=2, configs={"retention.ms": "5"})
    whole = export(source)
    changed = bytearray(unsealed(whole))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(changed) - 1))
        changed[position] = data.draw(st.integers(0, 255))
    try:
        found = stream(sealed(bytes(changed), count=len(exported(whole))))
    except OttlaError:
        return
    target = ClusterContext()
    target.write(import_metadata(target.state, found.state))
    assert not target.state.has_leftovers
    assert isinstance(target.restarted(), ClusterState)
    target.register(1, directories=[b"another-directory"[:16]])


@settings(max_examples=60)
@given(st.data())
def test_an_export_with_any_bit_changed_is_refused(data: st.DataObject) -> None:
    source = ClusterContext()
    source.start_brokers(1)
    source.create(partitions=2, configs={"retention.ms": "5"})
    changed = bytearray(export(source))
    position = data.draw(st.integers(0, len(changed) - 1))
    changed[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(OttlaError):
        stream(bytes(changed))


def test_an_end_that_counts_other_records_is_refused(source: ClusterContext) -> None:
    data = unsealed(export(source))
    with pytest.raises(InvalidRequest, match="its checksum does not fit"):
        stream(sealed(data, count=157))

"""What became of every published record, within the size that responses keep to."""

from __future__ import annotations

from ottla.api.error.v1 import error_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1.record_pb2 import PlainRecord
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import StorageFull
from ottla_broker.rpc.publish_plan import RECORDS_MAX, PartitionGroup
from ottla_broker.rpc.publish_results import Appended, Failed, response_of

RESPONSE_SIZE_MAX = 1 << 20


def request_of(count: int) -> tuple[produce_pb2.PublishRequest, PartitionGroup]:
    request = produce_pb2.PublishRequest(topic="a", records=[PlainRecord()] * count)
    return request, PartitionGroup(partition=9_999, places=list(range(count)))


def test_the_longest_results_of_the_most_records_fit_into_a_response() -> None:
    request, group = request_of(RECORDS_MAX)
    appended = Appended(base_offset=2**62, append_time_ms=2**50, now_ms=0)
    response = response_of(request, [(group, appended)], topic_id=bytes(16))
    assert response.results[-1].offset == 2**62 + RECORDS_MAX - 1
    assert response.ByteSize() <= RESPONSE_SIZE_MAX


def test_a_failed_partition_tells_its_error_once_and_its_reason_for_every_record() -> None:
    request, group = request_of(RECORDS_MAX)
    error = to_proto(StorageFull("no space is left", metadata={"topic": "t" * 249}))
    response = response_of(request, [(group, Failed(error))], topic_id=bytes(16))
    assert response.results[0].error == error
    assert {each.error.reason for each in response.results} == {error_pb2.ERROR_REASON_STORAGE_FULL}
    assert response.results[1].error.message == ""
    assert response.ByteSize() <= RESPONSE_SIZE_MAX

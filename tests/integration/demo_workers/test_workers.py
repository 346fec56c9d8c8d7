"""The demo's workers through a real cluster: what was published comes back, proven."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.demo.archives import archive_of

import ottla.testing
from demo import publish as publishing
from demo import read_back as reading
from demo.__main__ import proven
from demo.dataset import CarrierTally, flights
from demo.publish import publish
from demo.read_back import OrderError, read_back
from demo.reporting import WorkResult, parse_result
from ottla.client.consumer import Consumer
from ottla.client.core.positions import TopicPartition
from ottla.client.producer import Producer

CARRIERS = (b"UA", b"AA", b"B6", b"EV", b"9E")


def reported(capsys: pytest.CaptureFixture[str]) -> WorkResult:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["progress"] for line in lines[:-1]] == sorted(
        each["progress"] for each in lines[:-1]
    )
    return parse_result(lines[-1])


@pytest.mark.may_block(reason="the worker reads its archive where it runs")
async def test_flights_come_back_whole_and_each_carrier_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publishing, "CHUNK_FLIGHT_COUNT", 70)
    rows = b"".join(b"2013,%s,%d\n" % (CARRIERS[n * n % 5], n) for n in range(1_000))
    archive = archive_of(rows, tmp_path / "flights.tar.gz")
    source: dict[str, CarrierTally] = {}
    for flight in flights(archive):
        source.setdefault(flight.carrier.decode(), CarrierTally()).add(flight.line)
    async with ottla.testing.cluster(topics={"flights": 6}) as cluster:
        await publish(cluster.bootstrap, "flights", archive=archive)
        sent = reported(capsys)
        await read_back(cluster.bootstrap, "flights", partition_count=6)
        received = reported(capsys)
    assert (sent.flight_count, received.flight_count) == (1_000, 1_000)
    assert sent.size_bytes == received.size_bytes == len(rows) - 1_000
    assert proven(source, received)


async def test_a_carrier_in_two_partitions_is_found_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with ottla.testing.cluster(topics={"flights": 2}) as cluster:
        async with Producer(cluster.bootstrap) as producer:
            for partition in (0, 1):
                _ = await producer.send("flights", b"flight", key=b"UA", partition=partition)
        with pytest.raises(OrderError, match="UA is in two partitions"):
            await read_back(cluster.bootstrap, "flights", partition_count=2)
    assert '"result"' not in capsys.readouterr().out


async def test_reading_ends_with_what_there_is_when_nothing_more_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "SILENCE_SECONDS_MAX", 0.05)
    async with ottla.testing.cluster(topics={"flights": 2}) as cluster:
        async with Producer(cluster.bootstrap) as producer:
            _ = await producer.send("flights", b"flight", key=b"UA", partition=0)
        monkeypatch.setattr(Consumer, "end_offsets", two_more_than_there_are)
        await read_back(cluster.bootstrap, "flights", partition_count=2)
    assert reported(capsys).carriers["UA"].count == 1


async def two_more_than_there_are(
    self: Consumer[bytes, bytes], partitions: list[tuple[str, int]]
) -> dict[TopicPartition, int]:
    return {TopicPartition(*place): 2 for place in partitions}

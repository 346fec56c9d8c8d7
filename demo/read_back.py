"""Worker process: reads every partition with the client library, and tallies carriers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import ottla
from demo.dataset import CarrierTally
from demo.reporting import CarrierResult, Reporter

SILENCE_SECONDS_MAX = 20.0


class OrderError(Exception):
    """Offsets of a partition did not grow by one, or a carrier is in two partitions."""


class Tallies:
    """What was read so far: a tally a carrier, in the order of its one partition. No I/O."""

    def __init__(self) -> None:
        self._tallies: dict[str, CarrierTally] = {}
        self._homes: dict[str, int] = {}
        self._next_offsets: dict[int, int] = {}

    def add(self, records: Sequence[ottla.ConsumerRecord[bytes, bytes]]) -> int:
        """Count the records and return the bytes of their values.

        Raises:
            OrderError: one is missing, doubled, without its carrier or where it should not be.
        """
        size_bytes = 0
        for record in records:
            self._check_place(record.partition, record.offset)
            if record.key is None or record.value is None:
                raise OrderError(f"{record.partition}:{record.offset} is not a carrier's flight")
            carrier = record.key.decode()
            if self._homes.setdefault(carrier, record.partition) != record.partition:
                raise OrderError(f"carrier {carrier} is in two partitions")
            self._tallies.setdefault(carrier, CarrierTally()).add(record.value)
            size_bytes += len(record.value)
        return size_bytes

    def _check_place(self, partition: int, offset: int) -> None:
        expected = self._next_offsets.get(partition, 0)
        if offset != expected:
            raise OrderError(f"partition {partition}: {offset}, not {expected}")
        self._next_offsets[partition] = offset + 1

    def next_offset(self, partition: int) -> int:
        """The offset behind the last record counted of a partition."""
        return self._next_offsets.get(partition, 0)

    def results(self) -> dict[str, CarrierResult]:
        """A result a carrier."""
        return {
            carrier: CarrierResult(tally.count, tally.digest.hexdigest(), self._homes[carrier])
            for carrier, tally in self._tallies.items()
        }


async def read_back(bootstrap: str, topic: str, *, partition_count: int) -> None:
    """Read the topic up to where it ends now, and report what each carrier has, and where.

    When nothing comes for a while it reports what came; the proof then says what is missing.
    """
    reporter, tallies = Reporter(), Tallies()
    places = [(topic, partition) for partition in range(partition_count)]
    async with ottla.Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
        ends = await consumer.end_offsets(places)
        await consumer.assign(places)
        while any(tallies.next_offset(place.partition) < end for place, end in ends.items()):
            try:
                async with asyncio.timeout(SILENCE_SECONDS_MAX):
                    records = await consumer.next_batch()
            except TimeoutError:
                break
            reporter.advance(flight_count=len(records), size_bytes=tallies.add(records))
    reporter.finish(tallies.results())


if __name__ == "__main__":
    _bootstrap, _topic, _count = sys.argv[1:]
    asyncio.run(read_back(_bootstrap, _topic, partition_count=int(_count)))

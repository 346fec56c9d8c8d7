"""A consumer that is assigned a topic and never reads, and what its process grows by meanwhile.

python -m bench.memory_worker BOOTSTRAP TOPIC SECONDS
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import ottla
from bench.processes import peak_growth_bytes


async def main() -> None:
    """Do what the command line says."""
    bootstrap, topic, seconds = sys.argv[1:]
    async with ottla.Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
        with peak_growth_bytes(os.getpid()) as growth:
            await consumer.assign([topic])
            await asyncio.sleep(float(seconds))
        # It is alive and well: what it holds back is there to be read.
        size = sum(len(record.value or b"") for record in await consumer.next_batch())
    sys.stdout.write(json.dumps({"growth_bytes": growth(), "then_read_bytes": size}) + "\n")


if __name__ == "__main__":
    asyncio.run(main())

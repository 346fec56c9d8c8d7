"""A writer killed at any moment: nothing acknowledged is lost, nothing torn is served."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from integration.storage.writer import lead, opened

from kit.storage import values_of

ROOT = Path(__file__).parents[3]
SOURCES = ("clients/python", "services/runtime", "services/broker", "tests")
ROUNDS = 6

pytestmark = [
    pytest.mark.slow,
]


def run_until_killed(directory: Path, seed: int, *, acknowledged_count: int) -> dict[int, bytes]:
    """What a writer said was acknowledged before it was killed, by offset."""
    environment = {**os.environ, "PYTHONPATH": ":".join(str(ROOT / one) for one in SOURCES)}
    writer = subprocess.Popen(
        [sys.executable, "-m", "integration.storage.writer", str(directory), str(seed)],
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert writer.stdout is not None
    lines: list[bytes] = []
    try:
        while len(lines) < acknowledged_count:
            line = writer.stdout.readline()
            assert line, f"the writer ended with {writer.wait()}"
            lines.append(line)
    finally:
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
        writer.stdout.close()
        writer.wait()
    whole = b"".join(lines) + rest
    said = (line.split() for line in whole.splitlines(keepends=True) if line.endswith(b"\n"))
    return {int(offset): name for offset, name in said}


async def check(directory: Path, acknowledged: dict[int, bytes]) -> None:
    async with opened(directory) as table:
        values = await values_of(await lead(table))
    for offset, name in acknowledged.items():
        value = values[offset]
        assert value is not None
        assert value.startswith(name + b"-"), offset


@pytest.mark.timeout(240)
def test_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(20_231)
    acknowledged: dict[int, bytes] = {}
    for seed in range(ROUNDS):
        said = run_until_killed(
            tmp_path / "logs", seed, acknowledged_count=chance.randrange(1, 1_500)
        )
        assert not said.keys() & acknowledged.keys()
        acknowledged |= said
        asyncio.run(check(tmp_path / "logs", acknowledged))
    assert len(acknowledged) > ROUNDS
    assert len(list((tmp_path / "logs" / "topic-0").glob("*.log"))) > 1

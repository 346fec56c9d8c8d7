"""What a reader of batches gets leaves a file by `sendfile`, and never through this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from integration.broker.requests import BATCHES, collected, publish, read, records_of
from integration.broker.running_broker import fake_controller, running_broker

VALUE_SIZE = 100_000
COUNT = 20


async def test_batches_leave_by_sendfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent_size = 0
    sendfile = os.sendfile

    def counted(out: int, file: int, position: int, size: int) -> int:
        nonlocal sent_size
        sent = sendfile(out, file, position, size)
        sent_size += sent
        return sent

    monkeypatch.setattr(os, "sendfile", counted)
    values = [os.urandom(VALUE_SIZE) for _ in range(COUNT)]
    async with fake_controller() as controller, running_broker(tmp_path, controller) as broker:
        await broker.create_topic("large")
        for value in values:
            await broker.produce.Publish(publish("large", value), timeout=10)
        call = broker.fetch.Read(read("large", format=BATCHES), timeout=10)
        assert [each.value for each in records_of(await collected(call))] == values
        # Pieces that a client's window cuts too small are sent with others in one call.
        assert sent_size > COUNT * VALUE_SIZE // 2
        before = sent_size
        records = records_of(await collected(broker.fetch.Read(read("large"), timeout=10)))
        assert len(records) == COUNT
        assert sent_size == before

"""What a log directory does by the clock: checkpoints, and trimming of its logs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ottla.protocol.errors import OttlaError
from ottla_broker.storage.ports import Clock

if TYPE_CHECKING:
    from ottla_broker.storage.log_directory import LogDirectory


class DirectoryUpkeep:
    """Belongs to one `LogDirectory`, whose `run` runs both loops until cancelled."""

    def __init__(
        self,
        directory: LogDirectory,
        *,
        clock: Clock,
        checkpoint_interval_ms: int,
        retention_interval_ms: int,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._checkpoint_interval_ms = checkpoint_interval_ms
        self._retention_interval_ms = retention_interval_ms

    async def checkpoint_often(self) -> None:
        """Flush what nobody waits for, so that a recovery has little to verify; then checkpoint."""
        directory = self._directory
        while directory.is_online:
            await self._clock.sleep_until(self._clock.monotonic_ms() + self._checkpoint_interval_ms)
            for log in directory.logs.values():
                if log.flushing.is_needed:
                    directory.request_flush(log)
            with suppress(OttlaError):  # full: tried again; offline: reported
                await directory.look_at_usage()
                await directory.checkpoint()

    async def trim_often(self) -> None:
        """Remove what retention allows to go."""
        while self._directory.is_online:
            await self._clock.sleep_until(self._clock.monotonic_ms() + self._retention_interval_ms)
            for log in list(self._directory.logs.values()):
                if log.failure is None:
                    with suppress(OttlaError):  # full: tried again; offline or damaged: reported
                        await log.trim.apply_retention()
            with suppress(OttlaError):
                await self._directory.changes.remove_kept()

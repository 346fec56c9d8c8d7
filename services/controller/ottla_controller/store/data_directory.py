"""The directory of the embedded store: made if missing, and used by one process at a time.

Owns the lock. The kernel drops it with the process, however that ends. Blocks, hence runs in the
store's worker thread.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from ottla.protocol.errors import DuplicateNodeId, MetadataStoreUnavailable

DATABASE_NAME: Final = "metadata.sqlite"
_LOCK_NAME: Final = "metadata.lock"


class DirectoryInUseError(DuplicateNodeId):
    """Another process serves this directory."""


class DataDirectory:
    """A directory that this process alone uses, until `release`."""

    def __init__(self, path: Path, *, lock_descriptor: int) -> None:
        self.path = path
        self._lock_descriptor = lock_descriptor

    @property
    def database_path(self) -> Path:
        return self.path / DATABASE_NAME

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Makes the directory if needed and locks it.

        Raises:
            DirectoryInUseError: another process has it.
            MetadataStoreUnavailable: it cannot be made or opened.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MetadataStoreUnavailable(
                f"cannot use the data directory {path}: {error.strerror or error}"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise DirectoryInUseError(
                f"another controller uses the data directory {path}; stop it or choose another"
            ) from error
        return cls(path, lock_descriptor=descriptor)

    def sync_names(self) -> None:
        """Makes the names of new files durable."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Lets another process have it."""
        os.close(self._lock_descriptor)

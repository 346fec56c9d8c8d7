"""The data directory of `ottla up`: where it is, what lies in it, and that only one uses it.

    <data>/controller/   metadata (SQLite)
    <data>/broker-1/     partition logs
    <data>/logs/         what the services logged, as JSON lines
    <data>/up.lock       held while anything runs on the directory

Owns the layout and the lock. The lock is on an open file that the services inherit, so it holds
until the last of them has ended, also when `ottla up` itself was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ottla_cli.failures import CommandFailed
from ottla_cli.user_directories import user_directory

_LOCK_NAME: Final = "up.lock"
_LOG_BYTES_MAX: Final = 64 * 1024 * 1024
_NOTE_BYTES_MAX: Final = 4_096


def default_path(environ: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME/ottla`, or `~/.local/share/ottla`.

    Raises:
        CommandFailed: the user has no home.
    """
    path = user_directory(environ, variable="XDG_DATA_HOME", below_home=".local/share")
    if path is None:
        raise CommandFailed("there is no home directory to keep data in; give --data DIR")
    return path


class DataDirectory:
    """A locked data directory; released by `close`."""

    def __init__(self, path: Path) -> None:
        """Makes the directory if need be, and locks it.

        Raises:
            CommandFailed: it cannot be used, or something runs on it.
        """
        self.path = path.absolute()
        try:
            self.log_path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CommandFailed(
                f"cannot use {self.path} as data directory: {error.strerror}",
                hint="--data DIR chooses another",
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            user = self._user()
            os.close(self._lock)
            raise CommandFailed(
                f"{self.path} is in use{user}",
                hint="stop that one first, or choose another directory with --data DIR",
            ) from None

    @property
    def lock_descriptor(self) -> int:
        """The lock's open file, for services to inherit."""
        return self._lock

    @property
    def log_path(self) -> Path:
        """Where logs lie."""
        return self.path / "logs"

    def note(self, **facts: Any) -> None:
        """Leave word of who runs here, for whoever finds the directory locked."""
        text = json.dumps(facts).encode()
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, text, 0)

    def open_log(self, name: str) -> int:
        """A descriptor to append to the log `name`; one that has grown large is set aside first."""
        path = self.log_path / f"{name}.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _LOG_BYTES_MAX:
                path.rename(path.with_suffix(".log.1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def close(self) -> None:
        """Let go; the lock ends with the last service that inherited it."""
        os.close(self._lock)

    def _user(self) -> str:
        try:
            facts = json.loads(os.pread(self._lock, _NOTE_BYTES_MAX, 0))
            return f" by `ottla up` at {facts['bootstrap']} (process {facts['process_id']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""

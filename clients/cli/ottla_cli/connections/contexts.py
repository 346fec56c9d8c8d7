"""Contexts: named profiles of how to reach a cluster, kept in a file.

    $XDG_CONFIG_HOME/ottla/contexts.toml, or ~/.config/ottla/contexts.toml

Owns the file: its form, its checks, and writing it whole or not at all, readable by its owner
alone. Which value wins in the end is `settings`' to say.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ottla_cli.failures import EXIT_NOT_FOUND, CommandFailed, UsageFailed
from ottla_cli.user_directories import user_directory

FIELDS: Final[Mapping[str, type]] = {
    "bootstrap": str,
    "tls": bool,
    "tls_ca": str,
    "tls_cert": str,
    "tls_key": str,
    "tls_server_name": str,
    "output": str,
}
"""What a context may say, and of which type."""

Profile = dict[str, str | bool]

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FILE_BYTES_MAX: Final = 1024 * 1024
_PRIVATE: Final = 0o700


@dataclass(slots=True)
class Contexts:
    """All contexts of a user.

    Attributes:
        current: the one in use unless another is asked for; empty: none.
    """

    current: str = ""
    profiles: dict[str, Profile] = field(default_factory=dict)

    def profile(self, name: str) -> Profile:
        """The context of that name.

        Raises:
            CommandFailed: there is none.
        """
        found = self.profiles.get(name)
        if found is None:
            raise CommandFailed(
                f"there is no context {name!r}",
                code=EXIT_NOT_FOUND,
                hint="`ottla context list` shows what there is",
            )
        return found


def checked_name(name: str) -> str:
    """The name, if a context can have it. Raises UsageFailed."""
    if not _NAME.fullmatch(name):
        raise UsageFailed(f"context {name!r}: a name is 1 to 64 letters, digits, `-` and `_`")
    return name


def default_path(environ: Mapping[str, str]) -> Path:
    """Where contexts are kept.

    Raises:
        CommandFailed: the user has no home.
    """
    path = user_directory(environ, variable="XDG_CONFIG_HOME", below_home=".config")
    if path is None:
        raise CommandFailed(
            "there is no home directory to keep contexts in",
            hint="set HOME or XDG_CONFIG_HOME, or say what is needed with flags, as --bootstrap",
        )
    return path / "contexts.toml"


def load(path: Path) -> Contexts:
    """The contexts in a file; none if it is not there.

    Raises:
        CommandFailed: it cannot be read, or says something it should not.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise CommandFailed(f"cannot read contexts from {path}: {error.strerror}") from None
    if len(content) > _FILE_BYTES_MAX:
        raise _unusable(path, f"it is larger than {_FILE_BYTES_MAX} bytes")
    try:
        return _contexts(tomllib.loads(content.decode()))
    except ValueError as error:  # TOML, UTF-8, or what a context may say
        raise _unusable(path, str(error)) from None


def _unusable(path: Path, why: str) -> CommandFailed:
    return CommandFailed(f"contexts in {path} cannot be used: {why}", hint="mend or remove it")


def _contexts(document: Mapping[str, Any]) -> Contexts:
    """Raises ValueError."""
    unknown = document.keys() - {"current", "contexts"}
    if unknown:
        raise ValueError(f"{min(unknown)!r} is unknown")
    current, tables = document.get("current", ""), document.get("contexts", {})
    if not isinstance(current, str) or not isinstance(tables, dict):
        raise ValueError("`current` is a name, and `contexts` a table")  # noqa: TRY004 - one kind
    for name, table in tables.items():
        if not _NAME.fullmatch(name) or not isinstance(table, dict):
            raise ValueError(f"{name!r} is no context")
        _check_fields(name, table)
    return Contexts(current, tables)


def _check_fields(name: str, table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        kind = FIELDS.get(key)
        if kind is None:
            raise ValueError(f"context {name}: {key!r} is unknown; there are {', '.join(FIELDS)}")
        if type(value) is not kind:
            wanted = "true or false" if kind is bool else "text"
            raise ValueError(f"context {name}: {key} is {wanted}")
    if not table.get("bootstrap"):
        raise ValueError(f"context {name} has no bootstrap")
    if table.get("output", "table") not in {"table", "json"}:
        raise ValueError(f"context {name}: output is table or json")


@contextlib.contextmanager
def changing(path: Path) -> Iterator[Contexts]:
    """The contexts in a file, to be changed in the block and kept after it, by one at a time.

    Raises:
        CommandFailed: the file cannot be read or written.
    """
    try:
        path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CommandFailed(f"cannot use {path.parent}: {error.strerror}") from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        contexts = load(path)
        yield contexts
        _replace(path, _text(contexts))
    finally:
        os.close(directory)


def _replace(path: Path, text: str) -> None:
    """Write beside, then rename: whoever reads finds the old file or the new one."""
    try:
        # What mkstemp makes is readable by its owner alone.
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}") from None


def _text(contexts: Contexts) -> str:
    lines = ["# Written by `ottla context`."]
    if contexts.current:
        lines.append(f"current = {json.dumps(contexts.current)}")
    for name in sorted(contexts.profiles):
        lines += ["", f"[contexts.{name}]"]
        profile = contexts.profiles[name]
        lines += [f"{key} = {_toml(profile[key])}" for key in FIELDS if key in profile]
    return "\n".join(lines) + "\n"


def _toml(value: str | bool) -> str:
    """Raises UsageFailed for bytes that are no text, as an argument may bring."""
    if isinstance(value, str) and not value.isprintable():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageFailed(f"{value!r} is no text, and cannot be kept in a context") from None
    # What JSON writes for text and truth values, TOML reads; but DEL, which it wants named.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

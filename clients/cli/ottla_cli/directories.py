"""What `ottla cluster directories` does: log directories of brokers, as tables or JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import ottla
from ottla_cli.failures import EXIT_OK
from ottla_cli.results import say_failed
from ottla_cli.terminal import Output, print_json, print_table

if TYPE_CHECKING:
    from ottla.client.admin_log_items import LogDirectoryDescription
    from ottla.protocol.errors import OttlaError

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_KIBI: Final = 1024


async def describe(
    admin: ottla.Admin, node_ids: Sequence[int], *, shows_replicas: bool, output: Output
) -> int:
    """Print log directories, and return the exit code: the worst of brokers without an answer."""
    found = await admin.describe_log_directories(node_ids)
    known = [each for each in found if each.path]
    code = EXIT_OK
    for each in found:
        if each.error is None:
            continue
        name = f"broker {each.node_id}"
        told = say_failed(f"{name}: {each.path}" if each.path else name, each.error)
        if not each.path:  # an offline directory is described; a silent broker isn't
            code = max(code, told)
    if output is Output.JSON:
        print_json([_document(each) for each in found])
        return code
    print_table(
        ["#broker", "state", "path", "#replicas", "#size", "#free", "#of"],
        [_row(each) for each in known],
    )
    if shows_replicas:
        sys.stdout.write("\n")
        _print_replicas(known)
    return code


def _row(directory: LogDirectoryDescription) -> tuple[object, ...]:
    return (
        directory.node_id,
        "online" if directory.is_online else "offline",
        directory.path,
        len(directory.replicas),
        shown_size(directory.size_bytes),
        shown_size(directory.free_bytes),
        shown_size(directory.total_bytes),
    )


def _print_replicas(directories: Sequence[LogDirectoryDescription]) -> None:
    rows = [
        (
            replica.topic,
            replica.partition,
            directory.node_id,
            directory.path,
            shown_size(replica.size_bytes),
            replica.log_start_offset,
            replica.log_end_offset,
            "–" if replica.error is None else replica.error.message,
        )
        for directory in directories
        for replica in directory.replicas
    ]
    columns = ["topic", "#partition", "#broker", "path", "#size", "#start", "#end", "trouble"]
    print_table(columns, sorted(rows))


def _document(directory: LogDirectoryDescription) -> dict[str, object]:
    return {
        "node_id": directory.node_id,
        "path": directory.path,
        "directory_id": directory.directory_id.hex(),
        "online": directory.is_online,
        "total_bytes": directory.total_bytes,
        "free_bytes": directory.free_bytes,
        "error": _error(directory.error),
        "replicas": [
            {
                "topic": each.topic,
                "topic_id": each.topic_id.hex(),
                "partition": each.partition,
                "size_bytes": each.size_bytes,
                "log_start_offset": each.log_start_offset,
                "log_end_offset": each.log_end_offset,
                "error": _error(each.error),
            }
            for each in directory.replicas
        ],
    }


def _error(error: OttlaError | None) -> dict[str, str] | None:
    return None if error is None else {"reason": error.reason, "message": error.message}


def shown_size(size: int) -> str:
    """Bytes as people read them."""
    number, place = float(size), 0
    while number >= _KIBI and place < len(_UNITS) - 1:
        number, place = number / _KIBI, place + 1
    return f"{size} B" if place == 0 else f"{number:,.1f} {_UNITS[place]}"

"""What `ottla cluster export` and `import` do: all metadata of a cluster into a file and out of it.

Owns where the bytes go and come from, how far it is, and asking a controller itself where no broker
serves yet. A file holds a whole export or is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from ottla.client.calls import Caller
from ottla.client.core.addresses import Address, parse_bootstrap
from ottla.client.metadata_transfer import MetadataImport, exported
from ottla.protocol.errors import InvalidRequest, OutcomeUnknown
from ottla_cli.cluster import described
from ottla_cli.connections.settings import Connection
from ottla_cli.exported_records import DamagedExportError, RecordCounter, summary
from ottla_cli.failures import CommandFailed, UsageFailed
from ottla_cli.progress import shown_progress
from ottla_cli.session import connected
from ottla_cli.terminal import Output, print_json, say, writing_stdout

CONTROLLER_PORT: Final = 9093
_CHUNK_BYTES: Final = 256 * 1024
_STANDARD: Final = "-"


async def export(
    connection: Connection, target: str, *, controller: str | None, is_quiet: bool, output: Output
) -> None:
    """Write all metadata of the cluster to a file, or to standard output for `-`.

    Raises:
        UsageFailed: standard output is a terminal.
        CommandFailed: the file can't be written.
        OttlaError: the cluster can't be asked.
    """
    if target == _STANDARD and sys.stdout.isatty():
        raise UsageFailed("an export is not for a terminal: name a file, or redirect the output")
    counter = RecordCounter()
    async with _caller(connection, controller) as caller:
        with (
            _written(target) as write,
            shown_progress(
                "Exporting", bytes_total=None, records_total=None, is_quiet=is_quiet
            ) as advance,
        ):
            async with contextlib.aclosing(exported(caller)) as chunks:
                async for chunk in chunks:
                    before = counter.record_count
                    counter.feed(chunk)
                    await asyncio.to_thread(write, chunk)
                    advance(counter.record_count - before, len(chunk))
            if not counter.is_whole:
                raise CommandFailed("the export ended in the middle of a record")
    if not is_quiet:
        where = "" if target == _STANDARD else f" to {target}"
        _say_done("Exported", counter, output=output, to_stdout=target != _STANDARD, where=where)


async def import_(
    connection: Connection, source: str, *, controller: str | None, is_quiet: bool, output: Output
) -> None:
    """Bring exported metadata from a file, or from standard input for `-`, into an empty cluster.

    Raises:
        CommandFailed: the file can't be read, or is no export.
        OttlaError: the cluster refuses it, and nothing was imported.
    """
    counter = RecordCounter()
    with _read(source) as (file, size):
        async with _caller(connection, controller) as caller:
            running = await MetadataImport.begin(caller, timeout_seconds=connection.timeout_seconds)
            try:
                with shown_progress(
                    "Importing", bytes_total=size, records_total=None, is_quiet=is_quiet
                ) as advance:
                    while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                        before = counter.record_count
                        counter.feed(chunk)
                        await running.write(chunk)
                        advance(counter.record_count - before, len(chunk))
                    _check_whole(counter, source)
                imported = await running.finish()
            except DamagedExportError as error:
                raise CommandFailed(f"{_shown(source)}: {error}; nothing was imported") from None
            finally:
                running.cancel()
    if imported.record_count != counter.record_count:
        raise OutcomeUnknown(
            f"{counter.record_count} records were sent, {imported.record_count} imported"
        )
    if not is_quiet:
        _say_done("Imported", counter, output=output, to_stdout=True, where="")


def _check_whole(counter: RecordCounter, source: str) -> None:
    if not counter.is_whole or not counter.record_count:
        raise CommandFailed(f"{_shown(source)} is no whole export; nothing was imported")


def _say_done(
    verb: str, counter: RecordCounter, *, output: Output, to_stdout: bool, where: str
) -> None:
    if output is Output.JSON and to_stdout:
        print_json({"record_count": counter.record_count, "records": dict(counter.counts)})
    else:
        say(f"{verb} {summary(counter.counts)}{where}")


@contextlib.asynccontextmanager
async def _caller(connection: Connection, controller: str | None) -> AsyncIterator[Caller]:
    """A caller for any broker, or for the active one of the controllers named."""
    if controller is None:
        async with connected(connection) as caller:
            yield caller
        return
    async with connected(replace(connection, bootstrap=_addresses(controller))) as caller:
        active = await _active_controller(caller)
        if active is None:
            yield caller
            return
    async with connected(replace(connection, bootstrap=str(active))) as caller:
        yield caller


def _addresses(text: str) -> str:
    """Addresses of controllers, each with a port. Raises UsageFailed."""
    try:
        return ",".join(map(str, parse_bootstrap(text, default_port=CONTROLLER_PORT)))
    except InvalidRequest as error:
        raise UsageFailed(error.message) from None


async def _active_controller(caller: Caller) -> Address | None:
    """Where the active controller is, if the one that answers knows."""
    for each in (await described(caller)).controllers:
        if each.active and each.endpoints:
            return Address(each.endpoints[0].host, each.endpoints[0].port)
    return None


@contextlib.contextmanager
def _written(target: str) -> Iterator[Callable[[bytes], object]]:
    """Takes an export's bytes; the file appears when the block ends well, and only then."""
    if target == _STANDARD:
        with writing_stdout():
            yield sys.stdout.buffer.write
            sys.stdout.buffer.flush()
        return
    path = Path(target).resolve()  # where a link points to, so that the link stays
    if path.exists() and not path.is_file():
        with path.open("wb") as file:  # a pipe or a device, which nothing may take the place of
            yield file.write
        return
    # By chance, not by process: in a container every process has the same number, and what one that
    # was killed has left would be in the way of all that come.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _read(source: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file to import, and its size where it has one."""
    if source == _STANDARD:
        if sys.stdin.isatty():
            raise UsageFailed("what is to be imported? Name a file, or redirect the input")
        yield sys.stdin.buffer, None
        return
    with Path(source).open("rb") as file:
        yield file, os.fstat(file.fileno()).st_size


def _shown(source: str) -> str:
    return "standard input" if source == _STANDARD else source

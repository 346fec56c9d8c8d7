"""`ottla produce`: lines of a file or of standard input become records."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from ottla_cli.failures import UsageFailed
from ottla_cli.names_completion import topic_names
from ottla_cli.options import ConnectionFlags, connects
from ottla_cli.records.lines import Header, LineRule, parse_header
from ottla_cli.running import run
from ottla_cli.topic_names import check_topic_names


class Acks(enum.StrEnum):
    """What to wait for."""

    ALL = "all"
    LEADER = "leader"
    NONE = "none"


@connects
def produce(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", autocompletion=topic_names)],
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", exists=True, dir_okay=False, readable=True, help="Read lines from here."
        ),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", "-k", help="Key of every record.")] = None,
    key_separator: Annotated[
        str | None,
        typer.Option("--key-separator", "-K", help="Text between key and value in every line."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME=VALUE", help="On every record; repeatable."),
    ] = None,
    null_value: Annotated[
        str | None,
        typer.Option("--null-value", help="Value that means none: a tombstone of its key."),
    ] = None,
    partition: Annotated[
        int | None, typer.Option("--partition", "-p", min=0, help="Where all records go.")
    ] = None,
    acks: Annotated[Acks, typer.Option(help="Which replicas have to have a record.")] = Acks.ALL,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing.")] = False,
    flags: ConnectionFlags,
) -> None:
    """Publish a record for each line, from standard input or --file.

    Done when every record is acknowledged. Records with the same key keep their order. After a
    failed connection a record may be there twice.
    """

    async def work() -> None:
        from ottla_cli import produce as command  # noqa: PLC0415 - `--help` imports no gRPC

        check_topic_names([topic])
        connection = flags.connection()
        options = command.ProduceOptions(
            topic=topic,
            file=file,
            rule=_rule(key, key_separator, null_value),
            headers=_headers(header or []),
            partition=partition,
            acks=acks.value,
            is_quiet=quiet,
        )
        await command.produce(connection, options)

    run(work)


def _rule(key: str | None, separator: str | None, null_value: str | None) -> LineRule:
    if key is not None and separator is not None:
        raise UsageFailed("give one of --key and --key-separator")
    if separator == "":
        raise UsageFailed("--key-separator has to be at least one character")
    return LineRule(
        key=_bytes(key),
        separator=_bytes(_unescaped(separator)),
        null_value=_bytes(null_value),
    )


def _headers(texts: list[str]) -> list[Header]:
    return [parse_header(text) for text in texts]


def _unescaped(text: str | None) -> str | None:
    """A tab is hard to type in a shell."""
    return text.replace("\\t", "\t") if text is not None else None


def _bytes(text: str | None) -> bytes | None:
    return text.encode(errors="surrogateescape") if text is not None else None

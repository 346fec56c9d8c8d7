"""`ottla consume`: records of a topic, printed."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from ottla_cli.failures import EXIT_OK
from ottla_cli.names_completion import topic_names
from ottla_cli.options import ConnectionFlags, connects_without_output
from ottla_cli.records.formats import RecordFormat, TextParts, formatter
from ottla_cli.records.positions import parse_start
from ottla_cli.running import run
from ottla_cli.topic_names import check_topic_names

_RECORDS_MAX = 2**63 - 1


_FromBeginning = Annotated[
    bool, typer.Option("--from-beginning", help="Begin at the first record there is.")
]
_Offset = Annotated[
    str | None,
    typer.Option("--offset", help="Begin here: a number, -N for the last N of each partition."),
]
_Since = Annotated[
    str | None,
    typer.Option("--since", help="Begin at this time: 15m, 2h, 7d ago, or 2026-01-31T12:00Z."),
]
_UntilEnd = Annotated[
    bool, typer.Option("--until-end", help="End at the end there is when the command starts.")
]
_Partitions = Annotated[
    list[int] | None, typer.Option("--partition", "-p", min=0, help="Only this one; repeatable.")
]
_MaxMessages = Annotated[
    int, typer.Option("--max-messages", "-n", min=0, max=_RECORDS_MAX, help="0: no limit.")
]
_Idle = Annotated[
    float | None,
    typer.Option("--timeout", min=0, metavar="SECONDS", help="End after so long without any."),
]
_Format = Annotated[
    RecordFormat,
    typer.Option("--format", help="raw is the values' bytes and nothing between them."),
]
_PrintKey = Annotated[bool, typer.Option("--print-key", help="Also the key.")]
_PrintHeaders = Annotated[bool, typer.Option("--print-headers", help="Also headers.")]
_PrintPartition = Annotated[bool, typer.Option("--print-partition", help="Also the partition.")]
_PrintOffset = Annotated[bool, typer.Option("--print-offset", help="Also the offset.")]
_PrintTimestamp = Annotated[bool, typer.Option("--print-timestamp", help="Also the time.")]
_Separator = Annotated[
    str, typer.Option("--separator", help="Between the parts of a line of text.")
]
_NullValue = Annotated[
    str, typer.Option("--null-value", help="What stands for no key or no value in text.")
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing.")]


@connects_without_output
def consume(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", autocompletion=topic_names)],
    *,
    from_beginning: _FromBeginning = False,
    offset: _Offset = None,
    since: _Since = None,
    until_end: _UntilEnd = False,
    partition: _Partitions = None,
    max_messages: _MaxMessages = 0,
    timeout: _Idle = None,
    form: _Format = RecordFormat.TEXT,
    print_key: _PrintKey = False,
    print_headers: _PrintHeaders = False,
    print_partition: _PrintPartition = False,
    print_offset: _PrintOffset = False,
    print_timestamp: _PrintTimestamp = False,
    separator: _Separator = "\\t",
    null_value: _NullValue = "null",
    quiet: _Quiet = False,
    flags: ConnectionFlags,
) -> None:
    """Print the records of a topic, as they come, until Ctrl-C or an end that was asked for.

    Begins with the next record to come, unless told otherwise. Each partition is in order. A line
    of text holds time, partition, offset, headers, key and value, as far as asked for.
    """
    parts = TextParts(
        timestamp=print_timestamp,
        partition=print_partition,
        offset=print_offset,
        key=print_key,
        headers=print_headers,
        separator=separator.replace("\\t", "\t"),
        null_text=null_value,
        is_terminal=sys.stdout.isatty(),
    )

    async def work() -> None:
        from ottla_cli import consume as command  # noqa: PLC0415 - `--help` imports no gRPC

        check_topic_names([topic])
        options = command.ConsumeOptions(
            topic=topic,
            partitions=sorted(set(partition or [])),
            start=parse_start(
                from_beginning=from_beginning, offset=offset, since=since, now=datetime.now(UTC)
            ),
            until_end=until_end,
            record_count_max=max_messages,
            idle_seconds=timeout,
            print_records=formatter(form, parts),
            is_quiet=quiet,
        )
        await command.consume(flags.connection(), options)

    run(work, interrupted=EXIT_OK)

"""`ottla perf`: what a cluster gives, measured through the client library."""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottla_cli.commands.groups import command_group
from ottla_cli.commands.produce import Acks
from ottla_cli.failures import UsageFailed
from ottla_cli.options import ConnectionFlags, connects
from ottla_cli.running import run
from ottla_cli.topic_names import check_topic_names

if TYPE_CHECKING:
    from ottla_cli.perf.arrangements import Place

app = command_group(
    help="Measure a cluster: rates, and how long records take. Without --topic each command makes"
    " a topic for itself and deletes it afterwards.",
)

_RECORDS_MAX = 10_000_000_000
_SECONDS_MAX = 86_400.0
_RATE_MAX = 10_000_000.0
_LATENCY_RATE_MAX = 20_000.0
_SIZE_MAX = 1_000_000
_SECONDS_DEFAULT = 10.0
_FILL_COUNT_DEFAULT = 1_000_000
_PROBE_SIZE_LEAST = 24


class Codec(enum.StrEnum):
    """How batches are compressed."""

    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


Topic = Annotated[
    str | None,
    typer.Option("--topic", "-t", help="An existing topic; without, one for this run alone."),
]
Partitions = Annotated[
    int, typer.Option("--partitions", min=1, max=1_000, help="Of the topic for this run.")
]
Configs = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        "-c",
        metavar="NAME=VALUE",
        help="A setting of the topic for this run, as flush.on.ack=false; repeatable.",
    ),
]
Records = Annotated[
    int | None, typer.Option("--records", "-n", min=1, max=_RECORDS_MAX, help="End after so many.")
]
Seconds = Annotated[
    float | None,
    typer.Option("--seconds", "-s", min=0.01, max=_SECONDS_MAX, help="End after so long."),
]
Size = Annotated[int, typer.Option("--size", min=0, max=_SIZE_MAX, help="Bytes of each value.")]
AcksOption = Annotated[
    Acks,
    typer.Option("--acks", help="Which replicas have to have a record.", rich_help_panel="Batches"),
]
Compression = Annotated[
    Codec, typer.Option("--compression", help="Codec of batches.", rich_help_panel="Batches")
]
Linger = Annotated[
    int | None,
    typer.Option(
        "--linger-ms",
        min=0,
        max=60_000,
        help="Longest wait for more records; else the library's default.",
        rich_help_panel="Batches",
    ),
]
BatchBytes = Annotated[
    int | None,
    typer.Option(
        "--batch-bytes",
        min=0,
        max=_SIZE_MAX,
        help="A batch of this size waits no longer; else the library's default.",
        rich_help_panel="Batches",
    ),
]


@app.command()
@connects
def produce(
    *,
    topic: Topic = None,
    partitions: Partitions = 1,
    config: Configs = None,
    records: Records = None,
    seconds: Seconds = None,
    size: Size = 100,
    throughput: Annotated[
        float | None,
        typer.Option(
            "--throughput",
            min=0.01,
            max=_RATE_MAX,
            help="Records a second, on a schedule that waits for nobody; else as fast as they go.",
        ),
    ] = None,
    one_by_one: Annotated[
        bool, typer.Option("--one-by-one", help="A call of `send` for each, not `send_many`.")
    ] = False,
    acks: AcksOption = Acks.ALL,
    compression: Compression = Codec.NONE,
    linger_ms: Linger = None,
    batch_bytes: BatchBytes = None,
    flags: ConnectionFlags,
) -> None:
    """Send records, for 10 seconds unless told otherwise, and time their acknowledgements.

    Latency is from sending to acknowledgement. With --throughput it runs from when a record was
    due, sent late or not, so that a slow answer delays no later question ("coordinated omission");
    without, the time includes waiting for room in the producer's buffer.
    """

    async def work() -> None:
        from ottla_cli.perf import sending  # noqa: PLC0415 - `--help` imports no gRPC

        connection = flags.connection()
        is_endless = records is None and seconds is None
        load = sending.Load(
            record_count=records,
            seconds=_SECONDS_DEFAULT if is_endless else seconds,
            size_bytes=size,
            rate=throughput,
            one_by_one=one_by_one,
        )
        batching = sending.Batching(acks.value, compression.value, linger_ms, batch_bytes)
        report = await sending.measure_producing(
            connection, _place(topic, partitions, config), load, batching
        )
        report.show(connection.output)

    _run(work)


@app.command()
@connects
def consume(
    *,
    topic: Topic = None,
    partitions: Partitions = 1,
    config: Configs = None,
    records: Records = None,
    seconds: Seconds = None,
    from_beginning: Annotated[
        bool,
        typer.Option("--from-beginning", help="What is there, to its end; else what comes."),
    ] = False,
    one_by_one: Annotated[
        bool, typer.Option("--one-by-one", help="`async for record`, not batches.")
    ] = False,
    size: Size = 100,
    flags: ConnectionFlags,
) -> None:
    """Read records as fast as they come.

    Without --topic, a topic is filled with --records of --size first (1,000,000 of 100 bytes) and
    read from its beginning. Of a topic that is there, reads what comes, for 10 seconds unless told
    otherwise, or with --from-beginning all it holds.
    """

    async def work() -> None:
        from ottla_cli.perf import consuming, sending  # noqa: PLC0415 - as above

        connection = flags.connection()
        from_start = from_beginning or topic is None
        is_endless = not from_start and records is None and seconds is None
        reading = consuming.Reading(
            record_count=records,
            seconds=_SECONDS_DEFAULT if is_endless else seconds,
            from_beginning=from_start,
            one_by_one=one_by_one,
        )
        fill = sending.Load(
            record_count=records or _FILL_COUNT_DEFAULT,
            seconds=None,
            size_bytes=size,
            rate=None,
            one_by_one=False,
        )
        report = await consuming.measure_consuming(
            connection, _place(topic, partitions, config), reading, fill=fill
        )
        report.show(connection.output)

    _run(work)


@app.command()
@connects
def latency(
    *,
    topic: Topic = None,
    partitions: Partitions = 1,
    config: Configs = None,
    seconds: Annotated[
        float, typer.Option("--seconds", "-s", min=0.01, max=3_600, help="How long to measure.")
    ] = _SECONDS_DEFAULT,
    warmup: Annotated[
        float,
        typer.Option("--warmup", min=0, max=600, help="Seconds before that which do not count."),
    ] = 1.0,
    throughput: Annotated[
        float,
        typer.Option("--throughput", min=0.1, max=_LATENCY_RATE_MAX, help="Records a second."),
    ] = 500.0,
    size: Annotated[
        int,
        typer.Option("--size", min=_PROBE_SIZE_LEAST, max=_SIZE_MAX, help="Bytes of each value."),
    ] = 100,
    acks: AcksOption = Acks.ALL,
    compression: Compression = Codec.NONE,
    linger_ms: Linger = None,
    batch_bytes: BatchBytes = None,
    flags: ConnectionFlags,
) -> None:
    """Time records from when they were due to be sent to a consumer's code.

    The schedule waits for nobody: a record that is sent late counts from when it was due, so that
    a pause shows in full (no "coordinated omission"). Producer and consumer are two processes on
    this machine, as they are in life; in one, each would wait for the other's work.
    """

    async def work() -> None:
        from ottla_cli.perf import latency as measurement  # noqa: PLC0415 - as above
        from ottla_cli.perf import sending  # noqa: PLC0415 - as above

        connection = flags.connection()
        load = measurement.LatencyLoad(throughput, seconds, warmup, size)
        batching = sending.Batching(acks.value, compression.value, linger_ms, batch_bytes)
        report = await measurement.measure_latency(
            connection, _place(topic, partitions, config), load, batching
        )
        report.show(connection.output)

    _run(work)


def _place(topic: str | None, partition_count: int, configs: list[str] | None) -> Place:
    from ottla_cli.perf.arrangements import Place  # noqa: PLC0415 - as above
    from ottla_cli.topics import parse_configs  # noqa: PLC0415 - as above

    if topic is not None:
        check_topic_names([topic])
    if topic is not None and configs:
        raise UsageFailed("--config is for the topic of this run; --topic names one that is there")
    return Place(topic, partition_count, parse_configs(configs or []))


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    from ottla_cli.perf.arrangements import precise_loop  # noqa: PLC0415 - as above

    run(work, loop_factory=precise_loop)

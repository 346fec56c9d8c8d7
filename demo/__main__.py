"""Runs the demonstration: `make demo`, or `python -m demo` where everything is installed.

Steps: fetch the flights, start the platform, publish, read back, prove, show, stop. Exits 0 only if
every carrier came back whole and in order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.dataset import FLIGHT_COUNT, CarrierTally, DatasetError, fetch, tally
from demo.platform import PlatformError, run_ottla, run_worker, running_platform
from demo.reporting import CarrierResult, WorkResult
from ottla_cli.terminal import complete_streams, silence_stdout

TOPIC = "flights"
PARTITION_COUNT = 6
CACHE = Path(os.environ.get("OTTLA_DEMO_CACHE", ".cache/demo"))
MEGABYTE = 1_000_000
GOOD = "[green]Every flight came back, in order."
BAD = "[red]Flights are missing."
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the demo to stop; on its way up everything that was started is stopped."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_code = 128 + number


def run(console: Console) -> bool:
    """Run all steps; True if what came back is what was sent."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        source_bar = progress.add_task("counting the source", total=FLIGHT_COUNT)
        archive = fetch(CACHE)
        source = tally(archive, on_progress=lambda n: progress.update(source_bar, completed=n))
        start_bar = progress.add_task("starting the platform", total=1)
        with running_platform() as platform:
            create_topic(platform.bootstrap)
            progress.update(start_bar, completed=1)
            publish_bar = progress.add_task("publishing", total=FLIGHT_COUNT)
            sent = run_worker(
                "demo.publish",
                *(platform.bootstrap, TOPIC, str(archive)),
                on_progress=lambda n: progress.update(publish_bar, completed=n),
            )
            read_bar = progress.add_task("reading back", total=FLIGHT_COUNT)
            received = run_worker(
                "demo.read_back",
                *(platform.bootstrap, TOPIC, str(PARTITION_COUNT)),
                on_progress=lambda n: progress.update(read_bar, completed=n),
            )
    console.print(carrier_table(source, received.carriers))
    console.print(rate_line("published", sent))
    console.print(rate_line("read back", received))
    return proven(source, received)


def create_topic(bootstrap: str) -> None:
    """Create the topic, compressed with zstd by the broker."""
    run_ottla(
        bootstrap,
        *("topics", "create", TOPIC, "--partitions", str(PARTITION_COUNT)),
        *("--config", "compression.type=zstd"),
    )


def proven(source: dict[str, CarrierTally], received: WorkResult) -> bool:
    """Every carrier came back, none else did, each with its flights whole and in order."""
    return set(source) == set(received.carriers) and all(
        matches(tally, received.carriers.get(carrier)) for carrier, tally in source.items()
    )


def matches(source: CarrierTally, received: CarrierResult | None) -> bool:
    """The same number of flights with the same digest, which depends on their order."""
    return received is not None and (source.count, source.digest.hexdigest()) == (
        received.count,
        received.digest,
    )


def carrier_table(source: dict[str, CarrierTally], received: dict[str, CarrierResult]) -> Table:
    """A row a carrier, the busiest first."""
    table = Table(title="Flights from New York City, 2013", title_style="bold")
    table.add_column("carrier")
    for name in ("partition", "in the source", "read back"):
        table.add_column(name, justify="right")
    table.add_column("whole and in order", justify="center")
    for carrier, expected in sorted(source.items(), key=lambda item: -item[1].count):
        result = received.get(carrier)
        table.add_row(
            carrier,
            str(result.partition) if result else "-",
            f"{expected.count:,}",
            f"{result.count:,}" if result else "0",
            "[green]yes[/]" if matches(expected, result) else "[red]NO[/]",
        )
    table.add_section()
    total = sum(result.count for result in received.values())
    table.add_row("all", "", f"{sum(t.count for t in source.values()):,}", f"{total:,}", "")
    return table


def rate_line(verb: str, work: WorkResult) -> str:
    """Flights and megabytes a second of one direction."""
    rate = work.flight_count / work.seconds
    megabytes = work.size_bytes / MEGABYTE
    return (
        f"{verb:>10}: {work.flight_count:,} flights, {megabytes:.1f} MB in {work.seconds:.1f} s"
        f" = {rate:,.0f} flights/s, {megabytes / work.seconds:.1f} MB/s"
    )


def interrupt(number: int, _frame: FrameType | None) -> None:
    """Raises `Interrupted`, once: what a signal sets off is short, and must not be cut off."""
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(signal.Signals(number))


def cause_of(error: OSError) -> str:
    """What failed, for people; stdout, if it was that, takes nothing more."""
    if error.filename is not None:
        return str(error)
    silence_stdout()
    return f"cannot write to standard output: {error.strerror}"


def main() -> int:
    """Exit code: 0 when everything came back, 1 if not, above 128 when a signal stopped it."""
    complete_streams()
    for each in STOP_SIGNALS:
        signal.signal(each, interrupt)
    console = Console(width=None if sys.stdout.isatty() else 100)
    try:
        good = run(console)
        console.print(GOOD if good else BAD)
        sys.stdout.flush()
    except (DatasetError, PlatformError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"demo: {cause_of(error)}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        with contextlib.suppress(OSError):  # the terminal may be what went away
            print(f"demo: stopped by {stop}", file=sys.stderr, flush=True)
        return stop.exit_code
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

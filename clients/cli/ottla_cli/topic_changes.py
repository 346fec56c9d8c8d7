"""What `ottla topics alter` and `delete-records` do, and what came of it on stdout."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

import ottla
from ottla_cli.config_changes import Changes
from ottla_cli.record_targets import Target
from ottla_cli.results import sorted_out
from ottla_cli.terminal import Output, print_json, print_table, say

_ITEMS_MAX: Final = 1_000


async def alter(
    admin: ottla.Admin,
    name: str,
    *,
    partition_count: int | None,
    changes: Changes,
    validate_only: bool,
    output: Output,
) -> None:
    """Grow a topic and alter its settings. Raises OttlaError: the first thing that failed.

    What is wrong with either is found before the other is done.
    """
    if partition_count is not None:
        await _grow(admin, name, partition_count, validate_only=True)
    if changes:
        await admin.alter_config(
            "topic",
            name,
            values=changes.values,
            append=changes.append,
            subtract=changes.subtract,
            validate_only=validate_only,
        )
    if partition_count is not None and not validate_only:
        await _grow(admin, name, partition_count, validate_only=False)
    if output is Output.JSON:
        print_json({"name": name, "partition_count": partition_count, **changes.document()})
        return
    done = [] if partition_count is None else [f"{partition_count} partitions"]
    verb = "Would alter" if validate_only else "Altered"
    say(f"{verb} {name}: {', '.join([*done, *changes.words()])}")


async def _grow(
    admin: ottla.Admin, name: str, partition_count: int, *, validate_only: bool
) -> None:
    for each in await admin.create_partitions({name: partition_count}, validate_only=validate_only):
        if each.error is not None:
            raise each.error


async def delete_records(
    admin: ottla.Admin, targets: Sequence[Target], *, before_offset: int, output: Output
) -> int:
    """Delete records, print where partitions begin now, and return the exit code."""
    partitions, code = await _partitions(admin, targets)
    results = [
        result
        for some in _portions(partitions)
        for result in await admin.delete_records(dict.fromkeys(some, before_offset))
    ]
    done, worst = sorted_out(results, named=lambda each: f"{each.topic}:{each.partition}")
    if output is Output.JSON:
        print_json(
            [
                {
                    "topic": each.topic,
                    "partition": each.partition,
                    "log_start_offset": each.log_start_offset,
                }
                for each in done
            ]
        )
    elif done:
        rows = [(each.topic, each.partition, each.log_start_offset) for each in done]
        print_table(["topic", "#partition", "#first offset"], rows)
    return max(code, worst)


async def _partitions(
    admin: ottla.Admin, targets: Sequence[Target]
) -> tuple[list[tuple[str, int]], int]:
    """Every partition that is meant, once, and the exit code for topics that are not there."""
    whole = sorted({each.topic for each in targets if each.partition is None})
    described = await admin.describe_topics(whole) if whole else []
    found, code = sorted_out(described, named=lambda each: each.name)
    partitions = [(each.topic, each.partition) for each in targets if each.partition is not None]
    partitions += [(topic.name, n) for topic in found for n in range(topic.partition_count)]
    return list(dict.fromkeys(partitions)), code


def _portions(items: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """As many at a time as a call takes."""
    rest = iter(items)
    while some := list(itertools.islice(rest, _ITEMS_MAX)):
        yield some

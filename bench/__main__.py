"""`python -m bench`: every measurement, a table, JSON beside it; exits 1 when a floor is missed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# The stock clients are those of the tests.
sys.path.insert(0, str(ROOT / "tests"))

from bench import broker_bench, client_bench, metadata_bench, partitions_bench, transport_bench  # noqa: E402 - it needs the line above
from bench.measures import table, write_json  # noqa: E402 - as above
from bench.peers.figures import kept  # noqa: E402 - as above


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=transport_bench.ROUNDS, metavar="N")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name has this")
    parser.add_argument("--json", type=Path, default=ROOT / ".cache" / "bench" / "results.json")
    arguments = parser.parse_args()
    measures = transport_bench.run(rounds=arguments.rounds, only=arguments.only)
    measures += broker_bench.run(only=arguments.only)
    measures += client_bench.run(rounds=arguments.rounds, only=arguments.only)
    measures += partitions_bench.run(only=arguments.only)
    measures += metadata_bench.run(only=arguments.only)
    if arguments.only and not measures:
        parser.error(f"no row has {arguments.only!r} in its name, or it can't be measured here")
    write_json(measures, arguments.json)
    sys.stdout.write(table(measures) + "\n")
    peers = kept()
    if peers is not None and not arguments.only:
        sys.stdout.write(f"\nWhat else people use, as `make bench-peers` found it\n{peers.table()}")
    return 0 if all(measure.holds for measure in measures) else 1


if __name__ == "__main__":
    sys.exit(main())

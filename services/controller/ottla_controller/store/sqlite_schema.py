"""The SQLite file of the embedded store: its tables, settings and format version.

Owns opening and checking the file, and the statements. Runs in the store's worker thread alone.

    revisions   key × revision → value (NULL: deleted), the revision that made the key, its lease
    store       name → number: format_version, revision, compacted_revision, last_lease_id
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from ottla.protocol.errors import CorruptLog, MetadataStoreUnavailable, UnsupportedVersion

FORMAT_VERSION: Final = 1
_BUSY_TIMEOUT_SECONDS: Final = 5.0

_SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS revisions (
        key BLOB NOT NULL,
        mod_revision INTEGER NOT NULL,
        create_revision INTEGER NOT NULL,
        lease_id INTEGER NOT NULL,
        value BLOB,
        PRIMARY KEY (key, mod_revision)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS revisions_in_order ON revisions (mod_revision)",
    "CREATE INDEX IF NOT EXISTS revisions_leased ON revisions (key) WHERE lease_id <> 0",
    "CREATE TABLE IF NOT EXISTS store (name TEXT PRIMARY KEY, number INTEGER NOT NULL)",
)

SELECT_PAGE: Final = """
    SELECT key, value, create_revision, mod_revision, lease_id FROM revisions AS outermost
    WHERE key >= :begin AND (:end IS NULL OR key < :end)
      AND mod_revision = (
          SELECT MAX(mod_revision) FROM revisions AS newest
          WHERE newest.key = outermost.key AND newest.mod_revision <= :revision
      )
      AND value IS NOT NULL
    ORDER BY key LIMIT :limit
"""
SELECT_CURRENT: Final = """
    SELECT value, create_revision, mod_revision, lease_id FROM revisions
    WHERE key = ? ORDER BY mod_revision DESC LIMIT 1
"""
INSERT_REVISION: Final = "INSERT INTO revisions VALUES (:key, :mod, :create, :lease, :value)"
SELECT_EVENTS: Final = """
    SELECT mod_revision, key, value, create_revision FROM revisions
    WHERE mod_revision >= :first AND mod_revision <= :last
      AND key >= :begin AND (:end IS NULL OR key < :end)
    ORDER BY mod_revision, key
"""
SELECT_LEASED: Final = """
    SELECT key, lease_id FROM revisions AS outermost WHERE lease_id <> 0 AND mod_revision = (
        SELECT MAX(mod_revision) FROM revisions AS newest WHERE newest.key = outermost.key
    )
"""
DELETE_OVERWRITTEN: Final = """
    DELETE FROM revisions WHERE mod_revision <= :revision AND mod_revision < (
        SELECT MAX(mod_revision) FROM revisions AS newest
        WHERE newest.key = revisions.key AND newest.mod_revision <= :revision
    )
"""
DELETE_TOMBSTONES: Final = "DELETE FROM revisions WHERE value IS NULL AND mod_revision <= :revision"


def open_database(path: Path) -> sqlite3.Connection:
    """The file's connection, made and checked; every commit is on the disk once it returns.

    Raises:
        UnsupportedVersion: a newer release made the file.
        CorruptLog: it is no SQLite file, or a damaged one.
        MetadataStoreUnavailable: it cannot be opened or written.
    """
    connection = None
    try:
        connection = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_SECONDS, isolation_level=None, cached_statements=64
        )
        _prepare(connection, path)
    except sqlite3.OperationalError as error:
        _close(connection)
        raise MetadataStoreUnavailable(f"cannot open the metadata in {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        _close(connection)
        raise CorruptLog(
            f"{path} is not a metadata file, or a damaged one ({error}); restore it from a backup"
        ) from error
    except UnsupportedVersion:
        _close(connection)
        raise
    return connection


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 1000")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    found = read_number(connection, "format_version") or FORMAT_VERSION
    if found > FORMAT_VERSION:
        connection.execute("ROLLBACK")
        raise UnsupportedVersion(
            f"{path} has format version {found}, this release knows up to {FORMAT_VERSION}; "
            "start a release that is at least as new as the one that wrote it"
        )
    write_number(connection, "format_version", FORMAT_VERSION)
    connection.execute("COMMIT")


def read_number(connection: sqlite3.Connection, name: str) -> int:
    """A number of the `store` table; 0 where it has none."""
    row = connection.execute("SELECT number FROM store WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def write_number(connection: sqlite3.Connection, name: str, number: int) -> None:
    """Sets a number of the `store` table, within the transaction that runs."""
    connection.execute("INSERT OR REPLACE INTO store VALUES (?, ?)", (name, number))

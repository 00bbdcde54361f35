"""The schema of the SQLite store, and how a file of an older version comes to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from aiodhcp.errors import StoreError
from aiodhcp.leases import NEVER, STATES, Lease
from aiodhcp.packing import pack
from aiodhcp.stores import eventlog

__all__ = ["APPLICATION_ID", "BEFORE_OCTETS", "MIGRATIONS", "WITH_LOG", "migrate", "packed"]

APPLICATION_ID: Final = 0x64686370
"""``"dhcp"``: what ``PRAGMA application_id`` says of a file of ours."""


def _number(at: int, size: int) -> str:
    """SQL for the number that octets hold, the first of which is ``at``: it has no function for that."""
    digits = (f"instr('123456789ABCDEF', substr(hex(octets), {2 * at - 1 + i}, 1))" for i in range(2 * size))
    return f"({' + '.join(f'({digit} << {4 * (2 * size - 1 - i)})' for i, digit in enumerate(digits))})"


MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE lease (
        address  INTEGER PRIMARY KEY,  -- IPv4, as a number
        client   BLOB NOT NULL,        -- option 61, or htype and chaddr
        htype    INTEGER NOT NULL,
        chaddr   BLOB NOT NULL,
        state    INTEGER NOT NULL,     -- 1 active, 2 released, 3 expired, 4 declined
        starts   INTEGER NOT NULL,     -- seconds since 1970
        expires  INTEGER NOT NULL,     -- seconds since 1970; 1099511627776 is never
        hostname TEXT
    );
    """,
    # Under what a lease counts for the limits of classes.
    "ALTER TABLE lease ADD COLUMN counted TEXT;",
    # What the relay agent said last (option 82).
    "ALTER TABLE lease ADD COLUMN relay_agent BLOB;",
    # When the client was last heard of it, in seconds since 1970.
    "ALTER TABLE lease ADD COLUMN last_transaction INTEGER NOT NULL DEFAULT 0;",
    # By what the client knows a FORCERENEW of its server.
    "ALTER TABLE lease ADD COLUMN nonce BLOB;",
    # Leases as octets (aiodhcp/packing.py), which take a third of the time to read and to write; and what was committed
    # and is not in the table yet, in this order.
    f"""
    ALTER TABLE lease RENAME TO before;
    CREATE TABLE lease (address INTEGER PRIMARY KEY, octets BLOB NOT NULL);
    INSERT INTO lease SELECT address, packed({",".join(Lease._fields)}) FROM before;
    DROP TABLE before;
    CREATE TABLE journal (id INTEGER PRIMARY KEY, leases BLOB NOT NULL);
    CREATE VIEW readable AS SELECT
        printf('%d.%d.%d.%d', address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255) AS address,
        lower(hex(substr(octets, 34, {_number(31, 1)}))) AS client,
        CASE {_number(6, 1)}
            WHEN 1 THEN 'active' WHEN 2 THEN 'released' WHEN 3 THEN 'expired' ELSE 'declined' END AS state,
        datetime({_number(9, 6)}, 'unixepoch') AS starts,
        CASE {_number(17, 6)} WHEN {NEVER} THEN 'never' ELSE datetime({_number(17, 6)}, 'unixepoch') END AS expires
    FROM lease;
    """,
    # What happened, for those who follow it.
    eventlog.SCHEMA,
    # Up to which generation the log (commitlog.py) is in the table.
    "CREATE TABLE log (folded INTEGER NOT NULL); INSERT INTO log VALUES (0);",
)
"""One script for each version of the schema, from the one before; ``PRAGMA user_version`` counts them."""

WITH_LOG: Final = 8
"""The first version of the schema with a log beside the file."""
BEFORE_OCTETS: Final = 5
"""The last version of the schema that had a column for each field."""


def migrate(database: sqlite3.Connection, path: Path) -> None:
    """Bring a file to this version of the schema, or make it.

    Raises:
        StoreError: it is not ours, or a newer version wrote it.
        sqlite3.Error: it is damaged, or can't be written.
    """
    (found,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if found != APPLICATION_ID and (tables or version):
        raise StoreError(f"{path}: is an SQLite file, but not one of aiodhcp's")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path}: was written by a newer version of aiodhcp (schema {version}; this one knows {len(MIGRATIONS)})"
        )
    database.create_function("packed", len(Lease._fields), packed, deterministic=True)
    for number in range(version, len(MIGRATIONS)):
        database.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {number + 1}; COMMIT;"
        )


def packed(*row: Any) -> bytes:
    """A row of versions 1 to 5 as octets."""
    return pack(Lease(*row)._replace(state=STATES[row[4]]))

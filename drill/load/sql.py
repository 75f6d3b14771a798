# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions through PgBouncer, without retries. A row whose commit was acknowledged is looked up at the end."""

from __future__ import annotations

import select
import threading
import time

import psycopg2
import psycopg2.extensions

from .tally import Tally

# Seconds until a client gives up.
_TIMEOUT = 10


class SqlLoad:
    """`workers` clients, each with a transaction every 0.25 seconds. They keep their connection as long as it works."""

    def __init__(self, target: str, workers: int = 5) -> None:
        """`target` is a connection string."""
        self.workers = workers
        psycopg2.extensions.set_wait_callback(_wait)
        self._target = target
        self._run = f"{time.time():.0f}"
        with psycopg2.connect(self._target) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS written (key text PRIMARY KEY, value int NOT NULL)")
        connection.close()

    def work(self, number: int, tally: Tally, stop: threading.Event) -> None:
        connection: psycopg2.extensions.connection | None = None
        count = 0
        while not stop.wait(0.25):
            key = f"{self._run}-{number}-{count}"
            count += 1
            began = time.monotonic()
            try:
                connection = connection or psycopg2.connect(self._target)
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO written VALUES (%s, 1)", (key,))
                    cursor.execute("UPDATE written SET value = value + 1 WHERE key = %s", (key,))
                connection.commit()
            except psycopg2.Error as exc:
                tally.failure(began, f"{type(exc).__name__}: {' '.join(str(exc).split())}")
                if connection is not None:
                    connection.close()
                connection = None
            else:
                tally.success(began, key)
        if connection is not None:
            connection.close()

    def lost(self, tally: Tally) -> int:
        with psycopg2.connect(self._target) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT key FROM written WHERE key LIKE %s AND value = 2", (f"{self._run}-%",))
            found = {key for (key,) in cursor.fetchall()}
        connection.close()
        return len(set(tally.acknowledged) - found)


def _wait(connection: psycopg2.extensions.connection) -> None:
    """Wait for the answer to a statement, but not for ever. Raises OperationalError."""
    deadline = time.monotonic() + _TIMEOUT
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        reads = [connection] if state == psycopg2.extensions.POLL_READ else []
        writes = [] if reads else [connection]
        if not any(select.select(reads, writes, [], max(0.0, deadline - time.monotonic()))):
            raise psycopg2.OperationalError(f"no answer within {_TIMEOUT} s")

"""Rows that tell who wrote them, and writers of the warehouse of the settings that are killed.

Each writer writes a month in turns and starts anew when it was killed, as a machine's scheduler
would have it. Nothing here imports Dagster or pytest: it also runs in the project's image, as

    python -m tests.fc_resources.writers write MACHINE
    python -m tests.fc_resources.writers read
"""

import datetime
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fc_resources import settings
from fc_resources.warehouse import PARTITION, Rows, Warehouse

SCHEMA = pa.schema([(PARTITION, pa.date32()), ("id", pa.int64()), ("text", pa.string())])
#: How many rows a month of a writer has.
COUNT = 2000
MACHINES, WRITERS, TURNS = 4, 4, 10
_TABLE = "writers"
#: The month of half of each machine's writers; the others have one of their own.
_SHARED = datetime.date(2025, 1, 1)


def batch(month: datetime.date, ids: Sequence[int], text: str = "x") -> pa.RecordBatch:
    columns = [pa.array([month] * len(ids)), pa.array(ids, pa.int64()), pa.array([text] * len(ids))]
    return pa.record_batch([c.cast(t) for c, t in zip(columns, SCHEMA.types, strict=True)], SCHEMA)


def rows(month: datetime.date, ids: Sequence[int], text: str = "x") -> Rows:
    return Rows(SCHEMA, [month], lambda: [batch(month, ids, text)])


def whole(warehouse: Warehouse, month: datetime.date, table: str = "t") -> str:
    """The text of the writer whose rows a month has: all of them, and nobody else's."""
    found = warehouse.read(table, [month]).read_all()
    assert sorted(found["id"].to_pylist()) == list(range(COUNT))
    [text] = set(found["text"].to_pylist())
    return text


def month_of(writer: int) -> datetime.date:
    own = datetime.date(2025 + (writer + 1) // 12, (writer + 1) % 12 + 1, 1)
    return own if writer % WRITERS < WRITERS // 2 else _SHARED


def text_of(writer: int, turn: int) -> str:
    return f"{writer} in turn {turn}"


def killed_in(writer: int) -> int:
    """The turn in which a writer is killed: not the first, which tells how long one takes, and not
    the last, so that it is known what is there at the end."""
    return 1 + writer % (TURNS - 2)


def _write(writer: int, first: int, begun: Any, done: Any) -> None:
    warehouse, took_s = Warehouse.of(settings.current()), 0.0
    warehouse.tables()  # what a process does once takes longest
    for turn in range(first, TURNS):
        started = time.monotonic()
        begun.value = turn
        if turn == killed_in(writer):
            threading.Timer(
                random.uniform(0, took_s), os.kill, (os.getpid(), signal.SIGKILL)
            ).start()
        warehouse.replace(_TABLE, rows(month_of(writer), range(COUNT), text_of(writer, turn)))
        done.value = turn
        if turn == killed_in(writer):
            signal.pause()
        took_s = time.monotonic() - started


def _machine(number: int) -> dict[str, int]:
    """Writers of a machine until all had their turns; how many were killed, and amid a write."""
    processes = multiprocessing.get_context("fork")
    said: dict[str, int] = {"killed": 0, "amid": 0}
    running: dict[Any, tuple[int, Any, Any]] = {}

    def start(writer: int, first: int) -> None:
        begun, done = processes.Value("i", first), processes.Value("i", -1)
        child = processes.Process(target=_write, args=(writer, first, begun, done), daemon=True)
        child.start()
        running[child] = writer, begun, done

    for writer in range(number * WRITERS, (number + 1) * WRITERS):
        start(writer, 0)
    while running:
        multiprocessing.connection.wait([child.sentinel for child in running])
        for child in [child for child in running if not child.is_alive()]:
            writer, begun, done = running.pop(child)
            if child.exitcode == -signal.SIGKILL:
                said["killed"] += 1
                said["amid"] += done.value < begun.value
                start(writer, begun.value + 1)
            else:
                assert child.exitcode == 0, f"writer {writer} ended with {child.exitcode}"
    return said


def _read() -> dict[str, list[str]]:
    """Whose rows each month has, before and after it was written once more."""
    warehouse, found = Warehouse.of(settings.current()), {}
    for month in warehouse.tables()[_TABLE]:
        texts = [whole(warehouse, month, _TABLE)]
        warehouse.replace(_TABLE, rows(month, range(COUNT), "again"))
        found[str(month)] = [*texts, whole(warehouse, month, _TABLE)]
    return found


if __name__ == "__main__":
    print(json.dumps(_machine(int(sys.argv[2])) if sys.argv[1] == "write" else _read()))

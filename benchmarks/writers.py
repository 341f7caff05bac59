"""Many processes writing a month each of one table at the same moment, through the IO manager.

Every process makes its rows, waits for the others, and writes; the lock is observed from outside
by wrapping `locks.exclusive` in those processes. Rows are staged before the lock is taken.

    .venv/bin/python -m benchmarks.writers [--processes 16] [--rows 200000] [--text 0] [--rounds 3]
"""

import argparse
import contextlib
import dataclasses
import multiprocessing
import multiprocessing.synchronize
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa

from benchmarks import common
from fc_resources import locks
from fc_resources.warehouse import Warehouse
from fc_resources.warehouse_io import WarehouseIOManager

_TABLE = "measurements"
_MONTHS = dg.MonthlyPartitionsDefinition(start_date="2010-01-01")
_barriers: list[multiprocessing.synchronize.Barrier] = []


@dataclasses.dataclass(frozen=True)
class Written:
    """One process: seconds from the common start to its commit, waiting for and holding locks."""

    seconds: float
    waited: list[float]
    held: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--rows", type=int, default=200_000, help="rows a month")
    parser.add_argument("--text", type=int, default=0, help="characters of text a row, on top")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(common.machine())
    print("| month | succeeded | mean hold | longest hold | longest wait | all done |")
    print("|---|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(given.processes)
    with (
        tempfile.TemporaryDirectory() as folder,
        futures.ProcessPoolExecutor(
            given.processes, context, initializer=_meet_at, initargs=(barrier,)
        ) as pool,
    ):
        path = Path(folder) / "warehouse.duckdb"
        for number in range(given.rounds):
            running = [
                pool.submit(_write, path, index, given.rows, given.text)
                for index in range(given.processes)
            ]
            failed = [error for f in running if (error := f.exception()) is not None]
            for error in failed:
                print(f"failed: {error!r}")
            written = [f.result() for f in running if f.exception() is None]
            _check(path, given.processes - len(failed), given.rows)
            _report("first written" if number == 0 else "replaced", written, len(running))


def _meet_at(barrier: multiprocessing.synchronize.Barrier) -> None:
    """A barrier reaches other processes only when they start."""
    _barriers.append(barrier)


def _write(path: Path, index: int, rows: int, text: int) -> Written:
    """What one process does: make rows, meet the others, write."""
    month = _MONTHS.get_partition_keys()[index]
    content = _rows(month, index, rows, text)
    manager = WarehouseIOManager(Warehouse(path, lock_timeout_s=300))
    output = dg.build_output_context(
        asset_key=dg.AssetKey(_TABLE),
        partition_key=month,
        asset_partitions_def=_MONTHS,
        definition_metadata={"partition_expr": "partition_month"},
        resource_config={},
    )
    with _observed() as (waited, held):
        _barriers[0].wait(timeout=600)
        started = time.perf_counter()
        manager.handle_output(output, content)
        return Written(time.perf_counter() - started, waited, held)


def _rows(month: str, seed: int, rows: int, text: int) -> pa.Table:
    """Rows that do not compress: a number, a random one, a hash, and hexadecimal text if asked."""
    body = "array_to_string(list_transform(range($text // 64), lambda k: sha256(sha || k)), '')"
    query = (
        "SELECT CAST($month AS DATE) AS partition_month, range AS number, random() AS seconds, "
        f"sha1($seed || range) AS sha{f', {body} AS body' if text else ''} FROM range($rows)"
    )
    values = {"month": month, "seed": f"{seed}-", "rows": rows} | ({"text": text} if text else {})
    with contextlib.closing(duckdb.connect()) as con:
        con.execute("SET enable_progress_bar = false")
        return con.sql(query, params=values).to_arrow_table()


@contextlib.contextmanager
def _observed() -> Iterator[tuple[list[float], list[float]]]:
    """Seconds waited for and held, of every lock this process takes while it lasts."""
    waited: list[float] = []
    held: list[float] = []
    real = locks.exclusive

    @contextlib.contextmanager
    def exclusive(path: Path, timeout_s: float) -> Iterator[None]:
        asked = time.perf_counter()
        with real(path, timeout_s):
            got = time.perf_counter()
            waited.append(got - asked)
            try:
                yield
            finally:
                held.append(time.perf_counter() - got)

    locks.exclusive = exclusive
    try:
        yield waited, held
    finally:
        locks.exclusive = real


def _check(path: Path, wanted: int, rows: int) -> None:
    counts = Warehouse(path).tables().get(_TABLE, {})
    if len(counts) != wanted or set(counts.values()) - {rows}:
        raise RuntimeError(f"expected {wanted} months of {rows} rows, found {counts}")


def _report(what: str, written: list[Written], asked: int) -> None:
    if not written:
        print(f"| {what} | 0 of {asked} | - | - | - | - |")
        return
    held = [seconds for w in written for seconds in w.held]
    waited = [seconds for w in written for seconds in w.waited]
    cells = (
        what,
        f"{len(written)} of {asked}",
        f"{statistics.mean(held):.3f} s",
        f"{max(held):.3f} s",
        f"{max(waited):.2f} s",
        f"{max(w.seconds for w in written):.2f} s",
    )
    print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

"""A store that fills up: one month of each stage on it when it is empty, at a tenth, and full.

Each month has as many pull requests; those in between are copies (`benchmarks.scale_home`). Stages
run as `fc-data` processes on an offline source, 4 and 6 without the world
(`benchmarks.scale_costly`). Then what `status` and `explain` take on the full home, its size, and
the pre-filter alone. Embedded stores, or DuckLake with the ledger, both in a real PostgreSQL.

    .venv/bin/python -m benchmarks.scale [--pulls 1000000] [--months 36] [--stores file lake]
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import common, scale_source
from fc_assets import months
from fc_assets.pull_requests import prefilter, record
from fc_assets.tables import STAGES
from fc_resources.ledger import Ledger
from fc_resources.offline import OfflineSource
from tests import postgres

_FIRST = datetime.date(2023, 1, 1)
_COSTLY = (4, 6)
_STATES = ("empty", "a tenth", "full")
_LOOKS = 5


@dataclasses.dataclass(frozen=True)
class Place:
    """A home and the environment of the processes that use it."""

    folder: Path
    home: Path
    environment: Mapping[str, str]

    def run(self, *command: str) -> common.Ended:
        return common.timed(command, self.folder, dict(self.environment))

    def module(self, name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", f"benchmarks.{name}", *arguments]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pulls", type=int, default=1_000_000)
    parser.add_argument("--months", type=int, default=36)
    parser.add_argument("--repositories", type=int, default=500)
    parser.add_argument("--stores", nargs="+", choices=("file", "lake"), default=["file", "lake"])
    given = parser.parse_args()
    print(common.machine(), flush=True)
    step = given.pulls // given.months
    wanted = [_FIRST]
    while len(wanted) <= given.months:
        wanted.append(months.following(wanted[-1]))
    # The month that is measured comes on top of those that are there.
    at = [0, max(1, round(given.months / 10)), given.months]
    with tempfile.TemporaryDirectory() as name:
        sources = [Path(name) / f"source-{n}" for n in at]
        for n, source in zip(at, sources, strict=True):
            scale_source.generate(source, wanted[n], 1 + n * step, step, given.repositories)
        _prefilter(sources[0], wanted[0])
        for store in given.stores:
            with _place(store, Path(name)) as place:
                _store(store, place, wanted, at, sources, step)


@contextlib.contextmanager
def _place(store: str, folder: Path) -> Iterator[Place]:
    home = folder / store / "home"
    home.mkdir(parents=True)
    # Its bytecode, and nothing else, is shared by both.
    root = Path(__file__).parent.parent
    given = {"FC_HOME": str(home), "PYTHONPATH": str(root), "FC_MEASURE_TIMEOUT_S": "0"}
    if store == "file":
        yield Place(home.parent, home, common.environment(folder, **given))
        return
    with postgres.RealPostgres() as server:
        given |= {
            "FC_LEDGER": "postgresql://",
            "FC_WAREHOUSE": "ducklake:postgres:",
            "FC_WAREHOUSE_DATA": str(home.parent / "data"),
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": postgres.USER,
            "PGPASSWORD": postgres.PASSWORD,
            "PGDATABASE": server.database(),
        }
        yield Place(home.parent, home, common.environment(folder, **given))


def _store(
    store: str,
    place: Place,
    wanted: Sequence[datetime.date],
    at: Sequence[int],
    sources: Sequence[Path],
    step: int,
) -> None:
    measured: dict[int, list[common.Ended]] = {stage: [] for stage in STAGES}
    there = 0
    # Bytecode is compiled before, once for both stores.
    imported = "import benchmarks.scale_costly, benchmarks.scale_home, fc_assets.launch"
    place.run(sys.executable, "-c", imported)
    for state, n, source in zip(_STATES, at, sources, strict=True):
        if n > there:
            started = time.monotonic()
            others = [str(month) for month in wanted[there + 1 : n]]
            filling = ("fill", str(sources[-1]), str(wanted[0]), str(step), *others)
            place.run(*place.module("scale_home", *filling))
            print(f"{store}: filled in {time.monotonic() - started:.0f} s", flush=True)
            there = n
        for stage in STAGES:
            ended = place.run(*_stage(place, stage, wanted[n], source))
            measured[stage].append(ended)
            told = f"{ended.seconds:.2f} s, CPU {ended.cpu_seconds:.2f} s, {ended.peak_mib:.0f} MiB"
            load = os.getloadavg()[0]
            print(f"{store}, {state}, stage {stage}: {told}, load {load:.1f}", flush=True)
        for look in (["status"], ["explain", "--offline-source", str(sources[-1])]):
            looked = [place.run(*common.command(*look)) for _ in range(_LOOKS)]
            cpu = statistics.median(e.cpu_seconds for e in looked)
            told = f"{common.spread([e.seconds for e in looked])}, CPU {cpu:.2f} s"
            memory = max(e.peak_mib for e in looked)
            print(f"{store}, {state}, {look[0]}: {told}, {memory:.0f} MiB", flush=True)
    _report(store, measured, _check(place, wanted))
    _sizes(store, place)


def _stage(place: Place, stage: int, month: datetime.date, source: Path) -> list[str]:
    if stage in _COSTLY:
        return place.module("scale_costly", str(stage), str(month), str(source))
    return common.command(
        *("--start-date", str(month), "--end-date", str(months.following(month))),
        *("--offline-source", str(source), "--stage", str(stage)),
    )


def _check(place: Place, wanted: Sequence[datetime.date]) -> dict[int, int]:
    """Whether everything was written; items of the month measured last, by stage."""
    states = _ledger(place).progress()
    found = {
        stage: [states.get((table.name, month)) for month in wanted]
        for stage, table in STAGES.items()
    }
    if any(s is None or not s.complete for part in found.values() for s in part):
        raise RuntimeError(f"not all was written: {found}")
    return {stage: part[-1].total for stage, part in found.items() if part[-1]}


def _ledger(place: Place) -> Ledger:
    if "FC_LEDGER" not in place.environment:
        return Ledger(f"sqlite:///{place.home / 'ledger.sqlite'}")
    os.environ.update({k: v for k, v in place.environment.items() if k.startswith("PG")})
    return Ledger(place.environment["FC_LEDGER"])


def _report(
    store: str, measured: Mapping[int, Sequence[common.Ended]], counts: Mapping[int, int]
) -> None:
    print(f"\n| {store} | items | {' | '.join(_STATES)} | time | CPU | memory |")
    print(f"|{'---|' * 8}")
    for stage, ended in measured.items():
        shown = [
            f"{e.seconds:.1f} s (CPU {e.cpu_seconds:.1f} s), {e.peak_mib:,.0f} MiB" for e in ended
        ]
        ratios = [
            f"{getattr(ended[-1], name) / getattr(ended[0], name):.2f}"
            for name in ("seconds", "cpu_seconds", "peak_mib")
        ]
        cells = (f"{stage} {STAGES[stage].name}", f"{counts[stage]:,}", *shown, *ratios)
        print(f"| {' | '.join(cells)} |", flush=True)


def _sizes(store: str, place: Place) -> None:
    """What is on disk, in MiB, and the rows alone as Parquet."""
    command = place.module("scale_home", "sizes", str(place.folder))
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=dict(place.environment)
    )
    raw: dict[str, int] = json.loads(done.stdout)
    print(f"{store}: rows as Parquet {_mib(sum(raw.values()))}; {json.dumps(raw)}")
    found = {
        "warehouse": place.folder / "data" if store == "lake" else place.home / "warehouse.duckdb",
        "ledger": place.home / "ledger.sqlite",
        "locks": place.home / "locks",
        "published": place.home / "published",
        "run history": place.home / "dagster",
    }
    sizes = {what: _bytes(path) for what, path in found.items()}
    if store == "lake":
        with psycopg.connect(**_connection(place)) as con:
            query = (
                "SELECT schemaname, sum(pg_total_relation_size((quote_ident(schemaname) || '.' "
                "|| quote_ident(tablename))::regclass))::bigint FROM pg_tables GROUP BY 1"
            )
            tenants = {"public": "ledger", "fc_lake": "catalog"}
            for schema, size in con.execute(query).fetchall():
                sizes[tenants.get(str(schema), str(schema))] = size
    print(f"{store}: {', '.join(f'{what} {_mib(size)}' for what, size in sizes.items())}")


def _connection(place: Place) -> dict[str, Any]:
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password"}
    names["PGDATABASE"] = "dbname"
    return {mine: place.environment[theirs] for theirs, mine in names.items()}


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _prefilter(source: Path, month: datetime.date) -> None:
    """The pure function over the rows of a month, in this process."""
    raw = OfflineSource(source).pull_requests(*months.window(month))
    pulls = [record.of_offline(row, row["repo_name"]) for row in raw]
    del raw
    started, cpu = time.perf_counter(), time.process_time()
    passed = sum(prefilter.judge(p.title, p.body, p.labels, p.files, p.patch)[0] for p in pulls)
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    print(
        f"pre-filter: {len(pulls):,} rows, {passed / len(pulls):.0%} pass, "
        f"{len(pulls) / seconds:,.0f} rows/s ({len(pulls) / used:,.0f} a second of CPU)",
        flush=True,
    )


if __name__ == "__main__":
    main()

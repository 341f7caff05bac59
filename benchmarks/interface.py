"""The page of an asset in the web interface after 10,000 runs of a month each.

A run of each stage is real, made by `fc-data`; its rows in Dagster's storage are then copied, each
copy with a run id, a month and a time of its own, for as many runs. A real `dagster-webserver` is
asked what the page asks, in the words of its own JavaScript: once when it has just started, then
again. Dagster's storage as the project's `dagster.yaml` has it (SQLite), or as that of `deploy/`
(PostgreSQL).

    .venv/bin/python -m benchmarks.interface [--runs 10000] [--storages sqlite postgres]
"""

import argparse
import contextlib
import datetime
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster_webserver
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
import yaml

from benchmarks import common
from fc_assets import months
from fc_assets.tables import STAGES, TABLES
from tests import postgres

_MODEL = datetime.date(2023, 1, 1)
_MONTHS = months.covering(months.FIRST, datetime.date(2026, 11, 1))
_ASSET = {"path": ["pull_requests"]}
_ALL = [{"path": [table.name]} for table in TABLES]
_EVENTS = ["MATERIALIZATION", "OBSERVATION", "FAILED_TO_MATERIALIZE"]
#: What the page of an asset asks, on its tabs and along with the graph.
_QUERIES: Mapping[str, Mapping[str, Any]] = {
    "AssetViewDefinitionQuery": {"assetKey": _ASSET},
    "PartitionHealthQuery": {"assetKey": _ASSET},
    "AssetGraphLiveQuery": {"assetKeys": _ALL},
    "AssetStaleStatusDataQuery": {"assetKeys": _ALL},
    "AssetHealthQuery": {"assetKeys": _ALL},
    "AssetOverviewMetadataEventsQuery": {"assetKey": _ASSET},
    "RecentAssetEventsQuery": {"assetKey": _ASSET, "eventTypeSelectors": _EVENTS, "limit": 100},
    "AssetPartitionDetailQuery": {"assetKey": _ASSET, "partitionKey": months.key(_MODEL)},
    "AssetChecksQuery": {"assetKey": _ASSET},
}
_WARM = 5
_BATCH = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    kinds = ("sqlite", "postgres")
    parser.add_argument("--storages", nargs="+", choices=kinds, default=list(kinds))
    given = parser.parse_args()
    print(common.machine(), flush=True)
    for kind in given.storages:
        with tempfile.TemporaryDirectory() as name, _storage(kind, Path(name)) as (environment, at):
            folder = Path(name)
            _real_runs(folder, environment)
            first = _asked(folder, environment)
            before = _bytes(at)
            copies = -(-given.runs // len(STAGES))
            started = time.monotonic()
            _copy(at, copies)
            print(f"{kind}: copied in {time.monotonic() - started:.0f} s", flush=True)
            then = _asked(folder, environment)
            runs = _runs(at[0])
            print(f"{kind}: {runs:,} runs, {_mib(_bytes(at))}; {_mib(before)} with {len(STAGES)}")
            _report(kind, first, then)


@contextlib.contextmanager
def _storage(kind: str, folder: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The environment of processes, and URLs of the databases that Dagster uses."""
    home = folder / "run" / "home"
    home.mkdir(parents=True)
    root = Path(__file__).parent.parent
    given = {"FC_HOME": str(home), "FC_MEASURE_TIMEOUT_S": "0", "PYTHONPATH": str(root)}
    if kind == "sqlite":
        dagster = home / "dagster"
        given["DAGSTER_HOME"] = str(dagster)
        files = (dagster / "history" / f"{name}.db" for name in ("runs", "event_log"))
        yield common.environment(folder, **given), [f"sqlite:///{file}" for file in files]
        return
    with postgres.RealPostgres() as server:
        dagster = folder / "dagster"
        dagster.mkdir()
        deployed = yaml.safe_load((root / "deploy" / "dagster.yaml").read_text("utf-8"))
        kept = {name: deployed[name] for name in ("storage", "telemetry", "nux", "python_logs")}
        (dagster / "dagster.yaml").write_text(yaml.safe_dump(kept), "utf-8")
        database = server.database()
        given |= {
            "FC_DAGSTER_HOME": str(dagster),
            "DAGSTER_HOME": str(dagster),
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": postgres.USER,
            "PGPASSWORD": postgres.PASSWORD,
            "PGDATABASE": database,
        }
        url = sa.URL.create(
            "postgresql+psycopg",
            postgres.USER,
            postgres.PASSWORD,
            server.host,
            server.port,
            database,
        )
        yield common.environment(folder, **given), [url.render_as_string(hide_password=False)]


def _real_runs(folder: Path, environment: dict[str, str]) -> None:
    """One month of each stage, in a run of its own; no pull request is a candidate."""
    rows = [
        common.pull_request(
            "octo/library",
            number,
            datetime.datetime(2023, 1, 1 + number, 12, tzinfo=datetime.UTC),
            "Fix a typo in the documentation",
            "",
            "--- a/README\n+++ b/README\n@@ -1 +1 @@\n-teh word\n+the word\n",
        )
        for number in range(1, 21)
    ]
    source = folder / "pull_requests.parquet"
    pq.write_table(pa.Table.from_pylist(rows, common.OFFLINE), source)
    for stage in STAGES:
        command = common.command(
            *("--start-date", str(_MODEL), "--end-date", str(months.following(_MODEL))),
            *("--offline-source", str(source), "--stage", str(stage)),
        )
        common.timed(command, folder / "run", environment)


def _copy(urls: Sequence[str], copies: int) -> None:
    """Copy all rows of runs, events and what refers to them, with numbers that are further on."""
    ids: dict[str, list[str]] = {}
    for url in urls:
        engine = sa.create_engine(url)
        metadata = sa.MetaData()
        metadata.reflect(engine)
        order = ("runs", "run_tags", "event_logs", "asset_event_tags", "asset_check_executions")
        found = [metadata.tables[name] for name in order if name in metadata.tables]
        with engine.begin() as con:
            models = {t: [dict(r) for r in con.execute(sa.select(t)).mappings()] for t in found}
            runs = {r["run_id"] for rows in models.values() for r in rows if r.get("run_id")}
            for run in runs:
                ids.setdefault(run, [str(uuid.uuid4()) for _ in range(copies)])
            spans = {t.name: max(row["id"] for row in rows) for t, rows in models.items()}
            events = spans.get("event_logs", 0)
            for numbers in (range(s, min(s + _BATCH, copies)) for s in range(0, copies, _BATCH)):
                for table, rows in models.items():
                    moved = [
                        _moved(r, n, spans[table.name], events, ids) for n in numbers for r in rows
                    ]
                    con.execute(sa.insert(table), moved)
            if events:
                keys = metadata.tables["asset_keys"]
                for row in con.execute(sa.select(keys)).mappings().all():
                    last = _moved(dict(row), copies - 1, 0, events, ids)
                    # What the server made of the few runs before stays: it looks at what is newer.
                    con.execute(sa.update(keys).where(keys.c.id == row["id"]).values(last))
        engine.dispose()


def _moved(
    row: Mapping[str, Any], n: int, span: int, events: int, ids: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The n-th copy of a row."""
    month = _MONTHS[n % len(_MONTHS)]
    ends = [(m, following) for m in (_MODEL, month) for following in (months.following(m),)]
    before, after = ([_epoch(day) for day in pair] for pair in ends)
    later = datetime.timedelta(minutes=n + 1)

    def text(value: str) -> str:
        for run, copies in ids.items():
            value = value.replace(run, copies[n])
        value = value.replace(months.key(_MODEL), months.key(month))
        for old, new in zip(before, after, strict=True):
            value = value.replace(f'"timestamp": {old}.0', f'"timestamp": {new}.0')
        return re.sub(
            r'("storage_id": )(\d+)', lambda m: f"{m[1]}{int(m[2]) + (n + 1) * events}", value
        )

    moved: dict[str, Any] = {}
    for name, value in row.items():
        if name == "cached_status_data":
            continue
        if isinstance(value, str):
            value = text(value)
        elif isinstance(value, datetime.datetime):
            value = value + later
        elif isinstance(value, float):
            value = value + later.total_seconds()
        elif isinstance(value, int) and name == "id":
            value += (n + 1) * span
        elif isinstance(value, int) and name.endswith(("event_id", "storage_id")):
            value += (n + 1) * events
        moved[name] = value
    return moved


def _epoch(day: datetime.date) -> int:
    return int(datetime.datetime(day.year, day.month, 1, tzinfo=datetime.UTC).timestamp())


def _asked(folder: Path, environment: dict[str, str]) -> dict[str, list[float]]:
    """Seconds of each query: the first time, and further times."""
    documents = _documents()
    with _served(folder, environment) as url, httpx.Client(trust_env=False, timeout=300) as client:
        found: dict[str, list[float]] = {}
        for again in range(1 + _WARM):
            for name, variables in _QUERIES.items():
                started = time.perf_counter()
                body = {"query": documents[name], "variables": variables, "operationName": name}
                answer = client.post(f"{url}/graphql", json=body).json()
                found.setdefault(name, []).append(time.perf_counter() - started)
                if "errors" in answer or not answer["data"]:
                    raise RuntimeError(f"{name}: {str(answer)[:2000]}")
                if not again and "PythonError" in str(answer):
                    raise RuntimeError(f"{name}: {str(answer)[:2000]}")
        return found


@contextlib.contextmanager
def _served(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = str(Path(sys.executable).with_name("dagster-webserver"))
    command = [program, "-m", "fc_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 300
            query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
            while True:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "server.log").read_text("utf-8")[-4000:])
                with contextlib.suppress(httpx.TransportError):
                    answer = httpx.post(
                        f"{url}/graphql", json={"query": query}, trust_env=False, timeout=60
                    ).json()
                    if answer["data"]["repositoriesOrError"].get("nodes"):
                        break
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            server.wait(60)


def _documents() -> dict[str, str]:
    """The queries of the installed web interface, each with the fragments it uses."""
    folder = Path(dagster_webserver.__file__).parent / "webapp" / "build"
    text = "\n".join(file.read_text("utf-8") for file in sorted(folder.rglob("*.js")))
    parts: dict[str, str] = {}
    start = r"\b(?:fragment|query) (\w+)(?: on \w+)?(?:\([^{}()]*\))?(?:\s|\\n)*\{"
    for found in re.finditer(start, text):
        depth, end = 1, found.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        parts.setdefault(found[1], text[found.start() : end].replace("\\n", "\n"))
    documents = {}
    for name in _QUERIES:
        used, wanted = dict[str, str](), [name]
        while wanted:
            part = wanted.pop()
            if part not in used:
                used[part] = parts[part]
                wanted += re.findall(r"\.\.\.\s*(?!on\b)(\w+)", parts[part])
        documents[name] = "\n".join(used.values())
    return documents


def _bytes(urls: Sequence[str]) -> int:
    size = 0
    for url in urls:
        engine = sa.create_engine(url)
        with engine.connect() as con:
            if engine.dialect.name == "sqlite":
                pages, of = (
                    con.exec_driver_sql(f"PRAGMA {n}").scalar_one()
                    for n in ("page_count", "page_size")
                )
                size += pages * of
            else:
                size += con.exec_driver_sql(
                    "SELECT pg_database_size(current_database())"
                ).scalar_one()
        engine.dispose()
    return size


def _runs(url: str) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as con:
        count = con.exec_driver_sql("SELECT count(*) FROM runs").scalar_one()
    engine.dispose()
    return count


def _report(
    kind: str, first: Mapping[str, Sequence[float]], then: Mapping[str, Sequence[float]]
) -> None:
    print(f"| {kind} | few runs: first | again | many runs: first | again |\n|{'---|' * 5}")
    for name in _QUERIES:
        cells = [
            f"{seconds:.2f} s"
            for found in (first[name], then[name])
            for seconds in (found[0], statistics.median(found[1:]))
        ]
        print(f"| {name.removesuffix('Query')} | {' | '.join(cells)} |", flush=True)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


if __name__ == "__main__":
    main()

"""A home that is as full as years of runs make it: months copied from one that was really made.

What a copy changes is what has to differ: months, numbers, hashes, patches. It goes through
warehouse, ledger, lock files and dataset as a run does, without computing anything. A process of
its own, on the home of the environment.

    FC_HOME=... python -m benchmarks.scale_home fill SOURCE MODEL STEP 2023-02-01 2023-03-01 ...
    FC_HOME=... python -m benchmarks.scale_home sizes FOLDER
"""

import datetime
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from fc_assets import fingerprint, lock_files, months, plan, work
from fc_assets.formulacode import files, publication, records
from fc_assets.lock_files import Code, Lock, LockFiles
from fc_assets.options import Options
from fc_assets.tables import FORMULACODE, STAGES, TABLES, Table
from fc_resources import ledger_tables, settings
from fc_resources.ledger import Ledger, Progress, Result
from fc_resources.warehouse import Rows, Warehouse

_HASHES = ("merge_commit_sha", "base_sha", "head_sha", "sha", "gt_hash", "base_commit")
_TIMES = ("merged_at", "created_at", "date")
#: Questions to a model for an item of these tables, were one configured.
_ASKED = {"pr_classifications": 1, "candidate_prs": 2}


def main() -> None:
    if sys.argv[1] == "fill":
        source, model, step, *wanted = sys.argv[2:]
        home = Home(Options(offline_source=source), datetime.date.fromisoformat(model))
        home.fill(int(step), [datetime.date.fromisoformat(month) for month in wanted])
    else:
        print(json.dumps(Home(Options(), months.FIRST).raw_bytes(Path(sys.argv[2]))))


class Home:
    """The home of the environment and the month that others are copied from."""

    def __init__(self, options: Options, model: datetime.date) -> None:
        self._options, self._model, self._settings = options, model, settings.current()
        self._warehouse = Warehouse.of(self._settings)
        self._ledger = Ledger(self._settings.ledger)
        self._locks = LockFiles(self._settings.fc_home)
        self._dataset = publication.target(self._settings)

    def fill(self, step: int, wanted: Sequence[datetime.date]) -> None:
        """Copies of the model; the n-th month from it has numbers that are n steps higher."""
        with tempfile.TemporaryDirectory(dir=self._settings.fc_home) as name:
            for table in TABLES:
                rows = self._warehouse.read(table.name, [self._model])
                with pq.ParquetWriter(Path(name) / table.name, rows.schema) as writer:
                    for batch in rows:
                        writer.write_batch(batch)
            for month in wanted:
                ahead = (month.year - self._model.year) * 12 + month.month - self._model.month
                for table in TABLES:
                    self._copy(table, Path(name) / table.name, month, step * ahead)

    def _copy(self, table: Table, model: Path, month: datetime.date, ahead: int) -> None:
        query = _copied(table, model, self._model, month, ahead)
        version = hashlib.sha256(f"{table.name} {month}".encode()).hexdigest()

        def batches() -> Iterator[pa.RecordBatch]:
            with duckdb.connect() as con:
                con.execute("SET TimeZone = 'UTC'")
                for batch in con.sql(query).to_arrow_reader(2_000):
                    found = pa.Table.from_batches([batch]).cast(table.schema)
                    yield from found.combine_chunks().to_batches()

        self._warehouse.replace(table.name, Rows(table.schema, [month], batches))
        self._note(table, month, version, lambda item: _moved(item, month, ahead))
        if table is FORMULACODE:
            found = pa.Table.from_batches(batches()).select(records.COLUMNS).to_pylist()
            publication.publish(self._dataset, months.label(month), files.table(found))

    def _note(
        self, table: Table, month: datetime.date, version: str, moved: Callable[[str], str]
    ) -> None:
        """What a run of the month leaves behind besides rows, and what a model would have cost."""
        known = self._ledger.results(table.name, self._model).values()
        results = [_result(result, moved(result.item)) for result in known]
        given = plan.parameters(table.stage, self._options, self._settings)
        inputs = plan.inputs(table.stage, month, self._ledger.progress(), given)
        told = {name: value or "" for name, value in inputs.items()}
        count = len(results)
        progress = Progress("finished", version[:32], count, count, 0, 0, 0, 60.0, told)
        self._ledger.record(month, {table.name: results}, {}, {table.name: progress})
        _, last = self._ledger.version(table.name, month)
        self._ledger.mark_written(table.name, month, last, version, version[:32])
        code = Code.of(fingerprint.of(STAGES[table.stage].name))
        tables = {t.name: told[t.name] for t in plan.READS[table.stage]}
        parts = (tables, given, lock_files.tools(table.stage), version[:32], f"{month}T00:00:00")
        self._locks.write(table.name, month, Lock(version, code, *parts))
        if asked := _ASKED.get(table.name):
            self._spend(table, month, [r.item for r in results] * asked)

    def _spend(self, table: Table, month: datetime.date, asked: Sequence[str]) -> None:
        """Many answers in one transaction."""
        row = {"stage": table.name, "month": month, "model": "a/model", "dollars": 0.001}
        row |= {"input_tokens": 3000, "cached_tokens": 0, "output_tokens": 300, "seconds": 2.0}
        row["asked_at"] = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        url = self._ledger.url
        if url.drivername != "sqlite":
            url = url.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url)
        with engine.begin() as con:
            con.execute(sa.insert(ledger_tables.usage), [row | {"item": item} for item in asked])
        engine.dispose()

    def raw_bytes(self, folder: Path) -> dict[str, int]:
        """Size of each table as zstd Parquet, 8,192 rows a group; the file is removed again."""
        found = {}
        for table, counts in self._warehouse.tables().items():
            path = folder / "raw.parquet"
            reader = self._warehouse.read(table, sorted(counts))
            with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
                group: list[pa.RecordBatch] = []
                for batch in reader:
                    group.append(batch)
                    if len(group) == 2:
                        writer.write_table(pa.Table.from_batches(group))
                        group = []
                if group:
                    writer.write_table(pa.Table.from_batches(group))
            found[table] = path.stat().st_size
            path.unlink()
        return found


def _copied(
    table: Table, model: Path, before: datetime.date, month: datetime.date, ahead: int
) -> str:
    """A query for the rows of a month, from those of another."""
    days = [(months.following(m) - m).days for m in (month, before)]
    label, names = months.label(month), table.schema.names
    changed = {"partition_month": f"DATE '{month}'"}
    changed |= {n: f"left(sha256({n} || '{label}'), 40)" for n in _HASHES}
    # A month may be shorter than the other.
    since = f"(epoch_us(%s) - epoch_us(TIMESTAMPTZ '{before} 00:00:00Z')) * {days[0]} // {days[1]}"
    start = f"TIMESTAMPTZ '{month} 00:00:00Z' + to_microseconds"
    changed |= {name: f"{start}({since % name})" for name in _TIMES}
    number = f"issue_number + {ahead}"
    changed |= {
        "issue_number": number,
        "patch": f"patch || '+{label}' || chr(10)",
        "patch_id": f"sha256(patch_id || '{label}')",
        "task_id": f"owner || '__' || repo || '-' || ({number})",
        "image": f"image || '-{label}'",
    }
    told = ", ".join(f"{what} AS {name}" for name, what in changed.items() if name in names)
    return f"SELECT * REPLACE ({told}) FROM read_parquet('{model}')"


def _moved(item: str, month: datetime.date, ahead: int) -> str:
    """The key of an item in another month."""
    name, mark, told = re.fullmatch(r"([^#@]*)([#@]?)(.*)", item).groups()  # pyright: ignore[reportOptionalMemberAccess] -- it matches everything
    if mark == "#":
        return f"{name}#{int(told) + ahead}"
    if mark == "@":
        return f"{name}@{hashlib.sha256(f'{told}{months.label(month)}'.encode()).hexdigest()[:40]}"
    return item


def _result(known: Result, item: str) -> Result:
    told = work.digest(known.result, item)
    return Result(item, told, told, known.row_count, b"", note=known.note, seconds=known.seconds)


if __name__ == "__main__":
    main()

"""What orchestration costs: 176 partitions (8 tables, 22 months) with trivial content.

Whole processes, as users start them, alternated in one run: `fc-data` with no pull requests at
all, `fc-data` with one pull request a month, `dvc repro` of as many stages with the same
dependencies, and plain DuckDB. DVC is installed into a folder that is thrown away.

    .venv/bin/python -m benchmarks.overhead [--rounds 3]
"""

import argparse
import datetime
import functools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import common
from fc_assets import months, plan
from fc_assets.tables import TABLES
from fc_resources.ledger import Ledger

#: The first run, and the one with nothing left to do.
_Runs = tuple[common.Ended, common.Ended | None]
_Months = Sequence[datetime.date]
_MONTHS = months.covering(datetime.date(2024, 1, 1), datetime.date(2025, 11, 1))

_RAW = """
import sys, duckdb
con = duckdb.connect(sys.argv[1])
for table in sys.argv[2].split(","):
    con.execute(f"CREATE TABLE {table} (partition_month DATE, value INTEGER)")
    for month in sys.argv[3].split(","):
        con.begin()
        con.execute(f"DELETE FROM {table} WHERE partition_month = ?", [month])
        con.execute(f"INSERT INTO {table} VALUES (?, 1)", [month])
        con.commit()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(common.machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dvc = _install_dvc(folder / "dvc")
        contenders: dict[str, Callable[[Path, _Months], _Runs]] = {
            "fc-data, months without pull requests": functools.partial(_fc_data, rows=0),
            "fc-data, one pull request a month": functools.partial(_fc_data, rows=1),
            "dvc repro": functools.partial(_dvc, dvc=dvc),
            "plain DuckDB": _duckdb,
        }
        times: dict[str, list[_Runs]] = {label: [] for label in contenders}
        # The round before the first is of one month, and only compiles bytecode.
        for number in range(-1, rounds):
            for position, (label, run) in enumerate(contenders.items()):
                home = folder / f"run-{number + 1}-{position}"
                home.mkdir()
                measured = run(home, _MONTHS if number >= 0 else _MONTHS[:1])
                if number >= 0:
                    times[label].append(measured)
    _report(times)


def _fc_data(folder: Path, wanted: _Months, rows: int) -> _Runs:
    """The first run and the one with nothing left, all seven stages; Docker is not needed.

    No pull request becomes a candidate: those of `rows` a month are documentation. So tables 1 to
    3 have `rows` rows a month and the other five none, which costs them the same transaction.
    """
    source, home = folder / "pull_requests.parquet", folder / "home"
    found = [
        common.pull_request(
            "octo/library",
            number,
            datetime.datetime(month.year, month.month, 15, 12, tzinfo=datetime.UTC),
            "Fix a typo in the documentation",
            "",
            "--- a/README\n+++ b/README\n@@ -1 +1 @@\n-teh word\n+the word\n",
        )
        for number, month in enumerate(wanted, 1)
        for _ in range(rows)
    ]
    pq.write_table(pa.Table.from_pylist(found, common.OFFLINE), source)
    end = months.key(months.following(wanted[-1]))
    arguments = ("--start-date", months.key(wanted[0]), "--end-date", end)
    arguments += ("--offline-source", str(source))
    first = common.fc_data(home, *arguments)
    written = Ledger(f"sqlite:///{home / 'ledger.sqlite'}").progress()
    finished = sum(state.complete for state in written.values())
    if finished != len(TABLES) * len(wanted):
        raise RuntimeError(f"{finished} of {len(TABLES) * len(wanted)} partitions were written")
    again = common.fc_data(home, *arguments, "--resume")
    return first, again


def _dvc(folder: Path, wanted: _Months, dvc: Path) -> _Runs:
    """As many stages, depending on each other as the tables do; a command echoes one word."""
    environment = common.environment(
        folder.parent,
        HOME=str(folder),
        DVC_NO_ANALYTICS="1",
        DVC_SITE_CACHE_DIR=str(folder / "site"),
    )
    common.timed([str(dvc), "init", "--no-scm", "--quiet"], folder, environment)
    common.timed([str(dvc), "config", "core.check_update", "false"], folder, environment)
    stages = {
        f"{table.name}-{months.label(month)}": {
            "cmd": f"echo done > {table.name}-{months.label(month)}.txt",
            "deps": [f"{t.name}-{months.label(month)}.txt" for t in plan.READS[table.stage]],
            "outs": [f"{table.name}-{months.label(month)}.txt"],
        }
        for table in TABLES
        for month in wanted
    }
    # JSON is YAML too.
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}), "utf-8")
    first = common.timed([str(dvc), "repro", "--quiet"], folder, environment)
    outputs = len(list(folder.glob("*-20*.txt")))
    if outputs != len(TABLES) * len(wanted):
        raise RuntimeError(f"DVC made {outputs} of {len(TABLES) * len(wanted)} outputs")
    again = common.timed([str(dvc), "repro", "--quiet"], folder, environment)
    return first, again


def _duckdb(folder: Path, wanted: _Months) -> _Runs:
    """The floor: one row a partition, each in a transaction, without a record of what is done."""
    tables = ",".join(table.name for table in TABLES)
    dates = ",".join(map(months.key, wanted))
    command = [sys.executable, "-c", _RAW, str(folder / "raw.duckdb"), tables, dates]
    return common.timed(command, folder, common.environment(folder.parent)), None


def _install_dvc(folder: Path) -> Path:
    """DVC in a virtual environment of its own."""
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = str(folder / "bin" / "python")
    install = [uv, "pip", "install", "--quiet", "--python", python, "dvc"]
    subprocess.run(install, check=True)
    dvc = folder / "bin" / "dvc"
    version = subprocess.run([str(dvc), "--version"], check=True, capture_output=True, text=True)
    print(f"DVC {version.stdout.strip()}")
    return dvc


def _report(times: dict[str, list[_Runs]]) -> None:
    print(f"{len(TABLES) * len(_MONTHS)} partitions: {len(TABLES)} tables, {len(_MONTHS)} months")
    header = ("", "first run", "of DVC's", "CPU", "nothing left to do", "of DVC's", "CPU")
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    dvc_first, dvc_again = _columns(times["dvc repro"])
    for label, runs in times.items():
        first, again = _columns(runs)
        print(f"| {label} | {_cells(first, dvc_first)} | {_cells(again, dvc_again)} |")


def _columns(runs: list[_Runs]) -> tuple[list[common.Ended], list[common.Ended]]:
    return [first for first, _ in runs], [again for _, again in runs if again is not None]


def _cells(ended: list[common.Ended], dvc: list[common.Ended]) -> str:
    if not ended:
        return "- | - | -"
    seconds, cpu = [e.seconds for e in ended], [e.cpu_seconds for e in ended]
    share = statistics.median(seconds) / statistics.median(e.seconds for e in dvc)
    return f"{common.spread(seconds)} | {share:.2f} | {statistics.median(cpu):.1f} s"


if __name__ == "__main__":
    main()

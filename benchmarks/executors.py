"""A run of many light steps by each of Dagster's executors, seconds of wall and CPU.

    python -m benchmarks.executors [--rounds 3]

One month of all seven stages and their checks, without pull requests: 15 steps that do next to
nothing. `warm` is what runs of the web interface use, `in-process` what `fc-data` does.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import common

_EXECUTORS: dict[str, Any] = {
    "in-process": {"in_process": {}},
    "warm (forkserver, modules preloaded)": {},
    "spawn": {"multiprocess": {"start_method": {"spawn": {}}}},
}


def month() -> dg.JobDefinition:
    """The job, as a process that runs a step finds it."""
    from fc_assets.definitions import defs

    return defs.resolve_job_def("month")


def one(executor: dict[str, Any], source: str) -> None:
    """Run a month; for a process of its own."""
    from fc_assets import instance
    from fc_resources import settings

    instance.prepare(settings.current())
    options = {"resources": {"options": {"config": {"offline_source": source}}}}
    with (
        dg.DagsterInstance.get() as dagster,
        dg.execute_job(
            dg.reconstructable(month),
            instance=dagster,
            tags={"dagster/partition": "2024-01-01"},
            run_config={"execution": {"config": executor}, **options},
        ) as result,
    ):
        if not result.success:
            raise RuntimeError("the run failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2)
    given = parser.parse_args()
    if given.one:
        one(json.loads(given.one[0]), given.one[1])
        return
    print(common.machine())
    print("| executor | seconds | CPU |\n|---|---|---|")
    times: dict[str, list[common.Ended]] = {label: [] for label in _EXECUTORS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "pull_requests.parquet"
        pq.write_table(pa.Table.from_pylist([], common.OFFLINE), source)
        # The round before the first compiles bytecode.
        for number in range(-1, given.rounds):
            for position, (label, executor) in enumerate(_EXECUTORS.items()):
                home = folder / f"{number + 1}-{position}"
                home.mkdir()
                command = [sys.executable, "-m", "benchmarks.executors"]
                command += ["--one", json.dumps(executor), str(source)]
                given_to = {"FC_HOME": str(home / "home"), "PYTHONPATH": str(Path.cwd())}
                ended = common.timed(command, home, common.environment(home, **given_to))
                if number >= 0:
                    times[label].append(ended)
    for label, runs in times.items():
        cpu = statistics.median(run.cpu_seconds for run in runs)
        print(f"| {label} | {common.spread([run.seconds for run in runs])} | {cpu:.1f} s |")


if __name__ == "__main__":
    main()

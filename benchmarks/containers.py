"""What containers of a home took: the first of each repository, the others, and every check.

    python -m benchmarks.containers HOME

Reads what stage 6 stored there; run that stage in a new home, so that no image was there before.
"""

import statistics
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import common
from fc_assets.tables import CANDIDATE_CONTAINERS
from fc_resources.warehouse import Warehouse

_COLUMNS = ["owner", "repo", "merged_at", "step", "seconds", "image_bytes", "timings"]


def main(home: Path) -> None:
    """Print a table of repositories, and one of checks."""
    warehouse, name = Warehouse(home / "warehouse.duckdb"), CANDIDATE_CONTAINERS.name
    months = sorted(warehouse.tables()[name])
    rows = [r for batch in warehouse.read(name, months, _COLUMNS) for r in batch.to_pylist()]
    rows.sort(key=lambda row: row["merged_at"])
    print(common.machine())
    print("| repository | containers | reused | first | others, median | added, median |")
    print("|---|---|---|---|---|---|")
    for repository in sorted({_repository(row) for row in rows}):
        found = [row for row in rows if _repository(row) == repository]
        reused = sum(row["step"] in ("cache", "similar") for row in found)
        print(f"| {repository} | {len(found)} | {reused} | {_cells(found)} |")
    print()
    print("| check | runs | median | max |")
    print("|---|---|---|---|")
    for check, seconds in _timings(rows).items():
        median, most = statistics.median(seconds), max(seconds)
        print(f"| {check} | {len(seconds)} | {median:.1f} s | {most:.1f} s |")


def _repository(row: Mapping[str, Any]) -> str:
    return f"{row['owner']}/{row['repo']}"


def _cells(rows: list[dict[str, Any]]) -> str:
    first, *others = rows
    seconds = f"{statistics.median(r['seconds'] for r in others):.0f} s" if others else ""
    added = [row["image_bytes"] for row in rows if row["image_bytes"] is not None]
    size = f"{statistics.median(added) / 2**20:.0f} MiB" if added else ""
    return f"{first['seconds']:.0f} s | {seconds} | {size}"


def _timings(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows:
        for timing in row["timings"] or ():
            found.setdefault(timing["check"], []).append(timing["seconds"])
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))

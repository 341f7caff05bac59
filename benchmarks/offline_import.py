"""Importing offline pull requests through stages 1 and 2: rows a second and peak memory.

A process `fc-data --stage 1 --stage 2` on a new home. Rows bring their diff, so no git is asked;
texts have the sizes of real pull requests: bodies of 1 to 3 KB, diffs of about 3 KB.

    .venv/bin/python -m benchmarks.offline_import [--rows 10000 100000] [--rounds 1]
"""

import argparse
import datetime
import random
import statistics
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import common
from fc_assets import months
from fc_resources.ledger import Ledger

_START, _END = datetime.date(2025, 1, 1), datetime.date(2026, 1, 1)
_REPOSITORIES = 50
_BATCH_ROWS = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    print(common.machine())
    print("| rows | spread over | source file | seconds | CPU s | rows/s | peak memory |")
    print("|---|---|---|---|---|---|---|")
    wanted = months.covering(_START, _END)
    for rows in given.rows:
        for spread in (wanted, wanted[:1]):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                size = _generate(folder / "pull_requests.parquet", rows, spread)
                ended = [_import(folder, n, rows) for n in range(given.rounds)]
            seconds = statistics.median(e.seconds for e in ended)
            memory = max(e.peak_mib for e in ended)
            cells = (
                f"{rows:,}",
                f"{len(spread)} month{'s' * (len(spread) > 1)}",
                f"{size / 2**20:.0f} MiB",
                f"{seconds:.1f}",
                f"{statistics.median(e.cpu_seconds for e in ended):.1f}",
                f"{rows / seconds:,.0f}",
                f"{memory:,.0f} MiB",
            )
            print(f"| {' | '.join(cells)} |", flush=True)


def _import(folder: Path, number: int, rows: int) -> common.Ended:
    """All twelve months, also when only one has rows; what is stored is counted afterwards."""
    home = folder / f"home-{number}"
    ended = common.fc_data(
        home,
        *("--start-date", _START.isoformat(), "--end-date", _END.isoformat()),
        *("--offline-source", str(folder / "pull_requests.parquet")),
        *("--stage", "1", "--stage", "2"),
    )
    states = Ledger(f"sqlite:///{home / 'ledger.sqlite'}").progress()
    found = sum(s.done for (table, _), s in states.items() if table == "pull_requests")
    if found != rows or {s.state for s in states.values()} != {"written"}:
        raise RuntimeError(f"{found} of {rows} pull requests were written")
    return ended


def _generate(path: Path, rows: int, spread: list[datetime.date]) -> int:
    """The source file; its size in bytes."""
    source = random.Random(1)
    words = ["".join(source.choices("etaoinshrdlu", k=source.randint(2, 10))) for _ in range(5000)]
    prose = " ".join(source.choices(words, k=1_000_000))
    code = "\n".join(
        f"{source.choice('+- ')}    {' '.join(source.choices(words, k=7))}" for _ in range(100_000)
    )
    with pq.ParquetWriter(path, common.OFFLINE, compression="zstd") as writer:
        for start in range(0, rows, _BATCH_ROWS):
            numbers = range(start, min(start + _BATCH_ROWS, rows))
            found = [_pull_request(source, number, spread, prose, code) for number in numbers]
            writer.write_table(pa.Table.from_pylist(found, common.OFFLINE))
    return path.stat().st_size


def _pull_request(
    source: random.Random, number: int, spread: list[datetime.date], prose: str, code: str
) -> dict[str, object]:
    month = spread[number % len(spread)]
    merged_at = datetime.datetime(
        month.year, month.month, source.randint(1, 28), source.randrange(24), tzinfo=datetime.UTC
    )
    title = _cut(source, prose, source.randint(30, 80))
    body = _cut(source, prose, source.randint(1_000, 3_000))
    head = "--- a/src/module.py\n+++ b/src/module.py\n@@ -1,20 +1,40 @@\n"
    patch = head + _cut(source, code, source.randint(2_000, 4_000))
    # Numbers count from 1, and differ over all repositories.
    repository = f"octo/library-{source.randrange(_REPOSITORIES)}"
    return common.pull_request(repository, number + 1, merged_at, title, body, patch)


def _cut(source: random.Random, text: str, length: int) -> str:
    start = source.randrange(len(text) - length)
    return text[start : start + length]


if __name__ == "__main__":
    main()

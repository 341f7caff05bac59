"""Environments of labelled performance commits: do they install, how fast, how large, how shared.

Commits come from an offline source and a table of labels (`repo_name`, `pr_number`,
`is_performance_commit`); their repositories from GitHub, or from where the configuration that
GIT_CONFIG_GLOBAL names sends git. FC_PYTHON_VERSIONS counts, and so do uv's own variables. Mirrors
are cloned before anything is timed; a commit is timed from its hash to its row.

    .venv/bin/python -m benchmarks.environments prs.parquet labels.csv [--show] [--threads 1]
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import common
from fc_assets.packages.built import builder
from fc_assets.packages.resolve import Commit, Resolver
from fc_resources import settings
from fc_resources.docker import Docker
from fc_resources.git import Mirrors
from fc_resources.uv import Uv

_COMMITS = """
select distinct pr.repo_name, pr.pr_merge_commit_sha
from {} pr join {} label using (repo_name, pr_number)
where label.is_performance_commit order by 1, 2
"""


@dataclasses.dataclass(frozen=True)
class _Timed:
    """A commit with its row, or why there is none."""

    commit: Commit
    seconds: float
    row: Mapping[str, Any] | None
    error: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="print every environment")
    given = parser.parse_args()
    print(common.machine())
    commits = _commits(given.source, given.labels)
    chosen = settings.load()
    available, builds = chosen.python_versions, builder(Docker(chosen.fc_home), chosen)
    with tempfile.TemporaryDirectory() as name:
        mirrors, uv = Mirrors(Path(name) / "mirrors"), Uv(Path(name) / "uv-cache")
        for owner, repo in sorted({(c.owner, c.repo) for c in commits}):
            own = [c.sha for c in commits if (c.owner, c.repo) == (owner, repo)]
            mirrors.mirror(owner, repo, own)
        print(f"{len(commits)} commits, Python {', '.join(available)}, uv {uv.version}")
        print("| cache | repository | install | median | p90 | max | packages | asked, shared |")
        print("|---|---|---|---|---|---|---|---|")
        timed: list[_Timed] = []
        for cache in ("cold", "warm"):
            resolver = Resolver(mirrors, uv, available, builds)
            with concurrent.futures.ThreadPoolExecutor(given.threads) as pool:
                timed = list(pool.map(lambda c, r=resolver: _resolve(r, c), commits))
            asked = f"{resolver.pinning.asked}, {resolver.pinning.shared}"
            _report(cache, timed, asked)
    _explain(timed, given.show)


def _commits(source: Path, labels: Path) -> list[Commit]:
    tables = [f"'{str(path).replace(chr(39), chr(39) * 2)}'" for path in (source, labels)]
    with duckdb.connect() as connection:
        rows = connection.execute(_COMMITS.format(*tables)).fetchall()
    return [Commit(*name.split("/", 1), sha=sha) for name, sha in rows]


def _resolve(resolver: Resolver, commit: Commit) -> _Timed:
    started = time.perf_counter()
    try:
        [row] = resolver(commit).rows
    except Exception as error:
        return _Timed(commit, time.perf_counter() - started, None, repr(error))
    return _Timed(commit, time.perf_counter() - started, row)


def _report(cache: str, timed: Sequence[_Timed], asked: str) -> None:
    groups: dict[str, list[_Timed]] = collections.defaultdict(list)
    for one in timed:
        groups[f"{one.commit.owner}/{one.commit.repo}"].append(one)
    for name, group in [*groups.items(), ("all", list(timed))]:
        seconds = sorted(one.seconds for one in group)
        installed = [one.row for one in group if one.row and one.row["can_install"]]
        sizes = sorted(len(row["pins"]) for row in installed)
        packages = f"{sizes[0]} to {sizes[-1]}" if sizes else "-"
        print(
            f"| {cache} | {name} | {len(installed)} of {len(group)} "
            f"| {statistics.median(seconds):.2f} s | {seconds[len(seconds) * 9 // 10]:.2f} s "
            f"| {seconds[-1]:.2f} s | {packages} | {asked if name == 'all' else ''} |",
            flush=True,
        )


def _explain(timed: Sequence[_Timed], show: bool) -> None:
    for one in timed:
        row = one.row or {"reason": one.error}
        if show or not row.get("can_install"):
            name = f"{one.commit.owner}/{one.commit.repo}@{one.commit.sha}"
            print(f"\n{name}: {one.seconds:.2f} s, {row.get('reason') or 'installs'}")
        if show:
            for name in ("python_version", "interpreter_source", "cutoff", "attempts", "notes"):
                print(f"  {name}: {row.get(name)}")
            for name in ("requirements", "pins", "system_packages", "dropped"):
                print(f"  {name}: {', '.join(row.get(name) or ())}")


if __name__ == "__main__":
    main()

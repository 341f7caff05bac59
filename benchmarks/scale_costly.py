"""Stages 4 and 6 of a month without git, uv and Docker: everything else they do is real.

Inputs, items, ledger, neighbours' scripts, the write and the checks are the stages' own; what the
world would have answered is invented, in the size of real answers. A process of its own.

    FC_HOME=... python -m benchmarks.scale_costly 4 2023-01-01 SOURCE
"""

import datetime
import functools
import hashlib
import sys
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.scale_source import Texts, cut
from fc_assets import checks, months, plan, work
from fc_assets.candidate_containers import items, stock
from fc_assets.candidate_containers.asset import containers
from fc_assets.candidate_containers.search import Earlier
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.lock_files import LockFiles
from fc_assets.options import Options
from fc_assets.packages import RESOLVER
from fc_assets.packages import asset as packages
from fc_assets.packages.resolve import Commit
from fc_assets.provenance import Provenance
from fc_assets.tables import CANDIDATE_CONTAINERS, ERROR_LOGS, PACKAGES, Table
from fc_resources import living, settings
from fc_resources.ledger import Ledger
from fc_resources.warehouse import Warehouse

#: Of the containers that were tried, those that failed, and the characters of an attempt's log.
_FAILED, _LOG = 0.3, 6_000
_CHECKS = ("build", "smoke", "profile", "hygiene")
_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def main() -> None:
    stage, month, source = int(sys.argv[1]), datetime.date.fromisoformat(sys.argv[2]), sys.argv[3]
    Costly(month, Options(offline_source=source)).run(stage)


class Costly:
    """A month of a home, which is that of the environment."""

    def __init__(self, month: datetime.date, options: Options) -> None:
        self._month, self._options, self._settings = month, options, settings.current()
        self._warehouse = Warehouse.of(self._settings)
        self._ledger = Ledger(self._settings.ledger)
        self._runner = work.Work(self._ledger, self._warehouse, self._settings.fc_max_failed_share)
        self._code = Texts(4, 500_000).code

    def run(self, stage: int) -> None:
        """As the asset does."""
        if stage == PACKAGES.stage:
            found = packages.items(
                self._input(packages.packages, "pr_classifications"), self._settings
            )
            self._finish((PACKAGES,), found, self._environment)
            return
        prs, environments = (self._input(containers, n) for n in ("candidate_prs", "packages"))
        found = list(items.items(prs, environments, self._settings))
        earlier: dict[str, Earlier] = {}
        queues = list(items.cascades(self._runner, found, self._options, self._settings, earlier))
        candidates = [item.value for _, part in found for item in part]
        known = items.working(self._runner, candidates, items.near(self._month, self._settings))

        def attempt(candidate: Candidate) -> work.Answer:
            next(known.similar(candidate), None)
            return self._container(candidate)

        self._finish((CANDIDATE_CONTAINERS, ERROR_LOGS), queues, attempt)

    def _input(
        self, asset: Any, table: str
    ) -> Iterator[tuple[datetime.date, list[dict[str, Any]]]]:
        columns = asset.node_def.input_dict[table].metadata["columns"]
        return months.split(self._warehouse.read(table, [self._month], columns), [self._month])

    def _finish(self, tables: Sequence[Table], found: Any, do: Any) -> None:
        main, run_id = tables[0], uuid.uuid4().hex
        home, given = (
            self._settings.fc_home,
            plan.parameters(main.stage, self._options, self._settings),
        )
        provenance = Provenance(LockFiles(home), self._ledger, tables, [self._month], run_id)
        with living.registered(home, main.name, run_id, 60) as worker:
            outcome = self._runner.run(
                main,
                found,
                do,
                also=tables[1:],
                reads=plan.READS[main.stage],
                given=functools.partial(plan.of_month, given),
                concurrency=2,
                worker=worker,
            )
        outcome = provenance.noted(outcome, set())
        for table in tables:
            rows = self._warehouse.replace(table.name, outcome.rows[table.name])
            broken = checks.violations(table, [self._month], self._warehouse)
            if not rows or any(broken.values()):
                raise RuntimeError(f"{table.name}: {rows} rows, {broken}")

    def _environment(self, commit: Commit) -> work.Answer:
        share = int(commit.sha[:8], 16) / 2**32
        pins = [f"package-{n}=={n % 7}.{n % 11}.{n % 5}" for n in range(18 + int(share * 43))]
        row = {
            "owner": commit.owner,
            "repo": commit.repo,
            "sha": commit.sha,
            "base_sha": hashlib.sha1(commit.sha.encode()).hexdigest(),
            "project_name": commit.repo,
            "project_root": ".",
            "asv_config": "asv.conf.json",
            "python_version": f"3.{11 + int(share * 3)}",
            "interpreter_source": "date",
            "requirements": [pin.partition("==")[0] for pin in pins[:12]],
            "pins": pins,
            "can_install": True,
            "attempts": ["Python 3.12, cutoff of the day: pinned"],
            "inputs": hashlib.sha256(commit.sha.encode()).hexdigest(),
            "resolver": RESOLVER,
            "uv_version": "0.9.0",
            "resolved_at": _NOW,
            "log": cut(self._code, share, 1_500),
        }
        return work.Answer(
            [row | {n: [] for n in ("dropped", "system_packages", "exempt", "notes")}]
        )

    def _container(self, candidate: Candidate) -> work.Answer:
        """Verified, with an attempt or two, or three attempts in vain."""
        share = int(candidate.sha[:8], 16) / 2**32
        failed = share < _FAILED
        context = stock.context(candidate.owner, candidate.repo, self._settings.scripts)
        scripts = [{"name": n, "content": text} for n, text in sorted(context.scripts.items())]
        passed = [{"check": c, "outcome": "passed", "evidence": "as it should"} for c in _CHECKS]
        timings = [{"check": c, "seconds": 20.0 + share} for c in _CHECKS]
        names = [f"benchmarks.Suite.time_{n}" for n in range(12)]
        tried = {
            "owner": candidate.owner,
            "repo": candidate.repo,
            "issue_number": candidate.issue_number,
            "origin": "stock",
            "step": "stock",
            "sandbox": "docker",
            "scripts": scripts,
            "seconds": 90.0 + share,
            "timings": timings,
        }
        logs = [
            tried
            | {
                "attempt": n + 1,
                "failure_stage": "build" if failed else None,
                "timed_out": False,
                "cause": "error: no compiler" if failed else None,
                "log": cut(self._code, (share + n / 7) % 1, _LOG),
            }
            for n in range(3 if failed else 1)
        ]
        row = tried | {
            "merged_at": candidate.merged_at,
            "sha": candidate.sha,
            "base_sha": candidate.base_sha,
            "python_version": candidate.python_version,
            "image": f"formulacode/{candidate.repo}:{candidate.sha[:12]}",
            "image_bytes": 90_000_000,
            "checks": passed,
            "benchmarks": [{"benchmark": n, "seconds": share} for n in names],
            "verdict": "faster",
            "benchmarks_run": len(names),
            "improved": 1,
            "regressed": 0,
            "rounds": 6,
            "speedup": 1 + share,
            "machine": "a processor",
            "speedups": [
                {"benchmark": n, "base_s": 1 + share, "patched_s": 1.0, "ratio": 1 + share}
                for n in names
            ],
        }
        return work.Answer([] if failed else [row], {ERROR_LOGS.name: logs})


if __name__ == "__main__":
    main()

"""A repository whose environment drifts, for the cascade: who works with whose scripts is a rule.

Everything is real but the containers: a pull request of an era works with scripts of that era and
no others; the stock scripts are those of era 0. Only an agent writes new ones.
"""

import dataclasses
import datetime
import random
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from fc_assets import instance, materialize, months, work
from fc_assets.candidate_containers import items
from fc_assets.candidate_containers.cascade import recipe
from fc_assets.candidate_containers.contexts import Contexts
from fc_assets.candidate_containers.search import Earlier
from fc_assets.candidate_containers.stock import SCRIPTS, Candidate
from fc_assets.options import Options
from fc_assets.tables import CANDIDATE_CONTAINERS, CANDIDATE_PRS, ERROR_LOGS, PACKAGES
from fc_resources import settings
from fc_resources.ledger import Ledger
from fc_resources.warehouse import Rows, Warehouse
from fc_resources.warehouse_io import WarehouseIOManager


@dataclasses.dataclass(frozen=True)
class Pull:
    """A candidate: its number is in its key, its era says whose scripts work."""

    number: int
    merged_at: datetime.datetime
    era: int = 0
    repo: str = "village"

    @property
    def key(self) -> str:
        return f"o/{self.repo}#{self.number}"

    @property
    def month(self) -> datetime.date:
        return months.month_of(self.merged_at)

    @property
    def name(self) -> dict[str, Any]:
        return {"owner": "o", "repo": self.repo, "issue_number": self.number}


def day(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(f"{text}T12:00:00+00:00")


class Village:
    """A home with candidates and environments, and a stage 6 that needs no Docker."""

    def __init__(self, pulls: Sequence[Pull], agent: float = 0.0) -> None:
        self.settings = settings.current()
        self.ledger = Ledger(self.settings.ledger)
        self.warehouse = Warehouse.of(self.settings)
        self.runner = work.Work(self.ledger, self.warehouse, 1.0)
        self.pulls = {pull.key: pull for pull in pulls}
        #: How often an agent succeeds, and how often it was asked.
        self.agent, self.asked, self.luck = agent, 0, random.Random(1)
        #: For whom an agent can succeed at all; None stands for everybody.
        self.able: Collection[str] | None = None
        #: Attempts, in order: key and era of the scripts, of the agent -1.
        self.tried: list[tuple[str, int]] = []
        #: What stands in the way of an item, once each time.
        self.trouble: dict[str, list[Exception]] = {}
        #: Whether nobody has the scripts of others.
        self.alone = False
        #: What else happens while an item is tried.
        self.meanwhile: Callable[[], object] = lambda: None
        self._mutex = threading.Lock()
        instance.prepare(self.settings)
        for month in sorted({pull.month for pull in pulls}):
            self.write(month)

    def write(self, month: datetime.date) -> None:
        """Write what stage 6 reads of a month."""
        for table in (CANDIDATE_PRS, PACKAGES):
            rows = []
            for pull in self.pulls.values():
                if pull.month != month:
                    continue
                row: dict[str, Any] = {
                    c.name: _anything(c.type) if c.required else None for c in table.columns
                }
                sha = f"{pull.number:040x}"
                row |= {
                    **pull.name,
                    "merged_at": pull.merged_at,
                    "merge_commit_sha": sha,
                    "sha": sha,
                    "base_sha": f"{pull.number:039x}b",
                    "python_version": "3.12",
                    "project_name": "village",
                    "project_root": ".",
                    "pins": [f"era=={pull.era}"],
                }
                rows.append({c.name: row[c.name] for c in table.columns})
            found = [work.Item(work.key_of(row), row, work.digest(row)) for row in rows]
            outcome = self.runner.run(table, [(month, found)], lambda row: work.Answer([row]))
            self.warehouse.replace(table.name, outcome.rows[table.name])

    def synthesize(self, candidate: Candidate, known: Contexts, earlier: Earlier | None) -> Any:
        """What the synthesizer does, with eras for containers."""
        self.meanwhile()
        trouble = self.trouble.get(candidate.key)
        if trouble:
            raise trouble.pop(0)
        attempts: list[dict[str, Any]] = [dict(a) for a in earlier.attempts] if earlier else []
        left = earlier.left if earlier else "all"
        similar = () if self.alone else known.similar(candidate)
        offered = [working.context.rows() for working in similar]
        for rows in [*offered, *([era_scripts(0)] if left == "all" else [])]:
            if recipe({"scripts": rows}) in {recipe(attempt) for attempt in attempts}:
                continue
            attempts.append(attempt(candidate, len(attempts) + 1, rows))
            with self._mutex:
                self.tried.append((candidate.key, era_of(rows)))
            if era_of(rows) == self.pulls[candidate.key].era:
                return self._won(candidate, known, attempts, rows)
            attempts[-1]["failure_stage"] = "build"
        if self.agent and left != "nothing":
            with self._mutex:
                self.asked += 1
                able = self.able is None or candidate.key in self.able
                lucky = able and self.luck.random() < self.agent
                self.tried.append((candidate.key, -1))
            rows = era_scripts(self.pulls[candidate.key].era)
            attempts.append(attempt(candidate, len(attempts) + 1, rows) | {"step": "agent"})
            if lucky:
                return self._won(candidate, known, attempts, rows)
            attempts[-1] |= {"failure_stage": "build", "scripts": era_scripts(-1)}
        return work.Answer([], {ERROR_LOGS.name: attempts})

    def _won(self, candidate: Candidate, known: Contexts, attempts: Any, rows: Any) -> work.Answer:
        row = container(candidate, rows)
        known.add(row)
        return work.Answer([row], {ERROR_LOGS.name: attempts})

    def months(self, table: str) -> dict[datetime.date, int]:
        return self.warehouse.tables().get(table, {})

    def verified(self) -> set[str]:
        """Keys of all pull requests with a container, in the warehouse."""
        written = sorted(self.months(CANDIDATE_CONTAINERS.name))
        batches = self.warehouse.read(CANDIDATE_CONTAINERS.name, written) if written else ()
        return {work.key_of(row) for batch in batches for row in batch.to_pylist()}

    def definitions(self) -> dg.Definitions:
        """Stage 6 for Dagster, with the assets' own names, and the real sensors' resources."""
        outs = {
            table.name: dg.AssetOut(metadata=materialize.metadata(table))
            for table in (CANDIDATE_CONTAINERS, ERROR_LOGS)
        }

        @dg.multi_asset(outs=outs, partitions_def=materialize.MONTHS)
        def containers(
            context: dg.AssetExecutionContext, options: dg.ResourceParam[Options]
        ) -> tuple[Rows, Rows]:
            return self.compute(context, options)

        resources = {
            "options": materialize.launch_options(),
            "ledger": self.ledger,
            "settings": self.settings,
            "io_manager": WarehouseIOManager(self.warehouse, self.runner.before_load),
        }
        return dg.Definitions(
            assets=[containers], resources=resources, executor=dg.in_process_executor
        )

    def compute(self, context: dg.AssetExecutionContext, options: Options) -> tuple[Rows, Rows]:
        """As `fc_assets.candidate_containers.asset` does it."""
        queues, do = self._work(materialize.wanted(context), options)
        table, also, given = CANDIDATE_CONTAINERS, [ERROR_LOGS], {"settings": self.settings}
        more = {"concurrency": 2, **given}
        out = materialize.run(context, self.runner, options, table, queues, do, also=also, **more)
        return out.rows[table.name], out.rows[ERROR_LOGS.name]

    def run_elsewhere(self, month: datetime.date, tasks_per_repo: int | None = 0) -> None:
        """A run of another process: Dagster has no two in one, its logging deadlocks."""
        queues, do = self._work([month], Options(tasks_per_repo=tasks_per_repo))
        table, also = CANDIDATE_CONTAINERS, [ERROR_LOGS]
        given = {"tasks_per_repo": str(tasks_per_repo)}
        outcome = self.runner.run(table, queues, do, also=also, given=lambda month: given)
        for written in (table, *also):
            self.warehouse.replace(written.name, outcome.rows[written.name])

    def _work(self, wanted: Sequence[datetime.date], options: Options) -> Any:
        prs = [(month, self._rows(CANDIDATE_PRS.name, month)) for month in wanted]
        packages = [(month, self._rows(PACKAGES.name, month)) for month in wanted]
        found = list(items.items(prs, packages, self.settings))
        earlier: dict[str, Earlier] = {}
        queues = list(items.cascades(self.runner, found, options, self.settings, earlier))
        near = [month for m in wanted for month in items.near(m, self.settings)]
        candidates = [item.value for _, part in found for item in part]
        known = items.working(self.runner, candidates, near)
        return queues, lambda c: self.synthesize(c, known, earlier.get(c.key))

    def _rows(self, table: str, month: datetime.date) -> list[dict[str, Any]]:
        return [row for b in self.warehouse.read(table, [month]) for row in b.to_pylist()]

    def run(
        self,
        dagster: dg.DagsterInstance,
        month: datetime.date,
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        **options: Any,
    ) -> bool:
        """One run of a month, as the daemon or a person would launch it."""
        config = config or {"resources": {"options": {"config": options}}}
        job = self.definitions().resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            run_config={**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=dagster,
            partition_key=months.key(month),
            tags=dict(tags or {}),
            raise_on_error=False,
        ).success


def _anything(kind: pa.DataType) -> Any:
    """A value for a column that this is not about."""
    if pa.types.is_timestamp(kind):
        return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    if pa.types.is_list(kind):
        return []
    return "" if pa.types.is_string(kind) else pa.scalar(0).cast(kind).as_py()


def era_scripts(era: int) -> list[dict[str, str]]:
    return [{"name": name, "content": f"era {era}"} for name in SCRIPTS]


def era_of(scripts: Iterable[Mapping[str, str]]) -> int:
    return int(next(iter(scripts))["content"].removeprefix("era "))


def attempt(candidate: Candidate, number: int, scripts: list[dict[str, str]]) -> dict[str, Any]:
    name = {k: getattr(candidate, k) for k in ("owner", "repo", "issue_number")}
    return {
        **name,
        "attempt": number,
        "step": "similar" if number > 1 else "stock",
        "origin": "claude" if era_of(scripts) else "stock",
        "sandbox": "docker",
        "timed_out": False,
        "log": "",
        "scripts": scripts,
        "seconds": 0.0,
    }


def container(candidate: Candidate, scripts: list[dict[str, str]]) -> dict[str, Any]:
    copied = ("owner", "repo", "issue_number", "merged_at", "sha", "base_sha", "python_version")
    return {
        **{name: getattr(candidate, name) for name in copied},
        "scripts": scripts,
        "origin": "claude" if era_of(scripts) else "stock",
        "sandbox": "docker",
        "checks": [],
        "benchmarks": [],
        "seconds": 0.0,
    }


def history(count: int, first: str, every_days: float, eras: Sequence[int]) -> list[Pull]:
    """So many pull requests, evenly spread, whose eras are taken in turn from `eras`."""
    start = day(first)
    step = datetime.timedelta(days=every_days)
    return [Pull(n + 1, start + n * step, eras[n * len(eras) // count]) for n in range(count)]

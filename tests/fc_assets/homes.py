"""A home as its ledger and its lock files tell of it: one month, of which all is written."""

import dataclasses
import datetime
from pathlib import Path
from typing import Any

from fc_assets import fingerprint, plan
from fc_assets.fingerprint import Fingerprint
from fc_assets.lock_files import Code, Lock, LockFiles
from fc_assets.options import Options
from fc_assets.tables import STAGES, TABLES
from fc_assets.why import Situation, Verdict
from fc_resources.ledger import Progress
from fc_resources.settings import Settings

JANUARY = datetime.date(2026, 1, 1)
_COUNTS = dict.fromkeys(("total", "done", "skipped", "failed", "unknown"), 0)


class WrittenHome:
    """A home in which every month of January is written, by code of today unless it says so."""

    def __init__(self, path: Path, **settings: Any) -> None:
        path.mkdir()
        self.settings = Settings.model_validate({"fc_home": path, **settings})
        self.settings.warehouse.touch()
        self.options = Options(agent="none")
        self.states: dict[tuple[str, datetime.date], Progress] = {}
        self.waits: dict[str, Any] = {}
        for table in TABLES:
            given = plan.parameters(table.stage, self.options, self.settings)
            inputs = plan.inputs(table.stage, JANUARY, self.states, given)
            self.states[table.name, JANUARY] = Progress(
                "written",
                "run",
                **_COUNTS,
                seconds=0.0,
                inputs={name: value or "" for name, value in inputs.items()},
                version=f"{table.name} 1",
            )
            stage = STAGES[table.stage].name
            self.lock(table.name, Code.of(fingerprint.of(stage)))

    def lock(self, table: str, code: Code, output: str | None = None) -> None:
        lock = Lock(output or f"{table} 1", code, {}, {}, {}, "run", "")
        LockFiles(self.settings.fc_home).write(table, JANUARY, lock)

    def made_by_old_code(self, table: str, output: str | None = None) -> list[str]:
        """As if some functions had been others; their names."""
        now = fingerprint.of(table)
        names = [n for n in now.definitions if n.endswith(f"{table}.asset.{table}")]
        names = names or ["fc_assets.candidate_containers.asset.containers"]
        before = Fingerprint("1-old", {**now.definitions, names[0]: "before"})
        self.lock(table, Code.of(before), output)
        return names

    def change(self, table: str, **changes: Any) -> None:
        state = self.states[table, JANUARY]
        self.states[table, JANUARY] = dataclasses.replace(state, **changes)

    def situation(self, **options: Any) -> Situation:
        chosen = self.options.model_copy(update=options)
        return Situation(self.settings, chosen, self.states, **self.waits)

    def verdict(self, stage: int, **options: Any) -> Verdict:
        return self.situation(**options).verdict(stage, JANUARY)

    def kinds(self, stage: int, **options: Any) -> list[str]:
        return [reason.kind for reason in self.verdict(stage, **options).reasons]

"""Which items of a month would run, and why, as far as that can be known without the network.

Stages 3 to 6 list their items from the warehouse as their assets do. What stages 1 and 2 would find
only GitHub or the offline source knows, and what stage 7 compares only the published dataset: of
these there are the items that failed, and for stage 7 those that are new.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fc_assets import candidate_prs, definitions, months, plan, pr_classifications, why, work
from fc_assets.candidate_containers import items as containers
from fc_assets.candidate_prs import asset as problems
from fc_assets.candidate_prs import candidates, issues
from fc_assets.options import Options
from fc_assets.packages import asset as packages
from fc_assets.pr_classifications import asset as classification
from fc_assets.tables import FORMULACODE, STAGES
from fc_resources.ledger import Ledger, Result
from fc_resources.llm import backend
from fc_resources.settings import Settings
from fc_resources.warehouse import Warehouse

_Listed = Iterator[tuple[datetime.date, Sequence[work.Item[Any]]]]


@dataclasses.dataclass(frozen=True)
class Due:
    """An item that would run: its key, what kind of reason, and what exactly."""

    item: str
    kind: why.Kind
    text: str


class Items:
    """Items of one home, for a run with these options."""

    def __init__(
        self, settings: Settings, options: Options, ledger: Ledger, warehouse: Warehouse
    ) -> None:
        self._settings, self._options = settings, options
        self._ledger, self._warehouse = ledger, warehouse
        model = backend(settings)
        self._model = model and model.name

    def due(self, verdict: why.Verdict) -> list[Due]:
        """Items of a month that would run, by key; none if the month does not."""
        if not verdict.runs:
            return []
        name = STAGES[verdict.stage].name
        known = self._ledger.results(name, verdict.month)
        tried = {f.item: f for f in self._ledger.failures(name) if f.month == verdict.month}
        found = {
            key: Due(key, "failed before", f"{f.error} ({f.kind}, attempt {f.attempts})")
            for key, f in tried.items()
            if f.kind != "gone"
        }
        again = next((r for r in verdict.reasons if r.kind in ("changed code", "forced")), None)
        for item in self._listed(verdict):
            if item.key not in found and (reason := _reason(item, known.get(item.key), again)):
                found[item.key] = Due(item.key, reason.kind, reason.text)
        return [found[key] for key in sorted(found)]

    def _listed(self, verdict: why.Verdict) -> Iterable[work.Item[Any]]:
        stage, month = verdict.stage, verdict.month
        upstream = plan.READS[stage]
        if any(month not in self._warehouse.tables().get(table.name, {}) for table in upstream):
            return ()
        listed = {
            3: self._verdicts,
            4: self._commits,
            5: self._problems,
            6: self._containers,
            7: self._records,
        }
        found = listed[stage](month) if stage in listed else iter(())
        return [item for _, part in found for item in part]

    def _verdicts(self, month: datetime.date) -> _Listed:
        by = pr_classifications.classifier(self._model)
        return classification.items(self._input(3, "pull_requests", month), by)

    def _commits(self, month: datetime.date) -> _Listed:
        return packages.items(self._input(4, "pr_classifications", month), self._settings)

    def _problems(self, month: datetime.date) -> _Listed:
        runner = work.Work(self._ledger, self._warehouse, self._settings.fc_max_failed_share)
        offline = issues.offline(self._options.offline(self._settings))
        return candidates.items(
            self._input(5, "pr_classifications", month),
            self._input(5, "pull_requests", month),
            # Asked for are only issues of those that are new or changed: these run anyway.
            lambda rows, pulls, stored: [issues.Linked((), ())] * len(rows),
            lambda month: problems.known(runner, month),
            candidate_prs.extractor(self._model),
            problems.origins(offline, self._options, self._settings),
        )

    def _containers(self, month: datetime.date) -> _Listed:
        agent = self._options.coding_agent(self._settings)
        prs, environments = (self._input(6, n, month) for n in ("candidate_prs", "packages"))
        name = agent.name if agent else "none"
        for found, part in containers.items(prs, environments, self._settings, name):
            seeds = containers.seeds(part, self._options.tasks_per_repo)
            yield found, [item for item in part if item.key in seeds]

    def _records(self, month: datetime.date) -> _Listed:
        """What has a record already is compared to the published dataset, which is not asked."""
        known = self._ledger.results(FORMULACODE.name, month)
        for found, rows in self._input(7, "candidate_prs", month):
            keys = map(work.key_of, rows)
            yield found, [work.Item(k, None, known[k].digest if k in known else "") for k in keys]

    def _input(
        self, stage: int, table: str, month: datetime.date
    ) -> Iterator[tuple[datetime.date, list[dict[str, Any]]]]:
        """What a stage's asset loads of a table."""
        columns = definitions.STAGES[stage - 1].node_def.input_dict[table].metadata["columns"]
        return months.split(self._warehouse.read(table, [month], columns), [month])


def _reason(
    item: work.Item[Any], known: Result | None, again: why.Reason | None
) -> why.Reason | None:
    """Why an item would run that has not failed, or None."""
    if known is None:
        return why.Reason("never run", "never run")
    if again is not None:
        return again
    if known.unknown:
        return why.Reason("failed before", known.unknown)
    return (
        None if work.answers(item, known) else why.Reason("new input", "what it rests on changed")
    )

"""Running stages over months in this process, on the instance that the web interface shows.

What is left to do is `why`'s, how items run is `work`'s; here are order, progress and outcome.
"""

import contextlib
import datetime
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg
import rich.console
import rich.progress
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from fc_assets import definitions, interrupts, months, plan
from fc_assets import instance as instances
from fc_assets.candidate_containers import cascade
from fc_assets.options import Options
from fc_assets.report import Report
from fc_assets.tables import CANDIDATE_CONTAINERS, PR_CLASSIFICATIONS, STAGES, TABLES
from fc_assets.why import Situation
from fc_resources import meanwhile
from fc_resources.ledger import Ledger
from fc_resources.ledger_waiting import Neighbor
from fc_resources.llm import Llm
from fc_resources.settings import Settings

_JOB = "__ASSET_JOB"
_POLL_S = 0.5


class Launcher:
    """Stages over months, one after the other, on one Dagster instance."""

    def __init__(self, settings: Settings, options: Options, console: rich.console.Console) -> None:
        self._settings = settings
        self._options = options
        self._console = console
        self._ledger = Ledger(settings.ledger)
        #: Months of which a stage ran after the joint run, so that those behind it have to.
        self._again: set[datetime.date] = set()

    def run(
        self, stages: Sequence[int], wanted: Sequence[datetime.date], *, resume: bool
    ) -> list[Report]:
        """Materialize; with `resume`, only months of which something is left to do."""
        if stages[0] < PR_CLASSIFICATIONS.stage <= stages[-1]:
            # Known before hours of scraping: a key that is refused, a model that is not there.
            llm: Llm = definitions.defs.resources["llm"]  # pyright: ignore[reportOptionalSubscript] -- they have resources
            if llm:
                llm.check()
        reports = [Report(stage, list(wanted)) for stage in stages]
        with dg.DagsterInstance.get() as instance, self._progress() as bars:
            instances.end_dead_runs(instance)
            done = self._together(instance, bars, reports, resume)
            for report in reports[done:]:
                if interrupts.STOP.is_set():
                    break
                with self._bar(bars, report.stage, wanted):
                    self._stage(instance, report, resume)
                    if report.stage == CANDIDATE_CONTAINERS.stage:
                        self._cascade(instance, reports, report)
        return reports

    def _together(
        self,
        instance: dg.DagsterInstance,
        bars: rich.progress.Progress,
        reports: Sequence[Report],
        resume: bool,
    ) -> int:
        """Run the cheap stages at the beginning in one run, if all their months have to.

        How many stages that were; none when the run failed, so that each is then run by itself
        for what is left of it, and says what it can do.
        """
        cheap = [report for report in reports if plan.is_cheap(report.stage)]
        states = self._ledger.progress()
        stages = [report.stage for report in cheap]
        asked = cheap[0].asked if cheap else []
        situation = Situation.of(self._settings, self._options, self._ledger)
        for stage, month in itertools.product(stages, asked):
            lacking = plan.missing(stage, month, states)
            if lacking is not None and lacking.stage not in stages:
                return 0
            if resume and not situation.verdict(stage, month).reasons:
                return 0
        if len(cheap) < 2:
            return 0
        with contextlib.ExitStack() as stack:
            for report in cheap:
                stack.enter_context(self._bar(bars, report.stage, report.asked))
            problem = self._launch(instance, stages, asked)
        now, stopped = self._ledger.progress(), interrupts.STOP.is_set()
        for report, month in itertools.product(cheap, asked):
            key = STAGES[report.stage].name, month
            begun = key in now and (key not in states or now[key].run_id != states[key].run_id)
            if problem is None or (begun and (stopped or now[key].state == "written")):
                report.ran.append(month)
        if problem is not None and stopped:
            cheap[0].problems.append(problem)
        return len(cheap) if problem is None or stopped else 0

    def _stage(self, instance: dg.DagsterInstance, report: Report, resume: bool) -> None:
        stage, states = report.stage, self._ledger.progress()
        situation = Situation.of(self._settings, self._options, self._ledger)
        ready = []
        for month in report.asked:
            lacking = plan.missing(stage, month, states)
            if lacking is not None:
                report.problems.append(
                    f"{STAGES[stage].name} {months.label(month)}: {lacking.name} was not written "
                    f"for it; run stage {lacking.stage} first"
                )
            elif month in report.ran and month not in self._again:
                continue
            elif not resume or situation.verdict(stage, month).reasons:
                ready.append(month)
        for group in _groups(ready, lambda month: plan.is_light(stage, month, states)):
            problem = self._launch(instance, [stage], group)
            if problem is not None and len(group) > 1 and not interrupts.STOP.is_set():
                # One bad month must not keep the others from being written; what was computed
                # is in the ledger, so running them one by one repeats only what failed.
                found = [self._launch(instance, [stage], [month]) for month in group]
                report.problems += [problem for problem in found if problem is not None]
            elif problem is not None:
                report.problems.append(problem)
            report.ran += [month for month in group if month not in report.ran]
            self._again |= set(group)
            if interrupts.STOP.is_set():
                return

    def _cascade(
        self, instance: dg.DagsterInstance, reports: Sequence[Report], report: Report
    ) -> None:
        """Try whoever waits for the scripts of a neighbour, in whatever month, until nobody does.

        A daemon's sensor does that by itself. Months published before are published again.
        """
        if instances.has_daemon(instance):
            return
        tried: dict[datetime.date, list[Neighbor]] = {}
        while not interrupts.STOP.is_set():
            waiting = cascade.waiting(self._ledger)
            due = [month for month, found in waiting.items() if tried.get(month) != found]
            if not due:
                break
            month, found = due[0], waiting[due[0]]
            tried[month], why = found, cascade.cause(found)
            self._console.print(
                f"{months.label(month)}: {len(found)} {why}", markup=False, highlight=False
            )
            before = cascade.options_of(self._ledger.progress(), month)
            if self._options.agent == "none":
                before["agent"] = "none"
            options = self._options.model_copy(update={**before, "force": False})
            problem = self._launch(instance, [report.stage], [month], options, why)
            report.problems += [problem] if problem else []
            self._again.add(month)
        states = self._ledger.progress()
        for later in reports:
            if later.stage > report.stage:
                name, more = STAGES[later.stage].name, set(tried) - set(later.asked)
                later.asked += sorted(month for month in more if (name, month) in states)

    def _launch(
        self,
        instance: dg.DagsterInstance,
        stages: Sequence[int],
        group: Sequence[datetime.date],
        options: Options | None = None,
        cause: str | None = None,
    ) -> str | None:
        """One Dagster run; why it failed, or None."""
        first, last = months.key(group[0]), months.key(group[-1])
        part = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
        with instances.own_run(self._settings) as (run_id, tags):
            result = definitions.defs.resolve_job_def(_JOB).execute_in_process(
                run_config={
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                    "resources": {"options": {"config": _given(options or self._options)}},
                },
                instance=instance,
                run_id=run_id,
                partition_key=first if first == last else None,
                tags={
                    **tags,
                    **({} if first == last else part),
                    **({instances.CAUSE: cause} if cause else {}),
                },
                asset_selection=[dg.AssetKey(t.name) for t in TABLES if t.stage in stages],
                raise_on_error=False,
            )
        return None if result.success else _problem(result)

    @contextlib.contextmanager
    def _progress(self) -> Iterator[rich.progress.Progress]:
        bars = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            console=self._console,
        )
        handler = _ThroughConsole(bars.console)
        logging.getLogger("fc_assets").addHandler(handler)
        logging.getLogger("fc_resources").addHandler(handler)
        try:
            with bars:
                yield bars
        finally:
            logging.getLogger("fc_assets").removeHandler(handler)
            logging.getLogger("fc_resources").removeHandler(handler)

    @contextlib.contextmanager
    def _bar(
        self, bars: rich.progress.Progress, stage: int, wanted: Sequence[datetime.date]
    ) -> Iterator[None]:
        """A bar fed from the ledger's live counters, as any other process would see them."""
        name = STAGES[stage].name
        task = bars.add_task(f"{stage} {name}", total=None)

        def update() -> None:
            states = self._ledger.progress()
            found = [s for m in wanted if (s := states.get((name, m))) is not None]
            ended = sum(s.done + s.skipped + s.failed for s in found)
            bars.update(task, total=sum(s.total for s in found), completed=ended)

        try:
            with meanwhile.every(_POLL_S, update):
                yield
        finally:
            update()


class _ThroughConsole(logging.Handler):
    """Log lines above the progress bars, one line each."""

    def __init__(self, console: rich.console.Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)


def _groups(
    ready: Sequence[datetime.date], light: Callable[[datetime.date], bool]
) -> Iterator[list[datetime.date]]:
    """Runs of consecutive light months; a month that is not light has a run of its own."""
    group: list[datetime.date] = []
    for month in ready:
        joins = bool(group) and light(group[-1]) and light(month)
        if group and not (joins and months.following(group[-1]) == month):
            yield group
            group = []
        group.append(month)
    if group:
        yield group


def _given(options: Options) -> dict[str, Any]:
    return {name: value for name, value in options.model_dump().items() if value is not None}


def _problem(result: dg.ExecuteInProcessResult) -> str:
    """The innermost message of the first failed step, or which checks failed."""
    failed = [e for e in result.all_events if e.is_step_failure]
    error = failed[0].step_failure_data.error if failed else None
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "the run failed without an error; see the web interface"
    name, _, message = error.message.partition(": ")
    return " ".join((message if name.endswith("Error") and message else error.message).split())

"""Whether a month of a stage would run, and why: the one answer of `--resume`, `--dry-run`,
`fc-data explain`, and of runs, which compute a month anew when its code has changed.

It looks at the ledger and at lock files; the warehouse and the network are not asked.
"""

import ast
import collections
import dataclasses
import datetime
import itertools
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from fc_assets import fingerprint, plan
from fc_assets.lock_files import LockFiles
from fc_assets.options import Options
from fc_assets.tables import CANDIDATE_CONTAINERS, STAGES, TABLES, Table
from fc_resources.errors import UsageError
from fc_resources.ledger import Ledger, Progress
from fc_resources.ledger_waiting import Neighbor, PutOff
from fc_resources.settings import Settings

Kind = Literal[
    "never run",  # the month has not been asked for
    "unfinished",  # its run ended before it was written, or a check refused it
    "failed before",  # items have no answer, or not a whole one
    "new input",  # a table it is made from changed
    "changed parameter",
    "changed code",
    "forced",
    "upstream runs",  # a table it is made from may change
    "neighbor",  # the scripts of another pull request are to be tried
    "paused",  # items wait for the end of a limit
]
Key = tuple[str, datetime.date]
_SHOWN = 3
_VALUE, _CONTEXT = 60, 8
#: The end of the year 9999, the last that there are dates of.
_LATEST_S = 253_402_300_799.0


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why a month would run: what kind of reason, and what exactly in a few words."""

    kind: Kind
    text: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What would happen to a month of a stage.

    It runs if there are `reasons`, nothing is `missing`, which is a table to be made first, and it
    is not `refused`. `changed` names definitions that are not what they were when it was made.
    """

    stage: int
    month: datetime.date
    reasons: tuple[Reason, ...] = ()
    changed: tuple[str, ...] = ()
    missing: Table | None = None
    refused: str | None = None

    @property
    def runs(self) -> bool:
        return bool(self.reasons) and self.missing is None and self.refused is None

    @property
    def outdated(self) -> bool:
        """Whether code changed and that is no reason to run, for the month is costly."""
        return bool(self.changed) and not any(r.kind == "changed code" for r in self.reasons)

    def __str__(self) -> str:
        """For a person: why it runs, or why it does not."""
        texts = [reason.text for reason in self.reasons] or ["nothing"]
        if self.missing:
            texts.append(f"needs {self.missing.name}, run stage {self.missing.stage} first")
        if self.refused:
            texts.append(self.refused)
        if self.outdated:
            texts.append(f"outdated: {few(self.changed)}")
        return "; ".join(texts)


class Situation:
    """What is known of a home at a moment, and what a run is asked to do with it."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        states: plan.States,
        put_off: Iterable[PutOff] = (),
        neighbors: Iterable[Neighbor] = (),
    ) -> None:
        self._settings, self._options, self._states = settings, options, states
        self._put_off = {(p.table, p.month): p for p in put_off if p.until > time.time()}
        self._neighbors = collections.Counter(neighbor.month for neighbor in neighbors)
        self._locks = LockFiles(settings.fc_home)
        self._lost = not settings.has_warehouse
        self._parameters: dict[int, Mapping[str, str]] = {}

    @classmethod
    def of(cls, settings: Settings, options: Options, ledger: Ledger | None) -> "Situation":
        """As it is now; without a ledger nothing has run."""
        if ledger is None:
            return cls(settings, options, {})
        waiting = ledger.months_put_off(), ledger.neighbors()
        return cls(settings, options, ledger.progress(), *waiting)

    def parameters(self, stage: int) -> Mapping[str, str]:
        """What a stage would be given."""
        if stage not in self._parameters:
            self._parameters[stage] = plan.parameters(stage, self._options, self._settings)
        return self._parameters[stage]

    def verdict(
        self, stage: int, month: datetime.date, coming: Collection[Key] = frozenset()
    ) -> Verdict:
        """About a month of a stage, before which months of tables that are `coming` are made."""
        key = (STAGES[stage].name, month)
        state, changed = self._states.get(key), self.changed_code(stage, month)
        reasons = [*self._unfinished(stage, month)]
        if state is not None and state.state == "written":
            reasons += self._differs(stage, month, state)
        if changed and recomputes(stage, self.parameters(stage)):
            reasons.append(Reason("changed code", f"changed code: {few(changed)}"))
        if not reasons and self._options.force:
            reasons.append(Reason("forced", "forced"))
        if key in self._put_off:
            reasons.append(_paused(self._put_off[key]))
        before = [t.name for t in plan.READS[stage] if (t.name, month) in coming]
        if not reasons and before:
            reasons.append(Reason("upstream runs", f"after {', '.join(before)}"))
        found = Verdict(stage, month, tuple(reasons), tuple(changed))
        if not reasons:
            return found
        lacking = plan.missing(stage, month, self._states, coming)
        return dataclasses.replace(found, missing=lacking, refused=self._refused(stage, month))

    def verdicts(self, stages: Sequence[int], wanted: Sequence[datetime.date]) -> list[Verdict]:
        """About months of stages that run one after the other, by stage and month."""
        found: list[Verdict] = []
        coming: set[Key] = set()
        for stage, month in itertools.product(stages, wanted):
            verdict = self.verdict(stage, month, coming)
            if stage == CANDIDATE_CONTAINERS.stage and (count := self._neighbors[month]):
                # A run of other months tries them, too.
                reason = Reason("neighbor", f"{count} to try with the scripts of a neighbor")
                verdict = dataclasses.replace(verdict, reasons=(*verdict.reasons, reason))
            if verdict.runs:
                coming |= {(table.name, month) for table in TABLES if table.stage == stage}
            found.append(verdict)
        return found

    def known(self) -> list[tuple[int, datetime.date]]:
        """Stages and months that ran and are not running."""
        found = [
            (stage, month)
            for stage, table in sorted(STAGES.items())
            for (name, month), state in self._states.items()
            if name == table.name and state.state != "running"
        ]
        return sorted(found)

    def done(self, stage: int, month: datetime.date) -> str:
        """How many items of a month have an answer, such as `3 of 4`."""
        state = self._states.get((STAGES[stage].name, month))
        return f"{state.done + state.skipped} of {state.total}" if state else "-"

    def nothing_left(self, stages: Sequence[int], wanted: Sequence[datetime.date]) -> bool:
        """Whether every month of every stage is done."""
        return not any(self.verdict(*each).reasons for each in itertools.product(stages, wanted))

    def anew(self, stage: int, wanted: Iterable[datetime.date]) -> set[datetime.date]:
        """Months of which a run computes finished items again: it is forced to, or code changed."""
        return {
            month
            for month in wanted
            if self._options.force
            or any(reason.kind == "changed code" for reason in self.verdict(stage, month).reasons)
        }

    def changed_code(self, stage: int, month: datetime.date) -> list[str]:
        """Definitions that changed since a month was made; none if its code is not known."""
        name = STAGES[stage].name
        state = self._states.get((name, month))
        if state is None:
            return []
        now = fingerprint.of(name)
        # What nearly all months are, and 252 of them take a third of a second to parse.
        if state.version and self._locks.begins(name, month, state.version, now.version):
            return []
        lock = self._locks.read(name, month)
        if lock is None or not lock.code.version or not lock.tells_of(state):
            return []
        return now.changes(lock.code.version, lock.code.definitions)

    def _refused(self, stage: int, month: datetime.date) -> str | None:
        try:
            plan.check_origins(stage, month, self._states, self.parameters(stage))
        except UsageError as error:
            return str(error)
        return None

    def _unfinished(self, stage: int, month: datetime.date) -> Iterator[Reason]:
        state = self._states.get((STAGES[stage].name, month))
        if state is None:
            yield Reason("never run", "never run")
        elif state.state != "written":
            left = state.total - state.done - state.skipped
            yield Reason("unfinished", f"{state.state}, {left} of {state.total} items left")
        else:
            tables = [table.name for table in TABLES if table.stage == stage]
            states = [self._states.get((name, month)) for name in tables]
            unwritten = [
                name
                for name, other in zip(tables, states, strict=True)
                if other is None or other.state != "written"
            ]
            if unwritten or self._lost:
                names = ", ".join(tables if self._lost else unwritten)
                yield Reason("unfinished", f"{names} not written")
            if failed := state.failed + state.unknown:
                yield Reason("failed before", f"{failed} items to try again")

    def _differs(self, stage: int, month: datetime.date, state: Progress) -> Iterator[Reason]:
        wanted = plan.inputs(stage, month, self._states, self.parameters(stage))
        names = sorted(wanted.keys() | state.inputs.keys())
        changed = [name for name in names if state.inputs.get(name) != wanted.get(name)]
        tables = {table.name for table in TABLES}
        if inputs := [name for name in changed if name in tables]:
            yield Reason("new input", f"new input: {', '.join(inputs)}")
        values = [
            f"{name} {_difference(state.inputs.get(name), wanted.get(name))}"
            for name in changed
            if name not in tables
        ]
        if values:
            yield Reason("changed parameter", f"changed: {', '.join(values)}")


def recomputes(stage: int, given: Mapping[str, str]) -> bool:
    """Whether a month is computed anew by itself when its code changed.

    It is where that costs this machine some minutes; nothing is asked of a model, an agent or
    GitHub again, and nothing is built or published, unless a person forces it.
    """
    asks = given.get("github") or any(
        not given.get(name, plan.RULES).startswith(plan.RULES)
        for name in ("classifier", "extractor")
    )
    return plan.is_cheap(stage) and not asks


def few(names: Sequence[str]) -> str:
    """The first names of a list that may be long, and how many there are more."""
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _paused(found: PutOff) -> Reason:
    until = datetime.datetime.fromtimestamp(min(found.until, _LATEST_S), datetime.UTC)
    return Reason("paused", f"waits until {until:%Y-%m-%d %H:%M} UTC: {found.reason}")


def _difference(before: str | None, now: str | None) -> str:
    """`before → now`; of settings that are kept together only those that differ."""
    try:
        old, new = ast.literal_eval(before or ""), ast.literal_eval(now or "")
    except (ValueError, SyntaxError):
        old = new = None
    if isinstance(old, dict) and isinstance(new, dict):
        names = [name for name in old | new if old.get(name) != new.get(name)]
        before, now = (str({n: part[n] for n in names if n in part}) for part in (old, new))
    old, new = before or "none", now or "none"
    if max(len(old), len(new)) <= _VALUE:
        return f"{old} → {new}"
    # What long values begin with alike is not what changed.
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))
    start = len([*same])
    return f"{_shortened(old, start)} → {_shortened(new, start)}"


def _shortened(text: str, start: int) -> str:
    shown = text if start <= _CONTEXT else f"…{text[start - _CONTEXT :]}"
    return shown if len(shown) <= _VALUE else f"{shown[: _VALUE - 1]}…"

"""Pins for requirements at a date: which Pythons and cutoffs are tried, in which order.

What is declared and which Pythons may be tried is the caller's; what one resolution means is
told by `fc_resources.uv`. A `Pinning` lives as long as a run and asks uv each question once.
"""

import concurrent.futures
import dataclasses
import datetime
import threading
from collections.abc import Sequence
from typing import Any

from fc_assets.packages.python import Candidate
from fc_resources.uv import Pins, Uv


@dataclasses.dataclass(frozen=True)
class _Environment:
    """What uv said about one question: pins, and whether they install."""

    found: Pins
    installs: bool = False
    log: str = ""
    passed_over: tuple[str, ...] = ()


#: Repository, requirements, Python, cutoff, exempt from it.
_Question = tuple[str, tuple[str, ...], str, str | None, tuple[str, ...]]
#: What measures is not what is measured. asv had no wheels before 2023, nor had what it needs
#: before 2021: without an exception for them, no commit of that time would have its own cutoff.
HARNESS = ("asv", "asv-runner", "pympler", "pyyaml")


class Pinning:
    """Environments from uv; the same question of one repository is answered once, in any thread."""

    def __init__(self, uv: Uv) -> None:
        self._uv = uv
        self._mutex = threading.Lock()
        self._known: dict[_Question, concurrent.futures.Future[_Environment]] = {}
        #: How many questions uv was asked, and how many were answered by an earlier one.
        self.asked, self.shared = 0, 0

    def environment(
        self,
        repository: str,
        requirements: Sequence[str],
        pythons: Sequence[Candidate],
        moment: datetime.datetime,
    ) -> dict[str, Any]:
        """Columns of a row: pins, or why there are none. `moment` is the commit's, in UTC.

        Each Python is tried with the beginning of the commit's day as cutoff, which commits of a
        day share, then with its second, by which releases of that day are there. A cutoff later
        than the commit is never used. Only after every Python failed with one, the harness is
        exempt from it, and only after that too failed with every Python, there is none at all.
        """
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        tried = [(p, cutoff, ()) for p in pythons for cutoff in dict.fromkeys((day, moment))]
        tried += [(p, day, HARNESS) for p in pythons]
        tried += [(p, None, ()) for p in pythons]
        attempts, logs, first = [], [], None
        for python, cutoff, exempt in tried:
            limit = cutoff and cutoff.strftime("%Y-%m-%dT%H:%M:%SZ")
            answer = self._ask((repository, tuple(requirements), python.version, limit, exempt))
            what = f"python {python.version}, {f'releases up to {limit}' if limit else 'no cutoff'}"
            what += " but for the harness" if exempt else ""
            logs += [f"{what}:", answer.found.log, *([answer.log] if answer.log else [])]
            outcome = "installs" if answer.installs else _why(answer)
            attempts.append(f"{what}: {outcome}")
            first = first or (python, cutoff, answer)
            if answer.installs:
                return {
                    **_columns(python, cutoff, answer),
                    "exempt": list(exempt),
                    "unsatisfiable": None if cutoff and not exempt else "cutoff",
                    "attempts": attempts,
                    "log": "\n".join(logs),
                }
        if first is None:
            raise ValueError("no Python to try")
        return {
            **_columns(*first),
            "unsatisfiable": "always" if first[2].found.pins is None else None,
            "attempts": attempts,
            "log": "\n".join(logs),
        }

    def _ask(self, question: _Question) -> _Environment:
        with self._mutex:
            answer = self._known.get(question)
            own = answer is None
            if answer is None:
                answer = self._known[question] = concurrent.futures.Future()
            self.asked += own
            self.shared += not own
        if own:
            try:
                answer.set_result(self._resolve(question))
            except BaseException as error:
                # Whoever waits fails with it; whoever comes later tries again.
                with self._mutex:
                    del self._known[question]
                answer.set_exception(error)
        return answer.result()

    def _resolve(self, question: _Question) -> _Environment:
        _, requirements, python, cutoff, exempt = question
        found = self._uv.pin(requirements, python, cutoff, exempt)
        if found.pins is None:
            return _Environment(found)
        installs, log = self._uv.can_install(found.pins, python)
        passed_over = self._uv.without_wheel(requirements, found.pins, python, cutoff, exempt)
        return _Environment(found, installs, log, tuple(passed_over))


def _why(answer: _Environment) -> str:
    if answer.found.pins is None:
        return answer.found.reason
    return " ".join(answer.log.split())[-500:]


def _columns(
    python: Candidate, cutoff: datetime.datetime | None, answer: _Environment
) -> dict[str, Any]:
    notes = [f"{release} has no wheel that fits" for release in answer.passed_over]
    return {
        "python_version": python.version,
        "interpreter_source": python.source,
        "pins": answer.found.pins,
        "cutoff": cutoff if answer.found.pins is not None else None,
        "can_install": answer.installs,
        "reason": None if answer.installs else _why(answer),
        "notes": [*answer.found.yanked, *notes],
    }

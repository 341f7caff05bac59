"""One candidate, one context: built, checked in a fixed order, and what came of it.

Every check is `passed`, `failed` or `not_run`. Which contexts are tried is for `synthesizer`.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fc_assets import causes
from fc_assets.candidate_containers import checks, hygiene, stock
from fc_assets.candidate_containers.build import (
    Builder,
    BuildFailedError,
    Image,
    NoWheelsError,
)
from fc_assets.candidate_containers.checks import Check
from fc_assets.candidate_containers.speedups import Verdict
from fc_assets.candidate_containers.stock import Candidate, Context
from fc_resources.docker import ImageTooLargeError, OutputTooLargeError
from fc_resources.errors import PermanentError, TransientError, one_line
from fc_resources.git import Mirror, Mirrors
from fc_resources.sandbox import Ended, Limits, Workspace

#: The order in which they are run; each needs the one before.
CHECKS = ("build", "smoke", "profile", "hygiene", "measure")
_BUILD_SCRIPT = "docker_build"


@dataclasses.dataclass(frozen=True)
class Tools:
    """What verification needs from outside."""

    mirrors: Mirrors
    builder: Builder
    scripts: Path
    limits: Limits
    secrets: Sequence[bytes] = ()
    #: For all of the measure check; with None it is not run.
    measuring: Limits | None = None


@dataclasses.dataclass(frozen=True)
class Tried:
    """What came of a context: `stage` is the script or check that failed, None if none did."""

    context: Context
    checks: Sequence[Check]
    seconds: float
    stage: str | None = None
    cause: str | None = None
    ended: Ended | None = None
    times: Mapping[str, float] = dataclasses.field(default_factory=dict)
    image: Image | None = None

    @property
    def passed(self) -> bool:
        return self.stage is None

    @property
    def log(self) -> str:
        return self.ended.log if self.ended else ""

    def outcomes(self, measured: Check | None = None) -> dict[str, Any]:
        """Columns on every check, those that were not reached too; measuring is no attempt's."""
        found = [*self.checks, *([measured] if measured else [])]
        left = CHECKS[len(found) : None if measured else -1]
        every = found + [Check(name, "not_run", "a check before it failed") for name in left]
        return {
            "checks": [
                {"check": c.check, "outcome": c.outcome, "evidence": c.evidence} for c in every
            ],
            "timings": [{"check": c.check, "seconds": c.seconds} for c in found if c.seconds],
        }

    def row(self) -> dict[str, Any]:
        """Columns of `error_logs`."""
        return {
            "failure_stage": self.stage,
            "returncode": self.ended.returncode if self.ended else None,
            "timed_out": self.ended.timed_out if self.ended else False,
            "log": self.log,
            "seconds": self.seconds,
            **self.outcomes(),
        }


class Trial:
    """A candidate with what contexts are tried on: its history and the place to build in."""

    def __init__(self, candidate: Candidate, tools: Tools) -> None:
        self.candidate, self._tools = candidate, tools
        self.mirror: Mirror = tools.mirrors.mirror(candidate.owner, candidate.repo, [candidate.sha])
        files = self.mirror.files(candidate.base_sha)
        self._module = stock.import_names(files, candidate.project_root, candidate.project_name)[0]
        self._year = time.gmtime(self.mirror.commit_time(candidate.base_sha)).tm_year

    def run(self, context: Context) -> Tried:
        """Build and check, without measuring.

        A failure that the outside world caused raises `TransientError`: it says nothing about
        the candidate.
        """
        clock = _Clock()
        try:
            builder, candidate = self._tools.builder, self.candidate
            with builder.build(candidate, context, self.mirror, self._year) as workspace:
                clock.add(Check("build", "passed", "every script ended with exit code 0"))
                ended, times = self._check(workspace, context, clock)
        except BuildFailedError as error:
            clock.add(Check("build", "failed", f"{error.ended.name}: {error.ended.how}"))
            return _failed(context, clock, error.ended.name, error.ended)
        except (OutputTooLargeError, ImageTooLargeError, NoWheelsError) as error:
            stage = CHECKS[len(clock.found)]
            clock.add(Check(stage, "failed", str(error)))
            return _failed(context, clock, stage, None)
        if clock.found[-1].outcome == "failed":
            return _failed(context, clock, clock.found[-1].check, ended)
        image = workspace if isinstance(workspace, Image) else None
        return Tried(context, clock.found, clock.seconds, times=times, image=image)

    def _check(
        self, workspace: Workspace, context: Context, clock: "_Clock"
    ) -> tuple[Ended | None, Mapping[str, float]]:
        """Run checks until one fails; the script that told the outcome of the last, if one did."""
        tools, candidate = self._tools, self.candidate
        check, ended = checks.smoke(workspace, candidate, self._module, tools.limits)
        if not clock.add(check):
            return ended, {}
        check, ended, times = checks.profile(workspace, candidate, context, tools.limits)
        if not clock.add(check):
            return ended, {}
        if not isinstance(workspace, Image):
            why = "there is no image: verified without Docker"
            clock.found.append(Check("hygiene", "not_run", why))
        else:
            subject = workspace.subject(candidate.pins)
            strict = context.origin not in stock.OURS
            check = hygiene.hygiene(subject, candidate, self.mirror, tools.secrets, strict)
            clock.add(check)
        return None, times

    def measure(self, tried: Tried) -> tuple[Check, Verdict | None]:
        """What the solution changes in a container that passed."""
        limits = self._tools.measuring
        if tried.image is None:
            return Check("measure", "not_run", "there is no container to measure in"), None
        if limits is None:
            why = "FC_MEASURE_TIMEOUT_S is 0, or not set for the sample"
            return Check("measure", "not_run", why), None
        try:
            verdict = tried.image.measure(
                self.candidate, tried.context, self.mirror, tried.times, limits
            )
        except (TransientError, PermanentError) as error:  # the container is no worse for it
            verdict = Verdict("unknown", one_line(error))
        outcome = "failed" if verdict.verdict == "unknown" else "passed"
        return Check("measure", outcome, verdict.evidence(), verdict.seconds), verdict


class _Clock:
    """Checks as they end, each with its time since the one before."""

    def __init__(self) -> None:
        self.found: list[Check] = []
        self._started = self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def add(self, check: Check) -> bool:
        """Whether it passed."""
        now = time.monotonic()
        self.found.append(dataclasses.replace(check, seconds=now - self._last))
        self._last = now
        return check.outcome == "passed"


def _failed(context: Context, clock: _Clock, stage: str, ended: Ended | None) -> Tried:
    """What did not pass; an outage is raised instead, it is no answer."""
    cause = clock.found[-1].evidence
    if ended is not None and ended.exceeded is not None:
        cause = ended.how
    elif ended is not None:
        line, outage = causes.cause(ended.log), causes.outage(ended.log)
        if stage.startswith(_BUILD_SCRIPT):
            if outage is not None:
                raise TransientError(f"{stage} met an outage: {outage}")
            cause = line
        else:
            line = f"it needs network, which it does not get: {outage}" if outage else line
            cause = f"{cause}; {line}"
    return Tried(context, clock.found, clock.seconds, stage, cause, ended)

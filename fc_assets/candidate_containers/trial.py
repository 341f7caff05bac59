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
from fc_assets.candidate_containers.build import Builder, BuildFailedError, Image
from fc_assets.candidate_containers.checks import Check
from fc_assets.candidate_containers.speedups import Verdict
from fc_assets.candidate_containers.stock import Candidate, Context
from fc_resources.errors import PermanentError, TransientError
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

    def all_checks(self, last: Check | None = None) -> list[dict[str, str]]:
        """Every check as a row, those that were not reached too."""
        found = [*self.checks, *([last] if last else [])]
        reached = {check.check for check in found}
        left = [Check(n, "not_run", "a check before it failed") for n in CHECKS if n not in reached]
        return [vars(check) for check in (*found, *left)]

    def row(self) -> dict[str, Any]:
        """Columns of `error_logs`."""
        return {
            "failure_stage": self.stage,
            "returncode": self.ended.returncode if self.ended else None,
            "timed_out": self.ended.timed_out if self.ended else False,
            "log": self.log,
            "checks": self.all_checks(),
            "seconds": self.seconds,
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
        started = time.monotonic()
        passed: list[Check] = []
        try:
            builder, candidate = self._tools.builder, self.candidate
            with builder.build(candidate, context, self.mirror, self._year) as workspace:
                passed.append(Check("build", "passed", "every script ended with exit code 0"))
                check, ended, times = self._check(workspace, context, passed)
        except BuildFailedError as error:
            check = Check("build", "failed", f"{error.ended.name}: {error.ended.how}")
            return self._failed(context, [check], error.ended.name, error.ended, started)
        except PermanentError as error:  # as of an image that cannot be saved
            stage = CHECKS[len(passed)]
            check = Check(stage, "failed", str(error))
            return self._failed(context, [*passed, check], stage, None, started)
        passed.append(check)
        if check.outcome == "failed":
            return self._failed(context, passed, check.check, ended, started)
        seconds = time.monotonic() - started
        image = workspace if isinstance(workspace, Image) else None
        return Tried(context, passed, seconds, times=times, image=image)

    def _check(
        self, workspace: Workspace, context: Context, passed: list[Check]
    ) -> tuple[Check, Ended | None, Mapping[str, float]]:
        """The last check that ran, with the script that told its outcome if one did."""
        tools, candidate = self._tools, self.candidate
        check, ended = checks.smoke(workspace, candidate, self._module, tools.limits)
        if check.outcome == "failed":
            return check, ended, {}
        passed.append(check)
        check, ended, times = checks.profile(workspace, candidate, context, tools.limits)
        if check.outcome == "failed":
            return check, ended, {}
        passed.append(check)
        if not isinstance(workspace, Image):
            why = "there is no image: verified without Docker"
            return Check("hygiene", "not_run", why), None, times
        subject = workspace.subject(candidate.pins)
        return hygiene.hygiene(subject, candidate, self.mirror, tools.secrets), None, times

    def measure(self, tried: Tried) -> tuple[Check, Verdict | None]:
        """What the solution changes in a container that passed."""
        limits = self._tools.measuring
        if tried.image is None:
            return Check("measure", "not_run", "there is no container to measure in"), None
        if limits is None:
            why = "FC_MEASURE_TIMEOUT_S is 0, or not set for the sample"
            return Check("measure", "not_run", why), None
        verdict = tried.image.measure(
            self.candidate, tried.context, self.mirror, tried.times, limits
        )
        outcome = "failed" if verdict.verdict == "unknown" else "passed"
        return Check("measure", outcome, verdict.evidence()), verdict

    def _failed(
        self,
        context: Context,
        found: Sequence[Check],
        stage: str,
        ended: Ended | None,
        started: float,
    ) -> Tried:
        """An outage is raised instead: it is no answer."""
        evidence = found[-1].evidence
        if ended is None:
            cause = evidence
        elif ended.exceeded is not None:
            cause = ended.how
        else:
            cause, outage = causes.cause(ended.log), causes.outage(ended.log)
            if stage.startswith(_BUILD_SCRIPT):
                if outage is not None:
                    raise TransientError(f"{stage} met an outage: {outage}")
            else:
                cause = f"it needs network, which it does not get: {outage}" if outage else cause
                cause = f"{evidence}; {cause}"
        return Tried(context, found, time.monotonic() - started, stage, cause, ended)

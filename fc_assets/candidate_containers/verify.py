"""One candidate through build and checks: what the two tables of stage 6 say about it."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fc_assets import causes, work
from fc_assets.candidate_containers import checks, hygiene, stock
from fc_assets.candidate_containers.build import Builder, BuildFailedError, Image
from fc_assets.candidate_containers.speedups import Verdict
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.tables import ERROR_LOGS
from fc_resources.errors import TransientError
from fc_resources.git import Mirror, Mirrors
from fc_resources.sandbox import Ended, Limits, Workspace

_BUILD_LIMITED = "docker_build"


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


def verify(candidate: Candidate, tools: Tools) -> work.Answer:
    """Build and check a candidate: a verified container, or the log of an attempt that failed.

    A failure that the outside world caused raises `TransientError`: it says nothing about the
    candidate. Without an environment or an ASV configuration there is nothing to try.
    """
    identity = {n: getattr(candidate, n) for n in ("owner", "repo", "issue_number")}
    attempt = identity | {"attempt": 1, "sandbox": tools.builder.sandbox, "timed_out": False}
    context = stock.context(candidate.owner, candidate.repo, tools.scripts)
    attempt |= {"origin": context.origin, "scripts": context.rows(), "log": "", "seconds": 0.0}
    obstacle = candidate.obstacle()
    if obstacle is not None:
        failed = attempt | {"failure_stage": "environment", "cause": obstacle}
        return work.Answer([], {ERROR_LOGS.name: [failed]})

    mirror = tools.mirrors.mirror(candidate.owner, candidate.repo, [candidate.sha])
    modules = stock.import_names(
        mirror.files(candidate.base_sha), candidate.project_root, candidate.project_name
    )
    year = time.gmtime(mirror.commit_time(candidate.base_sha)).tm_year
    started = time.monotonic()
    passed: list[checks.Check] = []
    times: dict[str, float] = {}
    try:
        with tools.builder.build(candidate, context, mirror, year) as workspace:
            passed.append(checks.Check("build", "passed", "every script ended with exit code 0"))
            check, ended = checks.smoke(workspace, candidate, modules[0], tools.limits)
            passed.append(check)
            if check.outcome == "passed":
                check, ended, times = checks.profile(workspace, candidate, context, tools.limits)
                passed.append(check)
            if check.outcome == "passed":
                passed.append(_hygiene(workspace, candidate, mirror, tools))
            image = workspace.image
            measured = None
            if passed[-1].outcome == "passed" and isinstance(workspace, Image) and tools.measuring:
                measured = workspace.measure(candidate, context, mirror, times, tools.measuring)
    except BuildFailedError as error:
        return _failed(attempt, error.ended.name, error.ended, started)
    if passed[-1].outcome == "failed":
        return _failed(attempt, passed[-1].check, ended, started, passed[-1].evidence)

    seconds = time.monotonic() - started
    passed.append(_measured(measured, tools))
    row = identity | {
        "sha": candidate.sha,
        "base_sha": candidate.base_sha,
        "python_version": candidate.python_version,
        "scripts": context.rows(),
        "origin": context.origin,
        "sandbox": tools.builder.sandbox,
        "image": image,
        "checks": [vars(check) for check in passed],
        "benchmarks": [{"benchmark": k, "seconds": v} for k, v in sorted(times.items())],
        "seconds": seconds,
        **(measured.row() if measured else {}),
    }
    return work.Answer([row], {ERROR_LOGS.name: [attempt | {"seconds": seconds}]})


def _hygiene(
    workspace: Workspace, candidate: Candidate, mirror: Mirror, tools: Tools
) -> checks.Check:
    if not isinstance(workspace, Image):
        return checks.Check("hygiene", "not_run", "there is no image: verified without Docker")
    subject = workspace.subject(candidate.pins)
    return hygiene.hygiene(subject, candidate, mirror, tools.secrets)


def _measured(verdict: Verdict | None, tools: Tools) -> checks.Check:
    if verdict is not None:
        outcome = "failed" if verdict.verdict == "unknown" else "passed"
        return checks.Check("measure", outcome, verdict.evidence())
    why = "there is no container to measure in"
    if tools.builder.sandbox == "docker":
        why = "FC_MEASURE_TIMEOUT_S is 0, or not set for the sample"
    return checks.Check("measure", "not_run", why)


def _failed(
    attempt: dict[str, Any], stage: str, ended: Ended, started: float, evidence: str = ""
) -> work.Answer:
    """The row of a failed attempt; an outage is raised instead, it is no answer."""
    outage = causes.outage(ended.log) if stage.startswith(_BUILD_LIMITED) else None
    if outage is not None:
        raise TransientError(f"{stage} met an outage: {outage}")
    if stage == "hygiene":  # no script of its own, whose log could tell more
        cause, evidence = evidence, ""
    elif ended.timed_out:
        cause = f"killed after {ended.seconds:.0f} s"
    else:
        cause = causes.cause(ended.log)
    row = attempt | {
        "failure_stage": stage,
        "returncode": None if stage == "hygiene" else ended.returncode,
        "timed_out": ended.timed_out,
        "cause": f"{evidence}; {cause}" if evidence else cause,
        "log": ended.log,
        "seconds": time.monotonic() - started,
    }
    return work.Answer([], {ERROR_LOGS.name: [row]})

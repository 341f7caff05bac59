"""One candidate through build and checks: what the two tables of stage 6 say about it."""

import dataclasses
import time
from pathlib import Path
from typing import Any

from fc_assets import causes, work
from fc_assets.candidate_containers import checks, stock
from fc_assets.candidate_containers.build import Builder, BuildFailedError
from fc_assets.candidate_containers.stock import Candidate
from fc_assets.tables import ERROR_LOGS
from fc_resources.errors import TransientError
from fc_resources.git import Mirrors
from fc_resources.sandbox import Ended, Limits

_BUILD_LIMITED = "docker_build"


@dataclasses.dataclass(frozen=True)
class Tools:
    """What verification needs from outside."""

    mirrors: Mirrors
    builder: Builder
    scripts: Path
    limits: Limits


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
            image = workspace.image
    except BuildFailedError as error:
        return _failed(attempt, error.ended.name, error.ended, started)
    if passed[-1].outcome != "passed":
        return _failed(attempt, passed[-1].check, ended, started, passed[-1].evidence)

    seconds = time.monotonic() - started
    passed += [checks.Check(c, "not_run", "") for c in checks.CHECKS[len(passed) :]]
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
    }
    return work.Answer([row], {ERROR_LOGS.name: [attempt | {"seconds": seconds}]})


def _failed(
    attempt: dict[str, Any], stage: str, ended: Ended, started: float, evidence: str = ""
) -> work.Answer:
    """The row of a failed attempt; an outage is raised instead, it is no answer."""
    outage = causes.outage(ended.log) if stage.startswith(_BUILD_LIMITED) else None
    if outage is not None:
        raise TransientError(f"{stage} met an outage: {outage}")
    cause = f"killed after {ended.seconds:.0f} s" if ended.timed_out else causes.cause(ended.log)
    row = attempt | {
        "failure_stage": stage,
        "returncode": ended.returncode,
        "timed_out": ended.timed_out,
        "cause": f"{evidence}; {cause}" if evidence else cause,
        "log": ended.log,
        "seconds": time.monotonic() - started,
    }
    return work.Answer([], {ERROR_LOGS.name: [row]})

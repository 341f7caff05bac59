"""From a commit to pins: declarations, Python version, date cutoff, check that wheels install."""

import dataclasses
import datetime
import functools
from collections.abc import Sequence
from typing import Any

from fc_assets import work
from fc_assets.packages import RESOLVER, metadata, python
from fc_resources.git import Mirrors
from fc_resources.uv import Pins, Uv


@dataclasses.dataclass(frozen=True)
class Commit:
    """The merge commit of a performance pull request."""

    owner: str
    repo: str
    sha: str


def resolve(commit: Commit, mirrors: Mirrors, uv: Uv, available: Sequence[str]) -> work.Answer:
    """The environment of the merge's base commit at its date.

    The base is what a container builds; the merge itself may declare what came with it. Raises
    `PermanentError` for a commit that is not there, `UnavailableError` when git or the index
    cannot be asked; that it is no Python project is an answer.
    """
    mirror = mirrors.mirror(commit.owner, commit.repo, [commit.sha])
    base = mirror.first_parent(commit.sha)
    read = functools.partial(mirror.read, base)
    row: dict[str, Any] = {
        **dataclasses.asdict(commit),
        "base_sha": base,
        "requirements": [],
        "dropped": [],
        "system_packages": [],
        "resolver": f"{RESOLVER} uv/{uv.version}",
        "log": "",
    }
    try:
        project = metadata.read_project(mirror.files(base), read)
    except metadata.NoProjectError as error:
        return work.Answer([row | {"reason": str(error)}])
    cutoff = datetime.datetime.fromtimestamp(mirror.commit_time(commit.sha), datetime.UTC)
    versions, source = python.candidates(project, cutoff.date(), available)
    row |= {
        "project_name": project.name,
        "project_root": project.root,
        "asv_config": project.asv_config,
        "interpreter_source": source,
        "requirements": project.requirements,
        "dropped": project.dropped,
        "system_packages": project.system_packages,
    }
    unread = {"dependencies"} & set(project.dynamic)
    if unread:
        row["reason"] = "its dependencies are dynamic: only its build could tell them"
    elif not versions:
        row["reason"] = (
            f"no Python for requires-python {project.requires_python!r} "
            f"among {', '.join(available)} at {cutoff:%Y-%m-%d}"
        )
    else:
        row |= _pin(project.requirements, versions, cutoff, uv)
    return work.Answer([row])


def _pin(
    requirements: Sequence[str], versions: Sequence[str], cutoff: datetime.datetime, uv: Uv
) -> dict[str, Any]:
    """Pins with the cutoff for the best Python that has any; without a cutoff only after all."""
    moment = cutoff.strftime("%Y-%m-%dT%H:%M:%SZ")
    attempts = [(version, moment) for version in versions] + [(versions[0], None)]
    logs, found = [], Pins(None, "")
    for version, limit in attempts:
        found = uv.pin(requirements, version, limit)
        logs.append(f"python {version}, up to {limit or 'today'}:\n{found.log}")
        if found.pins is not None:
            installs, log = uv.can_install(found.pins, version)
            return {
                "python_version": version,
                "pins": found.pins,
                "cutoff": cutoff if limit else None,
                "can_install": installs,
                "reason": None if installs else log.splitlines()[-1],
                "log": "\n".join([*logs, log]),
            }
    return {
        "python_version": versions[0],
        "reason": "no versions satisfy all requirements: " + " ".join(found.log.split())[:500],
        "log": "\n".join(logs),
    }

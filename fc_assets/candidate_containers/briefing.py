"""What a coding agent is told: its task, what was tried before, and how its scripts fared."""

import importlib.resources
from collections.abc import Mapping

from fc_assets.candidate_containers.search import Search
from fc_assets.candidate_containers.stock import Candidate, variables
from fc_assets.candidate_containers.trial import Tried
from fc_resources.docker import ROOT
from fc_resources.git import Mirror

PROMPT = (
    "Read TASK.md in this folder and do what it says: change the scripts in scripts/ until "
    "./verify ends with PASSED, then stop."
)
#: What of the base commit tells how it is built, besides ASV's configuration.
_TELLING = (
    *("pyproject.toml", "setup.py", "setup.cfg", "meson.build", "CMakeLists.txt", "Makefile"),
    *("environment.yml", "requirements.txt", "MANIFEST.in", "README.md", "README.rst"),
)
_LONGEST = 60_000
_SHOWN_LOG = 12_000


def files(search: Search) -> dict[str, str]:
    """Files of the agent's workspace by path, all of them only to be read."""
    candidate, mirror = search.candidate, search.trial.mirror
    task = importlib.resources.files("fc_assets.candidate_containers").joinpath("TASK.md")
    found = {
        "TASK.md": task.read_text("utf-8"),
        "requirements.txt": "\n".join(candidate.pins) + "\n",
        "variables.txt": "".join(
            f"{name}={value}\n" for name, value in variables(candidate, ROOT, "python").items()
        ),
        "listing.txt": "\n".join(mirror.files(candidate.base_sha)) + "\n",
    }
    for path, text in _telling(candidate, mirror).items():
        found[f"base/{path}"] = text
    for attempt in search.attempts:
        folder = f"attempts/{attempt['attempt']:02}-{attempt['step']}"
        how = [f"{attempt['failure_stage']} failed: {attempt['cause']}", ""]
        how += [f"{c['check']}: {c['outcome']}: {c['evidence']}" for c in attempt["checks"]]
        found[f"{folder}/failure.txt"] = "\n".join(how) + "\n"
        found[f"{folder}/log.txt"] = attempt["log"]
        for script in attempt["scripts"]:
            found[f"{folder}/{script['name']}"] = script["content"]
    return found


def _telling(candidate: Candidate, mirror: Mirror) -> Mapping[str, str]:
    root = "" if candidate.project_root == "." else f"{candidate.project_root}/"
    wanted = set(_TELLING) | {f"{root}{name}" for name in _TELLING}
    wanted |= {candidate.asv_config or ""}
    known = sorted(wanted & set(mirror.files(candidate.base_sha)))
    texts = mirror.read_many(candidate.base_sha, known)
    return {path: text for path, text in texts.items() if text and len(text) <= _LONGEST}


def report(tried: Tried) -> str:
    """How scripts fared, for the agent."""
    lines = [f"{check.check}: {check.outcome}: {check.evidence}" for check in tried.checks]
    if tried.passed:
        return "\n".join([*lines, "", "PASSED. There is nothing left to do, stop here."])
    log = tried.log[-_SHOWN_LOG:]
    return "\n".join(
        [*lines, "", "End of its log:", log, "", f"FAILED at {tried.stage}: {tried.cause}"]
    )

"""Which candidates become records, and what a record says; why the others stay out.

Everything here is decided from rows; `images` and `publication` do what was decided.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fc_assets import work
from fc_assets.formulacode import RECORDS
from fc_assets.formulacode.patches import patch_id
from fc_assets.tables import FORMULACODE, MEASURED
from fc_resources.registry import Registry
from fc_resources.settings import Settings

_REQUIRED = ("build", "smoke", "profile", "hygiene")
#: A part of an image's name that is one as it is; a name's parts need letters at both ends.
_PLAIN = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_LONGEST = 200


@dataclasses.dataclass(frozen=True)
class Rules:
    """What besides a task decides whether it is published."""

    registry: str | None
    licenses: frozenset[str]
    told: Mapping[str, str]
    #: Reasons by task that was withdrawn.
    withdrawn: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Tasks of other months, by what their patch does.
    elsewhere: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: What the patches do of this month's published tasks, by task.
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        settings: Settings,
        withdrawn: Mapping[str, str],
        elsewhere: Mapping[str, str],
        published: Mapping[str, str],
    ) -> "Rules":
        registry = Registry.of(settings)
        return cls(
            registry.place if registry else None,
            frozenset(settings.licenses),
            settings.told_licenses,
            withdrawn,
            elsewhere,
            published,
        )


@dataclasses.dataclass(frozen=True)
class Task:
    """Everything known about one performance pull request; a part is None when missing."""

    candidate: Mapping[str, Any]
    pull_request: Mapping[str, Any]
    classification: Mapping[str, Any]
    container: Mapping[str, Any] | None
    environment: Mapping[str, Any] | None
    repository: Mapping[str, Any]
    #: Why it is no record, as far as rows tell.
    reason: str | None = None
    #: Nothing says that what was published of it is wrong: it stays, though none can be made today.
    stays: bool = False

    @property
    def name(self) -> str:
        return f"{self.candidate['owner']}/{self.candidate['repo']}"

    @property
    def task_id(self) -> str:
        return task_id(self.candidate)

    @functools.cached_property
    def patch_id(self) -> str:
        return patch_id(self.pull_request["patch"])

    def license(self, rules: Rules) -> str | None:
        """As the user tells it, else as GitHub does; GitHub's NOASSERTION tells nothing."""
        known = self.repository.get("license")
        found = rules.told.get(self.name.lower(), known)
        return None if found in ("NOASSERTION", "other") else found


def task_id(row: Mapping[str, Any]) -> str:
    """`owner__repo-number` of a pull request; no owner has an underscore."""
    return f"{row['owner']}__{row['repo']}-{row['issue_number']}"


def decide(tasks: Iterable[Task], rules: Rules) -> list[Task]:
    """The tasks of a month, oldest merge first, each with the reason it is no record, if any.

    Of several with the same patch the first is taken, or that of another month. What is published
    stays as it is when all that stands against it is that its container or its patch cannot be had
    today: the image that was verified is no worse for that.
    """
    taken = dict(rules.elsewhere)
    decided = []
    for task in sorted(tasks, key=lambda t: (t.candidate["merged_at"], work.key_of(t.candidate))):
        reason = obstacle(task, rules)
        stays = reason is not None and task.task_id in rules.published and not _fault(task, rules)
        if reason is None or stays:
            patch = rules.published[task.task_id] if stays else task.patch_id
            first = taken.setdefault(patch or task.task_id, task.task_id)
            if first != task.task_id:
                reason, stays = f"the same patch as {first}", False
        reason = f"stays as it was published: {reason}" if stays else reason
        decided.append(dataclasses.replace(task, reason=reason, stays=stays))
    return decided


def obstacle(task: Task, rules: Rules) -> str | None:
    """Why no record can be made of a task by itself, or None."""
    return _fault(task, rules) or _lack(task, rules)


def _fault(task: Task, rules: Rules) -> str | None:
    """Why a record of the task would be wrong, made before or not."""
    if task.task_id in rules.withdrawn:
        return f"withdrawn: {rules.withdrawn[task.task_id]}"
    if not task.classification["is_performance"]:
        return "not a performance pull request"
    patch = task.pull_request["patch"]
    if patch is not None and not patch.strip():
        return "its patch is empty"
    if task.candidate["statement"] is None:
        return f"no problem statement: {task.candidate['reason']}"
    if task.candidate["leak_suspected"]:
        return f"leak suspected: {task.candidate['reason']}"
    for check in task.container["checks"] if task.container else ():
        if check["check"] in _REQUIRED and check["outcome"] == "failed":
            return f"{check['check']} failed: {check['evidence']}"
    return _unlicensed(task, rules)


def _lack(task: Task, rules: Rules) -> str | None:
    """What a record cannot be made without."""
    container, required = task.container, _REQUIRED
    if container is None or task.environment is None:
        return "no verified container"
    if task.pull_request["patch"] is None:
        return f"no patch ({task.pull_request['diff_source']})"
    if container["sandbox"] == "process":
        if rules.registry:
            return "verified without a container: there is no image to push"
        required = _REQUIRED[:-1]  # hygiene is of an image
    passed = {c["check"] for c in container["checks"] if c["outcome"] == "passed"}
    lacking = [check for check in required if check not in passed]
    return f"{lacking[0]} has not passed; run stage 6 with --force" if lacking else None


def _unlicensed(task: Task, rules: Rules) -> str | None:
    license = task.license(rules)
    if license is None:
        return f"licence not known; tell it with FC_LICENSES={task.name}=SPDX-identifier"
    return None if license in rules.licenses else f"licence {license} is not in FC_LICENSES"


def digest(task: Task, rules: Rules) -> str:
    """Of all that a record is made of."""
    parts = [getattr(task, field.name) for field in dataclasses.fields(task)]
    return work.digest(RECORDS, parts, rules.registry, task.license(rules))


def record(task: Task, rules: Rules, image_digest: str | None) -> dict[str, Any]:
    """The record of a task without obstacle; `image_digest` is that of its pushed image."""
    candidate, container, environment = task.candidate, task.container, task.environment
    if container is None or environment is None:
        raise ValueError(f"{task.task_id} has no container")
    owner, repo, number = candidate["owner"], candidate["repo"], candidate["issue_number"]
    name = image_name(owner, repo)
    pushed = f"{rules.registry}/{name}:{number}" if image_digest else container["image"]
    return {
        "owner": owner,
        "repo": repo,
        "issue_number": number,
        "task_id": task.task_id,
        "gt_hash": container["sha"],
        "base_commit": container["base_sha"],
        "date": candidate["merged_at"],
        "instructions": candidate["statement"],
        "classification": task.classification["category"],
        "difficulty": task.classification["difficulty"],
        "container_name": f"{name}-{number}",
        "image_name": pushed,
        "image_digest": image_digest,
        "patch": task.pull_request["patch"],
        "patch_id": task.patch_id,
        "python_version": container["python_version"],
        "license": task.license(rules),
        "classifier": task.classification["classifier"],
        "pipeline": pipeline(),
        **_copied(candidate, ("extractor", "rendering")),
        **_copied(environment, ("pins", "system_packages", "resolver", "uv_version")),
        **_copied(container, ("sandbox", "checks", "benchmarks", "origin", "step", *MEASURED)),
    }


def _copied(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


@functools.cache
def pipeline() -> str:
    """What makes records, with versions."""
    return f"formulacode-data {importlib.metadata.version('formulacode-data')}; {RECORDS}"


def image_name(owner: str, repo: str) -> str:
    """`owner-repo` in lower case, as registries allow it and as no other repository has it.

    A hyphen of a name is doubled: the one in the middle is the only single one. Names that cannot
    be a part of an image's are told by their SHA-256, after two hyphens.
    """
    parts = [part.lower() for part in (owner, repo)]
    name = "-".join(part.replace("-", "--") for part in parts)
    if all(_PLAIN.fullmatch(part) for part in parts) and len(name) <= _LONGEST:
        return name
    told = hashlib.sha256("/".join(parts).encode()).hexdigest()[:20]
    letters = re.sub(r"[^a-z0-9]+", "", parts[1])[:60]
    return f"{letters or 'x'}--{told}"


def content(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 of what records say, whatever their order; what is null counts as not there."""
    return work.digest(sorted(work.digest(_told(said(row))) for row in rows))


def said(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of its task; `pipeline` says it of what made the record."""
    return {name: value for name, value in row.items() if name != "pipeline"}


def _told(value: Any) -> Any:
    """The value without nulls, at any depth."""
    if isinstance(value, Mapping):
        return {name: _told(part) for name, part in value.items() if part is not None}
    return [_told(part) for part in value] if isinstance(value, list) else value


def published(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the warehouse as the dataset has it."""
    return {name: row.get(name) for name in COLUMNS}


#: What a published record has: all but when it was.
COLUMNS = tuple(c.name for c in FORMULACODE.all_columns if c.name != "published_at")

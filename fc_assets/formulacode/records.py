"""Which candidates become records, and what a record says; why the others stay out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fc_assets import work
from fc_resources.docker import Docker


@dataclasses.dataclass(frozen=True)
class Task:
    """Everything known about one performance pull request; a part is None when missing."""

    candidate: Mapping[str, Any]
    pull_request: Mapping[str, Any]
    classification: Mapping[str, Any]
    container: Mapping[str, Any] | None
    environment: Mapping[str, Any] | None
    repository: Mapping[str, Any]


def obstacle(task: Task) -> str | None:
    """Why a task is not published, or None."""
    if task.container is None or task.environment is None:
        return "no verified container"
    if task.pull_request["patch"] is None:
        return f"no patch ({task.pull_request['diff_source']})"
    if task.candidate["statement"] is None:
        return f"no problem statement: {task.candidate['reason']}"
    if task.candidate["leak_suspected"]:
        return f"leak suspected: {task.candidate['reason']}"
    return None


def publish(task: Task, docker: Docker, registry: str | None) -> work.Answer:
    """The record of a task, its image pushed first; no record when something stands against it.

    Raises `TransientError` when the registry does not take the image: the record waits for it.
    """
    reason = obstacle(task)
    if reason is not None or task.container is None or task.environment is None:
        return work.Answer([], note=reason)
    candidate, container = task.candidate, task.container
    owner, repo, number = candidate["owner"], candidate["repo"], candidate["issue_number"]
    name = image_name(owner, repo, number)
    digest = None
    if container["image"] is not None and registry is not None:
        name = f"{registry}/{name}"
        digest = docker.push(container["image"], name)
    return work.Answer(
        [
            {
                "owner": owner,
                "repo": repo,
                "issue_number": number,
                "task_id": f"{owner}__{repo}-{number}",
                "gt_hash": container["sha"],
                "base_commit": container["base_sha"],
                "date": candidate["merged_at"],
                "instructions": candidate["statement"],
                "classification": task.classification["category"],
                "difficulty": task.classification["difficulty"],
                "container_name": f"{owner}-{repo}-{number}".lower(),
                "image_name": container["image"] and (name if digest else container["image"]),
                "image_digest": digest,
                "patch": task.pull_request["patch"],
                "python_version": container["python_version"],
                "pins": task.environment["pins"],
                "license": task.repository.get("license"),
                "sandbox": container["sandbox"],
                "classifier": task.classification["classifier"],
                "extractor": candidate["extractor"],
                "origin": container["origin"],
            }
        ]
    )


def image_name(owner: str, repo: str, number: int) -> str:
    """`owner-repo:number` in lower case; a hyphen of a name is doubled, so that none collide."""
    parts = (part.lower().replace("-", "--") for part in (owner, repo))
    return f"{'-'.join(parts)}:{number}"

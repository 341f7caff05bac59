"""Images of records: built again if they are gone, pushed if the registry lacks them, seen to work.

An image gets two tags. The first is of its recipe and stays, so that older versions of the dataset
find theirs. The second, the pull request's number, is given once what was pushed has been verified.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from fc_assets.candidate_containers import checks, stock
from fc_assets.candidate_containers.stock import Candidate, Context
from fc_assets.candidate_containers.trial import Tools, Trial
from fc_assets.formulacode import records
from fc_assets.formulacode.records import Task
from fc_resources.docker import ROOT, Docker
from fc_resources.errors import PermanentError
from fc_resources.registry import Registry
from fc_resources.sandbox import Ended, Limits, Script


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of one registry; `tools` are made when the first has to be verified.

    With `again` that is each of them, whatever was verified before.
    """

    registry: Registry
    docker: Docker
    tools: Callable[[], Tools]
    again: bool = False

    def publish(self, task: Task) -> str:
        """The digest under which the registry has the verified image of a task.

        What is there and does not work is replaced. Raises `PermanentError` when there is no such
        image and none can be made.
        """
        container, number = task.container, str(task.candidate["issue_number"])
        if container is None or task.environment is None or container["image"] is None:
            raise PermanentError(f"{task.task_id} has no image")
        name, tag = _name(task), _tag(task)
        digest = known(self.registry, task)
        numbered = None if self.again else self.registry.digest(name, number)
        if digest is not None and digest == numbered:
            return digest
        target = f"{self.registry.place}/{name}:{tag}"
        trial = Trial(Candidate.of(task.candidate, task.environment), self.tools())
        scripts = {script["name"]: script["content"] for script in container["scripts"]}
        context = Context(scripts, container["origin"])
        fault = self._fault(target, digest, trial, context) if digest else None
        if digest is None or fault:
            image = container["image"]
            if not self.docker.has(image):
                image = _built(trial, context)
            before, digest = digest, self.docker.push(image, target, self.registry.login)
            if digest != before:
                fault = self._fault(target, digest, trial, context)
        if fault:
            raise PermanentError(f"{target} was pushed and fails {fault}")
        self.registry.tag(name, digest, number)
        return digest

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether the registry has the image of a record still."""
        name = records.image_name(row["owner"], row["repo"])
        return self.registry.digest(name, row["image_digest"]) is not None

    def _fault(self, target: str, digest: str, trial: Trial, context: Context) -> str | None:
        """What smoke and profile find wrong with what the registry gives for the digest."""
        image = Pulled(self.docker, self.docker.pull(target, digest, self.registry.login))
        candidate, limits = trial.candidate, self.tools().limits
        files = trial.mirror.files(candidate.base_sha)
        module = stock.import_names(files, candidate.project_root, candidate.project_name)[0]
        check, ended = checks.smoke(image, candidate, module, limits)
        if check.outcome == "passed":
            check, ended, _ = checks.profile(image, candidate, context, limits)
        passed = check.outcome == "passed"
        return None if passed else f"{check.check}: {check.evidence}, {ended.how}"


def known(registry: Registry, task: Task) -> str | None:
    """The digest of a task's image if the registry has it; nothing is pushed."""
    return registry.digest(_name(task), _tag(task))


def _name(task: Task) -> str:
    return records.image_name(task.candidate["owner"], task.candidate["repo"])


def _tag(task: Task) -> str:
    """Number and recipe: the local image's tag tells what it is made of."""
    image = task.container["image"] if task.container else ""
    return f"{task.candidate['issue_number']}-{image.rpartition(':')[2]}"


@dataclasses.dataclass(frozen=True)
class Pulled:
    """A workspace in containers of an image that has its digest for a name."""

    docker: Docker
    image: str
    root: str = ROOT

    def run(self, script: Script, limits: Limits) -> Ended:
        return self.docker.run(self.image, script, limits)


def _built(trial: Trial, context: Context) -> str:
    """The image made of a context once more, having passed all that it passed before."""
    tried = trial.run(context)
    if not tried.passed or tried.image is None:
        raise PermanentError(
            f"its image is gone and could not be built again: {tried.stage}: {tried.cause}; "
            "run stage 6 of its month with --force"
        )
    return tried.image.image

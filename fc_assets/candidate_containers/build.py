"""From a build context to a workspace that scripts can be run in: three images, or a folder."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fc_assets import causes
from fc_assets.candidate_containers import measure, stock
from fc_assets.candidate_containers.hygiene import Subject
from fc_assets.candidate_containers.interpreter import Reference
from fc_assets.candidate_containers.speedups import Verdict
from fc_assets.candidate_containers.stock import Candidate, Context, History, tag, variables
from fc_resources import docker_layers
from fc_resources.docker import ROOT, Docker
from fc_resources.errors import PermanentError, TransientError
from fc_resources.git import Mirror
from fc_resources.process_sandbox import ProcessWorkspace
from fc_resources.sandbox import Ended, Limits, Script, Workspace

_ASV = re.compile(r"asv([-_.]runner)?==", re.IGNORECASE)
_WHEELS = """\
set -eu
# shellcheck disable=SC2086 -- a list of pins
python -m pip install --quiet --no-cache-dir --root-user-action ignore --no-deps --no-compile \\
    --only-binary :all: --target /wheels $FC_PINS
"""


class BuildFailedError(Exception):
    """A build script failed; `ended` is how."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.name)
        self.ended = ended


class NoWheelsError(PermanentError):
    """What an image says is installed was never released."""


class Builder(Protocol):
    """One way to build: `docker` or `process`."""

    @property
    def sandbox(self) -> str: ...

    def build(
        self, candidate: Candidate, context: Context, mirror: Mirror, year: int
    ) -> contextlib.AbstractContextManager[Workspace]:
        """A workspace with the base commit built; `BuildFailedError` when a script fails."""
        ...


@dataclasses.dataclass(frozen=True)
class DockerBuilder:
    """base -> repository and Python -> pull request; each image is tagged by what it is made of."""

    docker: Docker
    base_image: str
    uv_version: str
    limits: Limits
    sandbox: str = "docker"

    @contextlib.contextmanager
    def build(
        self, candidate: Candidate, context: Context, mirror: Mirror, year: int
    ) -> Iterator[Workspace]:
        source = self.base_image.format(python=candidate.python_version)
        scripts, history = context.scripts, History.of(mirror, candidate.base_sha, year)
        given = variables(candidate, ROOT, "python")
        name = f"{candidate.owner}-{candidate.repo}".lower()
        labels = {
            "org.formulacode.item": f"{candidate.owner}/{candidate.repo}#{candidate.issue_number}"
        }

        base_tag = tag(
            self.docker.image_id(source), scripts["docker_build_base.sh"], self.uv_version
        )
        base = f"formulacode/base:{base_tag}"
        base_given = {"FC_ROOT": ROOT, "FC_UV_VERSION": self.uv_version}
        script = Script("docker_build_base.sh", scripts["docker_build_base.sh"], base_given)
        self._tier(base, source, [script], {})

        env_given = {n: given[n] for n in ("FC_ROOT", "FC_REPOSITORY", "FC_SYSTEM_PACKAGES")}
        env_tag = tag(
            base_tag, scripts["docker_build_env.sh"], candidate.owner, history.anchor, env_given
        )
        env = f"formulacode/{name}:env-{env_tag}"
        if not self.docker.has(env):
            script = Script(
                "docker_build_env.sh",
                scripts["docker_build_env.sh"],
                env_given,
                history.older(mirror),
            )
            self._tier(env, base, [script], {})

        pins = "\n".join(candidate.pins).encode()
        build = [scripts[name] for name in ("docker_build_pkg.sh", "docker_build_run.sh")]
        image = f"formulacode/{name}:pr-{tag(env_tag, build, given, pins, history.tags)}"
        if not self.docker.has(image):
            files = history.newer(mirror) | {"requirements.txt": pins}
            steps = [
                Script("docker_build_pkg.sh", build[0], given, files),
                Script("docker_build_run.sh", build[1], given),
            ]
            self._tier(image, env, steps, labels)
        ours = stock.stock()
        trusted = source
        for name, tier in (("docker_build_base.sh", base), ("docker_build_env.sh", env)):
            if scripts[name] != ours[name]:
                break
            trusted = tier
        yield Image(self, image, env, source, trusted)

    def reference(self, source: str, pins: Sequence[str]) -> dict[str, bytes]:
        """Files of these wheels to compare to; the base image's pip puts them into an image.

        No code of a repository runs there, so what it says of the wheels can be believed.
        """
        wanted = sorted(pins)
        if not wanted:
            return {}
        image = f"formulacode/wheels:{tag(self.docker.image_id(source), _WHEELS, wanted)}"
        self._tier(image, source, [Script("wheels.sh", _WHEELS, {"FC_PINS": " ".join(wanted)})], {})
        ended = self.docker.run(
            image, Script("files.sh", 'cp -R /wheels/. "$FC_OUTPUT"'), self.limits
        )
        if not ended.ok:
            raise BuildFailedError(ended)
        return dict(ended.output)

    def _tier(self, image: str, parent: str, scripts: list[Script], labels: dict[str, str]) -> None:
        ended = self.docker.build(image, parent, scripts, self.limits, labels)
        if ended is not None and not ended.ok:
            raise BuildFailedError(ended)


@dataclasses.dataclass(frozen=True)
class Image:
    """Checks run in containers of a built image, the pull request's part on top of `environment`.

    It was made from `source`; up to `trusted` by stock scripts, which run no code of a repository.
    """

    builder: DockerBuilder
    image: str
    environment: str
    source: str
    trusted: str
    root: str = ROOT

    def run(self, script: Script, limits: Limits) -> Ended:
        return self.builder.docker.run(self.image, script, limits)

    def measure(
        self,
        candidate: Candidate,
        context: Context,
        mirror: Mirror,
        times: Mapping[str, float],
        limits: Limits,
    ) -> Verdict:
        """What the solution changes, measured in containers of the image."""
        docker = self.builder.docker
        return measure.measure(docker, self.image, candidate, context, mirror, times, limits)

    def added_bytes(self) -> int:
        """What the image takes besides the parts it shares with its repository's others."""
        return self.builder.docker.marginal_bytes(self.image, self.environment)

    def subject(self, pins: Sequence[str]) -> Subject:
        """What the hygiene check has to know about the image; pins tell which ASV is in it."""
        docker = self.builder.docker
        layers = docker.layers(self.image)
        own, untrusted = (
            docker_layers.shared(layers, docker.layers(parent))
            for parent in (self.source, self.trusted)
        )
        return Subject(docker, self.image, own, untrusted, functools.partial(self._reference, pins))

    def _reference(self, pins: Sequence[str], installed: Sequence[str]) -> Reference:
        """ASV has to be the one that was pinned; `installed` are pins of what the image has."""
        wanted = [*(pin for pin in pins if _ASV.match(pin)), *installed]
        try:
            return Reference.of(self.builder.reference(self.source, wanted))
        except BuildFailedError as error:
            log, names = error.ended.log, " ".join(wanted)
            why = "killed at its limit" if error.ended.exceeded else causes.outage(log)
            if why is not None:
                raise TransientError(f"no wheels of {names} to compare to: {why}") from None
            raise NoWheelsError(f"there are no wheels of {names}: {causes.cause(log)}") from None


@dataclasses.dataclass(frozen=True)
class ProcessBuilder:
    """The pull request's part of a context in a folder; there is no system to install into."""

    folder: Path
    limits: Limits
    sandbox: str = "process"

    @contextlib.contextmanager
    def build(
        self, candidate: Candidate, context: Context, mirror: Mirror, year: int
    ) -> Iterator[Workspace]:
        name = f"{candidate.owner}-{candidate.repo}-{candidate.issue_number}"
        workspace = ProcessWorkspace(self.folder / f"{name}-{tag(candidate)}")
        workspace.clear()
        try:
            history = History.of(mirror, candidate.base_sha, year)
            given = variables(candidate, workspace.root, str(candidate.python_version))
            # No system package can be installed here; a build that needs one fails and says so.
            env_given = given | {"FC_SYSTEM_PACKAGES": ""}
            pins = {"requirements.txt": "\n".join(candidate.pins).encode()}
            scripts = context.scripts
            steps = (
                ("docker_build_env.sh", env_given, history.older(mirror)),
                ("docker_build_pkg.sh", given, history.newer(mirror) | pins),
                ("docker_build_run.sh", given, {}),
            )
            for script, values, files in steps:
                ended = workspace.run(
                    Script(script, scripts[script], values, files), self.limits, network=True
                )
                if not ended.ok:
                    raise BuildFailedError(ended)
            yield workspace
        finally:
            workspace.remove()

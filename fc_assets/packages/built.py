"""Metadata that only a build can tell: its backend is asked for it, in a container.

What is built, with which tools and which Python is the caller's. What a container leaves behind is
the word of foreign code, so it is taken as data, within limits, and checked like any declaration.
"""

import dataclasses
import functools
import json
import re
import threading
from collections.abc import Sequence
from typing import Any

from fc_assets import causes
from fc_assets.packages.declarations import Project, normal
from fc_resources.docker import Docker, OutputTooLargeError
from fc_resources.errors import TransientError, one_line
from fc_resources.sandbox import Limits, Script
from fc_resources.settings import Settings

# All of pandas' metadata has 100,000 bytes, half of that its description.
_MAX_BYTES = 1_000_000
_MAX_LINE = 2_000
_LOG_LINES = 50
#: A container takes what `FC_CPUS` says, and the daemon serves stage 6 as well.
_AT_ONCE = 2
#: Where the files are has no git and no tags: a version is made up, for nobody asks for it.
_VERSIONS = {
    "SETUPTOOLS_SCM_PRETEND_VERSION": "0",
    "PBR_VERSION": "0",
    "PDM_BUILD_SCM_VERSION": "0",
    "POETRY_DYNAMIC_VERSIONING_BYPASS": "0",
    "UV_DYNAMIC_VERSIONING_BYPASS": "0",
}
#: pip is the base image's, and works on an environment that has nothing but the pins. It calls
#: PEP 517's hook, and builds a wheel where a backend has none.
_SCRIPT = """
set -euo pipefail
mkdir /fc/source
tar -x --no-same-owner -f "$FC_INPUT/source.tar" -C /fc/source
python -m venv --without-pip /fc/venv
export PATH="/fc/venv/bin:$PATH" PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
pip=(pip --python /fc/venv/bin/python install --quiet --root-user-action ignore --no-deps)
if [ -s "$FC_INPUT/requirements.txt" ]; then
    "${pip[@]}" --only-binary :all: --requirement "$FC_INPUT/requirements.txt"
fi
cd "/fc/source/$FC_PROJECT_ROOT"
"${pip[@]}" --dry-run --ignore-installed --ignore-requires-python --no-build-isolation \\
    --use-pep517 --report "$FC_OUTPUT/report.json" .
"""
_WHERE = "built metadata"
_EXTRA = re.compile(r"\bextra\s*==\s*([\"'])(.*?)\1")
_OTHER_EXTRA = re.compile(r";.*\bextras?\b", re.DOTALL)
_ALWAYS, _NEVER = 'python_version >= "3"', 'python_version < "3"'
_REDUNDANT = re.compile(rf"\s+and\s+{_ALWAYS}|{_ALWAYS}\s+and\s+|\s*;\s*{_ALWAYS}\s*$")


@dataclasses.dataclass(frozen=True)
class Built:
    """Fields of a build's core metadata as they came; nothing of them is checked."""

    name: Any = None
    requires_python: Any = None
    classifiers: Any = None
    requires_dist: Any = None
    provides_extra: Any = None

    def declare(self, project: Project) -> list[str]:
        """Tell a project its name, Python versions and extras; the lines that running needs."""
        project.identify(self.name, self.requires_python, self.classifiers, _WHERE)
        needed: list[str] = []
        extras = {
            normal(extra): []
            for extra in project.texts(self.provides_extra, f"{_WHERE} Provides-Extra")
        }
        for line in project.texts(self.requires_dist, f"{_WHERE} Requires-Dist"):
            named = {normal(name) for _, name in _EXTRA.findall(line[:_MAX_LINE])}
            if len(line) > _MAX_LINE:
                project.drop(line, _WHERE, "not a requirement")
            elif _OTHER_EXTRA.search(_EXTRA.sub("", line)):
                project.drop(line, _WHERE, "for an extra, but not told which")
            elif not named:
                needed.append(line)
            else:
                for extra in named:
                    extras.setdefault(extra, []).append(_under(line, extra))
        for extra, lines in extras.items():
            project.offer(extra, lines)
        return needed


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What a build told, or the reason why nothing; `log` has the last lines of its output.

    Another attempt `may_pass` after a time-out, or when something outside was missing.
    """

    log: str = ""
    built: Built | None = None
    reason: str = ""
    may_pass: bool = False


class Builder:
    """Builds metadata in limited containers of a base image, a few at once."""

    def __init__(self, docker: Docker, base_image: str, limits: Limits, sandbox: str) -> None:
        """`base_image` has `{python}` where the minor goes, `sandbox` is `FC_SANDBOX`."""
        self._docker = docker
        self._base_image = base_image
        self._limits = limits
        self._sandbox = sandbox
        self._mutex = threading.Lock()
        self._slots = threading.Semaphore(_AT_ONCE)

    def obstacle(self) -> str | None:
        """Why no container can be used, or None."""
        with self._mutex:
            return self._obstacle

    @functools.cached_property
    def _obstacle(self) -> str | None:
        if self._sandbox not in ("auto", "docker"):
            return f"FC_SANDBOX is {self._sandbox}"
        if not self._docker.answers():
            return "no Docker daemon answers"
        self._docker.sweep()
        return None

    def build(self, source: bytes, root: str, python: str, pins: Sequence[str]) -> Attempt:
        """Ask the backend of the project at `root` of `source`, a tar archive.

        The container has `pins` installed and nothing else, for the project has no isolation.
        """
        files = {"source.tar": source, "requirements.txt": "\n".join(pins).encode()}
        script = Script("metadata.sh", _SCRIPT, {**_VERSIONS, "FC_PROJECT_ROOT": root}, files)
        image = self._base_image.format(python=python)
        try:
            with self._slots:
                self._docker.image_id(image)
                ended = self._docker.run(image, script, self._limits, network=True)
        except TransientError as error:
            return Attempt(reason=one_line(error), may_pass=True)
        except OutputTooLargeError as error:
            return Attempt(reason=one_line(error))
        log = "\n".join(ended.log.splitlines()[-_LOG_LINES:])
        if ended.timed_out:
            limit = f"it took longer than {self._limits.timeout_s:g} s"
            return Attempt(log, reason=limit, may_pass=True)
        if ended.exceeded is not None:
            return Attempt(log, reason=ended.how)
        if not ended.ok:
            # After it, pip says how it feels about the failure.
            told = log.rpartition("[end of output]")[0] or log
            outage = causes.outage(told)
            return Attempt(log, reason=outage or causes.cause(told), may_pass=outage is not None)
        found = parse(ended.output.get("report.json", b""))
        if isinstance(found, str):
            return Attempt(log, reason=found)
        return Attempt(log, found)


def builder(docker: Docker, settings: Settings) -> Builder:
    """Builds within the limits of any other build."""
    bounds = (settings.fc_memory, settings.fc_cpus, settings.fc_pids, settings.fc_disk)
    limits = Limits(settings.fc_build_timeout_s, *bounds)
    return Builder(docker, settings.fc_base_image, limits, settings.fc_sandbox)


def parse(report: bytes) -> Built | str:
    """The metadata in pip's installation report, or one sentence on what is wrong with it."""
    if len(report) > _MAX_BYTES:
        return f"its metadata has more than {_MAX_BYTES} bytes"
    try:
        [item] = json.loads(report)["install"]
        found = item["metadata"]
        return Built(
            found["name"],
            found.get("requires_python"),
            found.get("classifier"),
            found.get("requires_dist"),
            found.get("provides_extra"),
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        return f"its metadata cannot be read: {one_line(error)}"


def _under(line: str, extra: str) -> str:
    """A line as it reads where this extra, and no other, was asked for."""
    text = _EXTRA.sub(lambda m: _ALWAYS if normal(m[2]) == extra else _NEVER, line)
    return _REDUNDANT.sub("", text)

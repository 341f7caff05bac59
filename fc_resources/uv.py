"""uv, asked to pin requirements for a Python version and a date; it never runs repository code.

Only wheels are considered, so no build backend of a dependency is executed on the host. What to
pin is decided by the caller (`fc_assets.packages`).
"""

import dataclasses
import functools
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import packaging.requirements
import packaging.utils
import packaging.version
import uv as uv_package

from fc_resources import process
from fc_resources.errors import TransientError, UnavailableError, one_line

#: Containers have the newest patch release of a minor; uv takes a bare minor for its patch 0.
NEWEST_PATCH = 99
_TIMEOUT_S = 300
_COMPILE = ("pip", "compile", "--no-header", "--no-annotate")
_TRY = ("pip", "install", "--dry-run", "--no-build", "--requirements", "-")
#: Where the index is and how it is asked. Others, such as UV_EXCLUDE_NEWER, would change answers.
_PASSED = re.compile(
    r"UV_(DEFAULT_INDEX|(EXTRA_)?INDEX_URL|INDEX|INDEX_STRATEGY|INDEX_\w+_(USERNAME|PASSWORD)|"
    r"NO_INDEX|FIND_LINKS|KEYRING_PROVIDER|CREDENTIALS_DIR|HTTP_\w+|REQUEST_TIMEOUT|INSECURE_HOST|"
    r"NATIVE_TLS|SYSTEM_CERTS|OFFLINE|CONCURRENT_\w+)"
)
#: An index that does not let us in, which uv reports as if there were no such release.
_REFUSED = re.compile(
    r"network was disabled|could not be queried|returned a 4(01|03|07)|credentials are valid", re.I
)
_NETWORK = re.compile(
    r"error sending request|dns error|connection (refused|reset)|timed? ?out|"
    r"failed to (fetch|download)|could not connect|50[0234] ",
    re.IGNORECASE,
)
_NO_WHEEL = re.compile(r"has no (usable )?wheels|have no (usable )?wheels|Wheels are required")
_YANKED = re.compile(r"warning: `([^`]+)` is yanked(.*)")
#: Times differ from run to run, and no interpreter of the host builds anything.
_NOISE = re.compile(
    r"^(warning: The requested Python version|Using C?Python ).*\n?|(?<=[a-z]) in [\d.ms]+$", re.M
)
_PREAMBLE = re.compile(r"^error: No solution found when resolving dependencies:?\s+(cause: )?")
_REASON_LIMIT = 600


@dataclasses.dataclass(frozen=True)
class Pins:
    """`name==version` lines, or None for requirements without a solution: `log` says why.

    `yanked` are pins of releases their maintainers took back, which only an exact requirement
    gets; `lacks_wheels` tells that releases were left out because nothing is built.
    """

    pins: list[str] | None
    log: str
    yanked: tuple[str, ...] = ()
    lacks_wheels: bool = False

    @property
    def reason(self) -> str:
        """The log as one line that can stand in a table."""
        text = _PREAMBLE.sub("", self.log)
        if self.lacks_wheels:
            text = f"a release has no wheel that fits, and nothing is built: {text}"
        return one_line(TransientError(text), _REASON_LIMIT)


class Uv:
    """The uv that comes as a dependency, with one cache for all resolutions."""

    def __init__(self, cache: Path, timeout_s: float = _TIMEOUT_S) -> None:
        self._cache = cache
        self._timeout_s = timeout_s
        self._program = uv_package.find_uv_bin()

    @functools.cached_property
    def version(self) -> str:
        done = process.run([self._program, "--version"], timeout_s=30, env=process.environment())
        return done.stdout.decode().split()[1]

    def pin(
        self,
        requirements: Sequence[str],
        python: str,
        cutoff: str | None,
        exempt: Sequence[str] = (),
    ) -> Pins:
        """Resolve for Linux x86-64 and a Python minor, with releases up to `cutoff` (ISO 8601).

        Of packages that are `exempt`, all releases count.
        Unsatisfiable requirements are an answer (`pins` is None, `log` says why); an unreachable
        index raises `UnavailableError`, too much time `TransientError`.
        """
        command = [*_COMPILE, "--no-build", *_until(cutoff, exempt), *_target(python), "-"]
        done = self._checked(self._run(command, requirements), command)
        log = _log(done)
        if not done.ok:
            return Pins(None, log, lacks_wheels=bool(_NO_WHEEL.search(log)))
        yanked = tuple(" is yanked".join(found) for found in _YANKED.findall(log))
        return Pins(_lines(done), log, yanked)

    def can_install(self, pins: Sequence[str], python: str) -> tuple[bool, str]:
        """Whether wheels of exactly these pins, and of nothing else, install for the target.

        A dry run that resolves again, dependencies included: a pin without a wheel that fits, one
        that contradicts another, and a missing one are all told. Returns that and uv's log.
        """
        with tempfile.TemporaryDirectory() as empty:
            command = [*_TRY, *_target(python), "--target", empty]
            # What `pin` has just read says the same without 50 requests. Only a yes is taken.
            done = self._run([*command, "--offline"], pins)
            if not done.ok:
                done = self._checked(self._run(command, pins), command)
        log = _log(done)
        if not done.ok:
            return False, log
        would = {line[3:] for line in done.text.splitlines() if line.startswith(" + ")}
        if more := sorted(would ^ set(pins)):
            return False, f"{log}\nnot the pins, or not they alone: {', '.join(more)}"
        return True, log

    def without_wheel(
        self,
        requirements: Sequence[str],
        pins: Sequence[str],
        python: str,
        cutoff: str | None,
        exempt: Sequence[str] = (),
    ) -> list[str]:
        """Newer releases, such as `old==2.0`, passed over because no wheel of theirs fits.

        Asked offline of what `pin` has just read: no source archive can be had, so none is built.
        """
        names = [packaging.requirements.Requirement(pin).name for pin in pins]
        command = [*_COMPILE, "--no-deps", "--offline", *_until(cutoff, exempt), *_target(python)]
        best = []
        for more in ([], ["--no-build"]):
            done = self._run([*command, *more, "-"], [*requirements, *names])
            if not done.ok:
                return []
            best.append(dict(map(_release, _lines(done))))
        any_kind, wheels = best
        return [
            f"{name}=={any_kind[name]}"
            for name, version in map(_release, pins)
            if version == wheels.get(name) and any_kind.get(name, version) > version
        ]

    def _run(self, arguments: Sequence[str], lines: Sequence[str]) -> process.Completed:
        own = {k: v for k, v in os.environ.items() if _PASSED.fullmatch(k)}
        own |= {"UV_CACHE_DIR": str(self._cache), "UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1"}
        # Resolving for a version needs no interpreter of it; looking for a download costs 10 s.
        own |= {"UV_PYTHON_DOWNLOADS": "never"}
        with tempfile.TemporaryDirectory() as elsewhere:
            return process.run(
                [self._program, *arguments],
                timeout_s=self._timeout_s,
                env=process.environment(**own),
                cwd=Path(elsewhere),
                stdin="\n".join(lines).encode(),
            )

    def _checked(self, done: process.Completed, command: Sequence[str]) -> process.Completed:
        if done.timed_out:
            raise TransientError(f"uv {' '.join(command[:2])} took longer than {self._timeout_s} s")
        why = one_line(TransientError(done.text))
        # 1 is an answer ("no solution"), which may well name a package such as async-timeout.
        if (done.returncode == 2 and _NETWORK.search(done.text)) or _REFUSED.search(done.text):
            raise UnavailableError(f"uv could not reach the package index: {why}")
        if done.returncode not in (0, 1):
            raise TransientError(f"uv ended with {done.returncode}: {why}")
        return done


def _until(cutoff: str | None, exempt: Sequence[str]) -> list[str]:
    if cutoff is None:
        return []
    exceptions = [f"--exclude-newer-package={name}=false" for name in exempt]
    return ["--exclude-newer", cutoff, *exceptions]


def _target(python: str) -> list[str]:
    version = ["--python-version", f"{python}.{NEWEST_PATCH}"]
    platform = ["--python-platform", "x86_64-manylinux_2_28"]
    return [*version, *platform, "--python", sys.executable]


def _lines(done: process.Completed) -> list[str]:
    lines = [line.strip() for line in done.stdout.decode().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _log(done: process.Completed) -> str:
    return _NOISE.sub("", done.text).strip()


def _release(pin: str) -> tuple[str, packaging.version.Version]:
    name, _, version = pin.partition("==")
    return packaging.utils.canonicalize_name(name), packaging.version.Version(version)

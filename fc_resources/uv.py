"""uv, asked to pin requirements for a Python version and a date; it never runs repository code.

Only wheels are considered, so no build backend of a dependency is executed on the host. What to
pin is decided by the caller (`fc_assets.packages`).
"""

import dataclasses
import functools
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uv as uv_package

from fc_resources import process
from fc_resources.errors import TransientError, UnavailableError, one_line

_TIMEOUT_S = 300
#: An index that does not let us in, which uv reports as if there were no such release.
_REFUSED = re.compile(r"network was disabled|returned a 4(01|03|07)|credentials are valid", re.I)
_PIN = ("pip", "compile", "--no-header", "--no-annotate", "--no-build", "-")
_TRY = ("pip", "install", "--dry-run", "--no-build", "--no-deps", "--requirements", "-")
_NETWORK = re.compile(
    r"error sending request|dns error|connection (refused|reset)|timed? ?out|"
    r"failed to (fetch|download)|could not connect|50[0234] ",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Pins:
    """`name==version` lines, or the reason why there are none for these requirements."""

    pins: list[str] | None
    log: str


class Uv:
    """The uv that comes as a dependency, with one cache for all resolutions."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._program = uv_package.find_uv_bin()

    @functools.cached_property
    def version(self) -> str:
        done = process.run([self._program, "--version"], timeout_s=30, env=process.environment())
        return done.stdout.decode().split()[1]

    def pin(self, requirements: Sequence[str], python: str, cutoff: str | None) -> Pins:
        """Resolve for Linux x86-64 and a Python minor, with releases up to `cutoff` (ISO 8601).

        Unsatisfiable requirements are an answer (`pins` is None, `log` says why); an unreachable
        index raises `UnavailableError`.
        """
        limit = ["--exclude-newer", cutoff] if cutoff else []
        done = self._run([*_PIN, *_target(python), *limit], "\n".join(requirements))
        if not done.ok:
            return Pins(None, done.text)
        lines = [line.strip() for line in done.stdout.decode().splitlines()]
        return Pins([line for line in lines if line and not line.startswith("#")], done.text)

    def can_install(self, pins: Sequence[str], python: str) -> tuple[bool, str]:
        """Whether wheels of exactly these pins install for the target (a dry run); and the log."""
        with tempfile.TemporaryDirectory() as empty:
            command = [*_TRY, *_target(python), "--target", empty]
            done = self._run(command, "\n".join(pins))
        return done.ok, done.text

    def _run(self, arguments: Sequence[str], stdin: str) -> process.Completed:
        # UV_* carries the user's index; nothing else of the environment is passed.
        own = {k: v for k, v in os.environ.items() if k.startswith("UV_")}
        own |= {"UV_CACHE_DIR": str(self._cache), "UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1"}
        # Resolving for a version needs no interpreter of it; looking for a download costs 10 s.
        own |= {"UV_PYTHON_DOWNLOADS": "never"}
        with tempfile.TemporaryDirectory() as elsewhere:
            done = process.run(
                [self._program, *arguments],
                timeout_s=_TIMEOUT_S,
                env=process.environment(**own),
                cwd=Path(elsewhere),
                stdin=stdin.encode(),
            )
        if done.timed_out:
            raise TransientError(f"uv {' '.join(arguments[:2])} took longer than {_TIMEOUT_S} s")
        why = one_line(TransientError(done.text))
        # 1 is an answer ("no solution"), which may well name a package such as async-timeout.
        if (done.returncode == 2 and _NETWORK.search(done.text)) or _REFUSED.search(done.text):
            raise UnavailableError(f"uv could not reach the package index: {why}")
        if done.returncode not in (0, 1):
            raise TransientError(f"uv ended with {done.returncode}: {why}")
        return done


def _target(python: str) -> list[str]:
    return ["--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]

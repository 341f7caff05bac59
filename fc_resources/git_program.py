"""The git program on hostile repositories: how it is run, what its failures mean, empty ones made.

There are no prompts, no hooks and no transports but https, ssh and file; what git is asked, without
submodules and option-like arguments, and within which limits is for the caller.
"""

import os
import re
import shutil
from pathlib import Path

from fc_resources import process
from fc_resources.errors import PermanentError, TransientError, UnavailableError

_GONE = re.compile(
    rb"not our ref|not found|does not exist in|bad object|bad revision|not a tree object", re.I
)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def command(*arguments: str | Path) -> list[str | Path]:
    """Git with its arguments, without hooks."""
    # Clearing up in the background would outlive the lock, and be taken for what a killed git left.
    return ["git", "-c", "core.hooksPath=/dev/null", "-c", "gc.autoDetach=false", *arguments]


def environment() -> dict[str, str]:
    """Of a git that may ask an origin: the user's configuration counts, for `url.*.insteadOf`."""
    config = {k: v for k, v in os.environ.items() if k.startswith(("GIT_CONFIG", "GIT_SSL"))}
    return process.environment(
        **config,
        GIT_TERMINAL_PROMPT="0",
        GIT_ASKPASS="true",
        SSH_ASKPASS="true",
        GIT_SSH_COMMAND="ssh -oBatchMode=yes",
        GIT_ALLOW_PROTOCOL="https:ssh:file",
        GIT_OPTIONAL_LOCKS="0",
        LC_ALL="C",
    )


def unconfigured(**more: str) -> dict[str, str]:
    """Of a git that asks no origin: neither the user's nor the machine's configuration counts."""
    return process.environment(
        GIT_CONFIG_GLOBAL="/dev/null",
        GIT_CONFIG_NOSYSTEM="1",
        GIT_ATTR_NOSYSTEM="1",
        LC_ALL="C",
        **more,
    )


def failure(
    done: process.Completed, repository: str, timeout_s: float
) -> PermanentError | TransientError:
    """Why git failed in a repository such as `numpy/numpy`; what it does not have is permanent."""
    if done.timed_out:
        return TransientError(f"git in {repository} took > {timeout_s:g} s")
    why = f"git in {repository}: {last_line(done.stderr.decode('utf-8', 'replace'))}"
    return PermanentError(why) if _GONE.search(done.stderr) else TransientError(why)


def last_line(text: str) -> str:
    """The last line of git's that says what went wrong, without credentials."""
    lines = [line for line in text.splitlines() if line.strip()]
    # Advice on access rights follows the error.
    lines = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    return _CREDENTIALS.sub("", lines[-1].strip()) if lines else "no message"


def init(path: Path, timeout_s: float) -> None:
    """Make a bare repository in place of what a killed process left at `path`."""
    remove(path)
    options = ("--quiet", "--bare", "--template=", "--object-format=sha1")
    done = process.run(
        command("init", *options, "--", path), timeout_s=timeout_s, env=environment()
    )
    if not done.ok:
        raise UnavailableError(f"git could not make {path}: {last_line(done.text)}")


def remove(folder: Path) -> None:
    """Remove a folder and what is in it; a symbolic link in its place is removed, not followed."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)

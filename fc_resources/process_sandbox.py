"""The process sandbox: scripts of trusted code in a folder of their own, without Docker.

It limits time, memory and environment, and takes the network away where the kernel allows it; it
does not keep malicious code from the user's files. Who is trusted is decided by the caller.
"""

import functools
import shutil
import sys
import time
from pathlib import Path

import uv as uv_package

from fc_resources import process
from fc_resources.errors import PermanentError
from fc_resources.sandbox import LOG_LIMIT, OUTPUT_LIMIT, Ended, Limits, Script


class ProcessWorkspace:
    """A folder in which scripts run as processes of this user."""

    image: str | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = str(folder / "workspace")

    def clear(self) -> None:
        """Begin with an empty folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        Path(self.root).mkdir(parents=True)

    def remove(self) -> None:
        """Remove the folder with all that was built in it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, script: Script, limits: Limits, *, network: bool = False) -> Ended:
        """Run a script with fresh input, output and home folders."""
        places = {name: self._folder / name for name in ("input", "output", "home")}
        for place in places.values():
            if place.is_symlink():  # left by a script; its target is not ours to empty
                place.unlink()
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        for name, content in {script.name: script.content.encode(), **script.files}.items():
            (places["input"] / name).write_bytes(content)
        tools = f"{Path(uv_package.find_uv_bin()).parent}:{Path(sys.executable).parent}"
        env = process.environment(
            **script.variables,
            FC_INPUT=str(places["input"]),
            FC_OUTPUT=str(places["output"]),
            HOME=str(places["home"]),
            UV_CACHE_DIR=str(self._folder.parent / "uv-cache"),
        )
        env["PATH"] = f"{tools}:{env.get('PATH', '')}"
        command = [*limiter(limits), *([] if network else no_network())]
        started = time.monotonic()
        done = process.run(
            [*command, "bash", places["input"] / script.name],
            timeout_s=limits.timeout_s,
            env=env,
            cwd=Path(self.root),
        )
        log = (done.stdout + done.stderr).decode("utf-8", "replace")[-LOG_LIMIT:]
        output = _output(places["output"])
        seconds = time.monotonic() - started
        exceeded = "time" if done.timed_out else None
        return Ended(script.name, done.returncode, log, exceeded, seconds, output)


def limiter(limits: Limits) -> list[str]:
    """A command prefix that bounds memory and core files, where `prlimit` is installed."""
    if shutil.which("prlimit") is None:
        return []
    return ["prlimit", f"--as={limits.memory_bytes}", "--core=0"]


@functools.cache
def no_network() -> list[str]:
    """A command prefix that takes the network away; empty where the kernel does not allow it."""
    for prefix in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if shutil.which("unshare") is None:
            continue
        probe = process.run([*prefix, "true"], timeout_s=10, env=process.environment())
        if probe.ok:
            return prefix
    return []


def _output(folder: Path) -> dict[str, bytes]:
    """Regular files; `PermanentError` above the limit, as a part of them could mislead."""
    files, size = {}, 0
    if folder.is_symlink():
        return files
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            size += path.stat().st_size
            if size > OUTPUT_LIMIT:
                raise PermanentError(f"a script left more than {OUTPUT_LIMIT >> 20} MiB of output")
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files

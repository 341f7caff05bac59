"""Running other programs: scrubbed environment, wall-clock limit, whole process group killed.

Every subprocess of the project starts here. What a program's output means is for the caller.
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

#: What a child may know: where programs and certificates are, never a token.
_PASSED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
#: What is kept of a program's output unless the caller expects more, in bytes.
OUTPUT_LIMIT = 64 * 1024 * 1024
#: `ulimit` counts blocks of 512 bytes; old versions of bash, such as macOS's, of 1,024.
_BLOCK_BYTES = 512

_running: set[int] = set()
_running_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Completed:
    """How a program ended; `stdout` and `stderr` are bytes, cut at a limit (`truncated`)."""

    returncode: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool

    @property
    def ok(self) -> bool:
        return self.returncode == 0 and not self.timed_out

    @property
    def text(self) -> str:
        """Standard error, or standard output where that is empty, as text for a message."""
        return (self.stderr or self.stdout).decode("utf-8", "replace").strip()


def environment(**extra: str) -> dict[str, str]:
    """The environment a child gets: the allow-list above and `extra`, nothing else."""
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {**passed, **extra}


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes | None = None,
    output_limit: int = OUTPUT_LIMIT,
    file_limit: int | None = None,
    memory_limit: int | None = None,
) -> Completed:
    """Run `command` (no shell) to its end or to the limit; never raises for the program's failure.

    Output goes through files, so a chatty program costs disk, not memory, and a grandchild that
    keeps a pipe open cannot hold the caller. With `file_limit` (bytes, rounded up to whole blocks)
    whoever of the program and its children makes a file larger, its output too, dies of SIGXFSZ;
    with `memory_limit` (bytes, not on macOS) none of them gets more address space. `OSError` when
    the program cannot be started; with one of the two limits it ends with code 127 then.
    """
    limits = []
    if file_limit is not None:
        # SIGXFSZ dumps core where that is allowed.
        limits += ["ulimit -c 0", f"ulimit -f {-(-file_limit // _BLOCK_BYTES)}"]
    if memory_limit is not None:
        limits += [f"ulimit -v {memory_limit // 1024}"]
    if limits:
        script = "".join(f"{limit} 2>/dev/null; " for limit in limits) + 'exec "$0" "$@"'
        command = ["/bin/sh", "-c", script, *command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        with _running_lock:
            _running.add(child.pid)
        timed_out = False
        try:
            child.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
            _kill_session(child.pid)
        finally:
            _kill_group(child.pid)
            child.wait()
            with _running_lock:
                _running.discard(child.pid)
        texts, truncated = [], False
        for stream in (out, err):
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            truncated = truncated or size > output_limit
            texts.append(stream.read(output_limit))
    return Completed(child.returncode, texts[0], texts[1], timed_out, truncated)


def at_file_limit(size: int, file_limit: int) -> bool:
    """Whether a file of `size` bytes is what `run` left of one that was to become larger."""
    return any(0 <= size - n * file_limit < n * _BLOCK_BYTES for n in (1, 2))


def kill_all() -> None:
    """Kill every process group started here that still runs; for a second Ctrl-C."""
    with _running_lock:
        for pid in _running:
            _kill_session(pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _kill_session(pid: int) -> None:
    """Kill the group, and what made groups of its own in our session, as asv's benchmarks do."""
    _kill_group(pid)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            # After the name, which may hold anything: state, parent, group, session.
            if stat.read_bytes().rpartition(b")")[2].split()[3] == str(pid).encode():
                os.kill(int(stat.parent.name), signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process with this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

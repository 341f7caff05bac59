"""The process of a session: started in its jail, listened to line by line, ended at its limits."""

import collections
import contextlib
import json
import os
import queue
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from fc_resources.coding_agents.events import Events
from fc_resources.coding_agents.task import Ended, Task
from fc_resources.coding_agents.verifier import Verifier
from fc_resources.coding_agents.workspace import Workspace

#: Longer lines are cut: they are results of the agent's own tools, and not needed.
_LINE_BYTES = 1024 * 1024
#: Cut off a line that is too long: a secret that ends beyond it would not be recognized.
_CUT_BYTES = 8192
_WAITING_LINES = 64
#: The end of the output that is kept for the log, in characters before secrets are hidden.
_KEPT = 200_000
_LOOK_S = 0.25
#: How often the disk and what the tool keeps in its home are looked at.
_INSPECT_S = 2.0
_DISK_BYTES = 1024**3
#: Files that were removed while they are open are found nowhere, but the disk lacks their bytes.
_FREE_BYTES = 1024**3
#: For last words after the scripts have passed.
_GRACE_S = 20.0
#: Killed processes are gone in milliseconds, unless the machine is short of memory.
_GONE_S = 30.0


class Driver:
    """Runs one process, until `stop` is set at the latest.

    Attributes:
        events: What was read.
    """

    def __init__(
        self,
        events: Events,
        place: Workspace,
        task: Task,
        verifier: Verifier,
        stop: threading.Event,
    ) -> None:
        self.events = events
        self._place, self._task, self._verifier, self._stop = place, task, verifier, stop
        #: Why the session was ended from outside; the last line that was no event, for a tool that
        #: failed before its first.
        self._why = self._last_line = ""
        self._passed_at: float | None = None
        self._lines: queue.Queue[tuple[str, str] | None] = queue.Queue(_WAITING_LINES)
        self._kept: collections.deque[str] = collections.deque()
        self._kept_chars = 0
        self._inspected = time.monotonic()
        self._open = 0

    @property
    def log(self) -> str:
        return "\n".join(self._kept)

    @property
    def message(self) -> str:
        """Why it was ended, else what the tool said last."""
        return self._why or self.events.message or self._last_line

    def run(self, command: Sequence[str], env: Mapping[str, str]) -> Ended:
        """Run `command`, a line of `jail.command`, until it ends or has to."""
        until = time.monotonic() + self._task.timeout_s
        # bubblewrap tells the number of the first process inside; with it all of the jail ends.
        reading, telling = os.pipe()
        wrapped = next(n for n, part in enumerate(command) if Path(part).name == "bwrap")
        split = command.index("--", wrapped)
        command = [*command[:split], "--json-status-fd", str(telling), *command[split:]]
        with (
            os.fdopen(reading, "rb") as status,
            os.fdopen(telling, "wb") as told,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(env),
                start_new_session=True,
                pass_fds=[telling],
            ) as child,
        ):
            told.close()
            inside = None
            try:
                inside = _inside(status)
                ended = self._listen(child, until)
            finally:
                _kill(child, inside)
                self._drain()
        self._look()
        return self._verdict(ended, child.returncode)

    def _listen(self, child: "subprocess.Popen[bytes]", until: float) -> Ended | None:
        """Read until the end of the output and of the process; why it has to end before, else."""
        for name, stream in (("out", child.stdout), ("err", child.stderr)):
            assert stream is not None, "a pipe"
            threading.Thread(target=self._read, args=(name, stream), daemon=True).start()
            self._open += 1
        while self._open or child.poll() is None:
            self._take(_LOOK_S)
            if ended := self._over(until):
                return ended
        return None

    def _over(self, until: float) -> Ended | None:
        events, now = self.events, time.monotonic()
        if now > self._inspected + _INSPECT_S:
            self._inspected = now
            self._look()
            if why := self._disk():
                self._why = why
                return "failed"
        if self._verifier.failed.is_set():
            return "failed"
        if self._stop.is_set():
            self._why = "stopped"
            return "stopped"
        if events.ended is not None and events.is_over():
            return events.ended
        if self._verifier.passed.is_set():
            self._passed_at = self._passed_at or now
            if now > self._passed_at + _GRACE_S:
                return "finished"
        if events.input_tokens + events.output_tokens > self._task.max_tokens:
            return "token_limit"
        return "timed_out" if now > until else None

    def _disk(self) -> str | None:
        if self._place.takes_more_than(_DISK_BYTES):
            return f"it took more than {_DISK_BYTES >> 20} MiB of disk"
        if shutil.disk_usage(self._place.place).free < _FREE_BYTES:
            return f"the disk has less than {_FREE_BYTES >> 20} MiB left"
        return None

    def _look(self) -> None:
        # What the agent wrote there may be of any shape.
        with contextlib.suppress(OSError, ValueError, OverflowError, RecursionError):
            self.events.look(self._place.place / "home")

    def _verdict(self, ended: Ended | None, returncode: int) -> Ended:
        """What to make of how it ended: `ended` if it had to, else by itself."""
        events = self.events
        if ended not in (None, "timed_out"):
            return ended
        if ended is None:
            if events.succeeded and not returncode:
                return "finished"
            ended = "failed" if events.failed or returncode else "finished"
        elif not events.is_idle:
            return ended
        if events.ended is not None:
            return events.ended
        is_unasked = ended != "finished" and not events.output_tokens and not events.tool_calls
        return "unreachable" if is_unasked else ended

    def _read(self, name: str, stream: IO[bytes]) -> None:
        """Pass lines on, each once and cut; None is the end of a stream."""
        whole = True
        try:
            while piece := stream.readline(_LINE_BYTES):
                begins, whole = whole, piece.endswith(b"\n")
                if begins:
                    line = piece if len(piece) < _LINE_BYTES else piece[:-_CUT_BYTES]
                    self._lines.put((name, line.decode("utf-8", "replace").rstrip("\n")))
        except (OSError, ValueError):
            pass  # closed, because the process would not go
        self._lines.put(None)

    def _take(self, timeout_s: float) -> None:
        try:
            found = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return
        if found is None:
            self._open -= 1
            return
        name, line = found
        self._kept.append(line)
        self._kept_chars += len(line) + 1
        while self._kept_chars > _KEPT and len(self._kept) > 1:
            self._kept_chars -= len(self._kept.popleft()) + 1
        if name == "err":
            self.events.stderr(line)
        else:
            self.events.line(line)
        if line.strip() and not line.startswith("{"):
            self._last_line = line

    def _drain(self) -> None:
        """Read what is left when the process is gone."""
        until = time.monotonic() + _GONE_S
        while self._open and time.monotonic() < until:
            self._take(_LOOK_S)


def _inside(status: IO[bytes]) -> int | None:
    """A descriptor of the first process in the jail; None if it did not come to that."""
    try:
        return os.pidfd_open(json.loads(status.readline())["child-pid"])
    except (ValueError, KeyError, OSError):
        return None


def _kill(child: "subprocess.Popen[bytes]", inside: int | None) -> None:
    """End the jail, and wait until none of its processes is left to write into the workspace."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if inside is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(inside, signal.SIGKILL)
        # Readable once it is gone, and the first process of a namespace is the last that goes.
        gone = select.poll()
        gone.register(inside, select.POLLIN)
        gone.poll(_GONE_S * 1000)
        os.close(inside)
    child.wait()

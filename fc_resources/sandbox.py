"""What it means to run a script on somebody's code: inputs, limits, how it ended.

The two ways to do it are `docker` and `process_sandbox`; what the scripts do is the caller's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal, Protocol

#: Which limit a script met.
Exceeded = Literal["time", "disk", "memory"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of one script: wall clock in seconds, memory such as `4g`, CPUs, processes, disk.

    The disk is what a script adds to the files of its container, in the sizes that `ls` shows;
    the process sandbox, which is for trusted code, does not limit it.
    """

    timeout_s: float
    memory: str = "4g"
    cpus: float = 2
    pids: int = 1024
    disk: str = "20g"

    @property
    def memory_bytes(self) -> int:
        return _bytes(self.memory)

    @property
    def disk_bytes(self) -> int:
        return _bytes(self.disk)


@dataclasses.dataclass(frozen=True)
class Script:
    """A shell script with its variables and the files it finds in `$FC_INPUT`."""

    name: str
    content: str
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a script ended: `log` is the end of its output, `output` the files of `$FC_OUTPUT`.

    `exceeded` is the limit it failed at; None also where that was not noticed.
    """

    name: str
    returncode: int
    log: str
    exceeded: Exceeded | None
    seconds: float
    output: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.returncode == 0 and self.exceeded is None

    @property
    def timed_out(self) -> bool:
        return self.exceeded == "time"

    @property
    def how(self) -> str:
        """How it ended, in a few words."""
        if self.exceeded is None:
            return f"exit code {self.returncode} after {self.seconds:.1f} s"
        limit = "" if self.timed_out else f", at the limit of {self.exceeded}"
        return f"killed after {self.seconds:.0f} s{limit}"


class Workspace(Protocol):
    """A prepared place in which scripts run one after the other."""

    @property
    def image(self) -> str | None:
        """The image, where there is one."""
        ...

    @property
    def root(self) -> str:
        """The folder with the checkout and the environment, as scripts see it."""
        ...

    def run(self, script: Script, limits: Limits) -> Ended:
        """Run a check: no network; what it changes does not outlast it in a container."""
        ...


def _bytes(size: str) -> int:
    return int(size[:-1]) << {"k": 10, "m": 20, "g": 30}[size[-1]]


#: The end of a log that is kept, in characters.
LOG_LIMIT = 20_000
#: The most that `$FC_OUTPUT` may hold, in bytes.
OUTPUT_LIMIT = 64 * 1024 * 1024

"""What more than one benchmark needs: offline pull requests, `fc-data` as a process, the machine.

What is measured and how it is reported is each benchmark's.
"""

import dataclasses
import datetime
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

_COMMIT = pa.struct([("sha", pa.string())])
OFFLINE = pa.schema(
    {
        "repo_name": pa.string(),
        "pr_number": pa.int64(),
        "pr_title": pa.string(),
        "pr_body": pa.string(),
        "original_patch": pa.string(),
        "file_change_summary": pa.string(),
        "pr_state": pa.string(),
        "pr_created_at": pa.string(),
        "pr_merged_at": pa.string(),
        "pr_closed_at": pa.string(),
        "pr_merge_commit_sha": pa.string(),
        "pr_base": _COMMIT,
        "pr_head": _COMMIT,
        "pr_labels": pa.list_(pa.struct([("name", pa.string())])),
    }
)


@dataclasses.dataclass(frozen=True)
class Ended:
    """A process that succeeded: wall time, CPU time with its children's, most memory.

    `largest_mib` is that of the process or of the largest one it ran. CPU time hardly changes on
    a busy machine, wall time does.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    largest_mib: float


def pull_request(
    repository: str, number: int, merged_at: datetime.datetime, title: str, body: str, patch: str
) -> dict[str, Any]:
    """A row of an offline source that brings its diff, so that no git is asked."""
    moment = merged_at.isoformat()
    return {
        "repo_name": repository,
        "pr_number": number,
        "pr_title": title,
        "pr_body": body,
        "original_patch": patch,
        "file_change_summary": "| File | Lines Added | Lines Removed | Total Changes |\n"
        "|---|---|---|---|\n| src/module.py | 40 | 20 | 60 |\n",
        "pr_state": "closed",
        "pr_created_at": moment,
        "pr_merged_at": moment,
        "pr_closed_at": moment,
        "pr_merge_commit_sha": f"{number:040x}",
        "pr_base": {"sha": f"{number + (1 << 100):040x}"},
        "pr_head": {"sha": f"{number + (1 << 101):040x}"},
        "pr_labels": [],
    }


def fc_data(home: Path, *arguments: str) -> Ended:
    """`fc-data` as a user starts it, on a home of its own and without settings from outside."""
    ours = environment(home.parent.parent, FC_HOME=str(home))
    return timed(command(*arguments), home.parent, ours)


def command(*arguments: str) -> list[str]:
    """The `fc-data` command of this environment."""
    return [str(Path(sys.executable).with_name("fc-data")), *arguments]


def environment(bytecode: Path, **given: str) -> dict[str, str]:
    """The environment without settings of this project, and bytecode kept below `bytecode`.

    Some machines forbid Python to write bytecode; every start would then compile each module.
    """
    ours = ("FC_", "DAGSTER_", "DSPY_", "PYTHONDONTWRITEBYTECODE")
    ours += ("GH_TOKENS", "PORTKEY_API_KEY", "ANTHROPIC_API_KEY")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return inherited | {"PYTHONPYCACHEPREFIX": str(bytecode / "bytecode")} | given


def timed(started_as: Sequence[str], folder: Path, environment: dict[str, str]) -> Ended:
    """Run a command to its end; raises `RuntimeError` with its output when it fails."""
    with (folder / "output.log").open("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            started_as, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        # What the kernel sums up at the end counts programs that it ran, such as git, as well.
        own = 0.0
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            own = max(own, _peak_mib(process.pid))
            time.sleep(0.02)
        _, status, usage = ended
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(started_as)} failed: {output.read()[-4000:]}")
    return Ended(seconds, usage.ru_utime + usage.ru_stime, own, usage.ru_maxrss / 1024)


def _peak_mib(pid: int) -> float:
    """Most memory a process had so far; none is told of one that has just ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def machine() -> str:
    """One line for the report: what it ran on, when, and how busy the machine was before."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.date.today()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f} at the start"
    )


def spread(seconds: Sequence[float]) -> str:
    """The median and, in parentheses, the extremes."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"

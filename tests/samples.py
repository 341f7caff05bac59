"""Inputs for tests: offline sources of invented pull requests, and homes that hold the sample."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fc_assets import sample
from fc_resources.warehouse import Warehouse

_SHA = pa.struct([("sha", pa.string())])
SCHEMA = pa.schema(
    [
        ("repo_name", pa.string()),
        ("pr_number", pa.int64()),
        ("pr_title", pa.string()),
        ("pr_body", pa.string()),
        ("original_patch", pa.string()),
        ("file_change_summary", pa.string()),
        ("pr_state", pa.string()),
        ("pr_created_at", pa.string()),
        ("pr_merged_at", pa.string()),
        ("pr_closed_at", pa.string()),
        ("pr_merge_commit_sha", pa.string()),
        ("pr_base", _SHA),
        ("pr_head", _SHA),
        ("pr_labels", pa.list_(pa.struct([("name", pa.string())]))),
    ]
)


def pull_request(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of an offline source that brings its patch along, merged in January 2026."""
    return {
        "repo_name": "o/r",
        "pr_number": number,
        "pr_title": f"perf: make step {number} faster",
        "pr_body": "",
        "original_patch": "--- a/r/core.py\n+++ b/r/core.py\n@@ -1 +1 @@\n-slow = 1\n+fast = 1\n",
        "file_change_summary": "| r/core.py | 1 | 1 | 2 |",
        "pr_state": "closed",
        "pr_created_at": "2025-12-30T12:00:00+00:00",
        "pr_merged_at": "2026-01-15T12:00:00+00:00",
        "pr_closed_at": "2026-01-15T12:00:00+00:00",
        "pr_merge_commit_sha": f"{number:040x}",
        "pr_base": {"sha": "b" * 40},
        "pr_head": {"sha": "c" * 40},
        "pr_labels": [{"name": "perf"}],
        **changes,
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """An offline source with these rows."""
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return path


def home_with_sample(home: Path) -> Path:
    """A home whose default offline source is the sample."""
    home.mkdir(parents=True)
    sample.unpack(home / "offline")
    return home


def command(*arguments: object) -> list[str]:
    """The `fc-data` command of this environment."""
    return [str(Path(sys.executable).with_name("fc-data")), *map(str, arguments)]


def environment(home: Path, **extra: str) -> dict[str, str]:
    """The environment of a command on a home; without Docker unless a test says otherwise."""
    return {
        **os.environ,
        "FC_HOME": str(home),
        "FC_PYTHON_VERSIONS": f"{sys.version_info.major}.{sys.version_info.minor}",
        "DOCKER_HOST": "unix:///nonexistent/docker.sock",
        "COLUMNS": "160",
        **extra,
    }


def fc_data(home: Path, *arguments: object, **extra: str) -> "subprocess.CompletedProcess[str]":
    """Run `fc-data` to its end as a process of its own."""
    return subprocess.run(
        command(*arguments),
        env=environment(home, **extra),
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=600,
    )


def files_with(text: str, folder: Path) -> list[str]:
    """Files below a folder that hold a text.

    Searched by another process: one that closes a file loses its locks on it, those of an open
    SQLite connection too, and then others may write where it still reads.
    """
    found = subprocess.run(
        ["grep", "--recursive", "--fixed-strings", "--files-with-matches", "-e", text, folder],
        capture_output=True,
        text=True,
    )
    assert found.returncode in (0, 1), found.stderr
    return found.stdout.splitlines()


def tables(home: Path, leave_out: tuple[str, ...] = ()) -> dict[str, list[dict[str, Any]]]:
    """Every table of a home, rows in a fixed order, without columns that differ by nature."""
    warehouse = Warehouse(home / "warehouse.duckdb")
    found = {}
    for name, months in warehouse.tables().items():
        rows = [row for batch in warehouse.read(name, list(months)) for row in batch.to_pylist()]
        kept = [{k: v for k, v in row.items() if k not in leave_out} for row in rows]
        found[name] = sorted(kept, key=repr)
    return found

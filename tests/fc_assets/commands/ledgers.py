"""Ledgers for tests of commands, written as runs write them, without running anything."""

import datetime
from pathlib import Path
from typing import Any

from fc_resources.ledger import Failure, Ledger, Progress, Result, Usage

JANUARY, FEBRUARY = datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)


def ledger(home: Path) -> Ledger:
    """The ledger of a home, which need not exist."""
    return Ledger(f"sqlite:///{home / 'ledger.sqlite'}")


def progress(state: str = "written", run_id: str = "run", **counts: Any) -> Progress:
    """Where a month stands; counts are 0 unless given."""
    names = ("total", "done", "skipped", "failed", "unknown", "seconds")
    return Progress(state, run_id, **{name: counts.get(name, 0) for name in names}, inputs={})


def failure(item: str, error: str, kind: str = "transient") -> Failure:
    return Failure(item, kind, error, f"Traceback of {item}")


def result(item: str) -> Result:
    return Result(item, "digest", "result", 1, None)


def usage(dollars: float | None = 0.5) -> Usage:
    """What an answer of 1,000 tokens in, 100 of them cached, and 10 out took."""
    return Usage(1_000, 100, 10, dollars, 1.0)

"""Reading what a benchmark run left behind: written by code under test, so never believed."""

import json
from typing import Any

import pytest

from fc_assets import causes
from fc_assets.candidate_containers import checks, stock
from fc_resources.errors import PermanentError


def _output(
    results: Any, columns: Any = ("result", "params"), kinds: Any = None
) -> dict[str, bytes]:
    declared = {
        "bench.time_a": {"unit": "seconds"},
        "bench.track_b": {"unit": "unit"},
        "version": 2,
    }
    content = {"result_columns": columns, "results": results}
    return {
        "results/benchmarks.json": json.dumps(kinds or declared).encode(),
        "results/container/machine.json": b"{}",
        "results/container/abc-existing.json": json.dumps(content).encode(),
    }


def test_a_finite_time_counts() -> None:
    assert checks.finite_times(_output({"bench.time_a": [[0.25], []]})) == {"bench.time_a": 0.25}


def test_parameters_count_one_by_one() -> None:
    found = checks.finite_times(_output({"bench.time_a": [[0.25, None, 0.5], [["1", "2", "3"]]]}))
    assert found == {"bench.time_a[0]": 0.25, "bench.time_a[2]": 0.5}


@pytest.mark.parametrize(
    "results",
    [
        {},
        {"bench.time_a": None},
        {"bench.time_a": [None]},
        {"bench.time_a": []},
        {"bench.time_a": [[None]]},
        {"bench.time_a": [[float("nan")]]},
        {"bench.time_a": [[float("inf")]]},
        {"bench.time_a": [[0.0]]},
        {"bench.time_a": [[-1.0]]},
        {"bench.time_a": [[True]]},
        {"bench.time_a": [["0.1"]]},
        {"bench.time_a": [{"0": 1.0}]},
        {"bench.time_a": 0.1},
        {"bench.track_b": [[3.0]]},
        {"bench.time_unknown": [[0.1]]},
        [["bench.time_a", 0.1]],
        None,
    ],
)
def test_anything_else_is_no_time(results: Any) -> None:
    assert checks.finite_times(_output(results)) == {}


@pytest.mark.parametrize(
    "output",
    [
        {},
        {"results/benchmarks.json": b"\xff\xfe"},
        {"results/benchmarks.json": b"[]"},
        {"results/benchmarks.json": b"[" * 100_000},
        {"verified": b"true", "results/container/x.json": b'{"results": {}}'},
    ],
)
def test_forged_or_broken_files_are_no_times(output: dict[str, bytes]) -> None:
    assert checks.finite_times(output) == {}


def test_result_columns_that_do_not_name_a_result_are_no_times() -> None:
    assert checks.finite_times(_output({"bench.time_a": [[0.1]]}, columns=None)) == {}
    assert checks.finite_times(_output({"bench.time_a": [[0.1]]}, columns=["params"])) == {}


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("gcc -c a.c\na.c:1: fatal error: Python.h: No such file\nerror: gcc failed", "Python.h"),
        ("Traceback\n  File x\nModuleNotFoundError: No module named 'six'\ndone", "'six'"),
        ("E: Unable to locate package libfoo-dev\nbye", "libfoo-dev"),
        ("all fine\nreally", "really"),
        ("", "no output"),
    ],
)
def test_the_cause_is_the_line_that_names_what_is_missing(log: str, line: str) -> None:
    assert line in causes.cause(log)


@pytest.mark.parametrize(
    ("log", "outage"),
    [
        ("Err: Temporary failure resolving 'deb'", True),
        ("error: error sending request for url", True),
        ("OSError: [Errno 28] No space left on device", True),
        ("[Errno -2] Name or service not known", True),
        ("ReadTimeoutError: Read timed out.", True),
        ("error: HTTP error 503 for url", True),
        ("error: command gcc failed", False),
        ("", False),
    ],
)
def test_outages_are_told_from_faults(log: str, outage: bool) -> None:
    assert (causes.outage(log) is not None) is outage


@pytest.mark.parametrize(
    ("files", "root", "name", "first"),
    [
        (["pkg/__init__.py", "tests/__init__.py"], ".", "pkg", "pkg"),
        (["src/my_pkg/__init__.py", "src/aaa/__init__.py"], ".", "My-Pkg", "my_pkg"),
        (["python/pkg/__init__.py", "other/__init__.py"], "python", None, "pkg"),
        (["b/__init__.py", "a/__init__.py"], ".", "unrelated", "a"),
    ],
)
def test_the_module_named_like_the_project_is_imported(
    files: list[str], root: str, name: str | None, first: str
) -> None:
    assert stock.import_names(files, root, name)[0] == first


def test_nothing_to_import_is_permanent() -> None:
    with pytest.raises(PermanentError, match="no importable package"):
        stock.import_names(["setup.py", "tests/__init__.py"], ".", "x")

"""`fc-data explain` as a process, on a copy of the project whose code is changed between runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fc_assets
from tests import samples

_PROJECT = Path(fc_assets.__file__).parent.parent
_JANUARY = ("--start-date", "2026-01-01", "--end-date", "2026-02-01")
_STAGES = ("--stage", 1, "--stage", 2, "--stage", 3)
_RULES = "fc_assets/pr_classifications/rules.py"


class _Copy:
    """The project somewhere else, and a home that the sample's January was made in by it."""

    def __init__(self, folder: Path) -> None:
        self.code, self.home = folder / "code", folder / "home"
        for name in ("fc_assets", "fc_resources", "fc_sensors"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(_PROJECT / name, self.code / name, ignore=ignored)
        shutil.copy(_PROJECT / "dagster.yaml", self.code)
        # Its path is part of what a month is made from, and the same for copies of the home.
        self.source = folder / "offline"
        samples.sample.unpack(self.source)

    def run(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "fc_assets.cli", *map(str, arguments)]
        own = {"PYTHONPATH": str(self.code), "FC_OFFLINE_SOURCE": str(self.source)}
        return subprocess.run(
            command,
            env=samples.environment(self.home, **own),
            cwd=self.code,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def made(self, *arguments: object) -> None:
        done = self.run(*_JANUARY, *_STAGES, *arguments)
        assert done.returncode == 0, done.stderr

    def explain(self, *arguments: object) -> dict[str, list[dict[str, Any]]]:
        done = self.run("explain", *_STAGES, "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def change(self, name: str, old: str, new: str) -> None:
        path = self.code / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> _Copy:
    copy = _Copy(tmp_path_factory.mktemp("made"))
    copy.made()
    return copy


@pytest.fixture
def copy(made: _Copy, tmp_path: Path) -> _Copy:
    """The same for a test of its own."""
    own = object.__new__(_Copy)
    own.code = shutil.copytree(made.code, tmp_path / "code")
    own.home = shutil.copytree(made.home, tmp_path / "home")
    own.source = made.source
    return own


def _reasons(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    return {row["table"]: [r["kind"] for r in row["reasons"]] for row in found["months"]}


def test_a_changed_helper_is_named_and_makes_the_cheap_month_anew(copy: _Copy) -> None:
    copy.change(_RULES, '"no evidence"', '"no evidence at all"')
    found = copy.explain("--items")
    assert _reasons(found) == {
        "repositories": [],
        "pull_requests": [],
        "pr_classifications": ["changed code"],
    }
    name = "fc_assets.pr_classifications.rules.classify"
    assert found["months"][2]["changed"] == [name]
    assert {item["what"] for item in found["items"]} == {f"changed code: {name}"}
    assert len(found["items"]) == 9
    before = samples.tables(copy.home)
    shown = copy.run(*_JANUARY, *_STAGES, "--dry-run").stdout
    assert shown.count("nothing") == 2
    assert name in shown
    copy.made("--resume")
    after = samples.tables(copy.home)
    assert after["pull_requests"] == before["pull_requests"]
    said = {row["reasoning"] for row in after["pr_classifications"]}
    assert "no evidence at all" in said
    assert "no evidence at all" not in {r["reasoning"] for r in before["pr_classifications"]}
    assert set(map(tuple, _reasons(copy.explain()).values())) == {()}


def test_a_comment_or_another_layout_changes_nothing(copy: _Copy) -> None:
    copy.change(_RULES, "    score = sum(", "    # A comment.\n    score = sum(\n        ")
    assert set(map(tuple, _reasons(copy.explain()).values())) == {()}


def test_a_changed_table_of_rules_is_named(copy: _Copy) -> None:
    path = copy.code / "fc_assets/pr_classifications/rules.toml"
    path.write_text(path.read_text() + "\n")
    changed = copy.explain()["months"][2]["changed"]
    assert changed == ["fc_assets/pr_classifications/rules.toml"]


def test_a_changed_parameter_and_what_follows_are_told(copy: _Copy) -> None:
    found = copy.explain("--min-stars", 7)
    assert [row["says"] for row in found["months"]] == [
        "changed: min_stars 500 → 7",
        "after repositories",
        "after pull_requests",
    ]


def test_a_changed_pull_request_is_told_as_new_input(copy: _Copy) -> None:
    rows = samples.sample.load("pull_requests")
    title = next(r["pr_title"] for r in rows if r["pr_number"] == 7)
    rows = [r | {"pr_title": title + "!"} if r["pr_number"] == 7 else r for r in rows]
    copy.source = shutil.copytree(copy.source, copy.home / "offline")
    samples.write(copy.source / "pull_requests.parquet", rows)
    assert _reasons(copy.explain())["pull_requests"] == ["changed parameter"]
    done = copy.run(*_JANUARY, "--stage", 1, "--stage", 2, "--resume")
    assert done.returncode == 0, done.stderr
    found = copy.explain("--stage", 3, "--items")
    assert _reasons(found)["pr_classifications"] == ["new input"]
    assert [(item["item"], item["why"]) for item in found["items"]] == [
        ("formulacode/wordmill#7", "new input")
    ]


def test_items_of_stages_that_never_ran_are_known_from_the_warehouse(made: _Copy) -> None:
    done = made.run("explain", "--stage", 4, "--stage", 5, "--stage", 7, "--items", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(row["table"], row["runs"]) for row in found["months"]] == [
        ("packages", True),
        ("candidate_prs", True),
        ("formulacode", False),
    ]
    items = {item["item"]: item["why"] for item in found["items"]}
    numbers = {key.rpartition("#")[2] for key in items if "#" in key}
    assert (numbers, set(items.values())) == ({"7", "11", "15", "26"}, {"never run"})
    assert len([key for key in items if "@" in key]) == 4


def test_a_person_sees_months_of_which_the_same_is_to_be_said_in_one_line(made: _Copy) -> None:
    months = ("--month", "2026-02", "--month", "2026-03", "--month", "2026-05")
    done = made.run("explain", "--stage", 1, "--month", "2026-01", *months, "--table")
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines() if "2026" in line]
    assert [" ".join(line[2].split()) for line in lines] == [
        "2026-01 no nothing",
        "2026-02 to 2026-03 yes never run",
        "2026-05 yes never run",
    ]


def test_it_makes_no_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = samples.fc_data(home, "explain")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fc-data: nothing has run yet; name months with --month\n"
    done = samples.fc_data(home, "explain", "--month", "2026-01", "--json", "--items")
    assert [row["says"] for row in json.loads(done.stdout)["months"]] == ["never run"] * 7
    assert not home.exists()

"""Which change of which source changes what, on a small package and on a copy of this project."""

import ast
import os
import re
import shutil
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fc_assets
from fc_assets import fingerprint
from fc_assets.fingerprint import Fingerprint, Kept, Sources
from fc_assets.tables import STAGES

_PROJECT = Path(fc_assets.__file__).parent.parent
_FILES = {
    "fc_assets/__init__.py": "",
    "fc_assets/one/__init__.py": "",
    "fc_assets/one/page.jinja": "{{ a }}",
    "fc_assets/one/unused.jinja": "more",
    "fc_assets/one/scripts/a.sh": "true",
    "fc_assets/one/asset.py": '''
        """The asset."""
        import functools
        from typing import Any, Literal

        import dagster as dg

        from fc_assets import work
        from fc_assets.one import helpers
        from fc_assets.one.helpers import Base, Table
        from fc_resources.tool import Tool

        _COLUMNS = ["a", "b"]
        Tools = list[Tool]
        NAMES = {"x": 1}
        NAMES["y"] = 2


        @dg.asset(ins={"a": _COLUMNS})
        def made(context, tool: "dg.ResourceParam[Tool]", limit: int = helpers.LIMIT) -> Table:
            """What it makes."""
            def closure(row):
                return helpers.clean(row)
            from fc_assets.one import lazy
            tool.run(lazy.answer)
            return functools.partial(closure, NAMES, work.digest)


        def unused():
            return helpers.unused()
    ''',
    "fc_assets/one/helpers.py": '''
        import importlib.resources
        import dataclasses

        LIMIT = 5
        TEMPLATE = "page.jinja"


        def clean(row):
            strip = row.strip  # a name of its own, not the function below
            return [strip(text) for text in row if text or deeper(row)]


        def strip(text):
            return text


        def deeper(row):
            return importlib.resources.files(__package__).joinpath(TEMPLATE).read_text()


        def unused():
            return None


        class Base:
            def inherited(self):
                return 1


        @dataclasses.dataclass
        class Table(Base):
            """A table."""
            name: str
            size: int = 0

            def __post_init__(self):
                self.checked = True
    ''',
    "fc_assets/one/lazy.py": "def answer():\n    return 42\n\n\ndef other():\n    return 43\n",
    "fc_assets/work.py": "def digest():\n    return 1\n",
    "fc_resources/__init__.py": "",
    "fc_resources/tool.py": """
        class Tool:
            url: str = "here"

            def run(self, what):
                return self._run(what)

            def _run(self, what):
                return what

            def never(self):
                return None
    """,
}


def _project(root: Path) -> Path:
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    return root


def _changed(root: Path, name: str, old: str, new: str) -> list[str]:
    """What differs after a text was replaced once in a file of a project, which is put back."""
    before = Sources(root).of("fc_assets.one.asset")
    path = root / name
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    after = Sources(root).of("fc_assets.one.asset")
    path.write_text(text)
    changes = after.changes(before.version, before.definitions)
    assert bool(changes) == (after.version != before.version)
    return changes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _project(tmp_path_factory.mktemp("project"))


_ASSET, _HELPERS = "fc_assets/one/asset.py", "fc_assets/one/helpers.py"


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        (_ASSET, "functools.partial(closure", "functools.partial(None", ["asset.made"]),
        (_ASSET, "helpers.clean(row)", "helpers.clean(0)", ["asset.made"]),  # the closure
        (_ASSET, '["a", "b"]', '["a", "c"]', ["asset._COLUMNS"]),  # named by the decorator
        (_ASSET, '@dg.asset(ins={"a"', '@dg.asset(ins={"b"', ["asset.made"]),
        (_ASSET, 'NAMES["y"] = 2', 'NAMES["y"] = 3', ["asset.NAMES"]),
        (_HELPERS, "LIMIT = 5", "LIMIT = 6", ["helpers.LIMIT"]),  # named by a default
        (_HELPERS, "if text or", "if row or", ["helpers.clean"]),
        (_HELPERS, "joinpath(TEMPLATE)", "joinpath(TEMPLATE.lower())", ["helpers.deeper"]),
        (_HELPERS, "self.checked = True", "self.checked = 1", ["helpers.Table.__post_init__"]),
        (_HELPERS, "size: int = 0", "size: int = 1", ["helpers.Table"]),
        ("fc_assets/one/lazy.py", "42", "44", ["lazy.answer"]),  # imported by the function
        ("fc_resources/tool.py", "self._run(what)", "self._run(1)", ["tool.Tool.run"]),
        ("fc_resources/tool.py", "return what", "return 1", ["tool.Tool._run"]),
        ("fc_resources/tool.py", '"here"', '"there"', ["tool.Tool"]),
        ("fc_assets/one/page.jinja", "a", "b", ["one/page.jinja"]),
    ],
)
def test_what_the_asset_uses_changes_it_and_is_named(
    root: Path, name: str, old: str, new: str, changed: list[str]
) -> None:
    found = [
        re.sub(r"^fc_assets/|^fc_\w+\.(one\.)?", "", n) for n in _changed(root, name, old, new)
    ]
    assert found == changed


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (_ASSET, '"""What it makes."""', '"""What it does."""'),
        (_ASSET, '"""The asset."""', "# The asset."),
        (_ASSET, "-> Table:", "-> 'Table | None':"),
        (_ASSET, "limit: int =", "limit: int | None ="),
        (_ASSET, "return helpers.unused()", "return 2"),
        (_ASSET, "Tools = list[Tool]", "Tools = set[Tool]"),
        (_HELPERS, "    return text\n", "    return 2\n"),  # `strip` there is a local name
        (_HELPERS, "return None", "return 2"),
        (_HELPERS, "return 1", "return 2"),  # nobody names the method
        (_HELPERS, "name: str\n", "name: str | None\n"),
        (_HELPERS, '"""A table."""', '"""The table."""'),
        ("fc_assets/one/lazy.py", "43", "44"),
        ("fc_assets/one/lazy.py", "def other", "# more\n\n\ndef other"),
        ("fc_assets/work.py", "return 1", "return 2"),  # it carries rows
        ("fc_resources/tool.py", "return None", "return 2"),
    ],
)
def test_what_it_does_not_use_or_what_means_the_same_changes_nothing(
    root: Path, name: str, old: str, new: str
) -> None:
    assert _changed(root, name, old, new) == []


def test_a_file_that_nobody_names_changes_nothing(root: Path) -> None:
    assert _changed(root, "fc_assets/one/unused.jinja", "more", "less") == []


def test_where_no_file_is_named_all_beside_the_module_count(tmp_path: Path) -> None:
    path = _project(tmp_path) / _HELPERS
    path.write_text(path.read_text().replace('"page.jinja"', "computed()"))
    assert _changed(tmp_path, "fc_assets/one/unused.jinja", "more", "less")


def test_other_ways_to_make_a_version_cannot_be_compared() -> None:
    found = Fingerprint("1-ab", {"f": "1"})
    assert found.changes("1-cd", {"f": "2"}) == ["f"]
    assert found.changes("0-cd", {"f": "2"}) == []


def _blank_lines(text: str, draw: "st.DataObject") -> str:
    """Comments and empty lines where a statement may begin."""
    lines = text.splitlines()
    starts = {node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)}
    for number in sorted(starts, reverse=True):
        added = draw.draw(st.sampled_from(["", "# a comment", "\n\n", "  # indented"]))
        if added and not lines[number - 2].rstrip().endswith("\\"):
            before = number - 1
            while before and lines[before - 1].lstrip().startswith("@"):
                before -= 1
            lines.insert(before, added)
    return "\n".join(lines) + draw.draw(st.sampled_from(["", "\n", "\n\n# the end\n"]))


@settings(deadline=None, max_examples=40)
@given(data=st.data(), style=st.sampled_from(["comments", "unparsed"]))
def test_formatting_and_comments_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, style: str
) -> None:
    """On real modules, written again by Python itself or with comments strewn in."""
    folders = (_PROJECT / name for name in ("fc_assets", "fc_resources"))
    paths = sorted(path for folder in folders for path in folder.rglob("[a-z]*.py"))
    path = data.draw(st.sampled_from(paths))
    module = ".".join(path.relative_to(_PROJECT).with_suffix("").parts)
    root = tmp_path_factory.mktemp("copy")
    copied = root / path.relative_to(_PROJECT)
    copied.parent.mkdir(parents=True)
    text = path.read_text()
    written = ast.unparse(ast.parse(text)) if style == "unparsed" else _blank_lines(text, data)
    copied.write_text(written)
    assert _digests(root, module) == _digests(_PROJECT, module)


def _digests(root: Path, module: str) -> dict[str, str]:
    found = Sources(root).module(module)
    assert found is not None
    definitions = [*found.definitions.values()]
    definitions += [method for d in found.definitions.values() for method in d.methods]
    return {definition.name: definition.reading.digest for definition in definitions}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for name in ("fc_assets", "fc_resources", "fc_sensors"):
        ignored = shutil.ignore_patterns("__pycache__", "sample")
        shutil.copytree(_PROJECT / name, root / name, ignore=ignored)
    return root


def _versions(root: Path) -> dict[str, str]:
    sources = Sources(root)
    names = [table.name for table in STAGES.values()]
    return {name: sources.of(f"fc_assets.{name}.asset").version for name in names}


@pytest.mark.parametrize(
    ("name", "old", "new", "tables"),
    [
        ("fc_assets/packages/pinning.py", "def _why(", "def _whence(", {"packages"}),
        (
            "fc_assets/candidate_prs/statement.md.jinja",
            "{",
            "- {",
            {"candidate_prs"},
        ),
        ("fc_assets/pr_classifications/rules.toml", "weight", "# weight", {"pr_classifications"}),
        ("fc_assets/candidate_containers/TASK.md", "\n", "\n\n", {"candidate_containers"}),
        ("fc_assets/work.py", "_ATTEMPTS = 3", "_ATTEMPTS = 4", set()),
        ("fc_resources/settings.py", '"4g"', '"5g"', set()),
        (
            "fc_assets/pr_classifications/model.py",
            "Decide whether",
            "Say whether",  # the docstring of a signature is what the model is told
            {"pr_classifications"},
        ),
        ("fc_resources/coding_agents/claude.py", "--verbose", "--quiet", {"candidate_containers"}),
    ],
)
def test_a_change_of_this_project_changes_just_those_who_use_it(
    copy: Path, name: str, old: str, new: str, tables: set[str]
) -> None:
    before, path = _versions(copy), copy / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    after = _versions(copy)
    path.write_text(text)
    assert {table for table in after if after[table] != before[table]} == tables


def test_the_same_sources_have_the_same_versions_wherever_they_are(
    copy: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(copy, tmp_path / "other")
    assert _versions(other) == _versions(copy)


def test_what_carries_rows_is_there_and_in_no_fingerprint() -> None:
    for name in (*fingerprint.CARRIERS, *fingerprint.CHOICES):
        assert _PROJECT.joinpath(*name.split(".")).with_suffix(".py").is_file()
        for table in STAGES.values():
            found = fingerprint.of(table.name).definitions
            assert not [other for other in found if other.startswith(f"{name}.")]


def test_fingerprints_are_found_once_for_files_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    entry, root = "fc_assets.one.asset", _project(tmp_path)
    fresh = Sources(root).of(entry)
    assert Kept(root).of(entry) == fresh
    [kept] = (root / "fc_assets" / "__pycache__").iterdir()
    assert Kept(root).of(entry) == fresh
    kept.write_text(kept.read_text().replace(fresh.version, "as kept"))
    assert Kept(root).of(entry).version == "as kept"
    page = root / "fc_assets" / "one" / "page.jinja"
    for change in (lambda: os.utime(page), lambda: kept.write_text("{"), kept.unlink):
        change()
        assert Kept(root).of(entry) == fresh
        assert kept.is_file()
    page.write_text("{{ other }}")
    assert Kept(root).of(entry) == Sources(root).of(entry) != fresh


def test_where_nothing_can_be_kept_fingerprints_are_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, root = "fc_assets.one.asset", _project(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert Kept(root).of(entry) == Sources(root).of(entry)
    assert not (root / "fc_assets" / "__pycache__").exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (root / "fc_assets" / "__pycache__").write_text("in the way")
    assert Kept(root).of(entry) == Sources(root).of(entry)

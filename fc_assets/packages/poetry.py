"""Poetry's own declarations in the words of PEP 508: same versions, or dropped with the reason.

Poetry's constraints are translated as its documentation defines them ("Dependency specification");
`[project]` of Poetry 2 is the standard table and not read here.
"""

import re
from collections.abc import Iterable
from typing import Any

import packaging.specifiers

from fc_assets.packages.declarations import Project, normal
from fc_assets.packages.pyproject import says_benchmark

_RELEASE = r"v?(\d+(?:\.\d+)*)((?:[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview|dev|post)[-_.]?\d*)*)"
_VERSION = re.compile(_RELEASE, re.IGNORECASE)
_CLAUSE = re.compile(r"\s*(\^|~=|~|===?|!=|<=|>=|<|>|=|)\s*([^\s,<>=!~^|]+)\s*,?")
_MAX_CONSTRAINT = 500
_SOURCES = ("git", "path", "url", "file")


class ConstraintError(ValueError):
    """A constraint that PEP 440 cannot say, or that is none."""


def specifier(constraint: str) -> str:
    """A constraint without alternatives as a PEP 440 specifier; empty if it allows everything."""
    if len(constraint) > _MAX_CONSTRAINT:
        raise ConstraintError("too long")
    clauses, position = [], 0
    text = constraint.strip()
    while position < len(text):
        match = _CLAUSE.match(text, position)
        if match is None:
            raise ConstraintError("not a constraint")
        clauses += _clause(match[1], match[2])
        position = match.end()
    found = ",".join(clauses)
    try:
        packaging.specifiers.SpecifierSet(found)
    except packaging.specifiers.InvalidSpecifier:
        raise ConstraintError("not a constraint") from None
    return found


def python_specifier(constraint: str) -> str:
    """As `specifier`; of alternatives, the only one that any Python 3 satisfies."""
    found = [specifier(part) for part in _alternatives(constraint)]
    threes = [f for f in found if _allows_python_3(f)]
    if len(threes) != 1:
        raise ConstraintError("alternatives, which requires-python cannot say")
    return threes[0]


def requirement(name: str, value: Any) -> str:
    """One dependency as a PEP 508 line."""
    if isinstance(value, str):
        value = {"version": value}
    if not isinstance(value, dict):
        raise ConstraintError("not a constraint")
    if source := next((s for s in _SOURCES if s in value), None):
        raise ConstraintError(f"a {source}, not a release")
    for key in ("version", "markers", "python", "platform"):
        if not isinstance(value.get(key, ""), str):
            raise ConstraintError(f"{key} is not a text")
    extras = value.get("extras", [])
    if not isinstance(extras, list) or not all(isinstance(e, str) for e in extras):
        raise ConstraintError("extras are not a list of texts")
    version = value.get("version", "*")
    if "|" in version:
        raise ConstraintError("alternatives, which one specifier cannot say")
    markers = [
        value.get("markers", ""),
        _python_marker(value.get("python", "")),
        f'sys_platform == "{value["platform"]}"' if value.get("platform") else "",
    ]
    markers = [m for m in markers if m.strip()]
    condition = markers[0] if len(markers) == 1 else " and ".join(f"({m})" for m in markers)
    line = f"{name}[{','.join(extras)}]" if extras else name
    line += specifier(version)
    return f"{line}; {condition}" if condition else line


class Poetry:
    """The declarations below `[tool.poetry]`; what is wrong in them is recorded in `project`."""

    def __init__(self, project: Project, table: dict[str, Any]) -> None:
        self._project = project
        self._table = table
        self._where = "tool.poetry.dependencies"
        self._dependencies = project.table(table.get("dependencies"), self._where)
        self.is_used = bool(self._dependencies) or "name" in table

    def identify(self) -> None:
        """Name, Python versions and extras."""
        python = self._dependencies.get("python")
        python = python.get("version") if isinstance(python, dict) else python
        if isinstance(python, str):
            try:
                python = python_specifier(python) or None
            except ConstraintError as error:
                self._project.drop(python, f"{self._where}.python", str(error))
                python = None
        table = self._table
        self._project.identify(table.get("name"), python, table.get("classifiers"), "poetry")
        by_name = {normal(name): (name, value) for name, value in self._dependencies.items()}
        extras = self._project.table(table.get("extras"), "tool.poetry.extras")
        for extra, names in extras.items():
            where = f"tool.poetry.extras.{extra}"
            members = [
                by_name[normal(name)]
                for name in self._project.texts(names, where)
                if normal(name) in by_name
            ]
            self._project.offer(extra, self._lines(members, where, optional=True))

    def dependencies(self) -> list[str]:
        """What is needed to run."""
        items = ((n, v) for n, v in self._dependencies.items() if normal(n) != "python")
        return self._lines(items, self._where)

    def need_groups(self, asked: Iterable[str]) -> None:
        """Groups that are `asked` for, or whose name says benchmark."""
        names = {normal(name) for name in asked}
        groups = self._project.table(self._table.get("group"), "tool.poetry.group")
        for name, group in groups.items():
            if normal(name) in names or says_benchmark(name):
                where = f"tool.poetry.group.{name}"
                content = self._project.table(group, where).get("dependencies")
                content = self._project.table(content, where)
                items = [(n, v) for n, v in content.items() if normal(n) != "python"]
                self._project.need(self._lines(items, where), where)

    def _lines(
        self, items: Iterable[tuple[str, Any]], where: str, *, optional: bool = False
    ) -> list[str]:
        lines = []
        for name, values in items:
            # Several constraints for one name: each with the marker under which it holds.
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, dict) and value.get("optional") is True and not optional:
                    continue
                try:
                    lines.append(requirement(name, value))
                except ConstraintError as error:
                    self._project.drop(f"{name} = {value!r}", where, str(error))
        return lines


def _alternatives(constraint: str) -> list[str]:
    if len(constraint) > _MAX_CONSTRAINT:
        raise ConstraintError("too long")
    return re.split(r"\|\|?", constraint)


def _clause(operator: str, version: str) -> list[str]:
    if version in ("*", "x", "X"):
        if operator not in ("", "=", "=="):
            raise ConstraintError("not a constraint")
        return []
    if operator in ("^", "~"):
        match = _VERSION.fullmatch(version)
        if match is None:
            raise ConstraintError("not a constraint")
        numbers = [int(n) for n in match[1].split(".")]
        return [
            f">={version.lstrip('v')}",
            f"<{_caret(numbers) if operator == '^' else _tilde(numbers)}",
        ]
    if operator in ("", "="):
        operator = "=="
    return [f"{operator}{version}"]


def _caret(numbers: list[int]) -> str:
    """The first version that may break: the next of the leftmost number that is not 0."""
    significant = next((i for i, n in enumerate(numbers[:3]) if n), min(len(numbers), 3) - 1)
    return _next(numbers, significant)


def _tilde(numbers: list[int]) -> str:
    """The next minor version, or the next major one if no minor is given."""
    return _next(numbers, min(len(numbers) - 1, 1))


def _next(numbers: list[int], place: int) -> str:
    return ".".join(str(n) for n in [*numbers[:place], numbers[place] + 1])


def _python_marker(constraint: str) -> str:
    """A constraint on Python as a marker, of the full version so that no patch release differs."""
    if not constraint.strip():
        return ""
    parts = []
    for alternative in _alternatives(constraint):
        found = specifier(alternative)
        if not found:
            return ""
        clauses = (re.match(r"(\W+)(.*)", clause) for clause in found.split(","))
        parts.append(" and ".join(f'python_full_version {c[1]} "{c[2]}"' for c in clauses if c))
    return parts[0] if len(parts) == 1 else " or ".join(f"({part})" for part in parts)


def _allows_python_3(found: str) -> bool:
    wanted = packaging.specifiers.SpecifierSet(found)
    return any(wanted.contains(f"3.{minor}.{patch}") for minor in range(40) for patch in range(25))

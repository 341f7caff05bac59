"""What a commit declares, collected: each need is parsed here, or dropped with the reason.

Which file says what is the readers' business (`pyproject`, `setup_cfg`, `setup_py`, `asv_config`).
"""

import dataclasses
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import packaging.requirements
import packaging.utils

from fc_resources.errors import PermanentError

Read = Callable[[str], str | None]
T = TypeVar("T")

# pandas' longest metadata file has 25,000 characters; a file beyond these is data, or an attack.
_MAX_CHARS = 1_000_000
_MAX_LINES = 1_000
_MAX_LINE = 2_000
_SHOWN = 200
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")


class NoProjectError(PermanentError):
    """The commit is no Python project that anything could be resolved for."""


class Files:
    """A commit's files as text, each read once; `dropped` names those too large to be metadata."""

    def __init__(self, names: Iterable[str], read: Read) -> None:
        self.names = frozenset(names)
        self.dropped: list[str] = []
        self._read = read
        self._texts: dict[str, str | None] = {}

    def has(self, root: str, name: str) -> bool:
        """Whether there is such a file, however large."""
        return posixpath.normpath(posixpath.join(root, name)) in self.names

    def text(self, root: str, name: str) -> str | None:
        """The text of `name` below `root`; None if the commit has none, or one too large."""
        path = posixpath.normpath(posixpath.join(root, name))
        if path not in self.names:
            return None
        if path not in self._texts:
            text = self._read(path)
            if text is not None and len(text) > _MAX_CHARS:
                self.dropped.append(f"{shown(path)}: longer than {_MAX_CHARS} characters")
                text = None
            self._texts[path] = text and text.removeprefix("\ufeff")
        return self._texts[path]


@dataclasses.dataclass
class Project:
    """What is declared; `requirements` are PEP 508 lines, `dropped` says what was left and why.

    `requirements` is all that building, running and benchmarking need, `build_requirements` the
    part declared for building. `dynamic` holds "dependencies" only if no file tells them.
    `extras` are lines by normalized name, needed by themselves only where something asks for them.
    """

    root: str
    name: str | None = None
    requires_python: str | None = None
    classifiers: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    asv_config: str | None = None
    asv_pythons: tuple[str, ...] = ()
    requirements: list[str] = dataclasses.field(default_factory=list)
    build_requirements: list[str] = dataclasses.field(default_factory=list)
    system_packages: list[str] = dataclasses.field(default_factory=list)
    dropped: list[str] = dataclasses.field(default_factory=list)
    extras: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def drop(self, what: object, where: str, reason: str) -> None:
        """Record what is not used, as it was written, shortened."""
        self.dropped.append(f"{_quoted(what)} in {shown(where)}: {shown(reason)}")

    def drop_file(self, path: str, reason: str) -> None:
        """Record a file that could not be read, or not to its end."""
        self.dropped.append(f"{shown(path)}: {shown(reason)}")

    def need(self, lines: Sequence[str], where: str, *, build: bool = False) -> None:
        """Add requirements that parse and come from the index; record the others.

        The project itself with extras stands for the needs of those extras.
        """
        # With the marker under which an extra was asked for, so that a cycle of extras ends.
        seen: set[tuple[str, str]] = set()
        queue = [(line, where, "") for line in self._bounded(lines, where)]
        for line, where, under in queue:
            requirement = self._parse(line, where)
            if requirement is None:
                continue
            marker = _both(under, str(requirement.marker or ""))
            if requirement.url is not None:
                self.drop(line, where, "an address, not a release")
            elif not self.is_self(requirement.name):
                if under:
                    requirement.marker = packaging.requirements.Requirement(f"x; {marker}").marker
                self._add(str(requirement), build)
            elif not requirement.extras:
                self.drop(line, where, "the project itself")
            for extra in sorted(requirement.extras) if self.is_self(requirement.name) else ():
                known = self.extras.get(normal(extra))
                if known is None:
                    self.drop(line, where, f"the project itself, which has no extra {extra!r}")
                elif (normal(extra), marker) not in seen and len(seen) < _MAX_LINES:
                    seen.add((normal(extra), marker))
                    source = f"extra {extra}"
                    queue += [(each, source, marker) for each in self._bounded(known, source)]

    def need_extra(self, extra: str, where: str) -> None:
        """Add what an extra of the project stands for."""
        if normal(extra) not in self.extras:
            self.drop(extra, where, "not an extra of the project")
        elif self.name is not None:
            self.need([f"{self.name}[{extra}]"], where)
        else:
            self.need(self.extras[normal(extra)], f"extra {extra}")

    def is_self(self, name: str) -> bool:
        """Whether a distribution's name is the project's."""
        return self.name is not None and normal(name) == normal(self.name)

    def has(self, name: str) -> bool:
        """Whether a distribution is among the requirements already."""
        return any(
            normal(packaging.requirements.Requirement(r).name) == normal(name)
            for r in self.requirements
        )

    def texts(self, value: Any, where: str) -> list[str]:
        """A list of texts as it should be; what is something else is recorded."""
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self.drop(value, where, "not a list")
            return []
        value = self._bounded(value, where)
        for item in value:
            if not isinstance(item, str):
                self.drop(item, where, "not a text")
        return [item for item in value if isinstance(item, str)]

    def text(self, value: Any, where: str) -> str | None:
        """A short text as it should be; what is something else is recorded."""
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > _MAX_LINE or not _clean(value):
            self.drop(value, where, "not a text")
            return None
        return value.strip() or None

    def table(self, value: Any, where: str) -> dict[str, Any]:
        """A table as it should be; what is something else is recorded."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.drop(value, where, "not a table")
            return {}
        return value

    def identify(self, name: Any, requires_python: Any, classifiers: Any, where: str) -> None:
        """Take what no earlier declaration gave."""
        text = self.text(name, f"{where} name")
        if text is not None and not _NAME.fullmatch(text):
            self.drop(text, f"{where} name", "not a name")
            text = None
        self.name = self.name or text
        text = self.text(requires_python, f"{where} requires-python")
        self.requires_python = self.requires_python or text
        found = self.texts(classifiers, f"{where} classifiers")
        self.classifiers = self.classifiers or tuple(
            c.strip() for c in self._bounded(found, where) if len(c) <= _MAX_LINE and _clean(c)
        )

    def offer(self, extra: str, lines: list[str]) -> None:
        """Note the lines of an extra; the first declaration of a name holds."""
        self.extras.setdefault(normal(extra), lines)

    def _add(self, line: str, build: bool) -> None:
        for known in (
            (self.requirements, self.build_requirements) if build else (self.requirements,)
        ):
            if line not in known:
                known.append(line)

    def _parse(self, line: str, where: str) -> packaging.requirements.Requirement | None:
        if reason := _OPTIONS.match(line.strip()):
            self.drop(line, where, f"an option or path ({reason[0].strip()}), not a requirement")
        elif len(line) > _MAX_LINE or not _clean(line):
            self.drop(line, where, "not a requirement")
        else:
            try:
                return packaging.requirements.Requirement(line)
            except (packaging.requirements.InvalidRequirement, RecursionError):
                self.drop(line, where, "not a requirement")
        return None

    def _bounded(self, lines: Sequence[T], where: str) -> Sequence[T]:
        if len(lines) > _MAX_LINES:
            self.drop(lines[_MAX_LINES], where, f"this and all after {_MAX_LINES} lines")
        return lines[:_MAX_LINES]


_OPTIONS = re.compile(r"--?[A-Za-z][\w-]*|\.{1,2}(?=[/\\\[]|$)|/|~/|[A-Za-z]:\\")


def requirement_lines(text: str) -> list[str]:
    """Lines of a requirements file without comments; options are left for `Project.need`."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def normal(name: str) -> str:
    """The normalized name of a distribution, extra or group."""
    return packaging.utils.canonicalize_name(name)


def shown(value: object) -> str:
    """A text as it can be stored: one line, shortened, what cannot be printed escaped."""
    text = value if isinstance(value, str) else _written(value)
    text = " ".join(text[: 4 * _SHOWN].split())
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _quoted(what: object) -> str:
    text = what if isinstance(what, str) else _written(what)
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def _written(value: object) -> str:
    try:
        return repr(value)
    except (RecursionError, ValueError):
        # The second is for integers of more digits than Python prints.
        return f"a {type(value).__name__}"


def _both(one: str, other: str) -> str:
    return f"({one}) and ({other})" if one and other and one != other else one or other


def _clean(text: str) -> bool:
    """Whether a text can be stored: no NUL, control character or lone surrogate."""
    return all(c.isprintable() or c in "\t\r\n" or c.isspace() for c in text)

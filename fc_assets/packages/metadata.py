"""What a commit declares about building and benchmarking itself, read as text, never executed.

Which of its files is believed is decided here, what each says by the readers beside; which
versions satisfy it is `resolve`'s question.
"""

import functools
from collections.abc import Sequence
from typing import Any

from fc_assets.packages import asv_config, roots, setup_py, toml
from fc_assets.packages.built import Built
from fc_assets.packages.declarations import (
    Files,
    NoProjectError,
    Project,
    Read,
    requirement_lines,
)
from fc_assets.packages.poetry import Poetry
from fc_assets.packages.pyproject import Pyproject
from fc_assets.packages.setup_cfg import SetupCfg

__all__ = ["NoProjectError", "Project", "Read", "read_project"]

#: What setuptools' own files may give when `[project]` says that it is dynamic.
_DYNAMIC = frozenset({"classifiers", "dependencies", "optional-dependencies", "requires-python"})


def read_project(files: Sequence[str], read: Read, built: Built | None = None) -> Project:
    """Declarations of a commit with these `files`; `NoProjectError` if it has no metadata.

    `[project]` is believed before `[tool.poetry]`, that before `[tool.flit.metadata]`, and those
    before setuptools' files: what `setup.py` passes, else `setup.cfg`. What a build told comes
    before all of them. Raises what `read` raises.
    """
    tree = Files(files, read)
    path = roots.find_asv_config(tree.names)
    config = asv_config.parse(path, tree.text("", path) if path else None)
    project = Project(roots.find_root(tree, config.repo_subdir), asv_config=path)
    pyproject = Pyproject(project, _document(project, tree))
    poetry = Poetry(project, pyproject.tool_table("poetry"))

    told = None if built is None else built.declare(project)
    pyproject.identify(tree)
    poetry.identify()
    legacy = _Setuptools(project, tree if _needs_setuptools(project, pyproject) else None)
    legacy.identify()
    lines, where = told, "built metadata"
    if told is None:
        lines, where = _dependencies(project, tree, pyproject, poetry, legacy)
    if lines is None:
        project.dynamic = tuple(dict.fromkeys([*project.dynamic, "dependencies"]))
    else:
        project.dynamic = tuple(d for d in project.dynamic if d != "dependencies")
        project.need(lines, where)

    pyproject.need_build()
    if pyproject.backend == "setuptools":
        legacy.need_build()
    extras, groups = asv_config.asked(config, project)
    for extra in extras:
        project.need_extra(extra, str(path))
    pyproject.need_groups(groups)
    poetry.need_groups(groups)
    asv_config.need(config, project)
    project.need(["asv"], "the harness")
    project.dropped += tree.dropped
    return project


def _document(project: Project, tree: Files) -> dict[str, Any]:
    text = tree.text(project.root, "pyproject.toml")
    parsed = {} if text is None else toml.parse(text)
    if isinstance(parsed, dict):
        return parsed
    reason = f"not TOML: {parsed}"
    if not any(tree.has(project.root, name) for name in ("setup.py", "setup.cfg")):
        raise NoProjectError(f"pyproject.toml is {reason}")
    project.drop_file("pyproject.toml", reason)
    return {}


def _dependencies(
    project: Project, tree: Files, pyproject: Pyproject, poetry: Poetry, legacy: "_Setuptools"
) -> tuple[list[str] | None, str]:
    """What running needs, None if no file tells, and which declaration said so."""
    if pyproject.declared:
        if "dependencies" not in project.dynamic:
            return pyproject.dependencies(), "project.dependencies"
        if (lines := pyproject.from_files(tree)) is not None:
            return lines, "files of dynamic dependencies"
    if poetry.is_used:
        return poetry.dependencies(), "tool.poetry.dependencies"
    if pyproject.flit:
        return pyproject.flit_dependencies(), "flit requires"
    if pyproject.backend in ("setuptools", "skbuild"):
        return legacy.dependencies(is_declared=bool(pyproject.declared))
    project.drop("dependencies", "pyproject.toml", f"only {pyproject.backend} could tell them")
    return None, ""


def _needs_setuptools(project: Project, pyproject: Pyproject) -> bool:
    """Whether setuptools' own files have a say; if not, a change of them changes nothing."""
    return (
        not pyproject.declared
        or "requires" not in pyproject.build_system
        or not _DYNAMIC.isdisjoint(project.dynamic)
    )


class _Setuptools:
    """`setup.py` and `setup.cfg` together: what the script passes comes before the file."""

    def __init__(self, project: Project, tree: Files | None) -> None:
        self._project = project
        tree = tree or Files((), lambda _: None)
        self._config = SetupCfg(project, tree)
        self._has_script = tree.has(project.root, "setup.py")
        self._read = functools.partial(tree.text, project.root)
        self._script = setup_py.Setup()
        if self._has_script:
            text = self._read("setup.py")
            found = setup_py.Setup(failure="not read") if text is None else None
            self._script = found or setup_py.parse(text or "", self._read)

    def identify(self) -> None:
        """Name, Python versions and extras."""
        passed, config = self._script.arguments, self._config
        self._project.identify(
            passed.get("name"), passed.get("python_requires"), passed.get("classifiers"), "setup.py"
        )
        self._project.identify(
            config.value("metadata", "name"),
            config.value("options", "python_requires", "python-requires"),
            config.lines("metadata", "classifiers", "classifier"),
            "setup.cfg",
        )
        for extra, lines in self._extras().items():
            self._project.offer(extra, lines)

    def dependencies(self, *, is_declared: bool) -> tuple[list[str] | None, str]:
        """As `_dependencies`; `is_declared` if `[project]` says that they are dynamic."""
        lines, where = self._listed(is_declared)
        if lines is None:
            return None, ""
        # An extra without a name is needed always, under the marker after its colon.
        conditional = {e[1:]: ls for e, ls in self._extras().items() if e.startswith(":")}
        extra_lines = [f"{line}; {marker}" for marker, ls in conditional.items() for line in ls]
        return [*lines, *extra_lines], where

    def _extras(self) -> dict[str, list[str]]:
        return self._config.extras() | self._script.arguments.get("extras_require", {})

    def _listed(self, is_declared: bool) -> tuple[list[str] | None, str]:
        option = ("options", "install_requires", "install-requires")
        is_configured = self._config.value(*option) is not None
        if passed := self._script.arguments.get("install_requires"):
            return passed, "setup.py install_requires"
        if written := self._script.unread.get("install_requires"):
            self._project.drop(written, "setup.py install_requires", "not readable")
            return None, ""
        if self._script.is_pbr and (text := self._read("requirements.txt")) is not None:
            return requirement_lines(text), "requirements.txt (pbr)"
        if self._script.failure is not None:
            self._project.drop_file("setup.py", self._script.failure)
        if is_configured:
            return self._config.lines(*option), "setup.cfg install_requires"
        if self._script.failure is not None or (is_declared and not self._has_script):
            return None, ""
        return [], ""

    def need_build(self) -> None:
        """What is declared for building beside `[build-system]`."""
        if written := self._script.unread.get("setup_requires"):
            self._project.drop(written, "setup.py setup_requires", "not readable")
        passed = self._script.arguments.get("setup_requires") or []
        self._project.need(passed, "setup.py setup_requires", build=True)
        lines = self._config.lines("options", "setup_requires", "setup-requires")
        self._project.need(lines or [], "setup.cfg setup_requires", build=True)

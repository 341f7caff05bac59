"""What `pyproject.toml` declares: standard tables, dependency groups, and what backends add.

Poetry's own language of versions is `poetry`'s; setuptools' older files are not read here.
"""

import re
from collections.abc import Iterable
from typing import Any

from fc_assets.packages.declarations import Files, Project, normal
from fc_assets.packages.setup_cfg import read_files

#: What PEP 517 has frontends assume without a `[build-system]` table; wheel, as no isolation adds
#: what setuptools before 70.1 asks for.
BUILD_DEFAULT = ("setuptools", "wheel")
#: What backends ask for by their hook `get_requires_for_build_editable`, which nobody calls when
#: building without isolation.
_HOOKS = {
    "hatchling": ("editables",),
    "mesonpy": ("ninja",),
    "scikit_build_core": ("cmake", "ninja"),
}
_BENCHMARK = frozenset(
    {"asv", "bench", "benches", "benchmark", "benchmarks", "benchmarking", "perf"}
)
_OTHER = frozenset({"ci", "dev", "develop", "doc", "docs", "lint", "test", "tests", "testing"})
_MAX_INCLUDES = 200


class Pyproject:
    """A parsed `pyproject.toml`; wrong types in it are recorded and count as absent."""

    def __init__(self, project: Project, document: dict[str, Any]) -> None:
        self._project = project
        self._document = document
        self.declared = project.table(document.get("project"), "project")
        self.build_system = project.table(document.get("build-system"), "build-system")
        self.tool = project.table(document.get("tool"), "tool")
        self.flit = self.tool_table("flit", "metadata")

    def tool_table(self, *names: str) -> dict[str, Any]:
        """A table below `[tool]`, empty when there is none."""
        return self._below(self.tool, names, "tool")

    @property
    def backend(self) -> str:
        """The build backend's top module; an in-tree one may wrap setuptools, so it says that."""
        backend = self.build_system.get("build-backend")
        if not isinstance(backend, str) or "backend-path" in self.build_system:
            return "setuptools"
        return re.split(r"[.:]", backend.strip())[0]

    def identify(self, files: Files) -> None:
        """Name, Python versions and extras of `[project]` and `[tool.flit.metadata]`."""
        project, declared = self._project, self.declared
        project.identify(
            declared.get("name"),
            declared.get("requires-python"),
            declared.get("classifiers"),
            "project",
        )
        project.dynamic = tuple(project.texts(declared.get("dynamic"), "project.dynamic"))
        where = "project.optional-dependencies"
        for extra, lines in project.table(declared.get("optional-dependencies"), where).items():
            project.offer(extra, project.texts(lines, f"{where}.{extra}"))
        where = "tool.setuptools.dynamic"
        dynamic = self.tool_table("setuptools", "dynamic")
        for extra, source in project.table(dynamic.get("optional-dependencies"), where).items():
            if lines := self._named_files(source, files, where):
                project.offer(extra, lines)
        if self.flit:
            # Flit calls a distribution like its module unless told otherwise.
            module = self.flit.get("module")
            name = self.flit.get("dist-name", module)
            python, classifiers = self.flit.get("requires-python"), self.flit.get("classifiers")
            project.identify(name, python, classifiers, "flit")
            where = "flit requires-extra"
            for extra, lines in project.table(self.flit.get("requires-extra"), where).items():
                project.offer(extra, project.texts(lines, f"{where}.{extra}"))

    def dependencies(self) -> list[str]:
        """What `[project]` needs to run."""
        return self._project.texts(self.declared.get("dependencies"), "project.dependencies")

    def flit_dependencies(self) -> list[str]:
        """What `[tool.flit.metadata]` needs to run."""
        return self._project.texts(self.flit.get("requires"), "flit requires")

    def from_files(self, files: Files) -> list[str] | None:
        """Dynamic dependencies that setuptools or a Hatch plug-in takes from requirements files.

        None if neither is configured, or a file lacks.
        """
        where = "tool.setuptools.dynamic"
        dynamic = self.tool_table("setuptools", "dynamic")
        if "dependencies" in dynamic:
            return self._named_files(dynamic["dependencies"], files, where)
        hook = self.tool_table("hatch", "metadata", "hooks", "requirements_txt")
        where = "tool.hatch.metadata.hooks.requirements_txt"
        if "filename" in hook:
            return self._named_files({"file": hook["filename"]}, files, where)
        if "files" in hook:
            return self._named_files({"file": hook["files"]}, files, where)
        return None

    def need_build(self) -> None:
        """What the backend needs, what its hooks would ask for, and what Hatch's build hooks do."""
        project = self._project
        where = "build-system.requires"
        requires = self.build_system.get("requires")
        lines = list(BUILD_DEFAULT) if requires is None else project.texts(requires, where)
        project.need(lines, where, build=True)
        hooks = _HOOKS.get(self.backend, ())
        missing = [name for name in hooks if not project.has(name)]
        project.need(missing, f"{self.backend} for an editable build", build=True)
        if self.backend == "hatchling":
            self._need_hatch_hooks()

    def need_groups(self, asked: Iterable[str]) -> None:
        """Dependency groups (PEP 735) that are `asked` for, or whose name says benchmark."""
        project = self._project
        table = project.table(self._document.get("dependency-groups"), "dependency-groups")
        groups = {normal(name): content for name, content in table.items()}
        wanted = [name for name in groups if says_benchmark(name)]
        seen = set()
        queue = [(normal(name), "the ASV configuration") for name in asked]
        queue = [(name, "dependency-groups") for name in wanted] + queue
        for name, source in queue:
            if name in seen or len(seen) > _MAX_INCLUDES:
                continue
            seen.add(name)
            if name not in groups:
                project.drop(name, source, "not a dependency group")
                continue
            where = f"dependency-groups.{name}"
            content = groups[name]
            if not isinstance(content, list):
                project.drop(content, where, "not a list")
                continue
            included = [c.get("include-group") for c in content if isinstance(c, dict)]
            project.need(
                project.texts([c for c in content if not isinstance(c, dict)], where), where
            )
            for other in included:
                if isinstance(other, str):
                    queue.append((normal(other), where))
                else:
                    project.drop("a table", where, "no include-group")

    def _named_files(self, source: Any, files: Files, where: str) -> list[str] | None:
        names = source.get("file") if isinstance(source, dict) else None
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            self._project.drop(source, where, "names no files")
            return None
        return read_files(self._project, files, names, where)

    def _need_hatch_hooks(self) -> None:
        for path in (("build",), ("build", "targets", "wheel")):
            section = self.tool_table("hatch", *path)
            hooks = section.get("hooks")
            tables = [section, *(hooks.values() if isinstance(hooks, dict) else ())]
            for table in (t for t in tables if isinstance(t, dict)):
                where = f"tool.hatch.{'.'.join(path)}"
                lines = self._project.texts(table.get("dependencies"), where)
                self._project.need(lines, where, build=True)

    def _below(self, table: dict[str, Any], names: Iterable[str], where: str) -> dict[str, Any]:
        for name in names:
            where = f"{where}.{name}"
            table = self._project.table(table.get(name), where)
        return table


def says_benchmark(name: str) -> bool:
    """Whether a group's name says that benchmarks need it, and not that something else does."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    return bool(words & _BENCHMARK) and not words & _OTHER

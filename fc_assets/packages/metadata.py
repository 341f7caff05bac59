"""What a commit declares about building and benchmarking itself, read as text, never executed.

Packaging metadata (`pyproject.toml`, `setup.cfg`) and the ASV configuration; which versions
satisfy it is `resolve`'s question.
"""

import configparser
import dataclasses
import posixpath
import tomllib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import json5
import packaging.requirements
import packaging.utils

from fc_resources.errors import PermanentError

_ROOT_FILES = ("pyproject.toml", "setup.cfg", "setup.py")
_ASV_NAMES = ("asv.conf.json", "asv.conf.jsonc", ".asv.conf.json")
_BUILD_DEFAULT = ("setuptools", "wheel")
#: Conda packages that are no Python packages, and the Debian packages that hold their headers.
SYSTEM_LIBRARIES = {
    "geos": "libgeos-dev",
    "libgdal": "libgdal-dev",
    "gdal": "libgdal-dev",
    "proj": "libproj-dev",
    "hdf5": "libhdf5-dev",
    "libnetcdf": "libnetcdf-dev",
    "libxml2": "libxml2-dev",
    "libxslt": "libxslt1-dev",
    "openblas": "libopenblas-dev",
    "fftw": "libfftw3-dev",
    "zlib": "zlib1g-dev",
    "boost-cpp": "libboost-dev",
    "eigen": "libeigen3-dev",
}
#: Names of a conda matrix that a container has anyway.
_CONDA_TOOLS = {"python", "pip", "compilers", "c-compiler", "cxx-compiler", "gxx_linux-64"}

Read = Callable[[str], str | None]


class NoProjectError(PermanentError):
    """The commit is no Python project that anything could be resolved for."""


@dataclasses.dataclass
class Project:
    """What is declared; `requirements` are PEP 508 lines, `dropped` says what was left and why."""

    root: str
    name: str | None = None
    requires_python: str | None = None
    classifiers: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    asv_config: str | None = None
    asv_pythons: tuple[str, ...] = ()
    requirements: list[str] = dataclasses.field(default_factory=list)
    system_packages: list[str] = dataclasses.field(default_factory=list)
    dropped: list[str] = dataclasses.field(default_factory=list)

    def need(self, lines: Iterable[str], where: str) -> None:
        """Add requirements that parse and come from the index; record the others."""
        for line in lines:
            try:
                requirement = packaging.requirements.Requirement(line)
            except packaging.requirements.InvalidRequirement:
                self.dropped.append(f"{line!r} in {where}: not a requirement")
                continue
            if requirement.url is not None:
                self.dropped.append(f"{line!r} in {where}: an address, not a release")
            elif self.name and _same(requirement.name, self.name):
                self.dropped.append(f"{line!r} in {where}: the project itself")
            elif str(requirement) not in self.requirements:
                self.requirements.append(str(requirement))


def read_project(files: Sequence[str], read: Read) -> Project:
    """Declarations of a commit with these `files`; `NoProjectError` if it has no metadata."""
    project = Project(find_root(files))
    inside = set(files)
    pyproject = _toml(project, inside, read)
    _read_pyproject(project, pyproject)
    if _path(project.root, "setup.cfg") in inside:
        _read_setup_cfg(project, read(_path(project.root, "setup.cfg")) or "")
    build = pyproject.get("build-system", {}).get("requires", _BUILD_DEFAULT)
    project.need(build, "build-system.requires")
    project.asv_config = find_asv_config(files)
    if project.asv_config is not None:
        _read_asv(project, read(project.asv_config) or "")
    project.need(["asv"], "the harness")
    return project


def find_root(files: Sequence[str]) -> str:
    """The folder of the packaging metadata: the top first, then shallow, then alphabetical.

    Folders of tests, docs, examples and vendored code do not count; a lone requirements file is
    no packaging metadata.
    """
    folders = {posixpath.dirname(f) for f in files if posixpath.basename(f) in _ROOT_FILES}
    beside = {"tests", "test", "docs", "doc", "examples", "vendor", "third_party", "benchmarks"}
    roots = [f for f in folders if not beside & set(f.split("/"))]
    if not roots:
        raise NoProjectError("the commit has no pyproject.toml, setup.cfg or setup.py")
    return min(roots, key=lambda f: (f.count("/") + bool(f), f)) or "."


def find_asv_config(files: Sequence[str]) -> str | None:
    """The ASV configuration nearest to the top."""
    found = [f for f in files if posixpath.basename(f) in _ASV_NAMES]
    return min(found, key=lambda f: (f.count("/"), f), default=None)


def _toml(project: Project, inside: set[str], read: Read) -> dict[str, Any]:
    path = _path(project.root, "pyproject.toml")
    if path not in inside:
        return {}
    try:
        return tomllib.loads(read(path) or "")
    except tomllib.TOMLDecodeError as error:
        raise NoProjectError(f"{path} is not TOML: {error}") from None


def _read_pyproject(project: Project, pyproject: dict[str, Any]) -> None:
    declared = pyproject.get("project", {})
    project.name = declared.get("name")
    project.requires_python = declared.get("requires-python")
    project.classifiers = tuple(declared.get("classifiers", ()))
    project.dynamic = tuple(declared.get("dynamic", ()))
    project.need(declared.get("dependencies", ()), "project.dependencies")


def _read_setup_cfg(project: Project, text: str) -> None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        project.dropped.append(f"setup.cfg: {' '.join(str(error).split())}")
        return

    def lines(section: str, option: str) -> list[str]:
        text = parser.get(section, option, fallback="")
        return [line.strip() for line in text.splitlines() if line.strip()]

    project.name = project.name or parser.get("metadata", "name", fallback=None)
    project.requires_python = project.requires_python or parser.get(
        "options", "python_requires", fallback=None
    )
    project.classifiers = project.classifiers or tuple(lines("metadata", "classifiers"))
    project.need(lines("options", "install_requires"), "setup.cfg install_requires")


def _read_asv(project: Project, text: str) -> None:
    try:
        config = json5.loads(text)
    except ValueError as error:
        project.dropped.append(f"{project.asv_config}: {error}")
        return
    if not isinstance(config, dict):
        project.dropped.append(f"{project.asv_config}: not an object")
        return
    project.asv_pythons = tuple(str(p) for p in config.get("pythons") or ())
    matrix = config.get("matrix") or {}
    if "req" in matrix and isinstance(matrix["req"], dict):
        matrix = matrix["req"]
    for name, versions in matrix.items():
        if name in ("env", "env_nobuild", "@env", "@env_nobuild"):
            continue
        _need_of_matrix(project, name, versions)


def _need_of_matrix(project: Project, name: str, versions: Any) -> None:
    """One name of ASV's matrix: C libraries are system packages, the rest comes from the index."""
    plain = name.removeprefix("pip+")
    if plain in SYSTEM_LIBRARIES:
        project.system_packages.append(SYSTEM_LIBRARIES[plain])
    elif plain in _CONDA_TOOLS:
        project.dropped.append(f"{name!r} in {project.asv_config}: part of every container")
    elif not any(
        _same(packaging.requirements.Requirement(r).name, plain) for r in project.requirements
    ):
        versions = versions if isinstance(versions, list) else [versions]
        version = next((str(v) for v in versions if v), "")
        operator = "==" if version and version[0].isdigit() else ""
        project.need([f"{plain}{operator}{version}"], str(project.asv_config))


def _same(one: str, other: str) -> bool:
    canonical = packaging.utils.canonicalize_name
    return canonical(one.split("[")[0]) == canonical(other)


def _path(root: str, name: str) -> str:
    return name if root == "." else f"{root}/{name}"

"""What the ASV configuration asks for: matrix, Python versions, extras and groups of the project.

How benchmarks are run with it is for the container.
"""

import dataclasses
import posixpath
import re
from typing import Any

import json5

from fc_assets.packages.declarations import Project

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
_CONDA = {"conda", "mamba", "micromamba", "rattler"}
_NOT_PACKAGES = {"env", "env_nobuild", "@env", "@env_nobuild"}
_COMMANDS = ("install_command", "build_command")
# The parser is written in Python and takes 10 s for a megabyte.
_MAX_CHARS = 100_000
_MAX_NAMES = 300
_EXTRAS = re.compile(r"(?:^|[\s'\"=/])(\.|\{\w+\}|[A-Za-z0-9][\w.-]*)\[([\w.,\s-]+)\]")
_RELEASE = re.compile(r"\d+(\.\d+)*")
_OPTION = re.compile(r"--(extra|group)[=\s]+['\"]?([\w.-]+)")


@dataclasses.dataclass
class AsvConfig:
    """A parsed configuration; empty when there is none, or none that can be read."""

    path: str | None = None
    content: dict[str, Any] = dataclasses.field(default_factory=dict)
    #: Why it could not be read.
    failure: str | None = None

    @property
    def repo_subdir(self) -> str | None:
        """The folder of the project in the repository, if ASV is told one."""
        folder = self.content.get("repo_subdir")
        return folder if isinstance(folder, str) and folder else None

    @property
    def benchmark_dir(self) -> str:
        """The folder of the benchmarks from the repository's root; `..` or `/` lead out of it."""
        folder = str(self.content.get("benchmark_dir", "benchmarks"))
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.path or ""), folder))


def parse(path: str | None, text: str | None) -> AsvConfig:
    """A configuration from its text, which may have comments."""
    if path is None or text is None:
        return AsvConfig(path)
    if len(text) > _MAX_CHARS:
        return AsvConfig(path, failure=f"longer than {_MAX_CHARS} characters")
    try:
        content = json5.loads(text)
    except RecursionError:
        return AsvConfig(path, failure="nested too deeply")
    except ValueError as error:
        return AsvConfig(path, failure=str(error))
    if not isinstance(content, dict):
        return AsvConfig(path, failure="not an object")
    return AsvConfig(path, content)


def asked(config: AsvConfig, project: Project) -> tuple[list[str], list[str]]:
    """Extras and groups of the project that the commands and the matrix name, in their order.

    As in `pip install {build_dir}[bench]`, `pip install .[bench]` and `--group bench`.
    """
    texts: list[str] = []
    for key in _COMMANDS:
        value = config.content.get(key)
        texts += [value] if isinstance(value, str) else project.texts(value, f"{config.path} {key}")
    options = [match for text in texts for match in _OPTION.findall(text)]
    texts += [name.removeprefix("pip+") for name in _matrix(config, project)]
    extras: dict[str, None] = {}
    for text in texts:
        for target, names in _EXTRAS.findall(text):
            if target == "." or target.startswith("{") or project.is_self(target):
                extras |= dict.fromkeys(n.strip() for n in names.split(",") if n.strip())
    extras |= dict.fromkeys(name for kind, name in options if kind == "extra")
    return list(extras), list(dict.fromkeys(name for kind, name in options if kind == "group"))


def need(config: AsvConfig, project: Project) -> None:
    """Take Python versions and matrix into the project."""
    if config.failure is not None:
        project.drop_file(str(config.path), config.failure)
    where = str(config.path)
    pythons = config.content.get("pythons")
    if pythons is not None and not isinstance(pythons, list):
        project.drop(pythons, f"{where} pythons", "not a list")
        pythons = None
    project.asv_pythons = tuple(str(p) for p in pythons or () if isinstance(p, str | int | float))
    if isinstance(config.content.get("conda_environment_file"), str):
        name = config.content["conda_environment_file"]
        project.drop(name, f"{where} conda_environment_file", "a conda environment is not read")
    is_conda = config.content.get("environment_type") in _CONDA
    matrix = _matrix(config, project, record=True)
    if len(matrix) > _MAX_NAMES:
        project.drop("matrix", where, f"all after {_MAX_NAMES} names")
    for name, versions in list(matrix.items())[:_MAX_NAMES]:
        _need_of_matrix(project, name, versions, where, is_conda)


def _matrix(config: AsvConfig, project: Project, *, record: bool = False) -> dict[str, Any]:
    """Packages of both shapes of the matrix, and of a `requirements` key, with their versions."""
    found: dict[str, Any] = {}
    for key in ("matrix", "requirements"):
        value = config.content.get(key)
        if isinstance(value, dict) and "req" in value and key == "matrix":
            value = value["req"]
        if isinstance(value, list) and key == "requirements":
            value = {name: [] for name in value if isinstance(name, str)}
        if isinstance(value, dict):
            found |= {n: v for n, v in value.items() if n not in _NOT_PACKAGES}
        elif value is not None and record:
            project.drop(value, f"{config.path} {key}", "not an object")
    return found


def _need_of_matrix(project: Project, name: str, versions: Any, where: str, is_conda: bool) -> None:
    """One name of the matrix: C libraries are system packages, the rest comes from the index."""
    plain = name.removeprefix("pip+")
    if versions == [None]:
        # ASV's word for an environment without the package.
        project.drop(name, where, "not installed")
    elif plain in SYSTEM_LIBRARIES:
        if SYSTEM_LIBRARIES[plain] not in project.system_packages:
            project.system_packages.append(SYSTEM_LIBRARIES[plain])
    elif plain in _CONDA_TOOLS:
        project.drop(name, where, "part of every container")
    elif (extra := _EXTRAS.match(plain)) and (extra[1] == "." or project.is_self(extra[1])):
        return
    else:
        versions = versions if isinstance(versions, list) else [versions]
        version = next((str(v) for v in versions if isinstance(v, str | int | float) and v), "")
        if project.has(plain):
            if version:
                project.drop(f"{name} {version}", where, "declared by the project already")
            return
        operator = "==" if version[:1].isdigit() else ""
        # `=1.2` of conda is any 1.2.x, `==1.2` of pip is 1.2.0 alone.
        if is_conda and not name.startswith("pip+") and _RELEASE.fullmatch(version):
            version += ".*"
        project.need([f"{plain}{operator}{version}"], where)

"""What is known to help against known errors of builds: a package or a system library is added.

A repair is a line in one of the scripts, so that neighbours get it with them. Names are taken from
the tables below, never from the log: what a build prints is not to be trusted with what is
installed.
"""

import dataclasses
import re

from fc_assets.candidate_containers.stock import Candidate, Context

#: Part of what a result depends on: changes when the tables below do, or what else is tried.
SYNTHESIZER = "synthesizer/1"
#: Requirements that give a module, where they have another name or have to be older than they are.
_MODULES = {
    **{name: name for name in ("setuptools", "wheel", "numpy", "cffi", "pbr", "maturin", "ninja")},
    **{name: name for name in ("versioneer", "hatchling", "pybind11", "jinja2", "pytest", "six")},
    "Cython": "cython",
    "cython": "cython",
    "distutils": "setuptools",
    "pkg_resources": "setuptools<81",
    "flit_core": "flit-core",
    "flit_scm": "flit-scm",
    "hatch_vcs": "hatch-vcs",
    "mesonpy": "meson-python",
    "mypyc": "mypy",
    "nanobind": "nanobind",
    "pdm": "pdm-backend",
    "poetry": "poetry-core",
    "poetry_dynamic_versioning": "poetry-dynamic-versioning",
    "scikit_build_core": "scikit-build-core",
    "setuptools_rust": "setuptools-rust",
    "setuptools_scm": "setuptools-scm",
    "skbuild": "scikit-build",
    "yaml": "pyyaml",
}
#: Debian packages by what of them is missing: a header's path from its start, or a program.
_HEADERS = {
    "blosc": "libblosc-dev",
    "bzlib.h": "libbz2-dev",
    "cblas.h": "libopenblas-dev",
    "curl/": "libcurl4-openssl-dev",
    "eigen3/": "libeigen3-dev",
    "Eigen/": "libeigen3-dev",
    "expat.h": "libexpat1-dev",
    "ffi.h": "libffi-dev",
    "fftw3.h": "libfftw3-dev",
    "freetype": "libfreetype-dev",
    "gdal": "libgdal-dev",
    "geos": "libgeos-dev",
    "gmp.h": "libgmp-dev",
    "gsl/": "libgsl-dev",
    "hdf5.h": "libhdf5-dev",
    "jpeglib.h": "libjpeg-dev",
    "lapacke.h": "liblapacke-dev",
    "libpq-fe.h": "libpq-dev",
    "libxml/": "libxml2-dev",
    "libxslt/": "libxslt1-dev",
    "lz4.h": "liblz4-dev",
    "lzma.h": "liblzma-dev",
    "mpi.h": "libopenmpi-dev",
    "netcdf.h": "libnetcdf-dev",
    "openssl/": "libssl-dev",
    "png.h": "libpng-dev",
    "proj.h": "libproj-dev",
    "spatialindex/": "libspatialindex-dev",
    "sqlite3.h": "libsqlite3-dev",
    "tiff": "libtiff-dev",
    "udunits2.h": "libudunits2-dev",
    "zlib.h": "zlib1g-dev",
    "zmq.h": "libzmq3-dev",
    "zstd.h": "libzstd-dev",
}
_PROGRAMS = {
    "cargo": "cargo",
    "cmake": "cmake",
    "geos-config": "libgeos-dev",
    "gdal-config": "libgdal-dev",
    "gfortran": "gfortran",
    "nc-config": "libnetcdf-dev",
    "ninja": "ninja-build",
    "patchelf": "patchelf",
    "pg_config": "libpq-dev",
    "pkg-config": "pkg-config",
    "rustc": "rustc",
    "swig": "swig",
}
_NO_MODULE = re.compile(r"No module named '([A-Za-z_]\w*)|Backend '([A-Za-z_]\w*)[\w.]*' is not")
_NO_HEADER = re.compile(r"fatal error: ['\"]?([\w./+-]+)['\"]?:? (?:No such file|file not found)")
_NO_PROGRAM = re.compile(
    r"([\w.+-]+): (?:command )?not found|No such file or directory: '([\w.+-]+)'"
    r"|(?:Program|program) ['\"]?([\w.+-]+)['\"]?.{0,40}(?:not found|NOT FOUND)"
    r"|Unknown compiler\(s\): \[\['(gfortran)'"
    r"|(?:Could not find|could not find) ([\w.+-]+)|([\w.+-]+) executable not found"
)
#: What a repair adds; everything else in a script is not ours.
_LINE = re.compile(r'^(FC_REQUIREMENTS|FC_SYSTEM_PACKAGES)\+=" (\S+)"$', re.MULTILINE)
_START = re.compile(r"^set -euo pipefail\n", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Repair:
    """A context with something added, and what that is."""

    context: Context
    added: str


def repair(
    context: Context, log: str, candidate: Candidate, in_container: bool = True
) -> Repair | None:
    """The first repair for what the log complains of that is not in the scripts yet.

    System packages are for containers only.
    """
    for line in log.splitlines():
        for name in _found(_NO_MODULE, line):
            if requirement := _MODULES.get(name):
                added = _added(context, "docker_build_pkg.sh", "FC_REQUIREMENTS", requirement)
                if added:
                    return added
        for package in _packages(line) if in_container else ():
            if package not in candidate.system_packages:
                added = _added(context, "docker_build_env.sh", "FC_SYSTEM_PACKAGES", package)
                if added:
                    return added
    return None


def again(context: Context, onto: Context) -> Context:
    """The repairs of a context on other scripts: those of today, where it has those of its time."""
    repaired = onto
    for script, text in context.scripts.items():
        for variable, word in _LINE.findall(text):
            added = _added(repaired, script, variable, word)
            repaired = added.context if added else repaired
    return repaired


def _packages(line: str) -> list[str]:
    headers = _found(_NO_HEADER, line)
    found = [package for h in headers for start, package in _HEADERS.items() if h.startswith(start)]
    return found + [_PROGRAMS[name] for name in _found(_NO_PROGRAM, line) if name in _PROGRAMS]


def _found(pattern: re.Pattern[str], line: str) -> list[str]:
    return [name for match in pattern.finditer(line) for name in match.groups() if name]


def _added(context: Context, script: str, variable: str, word: str) -> Repair | None:
    """The context with one more word in a variable that the script installs from."""
    text, line = context.scripts[script], f'{variable}+=" {word}"\n'
    if line in text or f"${variable}" not in text or not _START.search(text):
        return None
    changed = _START.sub(lambda start: start[0] + line, text, count=1)
    return Repair(Context({**context.scripts, script: changed}, "repair"), f"added {word}")

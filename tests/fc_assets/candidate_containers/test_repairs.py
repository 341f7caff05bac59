"""Known errors of builds and what is added for them; never what a log asks for."""

import datetime

import pytest

from fc_assets.candidate_containers import stock
from fc_assets.candidate_containers.repairs import again, repair
from fc_assets.candidate_containers.stock import Candidate, Context

_CANDIDATE = Candidate(
    *("o", "r", 1, "a" * 40, "b" * 40, "r", ".", None, "3.11", (), ("libproj-dev",), None),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
)
_STOCK = Context(stock.stock(), "stock")


@pytest.mark.parametrize(
    ("line", "added"),
    [
        ("ModuleNotFoundError: No module named 'Cython'", "cython"),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "setuptools<81"),
        ("ModuleNotFoundError: No module named 'poetry.core'", "poetry-core"),
        ("BackendUnavailable: Cannot import 'mesonpy': No module named 'mesonpy'", "meson-python"),
        ("src/x.c:1:10: fatal error: geos_c.h: No such file or directory", "libgeos-dev"),
        ("a.cpp:3:10: fatal error: 'Eigen/Core' file not found", "libeigen3-dev"),
        ("fatal error: openssl/ssl.h: No such file or directory", "libssl-dev"),
        ("/fc/input/docker_build_pkg.sh: line 9: cmake: command not found", "cmake"),
        ("/bin/sh: 1: pkg-config: not found", "pkg-config"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'geos-config'", "libgeos-dev"),
        ("../meson.build:1:0: ERROR: Unknown compiler(s): [['gfortran'], ['flang']]", "gfortran"),
        ("../meson.build:8:0: ERROR: Program 'cython' not found or not executable", None),
        # What is not in a table is never installed, whoever asks for it.
        ("ModuleNotFoundError: No module named 'evil_package'", None),
        ("bash: rm -rf /: command not found", None),
        ("error: something else", None),
    ],
)
def test_a_known_error_gets_its_package(line: str, added: str | None) -> None:
    found = repair(_STOCK, f"some output\n{line}\nerror: subprocess exited with 1\n", _CANDIDATE)
    assert (found.added if found else None) == (f"added {added}" if added else None)
    if found is not None:
        assert found.context.origin == "repair"
        [(before, after)] = [
            (text, found.context.scripts[name])
            for name, text in _STOCK.scripts.items()
            if text != found.context.scripts[name]
        ]
        assert len(after.splitlines()) == len(before.splitlines()) + 1


def test_the_same_is_not_added_twice_nor_what_is_there() -> None:
    line = "ModuleNotFoundError: No module named 'Cython'\n"
    first = repair(_STOCK, line, _CANDIDATE)
    assert first is not None
    assert repair(first.context, line, _CANDIDATE) is None
    second = repair(first.context, f"{line}fatal error: zlib.h: No such file\n", _CANDIDATE)
    assert second is not None
    assert second.added == "added zlib1g-dev"
    assert 'FC_REQUIREMENTS+=" cython"' in second.context.scripts["docker_build_pkg.sh"]
    assert repair(_STOCK, "fatal error: proj.h: No such file\n", _CANDIDATE) is None


def test_scripts_that_do_not_install_from_the_variables_are_left_alone() -> None:
    own = Context({**_STOCK.scripts, "docker_build_pkg.sh": "set -euo pipefail\ntrue\n"}, "user")
    assert repair(own, "No module named 'Cython'\n", _CANDIDATE) is None


def test_repairs_are_made_again_on_other_scripts() -> None:
    log = "No module named 'Cython'\nfatal error: zlib.h: No such file\n"
    first = repair(_STOCK, log, _CANDIDATE)
    second = first and repair(first.context, log, _CANDIDATE)
    assert second is not None
    newer = {name: f"# of today\n{text}" for name, text in _STOCK.scripts.items()}
    found = again(second.context, Context(newer, "stock"))
    assert found.origin == "repair"
    for name, text in found.scripts.items():
        assert text.startswith("# of today\n")
        assert text.removeprefix("# of today\n") == second.context.scripts[name]
    assert again(_STOCK, _STOCK) is _STOCK

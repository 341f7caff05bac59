"""Declarations of a commit read as text: what is taken, what is dropped with its reason."""

from collections.abc import Mapping

import pytest

from fc_assets.packages import metadata
from fc_resources.errors import PermanentError

_PYPROJECT = """
[build-system]
requires = ["setuptools>=70", "Cython"]
[project]
name = "Fast.Thing"
requires-python = ">=3.11"
dependencies = [
  "numpy>=1.25; platform_system != 'Emscripten'",
  "fast-thing[extra]",
  "local @ file:///etc/passwd",
  "not a requirement!",
]
classifiers = ["Programming Language :: Python :: 3.12"]
"""


def _read(files: Mapping[str, str]) -> metadata.Project:
    return metadata.read_project(list(files), files.get)


def test_build_run_and_benchmark_needs_are_taken_and_nothing_else() -> None:
    project = _read(
        {
            "pyproject.toml": _PYPROJECT + '[project.optional-dependencies]\ndocs = ["sphinx"]',
            "requirements-dev.txt": "black",
            "asv.conf.json": '{"matrix": {"req": {"pandas": ["2.2"], "numpy": []}}}',
        }
    )
    assert project.name == "Fast.Thing"
    assert project.requirements == [
        'numpy>=1.25; platform_system != "Emscripten"',
        "setuptools>=70",
        "Cython",
        "pandas==2.2",
        "asv",
    ]
    assert [d.partition(" in ")[0] for d in project.dropped] == [
        "'fast-thing[extra]'",
        "'local @ file:///etc/passwd'",
        "'not a requirement!'",
    ]


def test_conda_libraries_of_the_matrix_become_system_packages() -> None:
    config = '// comment\n{"environment_type": "conda", "matrix": {"geos": [], "pip+foo": [""],}}'
    project = _read({"pyproject.toml": _PYPROJECT, "benchmarks/asv.conf.json": config})
    assert project.asv_config == "benchmarks/asv.conf.json"
    assert project.system_packages == ["libgeos-dev"]
    assert "foo" in project.requirements


def test_setup_cfg_is_read_without_a_project_table() -> None:
    config = "[metadata]\nname = old\n[options]\npython_requires = >=3.8\n"
    config += "install_requires =\n    six\n    %(weird)s\n"
    project = _read({"setup.cfg": config, "setup.py": "raise SystemExit"})
    assert (project.name, project.requires_python) == ("old", ">=3.8")
    assert project.requirements[0] == "six"
    assert "%(weird)s" in project.dropped[0]


def test_a_bom_and_a_broken_asv_config_do_not_hide_the_rest() -> None:
    project = _read({"pyproject.toml": _PYPROJECT, "asv.conf.json": "{nonsense"})
    assert "setuptools>=70" in project.requirements
    assert any("asv.conf.json" in dropped for dropped in project.dropped)


@pytest.mark.parametrize(
    ("files", "root"),
    [
        (["pyproject.toml", "python/pyproject.toml"], "."),
        (["python/pyproject.toml", "README"], "python"),
        (["tests/pkg/setup.py", "b/setup.py", "a/setup.py"], "a"),
    ],
)
def test_the_root_nearest_to_the_top_is_chosen(files: list[str], root: str) -> None:
    assert metadata.find_root(files) == root


@pytest.mark.parametrize("files", [["requirements.txt"], ["tests/setup.py"], []])
def test_without_metadata_there_is_no_project(files: list[str]) -> None:
    with pytest.raises(PermanentError, match=r"no pyproject\.toml"):
        metadata.find_root(files)


def test_broken_toml_is_permanent() -> None:
    with pytest.raises(PermanentError, match="is not TOML"):
        _read({"pyproject.toml": "[project\nname="})

"""Poetry's constraints in the words of PEP 440 and 508, as its documentation defines them."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import packaging.requirements
import packaging.specifiers
import pytest

from fc_assets.packages import metadata, poetry


@pytest.mark.parametrize(
    ("constraint", "specifier"),
    [
        ("^1.2.3", ">=1.2.3,<2"),
        ("^1.2", ">=1.2,<2"),
        ("^1", ">=1,<2"),
        ("^0.2.3", ">=0.2.3,<0.3"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"),
        ("^0", ">=0,<1"),
        ("^1.0b1", ">=1.0b1,<2"),
        ("^v1.2", ">=1.2,<2"),
        ("~1.2.3", ">=1.2.3,<1.3"),
        ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"),
        ("~=1.4.2", "~=1.4.2"),
        ("*", ""),
        ("1.*", "==1.*"),
        ("1.2.*", "==1.2.*"),
        ("1.2.3", "==1.2.3"),
        ("=1.2.3", "==1.2.3"),
        ("==1.2.3", "==1.2.3"),
        ("!=1.2", "!=1.2"),
        (">= 1.2, < 1.5", ">=1.2,<1.5"),
        (">=1.2 <1.5", ">=1.2,<1.5"),
        (" ^1.2,!=1.3 ", ">=1.2,<2,!=1.3"),
    ],
)
def test_constraints_mean_the_same_versions(constraint: str, specifier: str) -> None:
    assert poetry.specifier(constraint) == specifier


@pytest.mark.parametrize("constraint", ["^1 || ^2", "latest", ">*", "^1.*", ">=", "^", "1" * 1000])
def test_what_pep_440_cannot_say_is_refused(constraint: str) -> None:
    with pytest.raises(poetry.ConstraintError):
        poetry.specifier(constraint)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("*", "a"),
        ({"version": "^1", "extras": ["b", "c"]}, "a[b,c]>=1,<2"),
        (
            {"version": "1", "markers": "os_name == 'nt' or os_name == 'x'"},
            "a==1; os_name == 'nt' or os_name == 'x'",
        ),
        ({"version": "*", "platform": "linux"}, 'a; sys_platform == "linux"'),
        (
            {"version": "*", "python": "~3.8", "markers": "os_name == 'nt'"},
            "a; (os_name == 'nt') and "
            '(python_full_version >= "3.8" and python_full_version < "3.9")',
        ),
        (
            {"version": "*", "python": "<3.8 || ^3.10"},
            'a; (python_full_version < "3.8") or '
            '(python_full_version >= "3.10" and python_full_version < "4")',
        ),
        ({"version": "*", "python": "*"}, "a"),
        ({"version": "*", "python": "3.9.*"}, 'a; python_full_version == "3.9.*"'),
    ],
)
def test_a_dependency_becomes_one_line(value: Any, line: str) -> None:
    assert poetry.requirement("a", value) == line
    packaging.requirements.Requirement(line)


def test_a_poetry_project_is_read() -> None:
    text = """
    [build-system]
    requires = ["poetry-core"]
    build-backend = "poetry.core.masonry.api"
    [tool.poetry]
    name = "x"
    classifiers = ["Programming Language :: Python :: 3.9"]
    [tool.poetry.dependencies]
    python = "~2.7 || ^3.9"
    a = "^1.2"
    b = {version = "*", optional = true}
    c = {git = "https://example.org/c"}
    d = {path = "../d", develop = true}
    e = [{version = "<2", python = "<3.10"}, {version = "^2", python = ">=3.10"}]
    f = "^1 || ^2"
    [tool.poetry.extras]
    fast = ["b"]
    [tool.poetry.group.bench.dependencies]
    g = ">=3"
    [tool.poetry.group.dev.dependencies]
    h = "*"
    [tool.poetry.dev-dependencies]
    i = "*"
    """
    files = {"pyproject.toml": text, "setup.py": "setup(install_requires=['z'])"}
    project = metadata.read_project(list(files), files.get)
    assert (project.name, project.requires_python) == ("x", ">=3.9,<4")
    assert project.classifiers == ("Programming Language :: Python :: 3.9",)
    assert project.requirements == [
        "a<2,>=1.2",
        'e<2; python_full_version < "3.10"',
        'e<3,>=2; python_full_version >= "3.10"',
        "poetry-core",
        "g>=3",
        "asv",
    ]
    assert [d.rpartition(": ")[2] for d in project.dropped] == [
        "a git, not a release",
        "a path, not a release",
        "alternatives, which one specifier cannot say",
    ]
    files["asv.conf.json"] = '{"install_command": ["pip install {build_dir}[fast]"]}'
    assert "b" in metadata.read_project(list(files), files.get).requirements


@pytest.mark.parametrize("python", ["^2.7 || 2.6", "^3.8 || ^3.10", "nonsense"])
def test_python_versions_that_cannot_be_said_are_dropped(python: str) -> None:
    text = f"[tool.poetry]\nname='x'\n[tool.poetry.dependencies]\npython='{python}'\n"
    project = metadata.read_project(["pyproject.toml"], lambda _: text)
    assert project.requires_python is None
    assert "python" in project.dropped[0]


@hypothesis.given(st.text(alphabet="^~=<>!*|,. 0123456789abvx", max_size=20))
@hypothesis.settings(max_examples=150, deadline=None)
def test_any_constraint_is_translated_or_refused(constraint: str) -> None:
    try:
        packaging.specifiers.SpecifierSet(poetry.specifier(constraint))
        line = poetry.requirement("a", {"version": constraint, "python": constraint})
        packaging.requirements.Requirement(line)
    except poetry.ConstraintError:
        pass

"""Declarations of a commit read as text: what is taken, what is dropped with its reason."""

import contextlib
import json
import textwrap
from collections.abc import Mapping

import hypothesis
import hypothesis.strategies as st
import pytest

from fc_assets.packages import metadata, roots
from fc_assets.packages.declarations import Files
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
    assert any("%(weird)s" in dropped for dropped in project.dropped)


def test_a_bom_and_a_broken_asv_config_do_not_hide_the_rest() -> None:
    project = _read({"pyproject.toml": _PYPROJECT, "asv.conf.json": "{nonsense"})
    assert "setuptools>=70" in project.requirements
    assert any("asv.conf.json" in dropped for dropped in project.dropped)


_POETRY = "[tool.poetry]\nname = 'x'\n[tool.poetry.dependencies]\n"
_FILE = "[tool.setuptools.dynamic]\ndependencies="
_HATCH = "[build-system]\nrequires=['hatchling']\nbuild-backend='hatchling.build'\n"
_HOOK = "[tool.hatch.metadata.hooks.requirements_txt]\n"
_STATIC = "[project]\nname = 'x'\ndependencies = ['a']\n"
_DYNAMIC = "[project]\nname = 'x'\ndynamic = ['dependencies']\n"
_TOOLS = "[tool.ruff]\nline-length = 100\n"


def _root(files: Mapping[str, str], named: str | None = None) -> str:
    return roots.find_root(Files(files, files.get), named)


def _needs(files: Mapping[str, str]) -> list[str]:
    """What is needed beyond what every project built by setuptools needs."""
    return [r for r in _read(files).requirements if r not in ("setuptools", "wheel", "asv")]


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({"pyproject.toml": "[project]", "python/pyproject.toml": "[project]"}, "."),
        ({"python/pyproject.toml": "[project]", "README": ""}, "python"),
        ({"tests/pkg/setup.py": "", "b/setup.py": "", "a/setup.py": ""}, "a"),
        ({"pyproject.toml": _TOOLS, "src/pkg/pyproject.toml": "[project]"}, "src/pkg"),
        ({"pyproject.toml": _TOOLS, "python/setup.py": ""}, "python"),
        ({"pyproject.toml": _TOOLS, "setup.py": "", "python/setup.py": ""}, "."),
        ({"pyproject.toml": "[broken", "python/setup.py": ""}, "python"),
        ({"setup.cfg": "[flake8]", "lib/setup.cfg": "[metadata]\nname=x"}, "lib"),
        ({"pyproject.toml": _POETRY, "python/setup.py": ""}, "."),
        ({"pyproject.toml": "[tool.poetry]\npackage-mode=false", "a/setup.py": ""}, "a"),
        ({"pyproject.toml": _TOOLS}, "."),
    ],
)
def test_the_root_that_builds_and_is_nearest_to_the_top_is_chosen(
    files: Mapping[str, str], root: str
) -> None:
    assert _root(files) == root


def test_the_folder_that_asv_names_comes_first() -> None:
    files = {
        "pyproject.toml": "[project]\nname='a'",
        "python/pyproject.toml": "[project]\nname='b'",
        "asv.conf.json": '{"repo_subdir": "python/"}',
    }
    assert (_read(files).root, _read(files).name) == ("python", "b")
    assert _root(files, "elsewhere") == "."
    assert _root(files, "../python") == "."


@pytest.mark.parametrize("files", [["requirements.txt"], ["tests/setup.py"], []])
def test_without_metadata_there_is_no_project(files: list[str]) -> None:
    with pytest.raises(PermanentError, match=r"no pyproject\.toml"):
        _root(dict.fromkeys(files, ""))


def test_broken_toml_is_permanent_unless_setuptools_files_are_beside() -> None:
    broken = {"pyproject.toml": "[project\nname="}
    with pytest.raises(PermanentError, match="is not TOML"):
        _read(broken)
    project = _read(broken | {"setup.py": "setup(name='x', install_requires=['a'])"})
    assert (project.name, project.requirements[0], project.dynamic) == ("x", "a", ())
    assert "pyproject.toml: not TOML" in project.dropped[0]


def test_a_bom_and_windows_line_ends_are_read() -> None:
    text = "\ufeff[project]\r\nname = 'x'\r\ndependencies = ['a']\r\n"
    assert _needs({"pyproject.toml": text}) == ["a"]


def test_markers_are_kept_and_addresses_and_paths_dropped_as_written() -> None:
    lines = [
        "a; platform_system == 'Windows' and platform_machine != 'arm64'",
        "b @ git+https://example.org/b",
        "./local",
        "-e .",
        "platf or m_system",
        "c" * 5_000,
        "d\0",
    ]
    text = "[project]\nname='x'\ndependencies=" + json.dumps(lines)
    project = _read({"pyproject.toml": text})
    assert project.requirements[0] == (
        'a; platform_system == "Windows" and platform_machine != "arm64"'
    )
    assert project.dropped[:4] == [
        "'b @ git+https://example.org/b' in project.dependencies: an address, not a release",
        "'./local' in project.dependencies: an option or path (.), not a requirement",
        "'-e .' in project.dependencies: an option or path (-e), not a requirement",
        "'platf or m_system' in project.dependencies: not a requirement",
    ]
    assert all(len(dropped) < 300 for dropped in project.dropped)
    assert len(project.dropped) == 6


def test_extras_are_needed_only_where_asv_asks_and_cycles_end() -> None:
    text = """
    [project]
    name = "x"
    dependencies = ["x[base]", "a"]
    [project.optional-dependencies]
    base = ["b"]
    all = ["x[Bench_A,docs2]; python_version < '3.13'", "x[all]"]
    bench-a = ["c", "x[all]", "d; os_name == 'nt'"]
    docs2 = ["e"]
    dev = ["f"]
    bench = ["g"]
    """
    assert _needs({"pyproject.toml": text}) == ["a", "b"]
    config = '{"install_command": ["pip install {build_dir}[all,gone]", "pip install other[dev]"]}'
    project = _read({"pyproject.toml": text, "asv.conf.json": config})
    assert [r for r in project.requirements if r[0] in "cdefg"] == [
        'c; python_version < "3.13"',
        'd; python_version < "3.13" and os_name == "nt"',
        'e; python_version < "3.13"',
    ]
    assert any("'gone' in asv.conf.json: not an extra" in d for d in project.dropped)


@pytest.mark.parametrize(
    "asks",
    [
        '"install_command": ["in-dir={env_dir} python -m pip install {wheel_file}[bench]"]',
        '"install_command": "python -mpip install -e .[bench]"',
        '"build_command": ["uv sync --extra bench"]',
        '"matrix": {"req": {"pip+.[bench]": [""]}}',
        '"matrix": {"x[bench]": []}',
    ],
)
def test_asv_asks_for_an_extra_in_its_commands_and_its_matrix(asks: str) -> None:
    text = "[project]\nname='x'\n[project.optional-dependencies]\nbench=['a']\ndev=['b']"
    assert _needs({"pyproject.toml": text, "asv.conf.json": f"{{{asks}}}"}) == ["a"]


def test_an_extra_of_a_project_without_a_readable_name_is_needed_too() -> None:
    files = {
        "setup.py": "setup(name=find_name(), extras_require={'bench': ['a']})",
        "asv.conf.json": '{"install_command": ["pip install {build_dir}[bench]"]}',
    }
    assert _read(files).name is None
    assert _needs(files) == ["a"]


def test_groups_named_for_benchmarks_are_needed_with_what_they_include() -> None:
    text = """
    [project]
    name = "x"
    [dependency-groups]
    bench = ["a", {include-group = "Shared_Things"}, {include-group = "gone"}, 3, {odd = 1}]
    shared-things = ["b", {include-group = "bench"}]
    asv = ["c"]
    named = ["d"]
    dev = ["e", {include-group = "bench"}]
    test-perf = ["f"]
    docs = "wrong"
    perf = "wrong"
    """
    config = '{"build_command": ["uv sync --group=named"]}'
    project = _read({"pyproject.toml": text, "asv.conf.json": config})
    assert [r for r in project.requirements if len(r) == 1] == ["a", "c", "d", "b"]
    reasons = ["'3' in", "no include-group", "'wrong' in dependency-groups.perf", "'gone' in"]
    assert len(project.dropped) == len(reasons)
    assert all(reason in dropped for reason, dropped in zip(reasons, project.dropped, strict=True))


@pytest.mark.parametrize(
    ("files", "needs"),
    [
        ({"pyproject.toml": _DYNAMIC + _FILE + "{file=['r.txt']}"}, ["a", "b"]),
        ({"pyproject.toml": _DYNAMIC + _FILE + "{file='r.txt'}"}, ["a", "b"]),
        ({"pyproject.toml": _DYNAMIC + _HOOK + "files=['r.txt']"}, ["a", "b"]),
        ({"pyproject.toml": _DYNAMIC, "setup.py": "setup(install_requires=['a'])"}, ["a"]),
        ({"pyproject.toml": _DYNAMIC, "setup.cfg": "[options]\ninstall_requires=a"}, ["a"]),
        ({"pyproject.toml": _DYNAMIC + "[tool.poetry.dependencies]\na='*'"}, ["a"]),
        (
            {"setup.py": "setup()", "setup.cfg": "[options]\ninstall_requires = file: r.txt"},
            ["a", "b"],
        ),
        ({"setup.cfg": "[metadata]\nname=x\n[options]\nsetup_requires=c>=1; d"}, ["c>=1", "d"]),
        ({"setup.py": "setup(name='x', setup_requires=['c'])"}, ["c"]),
        (
            {
                "setup.py": "setup(install_requires=['a'])",
                "setup.cfg": "[options]\ninstall_requires=z",
            },
            ["a"],
        ),
        (
            {"setup.py": "setup(setup_requires=['pbr'], pbr=True)", "requirements.txt": "a"},
            ["a", "pbr"],
        ),
        (
            {"setup.py": "setup(extras_require={':os_name==\"nt\"': ['a'], 'x': ['b']})"},
            ['a; os_name == "nt"'],
        ),
        ({"pyproject.toml": "[tool.flit.metadata]\nmodule='m'\nrequires=['a']"}, ["a"]),
        ({"pyproject.toml": _STATIC, "setup.py": "setup(install_requires=['b'])"}, ["a"]),
    ],
)
def test_dependencies_come_from_where_the_backend_takes_them(
    files: dict[str, str], needs: list[str]
) -> None:
    files |= {"r.txt": "# comment\na\n-r other.txt\nb  # why\n-c pins.txt\n"}
    project = _read(files)
    assert "dependencies" not in project.dynamic
    assert _needs(files) == needs


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": _DYNAMIC},
        {"pyproject.toml": _DYNAMIC + _FILE + "{file=['no.txt']}"},
        {"pyproject.toml": _DYNAMIC + _FILE + "{attr='x.y'}"},
        {"pyproject.toml": _HATCH + _DYNAMIC},
        {"pyproject.toml": "[build-system]\nrequires=['enscons']\nbuild-backend='enscons.api'"},
        {"setup.py": "setup(install_requires=get())", "setup.cfg": "[options]\ninstall_requires=a"},
        {"setup.py": "print 'Python 2'"},
        {"setup.py": "setup()", "setup.cfg": "[options]\ninstall_requires = file: no.txt"},
    ],
)
def test_dependencies_that_no_file_tells_are_dynamic(files: dict[str, str]) -> None:
    assert "dependencies" in _read(files).dynamic


def test_options_of_requirements_files_are_recorded() -> None:
    text = _DYNAMIC + _FILE + "{file=['r.txt']}"
    requirements = "a==1 \\\n  --hash=sha256:00\n-r b.txt\n--index-url https://example.org\n./c\n"
    project = _read({"pyproject.toml": text, "r.txt": requirements})
    assert len(project.dropped) == 4


@pytest.mark.parametrize(
    ("backend", "needs"),
    [
        ("hatchling.build", ["editables"]),
        ("mesonpy", ["ninja"]),
        ("scikit_build_core.build", ["cmake", "ninja"]),
        ("pdm.backend", []),
        ("flit_core.buildapi", []),
        ("poetry.core.masonry.api", []),
    ],
)
def test_what_backends_ask_for_when_building_is_needed(backend: str, needs: list[str]) -> None:
    text = f"[build-system]\nrequires=['the-backend']\nbuild-backend={backend!r}\n"
    project = _read({"pyproject.toml": text + "[project]\nname='x'\ndependencies=['a']"})
    assert project.requirements == ["a", "the-backend", *needs, "asv"]
    assert project.build_requirements == ["the-backend", *needs]


_STYLES = {
    "poetry": """
        [tool.poetry]
        name = "x"
        version = "1"
        packages = [{include = "x", from = "src"}]
        [tool.poetry.dependencies]
        python = "^3.9"
        numpy = {version = "^1.21", markers = "platform_system != 'Windows'"}
        local = {path = "../local", develop = true}
        [tool.poetry.group.dev.dependencies]
        black = "*"
        [tool.poetry.scripts]
        x = "x:main"
        [build-system]
        requires = ["poetry-core>=1.0.0"]
        build-backend = "poetry.core.masonry.api"
        """,
    "flit": """
        [build-system]
        requires = ["flit_core >=2,<4"]
        build-backend = "flit_core.buildapi"
        [tool.flit.metadata]
        module = "x"
        author = "Somebody"
        requires = ["numpy>=1.21"]
        requires-python = ">=3.9"
        [tool.flit.metadata.requires-extra]
        test = ["pytest"]
        """,
    "hatch": """
        [build-system]
        requires = ["hatchling", "hatch-vcs"]
        build-backend = "hatchling.build"
        [project]
        name = "x"
        dynamic = ["version"]
        requires-python = ">=3.9"
        dependencies = ["numpy>=1.21"]
        [tool.hatch.version]
        source = "vcs"
        [tool.hatch.build.hooks.cython]
        dependencies = ["hatch-cython"]
        [tool.hatch.envs.test]
        dependencies = ["pytest"]
        """,
    "pdm": """
        [project]
        name = "x"
        dynamic = ["version"]
        requires-python = ">=3.9"
        dependencies = ["numpy>=1.21"]
        [build-system]
        requires = ["pdm-backend>=2"]
        build-backend = "pdm.backend"
        [tool.pdm]
        version = {source = "scm"}
        [tool.pdm.dev-dependencies]
        test = ["pytest", "-e file:///${PROJECT_ROOT}/plugin"]
        """,
    "scikit-build-core": """
        [build-system]
        requires = ["scikit-build-core>=0.9", "nanobind"]
        build-backend = "scikit_build_core.build"
        [project]
        name = "x"
        version = "1"
        requires-python = ">=3.9"
        dependencies = ["numpy>=1.21"]
        [tool.scikit-build]
        cmake.version = ">=3.20"
        [tool.cibuildwheel]
        test-requires = "pytest"
        """,
    "meson-python": """
        [build-system]
        requires = ["meson-python>=0.15", "Cython>=3", "numpy>=2"]
        build-backend = "mesonpy"
        [project]
        name = "x"
        dynamic = ["version"]
        requires-python = ">=3.9"
        dependencies = ["numpy>=1.21"]
        [tool.meson-python.args]
        setup = ["-Dblas=openblas"]
        [tool.spin.commands]
        Build = ["spin.cmds.meson.build"]
        """,
}


@pytest.mark.parametrize(
    ("style", "needs"),
    [
        ("poetry", ['numpy<2,>=1.21; platform_system != "Windows"', "poetry-core>=1.0.0"]),
        ("flit", ["numpy>=1.21", "flit_core<4,>=2"]),
        ("hatch", ["numpy>=1.21", "hatchling", "hatch-vcs", "editables", "hatch-cython"]),
        ("pdm", ["numpy>=1.21", "pdm-backend>=2"]),
        ("scikit-build-core", ["numpy>=1.21", "scikit-build-core>=0.9", "nanobind"]),
        ("meson-python", ["numpy>=1.21", "meson-python>=0.15", "Cython>=3", "numpy>=2"]),
    ],
)
def test_files_as_backends_have_them_give_their_needs_and_no_others(
    style: str, needs: list[str]
) -> None:
    project = _read({"pyproject.toml": textwrap.dedent(_STYLES[style])})
    own = {"scikit-build-core": ["cmake", "ninja"], "meson-python": ["ninja"]}
    assert project.requirements == [*needs, *own.get(style, []), "asv"]
    assert project.name == "x"
    assert "dependencies" not in project.dynamic
    assert project.requires_python in (">=3.9", ">=3.9,<4")
    assert len(project.dropped) == (style == "poetry")


def test_setuptools_files_are_not_even_looked_at_when_the_standard_tables_say_all() -> None:
    text = "[build-system]\nrequires=['setuptools']\n[project]\nname='x'\ndynamic=['version']"
    files = {"pyproject.toml": text, "setup.py": "setup(setup_requires=['a'])"}
    asked = []
    metadata.read_project(list(files), lambda path: asked.append(path) or files[path])
    assert asked == ["pyproject.toml"]


@pytest.mark.parametrize(
    "text",
    [
        "project = 3",
        "tool = 3\nbuild-system = 'x'\ndependency-groups = []",
        "[project]\nname = 3\ndependencies = 'numpy'",
        "[project]\nname = 'x'\ndependencies = [1, 'a']\nclassifiers = 'A'\ndynamic = 'version'",
        "[project]\nname = 'x y'\nrequires-python = ['>=3.8']\noptional-dependencies = {a = 'b'}",
        "[build-system]\nrequires = 'setuptools'\nbuild-backend = 3",
        "[tool]\npoetry = 3\nflit = 3\nsetuptools = {dynamic = 3}\nhatch = {metadata = 3}",
        "[tool.poetry]\nname = 3\ndependencies = {python = 3, a = 3, b = {extras = 3}, c = [3]}",
        "[tool.poetry]\nname = 'x'\ngroup = {bench = 3}\nextras = {a = 3}",
    ],
)
def test_wrong_types_are_recorded(text: str) -> None:
    assert _read({"pyproject.toml": text, "setup.py": "setup()"}).dropped


@pytest.mark.parametrize(
    ("matrix", "needs", "system"),
    [
        (
            '"matrix": {"a": ["1.2", "2"], "b": [], "c": [""], "d": null}',
            ["a==1.2", "b", "c", "d"],
            [],
        ),
        ('"matrix": {"req": {"a": [null, "1"]}, "env": {"X": ["1"]}}', ["a==1"], []),
        ('"matrix": {"a": [null], "@env": {"X": 1}}', [], []),
        (
            '"environment_type": "conda", "matrix": {"a": ["1.2"], "pip+b": ["1.2"]}',
            ["a==1.2.*", "b==1.2"],
            [],
        ),
        (
            '"matrix": {"a": [">=1,<2"], "b": ["1.*"], "c": [1.5]}',
            ["a<2,>=1", "b==1.*", "c==1.5"],
            [],
        ),
        (
            '"matrix": {"geos": ["3.12"], "python": [], "libgdal": [], "gdal": []}',
            [],
            ["libgeos-dev", "libgdal-dev"],
        ),
        ('"requirements": {"a": []}', ["a"], []),
        ('"requirements": ["a", 3]', ["a"], []),
        ('"matrix": {"b c": [], "pip+-e .": [""]}', [], []),
        ('"matrix": [1], "pythons": 3, "install_command": 3', [], []),
        ('"matrix": {"req": ["a"]}', [], []),
        ('"matrix": {"a": [[1], {}]}', ["a"], []),
    ],
)
def test_the_matrix_in_all_its_shapes(matrix: str, needs: list[str], system: list[str]) -> None:
    files = {"setup.py": "setup(name='x')", "asv.conf.json": f"{{{matrix}, // comment\n}}"}
    assert _needs(files) == needs
    assert _read(files).system_packages == system


def test_what_the_project_declares_stands_before_the_matrix() -> None:
    config = '{"matrix": {"a": ["1.0"], "b": []}, "conda_environment_file": "env.yml"}'
    project = _read({"setup.py": "setup(install_requires=['a>=2','b'])", "asv.conf.json": config})
    assert project.requirements[:2] == ["a>=2", "b"]
    assert [d.partition(":")[0] for d in project.dropped] == [
        "'env.yml' in asv.conf.json conda_environment_file",
        "'a 1.0' in asv.conf.json",
    ]


def test_absurd_sizes_are_dropped_and_recorded() -> None:
    files = {"setup.py": "#" * 2_000_000, "asv.conf.json": "[" * 200_000}
    assert len(_read(files).dropped) == 3
    many = "[project]\nname='x'\ndependencies=[" + "'a'," * 50_000 + "]"
    assert "all after" in _read({"pyproject.toml": many}).dropped[0]
    for deep in ("a = " + "[" * 50_000, "a = 1" + "0" * 50_000):
        assert "not TOML" in _read({"pyproject.toml": deep, "setup.py": "setup()"}).dropped[0]
    nested = {"setup.py": "setup()", "asv.conf.json": "[" * 50_000}
    assert "asv.conf.json: nested too deeply" in _read(nested).dropped
    line = f"a; {'(' * 900}os_name == 'x'{')' * 900}"
    project = _read({"setup.py": f"setup(install_requires=[{line!r}])"})
    assert len(project.dropped) + len(project.requirements) >= 3


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["a", "x[all]", "a>=1", "^1.2", ">=3.8", "include-group", "dependencies"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "project",
                    "name",
                    "dependencies",
                    "dynamic",
                    "tool",
                    "poetry",
                    "flit",
                    "metadata",
                    "setuptools",
                    "file",
                    "hatch",
                    "build-system",
                    "requires",
                    "optional-dependencies",
                    "dependency-groups",
                    "bench",
                    "all",
                    "include-group",
                    "python",
                    "version",
                    "group",
                    "extras",
                    "matrix",
                    "req",
                    "pythons",
                    "install_command",
                    "requires-python",
                    "hooks",
                    "build",
                    "targets",
                    "wheel",
                    "markers",
                    "optional",
                    "classifiers",
                    "a",
                    "geos",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


def _toml(value: object) -> str:
    """A value as inline TOML, which JSON nearly is."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return json.dumps("" if value is None else value)


_TABLES = st.sampled_from(["project", "tool", "build-system", "dependency-groups"])


@hypothesis.given(st.dictionaries(_TABLES, _VALUES), _VALUES)
@hypothesis.settings(max_examples=150, deadline=None)
def test_no_shape_of_document_raises(document: dict[str, object], config: object) -> None:
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in document.items())
    _read({"pyproject.toml": text, "setup.py": "setup()", "asv.conf.json": json.dumps(config)})


_LINES = st.lists(
    st.sampled_from(
        [
            "[project]",
            "[options]",
            "[metadata]",
            "install_requires =",
            "  a",
            "name = x",
            "=",
            "  ",
            "[tool.poetry.dependencies]",
            "a = '^1'",
            "dependencies = ['a']",
            "file: a",
            "#",
            "%(x)s",
            "[options.extras_require]",
            "{",
            "}",
            "\0",
            "install_requires = file: pyproject.toml",
            ":",
        ]
    ),
    max_size=12,
).map("\n".join)


@hypothesis.given(*[st.text() | _LINES] * 4)
@hypothesis.settings(max_examples=150, deadline=None)
def test_no_text_raises(pyproject: str, setup_cfg: str, setup_py: str, config: str) -> None:
    files = {"setup.cfg": setup_cfg, "setup.py": setup_py, "asv.conf.json": config}
    _read({"pyproject.toml": pyproject} | files)
    with contextlib.suppress(metadata.NoProjectError):
        _read({"pyproject.toml": pyproject})

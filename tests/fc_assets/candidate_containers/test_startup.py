"""Code that may run at start-up, as real installers write it, and code that only looks like it."""

import pytest

from fc_assets.candidate_containers import startup
from fc_assets.candidate_containers.traces import Note
from fc_resources.docker_layers import Entry, Tree

_TEMPLATE = "import sys\nMAPPING: dict = {mapping!r}\nNAMESPACES: dict = {namespaces!r}\n" \
    "NAME = {name!r}\ndef install():\n    sys.x = {{}}\n"  # fmt: skip
_SOURCES = {
    "setuptools/command/editable_wheel.py": f"_FINDER_TEMPLATE = {_TEMPLATE!r}\n",
    "mesonpy/_editable.py": "def install(a, b):\n    pass\n",
}
_FINDER = "import __editable___x_finder; __editable___x_finder.install()"


def _filled(mapping: str) -> str:
    filled = _TEMPLATE.format(mapping="@", namespaces={}, name="x")
    return filled.replace("'@'", mapping)


def _tree(files: dict[str, str]) -> Tree:
    tree = Tree()
    for name, text in files.items():
        note = Note(content=text.encode())
        tree.put(Entry(f"site/{name}", "file", 1, len(text), note=note))
    return tree


@pytest.mark.parametrize(
    ("files", "known"),
    [
        ({"a.pth": "/workspace/x\n# import os\n"}, True),
        ({"a.pth": "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, "
                   "'local') == 'local'; enabled and __import__('_distutils_hack').add_shim(); "},
         True),
        ({"a.pth": _FINDER, "__editable___x_finder.py": _filled("{'x': '/workspace/x'}")}, True),
        ({"a.pth": _FINDER, "__editable___x_finder.py": _filled("exec('1')")}, False),
        ({"a.pth": _FINDER, "__editable___x_finder.py": _filled("{}") + "import x\n"}, False),
        ({"a.pth": _FINDER, "__editable___x_finder.py": _filled("{}"),
          "__pycache__/__editable___x_finder.cpython-311.pyc": "forged"}, False),
        ({"a.pth": _FINDER, "__editable___x_finder.py": _filled("{}"),
          "__editable___x_finder.so": "earlier"}, False),
        ({"a.pth": _FINDER}, False),
        ({"a.pth": "import _x_editable_loader",
          "_x_editable_loader.py": _SOURCES["mesonpy/_editable.py"] + "install({'x'}, '/b')\n"},
         True),
        ({"a.pth": "import _x_editable_loader",
          "_x_editable_loader.py": _SOURCES["mesonpy/_editable.py"] + "install(exec('1'), 2)\n"},
         False),
        ({"a.pth": "import _x_editable_loader", "_x_editable_loader.py": "install()\n"}, False),
        ({"a.pth": "import time; time.perf_counter = int"}, False),
        ({"a.pth": "x\nimport\ttime"}, False),
    ],
)  # fmt: skip
def test_code_at_start_up(files: dict[str, str], known: bool) -> None:
    found = list(startup.findings(_tree(files), "site", _SOURCES))
    assert found == ([] if known else ["site/a.pth runs code at start-up"])


def test_a_file_that_is_a_link_or_too_large_to_read_is_not_passed_over() -> None:
    tree = Tree()
    tree.put(Entry("site/a.pth", "link", 1, target="/opt/x"))
    tree.put(Entry("site/b.pth", "file", 1, 1 << 30, note=Note()))
    assert len(list(startup.findings(tree, "site", _SOURCES))) == 2


def test_the_namespace_packages_of_old_are_known() -> None:
    line = (
        "import sys, types, os;has_mfs = sys.version_info > (3, 5);p = os.path.join("
        "sys._getframe(1).f_locals['sitedir'], *('mpl_toolkits',));importlib = has_mfs and "
        "__import__('importlib.util');has_mfs and __import__('importlib.machinery');m = has_mfs "
        "and sys.modules.setdefault('mpl_toolkits', importlib.util.module_from_spec("
        "importlib.machinery.PathFinder.find_spec('mpl_toolkits', [os.path.dirname(p)])));"
        "m = m or sys.modules.setdefault('mpl_toolkits', types.ModuleType('mpl_toolkits'));"
        "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)"
    )
    assert list(startup.findings(_tree({"a.pth": line}), "site", {})) == []
    assert list(startup.findings(_tree({"a.pth": line + ";exec(p)"}), "site", {})) != []

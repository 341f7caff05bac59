"""Where in a commit's tree the project and its ASV configuration are; nothing of them is used here.

The order, first match wins: the folder that ASV's `repo_subdir` names, if it has metadata; then
folders whose metadata can build something before those that only configure tools; then the top;
then the shallowest; then the first by alphabet.
"""

import posixpath
from collections.abc import Iterable

from fc_assets.packages import setup_cfg, toml
from fc_assets.packages.declarations import Files, NoProjectError

_ROOT_FILES = ("pyproject.toml", "setup.cfg", "setup.py")
_ASV_NAMES = ("asv.conf.json", "asv.conf.jsonc", ".asv.conf.json")
#: Folders whose packages are not the project: they serve it, or are somebody else's.
_BESIDE = frozenset(
    [
        *("tests", "test", "testing", "benchmarks", "benchmark", "asv_bench", "ci", ".github"),
        *("docs", "doc", "examples", "example", "templates", "node_modules"),
        *("vendor", "vendored", "_vendor", "third_party", "thirdparty", "external", "extern"),
    ]
)
# Looking into a candidate costs a read; a monorepo has hundreds.
_LOOKED_INTO = 50


def find_root(files: Files, named: str | None = None) -> str:
    """The folder of the packaging metadata, `.` for the top; `named` is ASV's `repo_subdir`.

    A lone requirements file is no packaging metadata. Raises `NoProjectError` if there is none.
    """
    folders = {posixpath.dirname(f) for f in files.names if posixpath.basename(f) in _ROOT_FILES}
    if named is not None and (asked := posixpath.normpath(named)) in {f or "." for f in folders}:
        return asked
    roots = sorted(
        (f for f in folders if not _BESIDE & set(f.split("/"))),
        key=lambda f: (f.count("/") + bool(f), f),
    )
    if not roots:
        raise NoProjectError("the commit has no pyproject.toml, setup.cfg or setup.py")
    builds = (f for f in roots[:_LOOKED_INTO] if _builds(files, f or "."))
    return next(builds, roots[0]) or "."


def find_asv_config(names: Iterable[str]) -> str | None:
    """The ASV configuration nearest to the top."""
    found = [f for f in names if posixpath.basename(f) in _ASV_NAMES]
    return min(found, key=lambda f: (_is_test(f), f.count("/"), f), default=None)


def _is_test(path: str) -> bool:
    return not {"test", "tests", "docs", "doc", "vendor"}.isdisjoint(path.split("/"))


def _builds(files: Files, root: str) -> bool:
    """Whether a folder's metadata builds a package, rather than only configures tools."""
    if files.has(root, "setup.py"):
        return True
    text = files.text(root, "pyproject.toml")
    if text is not None and not isinstance(table := toml.parse(text), str):
        tools = table.get("tool")
        tools = tools if isinstance(tools, dict) else {}
        poetry, flit = tools.get("poetry"), tools.get("flit")
        if (
            "project" in table
            or "build-system" in table
            or (isinstance(poetry, dict) and ("name" in poetry or "dependencies" in poetry))
            or (isinstance(flit, dict) and "metadata" in flit)
        ):
            return True
    text = files.text(root, "setup.cfg")
    return text is not None and _sections(text)


def _sections(text: str) -> bool:
    parsed = setup_cfg.parse(text)
    return not isinstance(parsed, str) and (
        parsed.has_option("metadata", "name") or parsed.has_section("options")
    )

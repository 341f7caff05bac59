"""Which code may run when an image's Python starts: only what known installers write.

Compared to the wheels that the installers come in. Where the interpreter itself is from is told by
`interpreter`.
"""

import ast
import re
from collections.abc import Iterator, Mapping

from fc_assets.candidate_containers.traces import text_of
from fc_resources.docker_layers import Tree

#: Distributions whose build backends put code into `.pth` files, and the file it is a copy of.
_FINDERS = "setuptools/command/editable_wheel.py"
_LOADERS = ("mesonpy/_editable.py", "scikit_build_core/resources/_editable_redirect.py")
#: What `of_wheels` reads of the wheels.
SOURCES = (_FINDERS, *_LOADERS)
_DISTUTILS = re.compile(
    r"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os\.environ\.get\(var, "
    r"'(local|stdlib)'\) == 'local'; enabled and __import__\('_distutils_hack'\)"
    r"(\.add_shim\(\))?;?"
)
_FINDER = re.compile(r"import (__editable___\w+_finder); \1\.install\(\)")
_LOADER = re.compile(r"import (_\w+)")
#: What setuptools wrote for namespace packages before Python had its own.
_NAMESPACE = re.compile(
    re.escape(
        "import sys, types, os;has_mfs = sys.version_info > (3, 5);p = os.path.join("
        "sys._getframe(1).f_locals['sitedir'], *(@,));importlib = has_mfs and "
        "__import__('importlib.util');has_mfs and __import__('importlib.machinery');m = has_mfs "
        "and sys.modules.setdefault(@, importlib.util.module_from_spec("
        "importlib.machinery.PathFinder.find_spec(@, [os.path.dirname(p)])));m = m or "
        "sys.modules.setdefault(@, types.ModuleType(@));mp = (m or []) and "
        "m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)"
    ).replace("@", r"'[\w.]+'(?:, ?'[\w.]+')*")
)


def findings(tree: Tree, site: str, sources: Mapping[str, str]) -> Iterator[str]:
    """What runs at start-up and is not known; `sources` has the texts of `SOURCES`."""
    for name in tree.names(site):
        if not name.endswith(".pth"):
            continue
        entry = tree.get(f"{site}/{name}")
        text = text_of(entry)
        if entry is None or entry.kind != "file" or (entry.size and not text):
            yield f"{site}/{name} cannot be read"
        for line in (line.rstrip() for line in text.splitlines()):
            executes = line.startswith(("import ", "import\t"))
            if executes and not _is_known(tree, site, line, sources):
                yield f"{site}/{name} runs code at start-up"


def _is_known(tree: Tree, site: str, line: str, sources: Mapping[str, str]) -> bool:
    if _DISTUTILS.fullmatch(line) or _NAMESPACE.fullmatch(line):
        return True
    if match := _FINDER.fullmatch(line):
        text = _module(tree, site, match[1])
        return text is not None and _is_finder(text, sources.get(_FINDERS, ""))
    if match := _LOADER.fullmatch(line):
        text = _module(tree, site, match[1])
        return text is not None and any(_is_loader(text, sources.get(n)) for n in _LOADERS)
    return False


def _module(tree: Tree, site: str, name: str) -> str | None:
    """The text of a module that is one plain file and cannot be another."""
    beside = [n for n in tree.names(site) if n.partition(".")[0] == name]
    compiled = tree.names(f"{site}/__pycache__")
    if beside != [f"{name}.py"] or any(n.startswith(f"{name}.") for n in compiled):
        return None
    return text_of(tree.get(f"{site}/{name}.py"))


def _is_finder(text: str, source: str) -> bool:
    """Whether a module is setuptools' template, filled in with literals."""
    template = next(
        (
            node.value.value
            for node in ast.parse(source).body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            if [t.id for t in node.targets if isinstance(t, ast.Name)] == ["_FINDER_TEMPLATE"]
        ),
        None,
    )
    if not isinstance(template, str):
        return False
    marks = {"name": "@name", "mapping": "@mapping", "namespaces": "@namespaces"}
    try:
        pattern = re.escape(template.format(**marks))
    except (KeyError, ValueError, IndexError):  # a template of another kind
        return False
    for mark in marks.values():
        pattern = pattern.replace(re.escape(repr(mark)), r"([^\n]*)")
    match = re.fullmatch(pattern, text)
    return match is not None and all(_is_literal(value) for value in match.groups())


def _is_loader(text: str, source: str | None) -> bool:
    """Whether a module is a backend's loader with one call of its `install` at the end."""
    if source is None or not text.startswith(source):
        return False
    try:
        rest = ast.parse(text[len(source) :]).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    match rest:
        case [ast.Expr(ast.Call(ast.Name("install"), arguments, keywords))]:
            values = [*arguments, *(keyword.value for keyword in keywords)]
            return all(_is_literal(ast.unparse(value)) for value in values)
    return False


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True

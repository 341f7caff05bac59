"""Values worked out from a syntax tree without running it: literals, joined and filtered lists.

What takes a statement to happen is `setup_py`'s; here an expression has a value or is `UNREADABLE`.
Only methods of texts, lists and paths that can do nothing but return are known, and only files of
the repository are read.
"""

import ast
import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Env = dict[str, Any]

# Steps for one file: numpy's setup.py takes 2,000.
_STEPS = 200_000
_MAX_TEXT = 1_000_000
_MAX_ITEMS = 10_000
_MAX_CALLS = 8
_TEXT_METHODS = frozenset(
    [
        *("strip", "lstrip", "rstrip", "startswith", "endswith", "removeprefix", "removesuffix"),
        *("split", "rsplit", "splitlines", "partition", "rpartition", "lower", "upper"),
        *("find", "count", "isspace", "isalnum", "isdigit"),
    ]
)
_SAME_PATH = frozenset({"os.path.abspath", "os.path.realpath", "os.path.normpath", "os.fspath"})
#: Functions that change nothing they are given.
HARMLESS = frozenset({"print", "len", "repr", "any", "all", "str", "isinstance", "bool", "type"})
_OPEN = frozenset({"open", "io.open", "codecs.open"})


class _Unreadable:
    def __repr__(self) -> str:
        return "UNREADABLE"

    def __deepcopy__(self, memo: object) -> "_Unreadable":
        return self


UNREADABLE = _Unreadable()
#: As a key of a dictionary: something happened to a key that is not known.
ANY_KEY = UNREADABLE


class TooLongError(Exception):
    """Reading took more steps than any honest file needs."""


@dataclass(frozen=True)
class FilePath:
    """A path relative to the folder of the file that is read."""

    path: str


@dataclass(frozen=True)
class Handle:
    """An opened file of the repository."""

    text: str


@dataclass(frozen=True)
class Function:
    """A function defined in the file."""

    node: ast.FunctionDef


class Literals:
    """Evaluates expressions of one file; `read` gives a file of the repository or None.

    `imports` are full dotted names by the names they are bound to. `body` runs a function's
    statements in an environment and gives what it returns.
    """

    def __init__(
        self,
        read: Callable[[str], str | None],
        imports: Mapping[str, str],
        body: Callable[[Iterable[ast.stmt], Env], Any],
    ) -> None:
        self._read = read
        self._imports = imports
        self._body = body
        self._steps = 0
        self._calls = 0

    def spend(self, steps: int = 1) -> None:
        """Count work; `TooLongError` when it is too much."""
        self._steps += steps
        if self._steps > _STEPS:
            raise TooLongError

    def dotted(self, node: ast.expr) -> str:
        """The full dotted name of what an expression refers to, empty if it has none."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self._imports.get(node.id, node.id), *reversed(parts)])

    def value(self, node: ast.expr | None, env: Env) -> Any:
        """The value of an expression, `UNREADABLE` as a whole or in parts."""
        self.spend()
        match node:
            case ast.Constant(value=str() | int() | float() | None as constant):
                return constant
            case ast.Name(id="__file__"):
                return FilePath("setup.py")
            case ast.Name(id=name):
                return env.get(name, UNREADABLE)
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return self._list(elements, env)
            case ast.Dict(keys=keys, values=values):
                return self._dict(keys, values, env)
            case ast.BinOp(left=left, op=operator, right=right):
                return self.join(self.value(left, env), operator, self.value(right, env))
            case ast.JoinedStr(values=values):
                return self._formatted(values, env)
            case ast.Subscript(value=base, slice=index):
                return self._item(self.value(base, env), index, env)
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return self._comprehension(node, env)
            case ast.Call():
                return self._call(node, env)
            case ast.Attribute(value=base, attr=attribute):
                path = self.value(base, env)
                if isinstance(path, FilePath) and attribute == "parent":
                    return FilePath(posixpath.dirname(path.path))
                return UNREADABLE
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                found = self.value(operand, env)
                return not found if self.readable(found) else UNREADABLE
            case ast.BoolOp(op=operator, values=values):
                return self._either(isinstance(operator, ast.Or), values, env)
            case ast.NamedExpr(target=ast.Name(id=name)):
                env[name] = UNREADABLE
        return self._unknown(node, env)

    def join(self, left: Any, operator: ast.operator, right: Any) -> Any:
        """`+` of two texts or lists, `/` of a path and a text."""
        match operator, left, right:
            case ast.Add(), str(), str():
                return _bounded(left + right)
            case ast.Add(), list(), list():
                self.spend(len(left) + len(right))
                return _bounded(left + right)
            case ast.Div(), FilePath(), str():
                return FilePath(posixpath.join(left.path, right))
        return UNREADABLE

    def readable(self, value: Any) -> bool:
        """Whether no part of a value is unreadable."""
        if isinstance(value, list):
            self.spend(len(value))
            return all(self.readable(item) for item in value)
        if isinstance(value, dict):
            self.spend(len(value))
            return ANY_KEY not in value and all(self.readable(v) for v in value.values())
        return value is not UNREADABLE

    def items(self, value: Any) -> list[Any] | None:
        """What iterating over a value gives."""
        if isinstance(value, Handle):
            return value.text.splitlines(keepends=True)
        if isinstance(value, dict):
            return list(value)
        return value if isinstance(value, list) else None

    def _list(self, elements: list[ast.expr], env: Env) -> Any:
        found: list[Any] = []
        for element in elements:
            found.append(self.value(element, env))
        return _bounded(found)

    def _dict(self, keys: list[ast.expr | None], values: list[ast.expr], env: Env) -> Any:
        found: dict[Any, Any] = {}
        for key, value in zip(keys, values, strict=True):
            name = self.value(key, env)
            hashable = name if isinstance(name, str | int) else ANY_KEY
            found[hashable] = self.value(value, env)
        return _bounded(found)

    def _formatted(self, values: list[ast.expr], env: Env) -> Any:
        text = ""
        for part in values:
            if isinstance(part, ast.FormattedValue):
                piece = self.value(part.value, env)
                if part.format_spec is not None or part.conversion != -1:
                    return UNREADABLE
            else:
                piece = self.value(part, env)
            if not isinstance(piece, str):
                return UNREADABLE
            text += piece
            if len(text) > _MAX_TEXT:
                return UNREADABLE
        return text

    def _item(self, base: Any, index: ast.expr, env: Env) -> Any:
        key = self.value(index, env)
        if isinstance(base, dict) and isinstance(key, str | int) and ANY_KEY not in base:
            return base.get(key, UNREADABLE)
        if isinstance(base, list | str) and isinstance(key, int) and self.readable(base):
            return _tried(lambda: base[key])
        return UNREADABLE

    def _unknown(self, node: ast.AST | None, env: Env) -> Any:
        """Follow the parts of what cannot be told: they may yet change something."""
        for part in ast.iter_child_nodes(node) if node else ():
            if isinstance(part, ast.expr):
                self.value(part, env)
            else:
                self._unknown(part, env)
        return UNREADABLE

    def _either(self, is_or: bool, values: list[ast.expr], env: Env) -> Any:
        found = [self.value(each, env) for each in values]
        for value in found:
            if not self.readable(value):
                return UNREADABLE
            if bool(value) == is_or:
                return value
        return found[-1]

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp, env: Env) -> Any:
        generator = node.generators[0]
        items = self.items(self.value(generator.iter, env))
        target = generator.target
        if items is None or not isinstance(target, ast.Name) or len(node.generators) != 1:
            return self._unknown(node, env)
        found = []
        inner = dict(env)
        self.spend(len(env))
        for item in items:
            inner[target.id] = item
            wanted = [self.value(test, inner) for test in generator.ifs]
            if not self.readable(wanted):
                return UNREADABLE
            if all(wanted):
                found.append(self.value(node.elt, inner))
        return _bounded(found)

    def _call(self, node: ast.Call, env: Env) -> Any:
        name = self.dotted(node.func)
        values = self._list(node.args, env)
        named = {k.arg: self.value(k.value, env) for k in node.keywords}
        if values is UNREADABLE:
            return UNREADABLE
        function = env.get(name)
        if isinstance(function, Function):
            return self._inline(function.node, values, named, env)
        if isinstance(node.func, ast.Attribute) and name not in _OPEN:
            base = self.value(node.func.value, env)
            found = self._method(base, node.func.attr, values)
            if found is not None:
                return found
            poison(base)
        elif not isinstance(node.func, ast.Attribute | ast.Name):
            self.value(node.func, env)
        found = self._builtin(name, values, named)
        if found is UNREADABLE and name not in HARMLESS:
            for value in (*values, *named.values()):
                poison(value)
        return found

    def _builtin(self, name: str, values: list[Any], named: dict[str | None, Any]) -> Any:
        match name, values:
            case "dict", [] | [dict()]:
                found = dict(*values)
                for key, value in named.items():
                    other = value if key is None else {key: value}
                    found |= other if isinstance(other, dict) else {ANY_KEY: UNREADABLE}
                return found
            case "list" | "tuple" | "set" | "frozenset" | "sorted" | "iter", [one]:
                items = self.items(one)
                return UNREADABLE if items is None or named else list(items)
            case "str", [str() as one]:
                return one
            case "os.path.dirname", [one] if (path := _path(one)) is not None:
                return FilePath(posixpath.dirname(path))
            case (("os.path.join" | "pathlib.Path" | "pathlib.PurePath"), [_, *_]):
                return _joined(values)
            case _, [one] if name in _SAME_PATH:
                return UNREADABLE if (path := _path(one)) is None else FilePath(path)
            case _, [one, *mode] if name in _OPEN:
                modes = [*mode[:1], named.get("mode", "r")]
                return (
                    self._open(one)
                    if all(m in ("r", "rt", "U", "rU") for m in modes)
                    else UNREADABLE
                )
        return UNREADABLE

    def _method(self, base: Any, method: str, values: list[Any]) -> Any:
        """What a method returns, None if it is not known."""
        match base, method, values:
            case Handle(), "read", []:
                return base.text
            case Handle(), "readlines", []:
                return base.text.splitlines(keepends=True)
            case FilePath(), "open" | "read_text", _:
                handle = self._open(base) if all(v in ("r", "utf-8") for v in values) else None
                if method == "read_text" and isinstance(handle, Handle):
                    return handle.text
                return handle or UNREADABLE
            case FilePath(), "resolve" | "absolute", []:
                return base
            case str(), "replace", [str() as old, str() as new]:
                fits = len(base) * max(1, len(new)) <= _MAX_TEXT
                return _bounded(base.replace(old, new)) if fits else UNREADABLE
            case str(), _, _ if method in _TEXT_METHODS and self.readable(values):
                self.spend(1 + len(base) // 1000)
                return _bounded(
                    _tried(lambda: _sequence(getattr(base, method)(*map(_tupled, values))))
                )
            case dict(), "values", []:
                return list(base.values())
        return None

    def _open(self, path: Any) -> Any:
        name = _path(path)
        text = None if name is None or name.startswith("/") else self._read(name)
        return UNREADABLE if text is None else Handle(text)

    def _inline(
        self, node: ast.FunctionDef, values: list[Any], named: dict[str | None, Any], env: Env
    ) -> Any:
        """What a function of the file returns, if its statements can be followed."""
        parameters = node.args
        names = [p.arg for p in (*parameters.posonlyargs, *parameters.args)]
        if (
            self._calls >= _MAX_CALLS
            or node.decorator_list
            or None in named
            or len(values) > len(names)
        ):
            for value in (*values, *named.values()):
                poison(value)
            return UNREADABLE
        defaults = parameters.defaults
        inner = dict(env)
        self.spend(len(env))
        for name in [*names, *(p.arg for p in parameters.kwonlyargs)]:
            inner[name] = UNREADABLE
        for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
            inner[name] = self.value(default, env)
        inner |= dict(zip(names, values, strict=False))
        inner |= {key: value for key, value in named.items() if key is not None}
        self._calls += 1
        try:
            return self._body(node.body, inner)
        finally:
            self._calls -= 1


def poison(value: Any, key: Any = ANY_KEY) -> None:
    """Note in a list or dictionary, for all that refer to it, that it may have been changed.

    So may all within it, unless only one `key` is concerned.
    """
    if isinstance(value, dict) and isinstance(key, str | int):
        poison(value.get(key))
        value[key] = UNREADABLE
        return
    queue, seen = [value], set()
    for each in queue:
        if id(each) in seen or not isinstance(each, list | dict):
            continue
        seen.add(id(each))
        if isinstance(each, list):
            queue += each
            each.append(UNREADABLE)
        else:
            queue += each.values()
            each[ANY_KEY] = UNREADABLE


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT else UNREADABLE
    if isinstance(value, list | dict):
        return value if len(value) <= _MAX_ITEMS else UNREADABLE
    return value


def _tried(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (TypeError, ValueError, IndexError, KeyError, AttributeError):
        return UNREADABLE


def _sequence(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    # `startswith(("#", "-r"))` takes a tuple, which is a list here.
    return tuple(value) if isinstance(value, list) else value


def _path(value: Any) -> str | None:
    if isinstance(value, FilePath):
        return value.path
    return value if isinstance(value, str) else None


def _joined(values: list[Any]) -> Any:
    paths = [_path(v) for v in values]
    known = [p for p in paths if p is not None]
    return FilePath(posixpath.join(*known)) if len(known) == len(paths) else UNREADABLE

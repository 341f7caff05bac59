"""What a `setup.py` passes to `setup()`, read from its syntax tree; it is never run or imported.

Statements are followed in their order as long as that needs no decision: what is assigned or
changed under a condition, in a loop or by an unknown call is not readable from there on.
"""

import ast
import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from fc_assets.packages.declarations import requirement_lines
from fc_assets.packages.literals import (
    ANY_KEY,
    HARMLESS,
    UNREADABLE,
    Env,
    Function,
    Handle,
    Literals,
    TooLongError,
    poison,
)

#: The keyword arguments that are read.
KEYWORDS = (
    "name",
    "python_requires",
    "classifiers",
    "install_requires",
    "setup_requires",
    "extras_require",
)
# pandas' setup.py, among the longest, has 25,000 characters.
_MAX_CHARS = 200_000
_CHANGES = frozenset(
    [
        *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
        *("update", "setdefault", "add", "discard"),
    ]
)
# Deeper nesting of statements than people write; Python's own stack bounds expressions.
_MAX_NESTING = 40
_MAX_CALLS = 20


@dataclasses.dataclass
class Setup:
    """The readable arguments as texts, lists of lines and extras; the others as written."""

    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    unread: dict[str, str] = dataclasses.field(default_factory=dict)
    #: Whether pbr is to take the dependencies from `requirements.txt`.
    is_pbr: bool = False
    #: Why nothing could be read.
    failure: str | None = None


def parse(text: str, read: Callable[[str], str | None]) -> Setup:
    """The arguments of the call of `setup`; `read` gives a file beside `setup.py` or None."""
    if len(text) > _MAX_CHARS:
        return Setup(failure=f"longer than {_MAX_CHARS} characters")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        return Setup(failure=f"not Python 3: {error}")
    except (RecursionError, MemoryError):
        return Setup(failure="nested too deeply")
    try:
        calls = _Script(tree, read).calls
    except TooLongError:
        return Setup(failure="too long to follow")
    except RecursionError:
        return Setup(failure="nested too deeply")
    if len(calls) > _MAX_CALLS:
        return Setup(failure=f"more than {_MAX_CALLS} calls of setup()")
    if not calls:
        return Setup(failure="no call of setup()")
    return _merged([_arguments(call, text) for call in calls])


@dataclasses.dataclass
class _Call:
    node: ast.Call
    values: dict[Any, Any]


class _Script:
    """Follows a script's statements; `calls` are the calls of `setup` met on the way."""

    def __init__(self, tree: ast.Module, read: Callable[[str], str | None]) -> None:
        self.calls: list[_Call] = []
        self._imports = dict(_imports(tree))
        self._literals = Literals(read, self._imports, self._returned)
        self._nesting = 0
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        self._rebound = {n for g in ast.walk(tree) if isinstance(g, ast.Global) for n in g.names}
        self._changed = set().union(*(_changed_outside(f) for f in functions))
        self._shared = self._rebound | self._changed
        self._own_setup = any(f.name == "setup" for f in functions)
        self._run(tree.body, {})

    def _returned(self, body: Iterable[ast.stmt], env: Env) -> Any:
        for statement in body:
            if isinstance(statement, ast.Return):
                return self._value(statement.value, env) if statement.value else None
            if isinstance(statement, ast.With) and _returns(statement):
                self._bind(statement, env)
                return self._returned(statement.body, env)
            if _returns(statement):
                return UNREADABLE
            self._run([statement], env)
        return None

    def _run(self, body: Sequence[ast.stmt], env: Env) -> None:
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise TooLongError
        for statement in body:
            self._literals.spend()
            self._statement(statement, env)
        self._nesting -= 1

    def _statement(self, statement: ast.stmt, env: Env) -> None:
        match statement:
            case ast.Assign(targets=targets, value=value):
                found = self._value(value, env)
                for target in targets:
                    self._assign(target, found, env)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, self._value(value, env), env)
            case ast.AugAssign(target=ast.Name(id=name), op=operator, value=value):
                self._augment(name, operator, self._value(value, env), env)
            case ast.Expr(value=value) | ast.Return(value=ast.expr() as value):
                self._value(value, env)
            case ast.With():
                self._bind(statement, env)
                self._run(statement.body, env)
            case ast.If(test=test, body=body) if _is_main(test):
                self._run(body, env)
            case ast.FunctionDef(name=name):
                env[name] = Function(statement)
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    env.pop((alias.asname or alias.name).split(".")[0], None)
            case _:
                # The second round of a loop may change what the first one found.
                rounds = 2 if isinstance(statement, ast.For | ast.While) else 1
                for branch in _branches(statement):
                    self._perhaps(branch, env, rounds)
                self._disturb(statement, env)

    def _perhaps(self, branch: Sequence[ast.stmt], env: Env, rounds: int) -> None:
        """Follow statements that may not happen: what they change is not known afterwards."""
        memo: dict[int, Any] = {}
        inner = self._copy(env, memo)
        for _ in range(rounds):
            self._run(branch, inner)
        queue: list[Any] = list(env.values())
        seen: set[int] = set()
        for value in queue:
            if id(value) in seen or not isinstance(value, list | dict):
                continue
            seen.add(id(value))
            self._literals.spend(len(value))
            other = memo.get(id(value), value)
            if isinstance(value, list):
                queue += value
                if value != other:
                    poison(value)
            else:
                queue += value.values()
                for key in [k for k in value.keys() | other.keys() if _differ(value, other, k)]:
                    poison(value, key)

    def _value(self, node: ast.expr, env: Env) -> Any:
        if isinstance(node, ast.Call):
            if self._is_setup(node):
                self.calls.append(_Call(node, self._keywords(node, env)))
                return UNREADABLE
            if isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
                return self._change(node, node.func, env)
        names = self._shared.intersection(env)
        hidden = {n: env.pop(n) for n in names if self._is_shared(n, env[n])}
        found = self._literals.value(node, env)
        env |= hidden
        return found

    def _is_shared(self, name: str, value: Any) -> bool:
        """Whether a function, called at an unknown time, may give the name another value."""
        return name in self._rebound or (name in self._changed and isinstance(value, list | dict))

    def _keywords(self, node: ast.Call, env: Env) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for keyword in node.keywords:
            value = self._value(keyword.value, env)
            if keyword.arg is not None:
                found[keyword.arg] = value
            elif isinstance(value, dict) and ANY_KEY not in value:
                found |= value
            else:
                # Keywords given by themselves stay what they are.
                found[ANY_KEY] = UNREADABLE
        # A later change of a list is none of what was passed.
        return copy.deepcopy(found)

    def _assign(self, target: ast.expr, value: Any, env: Env) -> None:
        match target:
            case ast.Name(id=name):
                env[name] = value
            case ast.Subscript(value=base, slice=index):
                container = self._literals.value(base, env)
                key = self._literals.value(index, env)
                if isinstance(container, dict) and isinstance(key, str | int):
                    container[key] = value
                else:
                    poison(container)
            case _:
                self._disturb(target, env)

    def _augment(self, name: str, operator: ast.operator, value: Any, env: Env) -> None:
        known = env.get(name, UNREADABLE)
        if isinstance(known, list) and isinstance(operator, ast.Add):
            items = self._literals.items(value)
            # In place, as Python does: another name may refer to the same list.
            known += [UNREADABLE] if items is None else list(items)
            self._literals.spend(len(known))
        elif isinstance(known, dict) and isinstance(operator, ast.BitOr):
            known |= value if isinstance(value, dict) else {ANY_KEY: UNREADABLE}
        else:
            env[name] = self._literals.join(known, operator, value)

    def _change(self, node: ast.Call, method: ast.Attribute, env: Env) -> Any:
        base = self._literals.value(method.value, env)
        values = [self._literals.value(argument, env) for argument in node.args]
        items = self._literals.items(values[0]) if len(values) == 1 else None
        match base, method.attr, values:
            case list(), "append", [one]:
                base.append(one)
            case list(), "extend", [_] if items is not None:
                self._literals.spend(len(items))
                base.extend(list(items))
            case dict(), "setdefault", [str() as key, default] if ANY_KEY not in base:
                return base.setdefault(key, default)
            case dict(), "update", [] | [dict()]:
                for other in values:
                    base |= other
                for keyword in node.keywords:
                    value = self._literals.value(keyword.value, env)
                    poison(base) if keyword.arg is None else base.update({keyword.arg: value})
            case _:
                poison(base)
        return UNREADABLE

    def _bind(self, statement: ast.With, env: Env) -> None:
        for item in statement.items:
            value = self._value(item.context_expr, env)
            if isinstance(item.optional_vars, ast.Name):
                env[item.optional_vars.id] = value if isinstance(value, Handle) else UNREADABLE
            elif item.optional_vars is not None:
                self._disturb(item.optional_vars, env)

    def _disturb(self, node: ast.AST, env: Env) -> None:
        """What happens in a node happened perhaps: nothing it touches is known any more."""
        for name, key in _touched(node):
            self._literals.spend()
            poison(env.get(name), key)
        for name in _assigned(node):
            # For a changed list or dictionary all its names know already.
            env[name] = UNREADABLE

    def _copy(self, env: Env, memo: dict[int, Any] | None = None) -> Env:
        self._literals.spend(sum(len(v) if isinstance(v, list | dict) else 1 for v in env.values()))
        functions = {k: v for k, v in env.items() if isinstance(v, Function)}
        return copy.deepcopy({k: v for k, v in env.items() if k not in functions}, memo) | functions

    def _is_setup(self, node: ast.Call) -> bool:
        name = self._literals.dotted(node.func)
        if name == "setup":
            return not self._own_setup
        return name.endswith(".setup") and name.split(".")[0] in self._roots

    @property
    def _roots(self) -> set[str]:
        return {full.split(".")[0] for full in self._imports.values()}


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                full = alias.name if alias.asname else alias.name.split(".")[0]
                yield alias.asname or full, full
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _touched(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Names whose lists or dictionaries a node may change, each with the key if that is known."""
    for each in ast.walk(node):
        match each:
            case ast.Subscript(ctx=ast.Store() | ast.Del()) | ast.AugAssign():
                yield from _root(each.target if isinstance(each, ast.AugAssign) else each)
            case ast.For(target=ast.Name(id=name), iter=items) if _changes(each, name):
                # An item that is changed is changed in the list as well.
                for other in ast.walk(items):
                    if isinstance(other, ast.Name):
                        yield other.id, ANY_KEY
            case ast.Call(func=function):
                if isinstance(function, ast.Attribute) and function.attr in _CHANGES:
                    yield from _root(function.value)
                elif ast.unparse(function).endswith(("setup", *HARMLESS)):
                    continue
                for argument in (*each.args, *(k.value for k in each.keywords)):
                    yield from _root(argument)


def _root(node: ast.expr) -> Iterator[tuple[str, Any]]:
    """The name at the root of `name["key"]...`, with the first key."""
    key: Any = ANY_KEY
    while not isinstance(node, ast.Name):
        match node:
            case ast.Subscript(value=inner, slice=index):
                key = index.value if isinstance(index, ast.Constant) else ANY_KEY
            case ast.Attribute(value=inner) | ast.Call(func=inner) | ast.Starred(value=inner):
                key = ANY_KEY
            case _:
                return
        node = inner
    yield node.id, key


def _changes(loop: ast.For, name: str) -> bool:
    """Whether a loop's body does something to its item."""
    found = set()
    for each in (n for statement in loop.body for n in ast.walk(statement)):
        match each:
            case ast.Attribute(value=node, attr=attribute) if attribute in _CHANGES:
                found |= {root for root, _ in _root(node)}
            case ast.Subscript(value=node, ctx=ast.Store() | ast.Del()):
                found |= {root for root, _ in _root(node)}
            case ast.AugAssign(target=ast.expr() as node):
                found |= {root for root, _ in _root(node)}
    return name in found


def _differ(one: dict[Any, Any], other: dict[Any, Any], key: Any) -> bool:
    return key not in one or key not in other or one[key] != other[key]


def _assigned(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.ExceptHandler(name=str() as name):
                yield name


def _changed_outside(function: ast.FunctionDef) -> set[str]:
    """Names of the module whose lists or dictionaries calling a function may change."""
    parameters = {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
    return {name for name, _ in _touched(function)} - parameters - set(_assigned(function))


def _branches(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for field in ("body", "orelse", "finalbody"):
        if body := getattr(statement, field, None):
            yield body
    for handler in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield handler.body


def _is_main(test: ast.expr) -> bool:
    return ast.unparse(test) in ("__name__ == '__main__'", "'__main__' == __name__")


def _returns(statement: ast.stmt) -> bool:
    return not isinstance(statement, ast.FunctionDef | ast.ClassDef) and any(
        isinstance(n, ast.Return | ast.Yield | ast.YieldFrom) for n in ast.walk(statement)
    )


def _arguments(call: _Call, text: str) -> Setup:
    found = Setup(is_pbr="pbr" in call.values)
    written = {k.arg: k.value for k in call.node.keywords}
    for keyword in KEYWORDS:
        value = call.values.get(keyword, call.values.get(ANY_KEY))
        converted = _converted(keyword, value)
        if converted is UNREADABLE:
            node = written.get(keyword) or written.get(None) or call.node
            found.unread[keyword] = ast.get_source_segment(text, node) or keyword
        elif converted is not None:
            found.arguments[keyword] = converted
    return found


def _converted(keyword: str, value: Any) -> Any:
    """As setuptools takes it: texts for lists, lists of several lines."""
    if value is None:
        return None
    if keyword in ("name", "python_requires"):
        return value if isinstance(value, str) else UNREADABLE
    if keyword != "extras_require":
        return _lines(value, keyword)
    if not isinstance(value, dict) or ANY_KEY in value:
        return UNREADABLE
    extras = {extra: _lines(lines, keyword) for extra, lines in value.items()}
    return {e: ls for e, ls in extras.items() if ls is not UNREADABLE and isinstance(e, str)}


def _lines(value: Any, keyword: str) -> Any:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        return UNREADABLE
    if keyword == "classifiers":
        return [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return [line for text in texts for line in requirement_lines(text)]


def _merged(found: list[Setup]) -> Setup:
    """Several calls are several ways to build: readable is what all agree on."""
    first, *others = found
    for other in others:
        for keyword in KEYWORDS:
            if first.arguments.get(keyword) != other.arguments.get(keyword):
                first.arguments.pop(keyword, None)
                first.unread[keyword] = f"differs between {len(found)} calls of setup()"
        first.unread |= other.unread
    first.arguments = {k: v for k, v in first.arguments.items() if k not in first.unread}
    return first

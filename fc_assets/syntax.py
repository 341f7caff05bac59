"""Python sources as `fingerprint` wants them: what a module binds, and what each of it refers to.

A definition is a function, class, constant or method. Its digest is of its syntax tree without what
changes nothing: comments, formatting, docstrings, annotations. What follows from it is not known
here.
"""

import ast
import builtins
import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

#: A dotted name as it is written, such as ("work", "Item").
Chain = tuple[str, ...]

#: Decorators after which a method is still only called by its name.
_PASSIVE = frozenset(
    {"abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "lru_cache"}
    | {"overload", "override", "property", "setter", "staticmethod"}
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
#: Parts that bind names which are plain text.
_BINDING = (ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping)
#: Neither decides what code does: how a name is used follows from where it stands.
_IGNORED = frozenset({"ctx", "kind", "type_comment"})
_BUILTINS = frozenset(dir(builtins))
_RESOURCES = "importlib.resources"


def sha(content: str | bytes, digits: int = 8) -> str:
    """The first digits of a SHA-256."""
    text = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.sha256(text).hexdigest()[:digits]


class Module:
    """What a module binds: `imports` maps names to what they stand for elsewhere."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        parts = name.split(".")
        self.package = parts if path.stem == "__init__" else parts[:-1]
        self.imports: dict[str, str] = {}
        nodes: dict[str, list[ast.stmt]] = {}
        for node in ast.parse(path.read_bytes()).body:
            self.imports |= _imports(node, self)
            for bound in _bound(node):
                nodes.setdefault(bound, []).append(node)
        self.definitions = {n: Definition(f"{name}.{n}", self, part) for n, part in nodes.items()}

    def absolute(self, chain: Chain) -> str | None:
        """The dotted name of what a chain such as `work.Item` means in this module."""
        first, *rest = chain
        if first in self.imports:
            return ".".join([self.imports[first], *rest])
        return ".".join([self.name, *chain]) if first in self.definitions else None


class Definition:
    """A function, a class, a constant, or a method: the statements that bind a name."""

    def __init__(self, name: str, module: Module, nodes: Sequence[ast.stmt]) -> None:
        self.name, self.module, self.nodes = name, module, nodes

    @property
    def is_class(self) -> bool:
        return any(isinstance(node, ast.ClassDef) for node in self.nodes)

    @property
    def is_function(self) -> bool:
        return any(isinstance(node, _FUNCTIONS) for node in self.nodes)

    @functools.cached_property
    def reading(self) -> "Reading":
        return Reading(self.nodes, self.module)

    def decorators(self) -> set[Chain]:
        nodes = (n for n in self.nodes if isinstance(n, (*_FUNCTIONS, ast.ClassDef)))
        return {c for n in nodes for d in n.decorator_list for c in _chains(d)}

    def is_always_used(self) -> bool:
        """Whether a method is called without being named."""
        name = self.name.rpartition(".")[2]
        registered = any(chain[-1] not in _PASSIVE for chain in self.decorators())
        return registered or (name.startswith("__") and name.endswith("__"))

    @functools.cached_property
    def methods(self) -> list["Definition"]:
        found: dict[str, list[ast.stmt]] = {}
        for node in self.nodes:
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, _FUNCTIONS):
                    found.setdefault(inner.name, []).append(inner)
        return [Definition(f"{self.name}.{n}", self.module, nodes) for n, nodes in found.items()]

    def files(self) -> list[Path]:
        """Files it loads, relative to its folder: those it names, else all that are no Python."""
        folder, texts = self.module.path.parent, set(self.reading.texts)
        for first, *_ in self.reading.chains:
            if constant := self.module.definitions.get(first):
                texts |= constant.reading.texts
        files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
        named = [f for f in files if texts & {f.as_posix(), *(p.as_posix() for p in f.parents)}]
        return named or [file for file in files if file.suffix not in (".py", ".pyc")]


@dataclasses.dataclass
class _Scope:
    """Names that a function, comprehension or lambda uses, binds, imports, has from outside."""

    chains: list[Chain] = dataclasses.field(default_factory=list)
    bound: set[str] = dataclasses.field(default_factory=set)
    imports: dict[str, str] = dataclasses.field(default_factory=dict)
    outer: set[str] = dataclasses.field(default_factory=set)


class Reading:
    """What one walk over a definition finds.

    `refers` and `typed` are dotted names of the project that code and annotations use, `chains`
    the same as they are written, `attributes` every attribute, `texts` every text.
    """

    def __init__(self, nodes: Sequence[ast.stmt], module: Module) -> None:
        self._nodes, self._module = nodes, module
        self._tokens: list[str] = []
        self._scopes = [_Scope()]
        self._typed: list[Chain] = []
        self._absolute: set[str] = set()
        #: Whether annotations count; None where there are no fields.
        self._annotations: bool | None = None
        self.attributes: set[str] = set()
        self.texts: set[str] = set()
        for node in nodes:
            self._visit(node)
        self.chains = set(self._scopes[0].chains)
        found = {module.absolute(chain) for chain in self.chains} | self._absolute
        self.refers = {dotted for dotted in found if dotted}
        self.typed = {d for d in map(module.absolute, self._typed) if d} - self.refers
        self.loads_files = any(dotted.startswith(_RESOURCES) for dotted in self.refers) or any(
            first == "__file__" for first, *_ in self.chains
        )
        self.digest = sha("\n".join(self._tokens))

    def _visit(self, node: ast.AST) -> None:
        handler = _HANDLERS.get(type(node))
        if handler is None:
            self._generic(node)
        else:
            handler(self, node)

    def _generic(self, node: ast.AST) -> None:
        """Empty fields are left out: Python's next version adds some, and that is no change."""
        tokens = self._tokens
        tokens.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in _IGNORED:
                continue
            tokens.append(name)
            for part in value if isinstance(value, list) else (value,):
                if isinstance(part, ast.AST):
                    self._visit(part)
                else:
                    tokens.append(repr(part))
                    if isinstance(node, _BINDING):
                        self._scopes[-1].bound.add(str(part))
        tokens.append(")")

    def _constant(self, node: ast.Constant) -> None:
        self._tokens.append(repr(node.value))
        if isinstance(node.value, str):
            self.texts.add(node.value)

    def _name(self, node: ast.Name) -> None:
        self._tokens.append(node.id)
        if isinstance(node.ctx, ast.Load):
            self._scopes[-1].chains.append((node.id,))
        else:
            self._scopes[-1].bound.add(node.id)

    def _attribute(self, node: ast.Attribute) -> None:
        names, base = [node.attr], node.value
        while isinstance(base, ast.Attribute):
            names.append(base.attr)
            base = base.value
        self.attributes.update(names)
        if isinstance(base, ast.Name):
            chain = (base.id, *reversed(names))
            self._scopes[-1].chains.append(chain)
            self._tokens.append(".".join(chain))
        else:
            self._tokens.append("." + ".".join(reversed(names)))
            self._visit(base)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        found = _imports(node, self._module)
        self._tokens.append(repr(sorted(found.items())))
        self._scopes[-1].imports.update(found)

    def _annotated(self, node: ast.AnnAssign) -> None:
        """An assignment; without a value a field is still one, and a variable nothing."""
        self._typed += _chains(node.annotation, texts=True)
        if self._annotations:
            self._visit(node.annotation)
        if node.value is not None:
            self._generic(ast.Assign(targets=[node.target], value=node.value))
        elif self._annotations is not None:
            self._visit(node.target)

    def _function(self, node: "ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda") -> None:
        arguments, tokens = node.args, self._tokens
        tokens.append(type(node).__name__)
        if not isinstance(node, ast.Lambda):
            tokens.append(node.name)
            self._scopes[-1].bound.add(node.name)
            for decorator in node.decorator_list:
                self._visit(decorator)
            self._typed += _chains(node.returns, texts=True) if node.returns else ()
        tokens.append(f"{len(arguments.posonlyargs)}/{len(arguments.args)}")
        tokens.append("*" if arguments.vararg else "")
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is None:
                tokens.append("required")
            else:
                self._visit(default)
        with self._scope():
            names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            names += [a for a in (arguments.vararg, arguments.kwarg) if a]
            for argument in names:
                tokens.append(argument.arg)
                self._scopes[-1].bound.add(argument.arg)
                if argument.annotation is not None:
                    self._typed += _chains(argument.annotation, texts=True)
            tokens.append(":")
            kept, self._annotations = self._annotations, None
            for part in [node.body] if isinstance(node, ast.Lambda) else _without_docstring(node):
                self._visit(part)
            self._annotations = kept
        tokens.append(")")

    def _comprehension(self, node: Any) -> None:
        # Evaluated outside: in `[x for x in x]` the last is another.
        self._visit(node.generators[0].iter)
        with self._scope():
            self._generic(node)

    def _class(self, node: ast.ClassDef) -> None:
        """Without its methods where it is a definition of its own: these count by themselves."""
        is_own = any(node is own for own in self._nodes)
        self._scopes[-1].bound.add(node.name)
        self._tokens.append(f"class {node.name}")
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self._visit(part)
        chains = [chain for part in (*node.decorator_list, *node.bases) for chain in _chains(part)]
        kept = self._annotations
        self._annotations = "dataclass" not in {chain[-1] for chain in chains}
        is_prompt = "Signature" in {chain[-1] for chain in chains}
        with self._scope(binds=False):
            for part in node.body if is_prompt else _without_docstring(node):
                if not is_own or not isinstance(part, _FUNCTIONS):
                    self._visit(part)
        self._annotations = kept
        self._tokens.append(")")

    @contextlib.contextmanager
    def _scope(self, binds: bool = True) -> Iterator[None]:
        """Names bound inside are none of the module's; those of a class body are not seen below."""
        self._scopes.append(_Scope())
        yield
        inner = self._scopes.pop()
        local = inner.bound - inner.outer if binds else set()
        for chain in inner.chains:
            if chain[0] in inner.imports:
                self._absolute.add(".".join([inner.imports[chain[0]], *chain[1:]]))
            elif chain[0] not in local:
                self._scopes[-1].chains.append(chain)

    def _global(self, node: ast.Global | ast.Nonlocal) -> None:
        self._tokens.append(repr(node.names))
        self._scopes[-1].outer.update(node.names)
        self._scopes[-1].chains += [(name,) for name in node.names]


_HANDLERS: dict[type[ast.AST], Any] = {
    ast.AnnAssign: Reading._annotated,
    ast.AsyncFunctionDef: Reading._function,
    ast.Attribute: Reading._attribute,
    ast.ClassDef: Reading._class,
    ast.Constant: Reading._constant,
    ast.FunctionDef: Reading._function,
    ast.Global: Reading._global,
    ast.Import: Reading._import,
    ast.ImportFrom: Reading._import,
    ast.Lambda: Reading._function,
    ast.Name: Reading._name,
    ast.Nonlocal: Reading._global,
    **dict.fromkeys(_COMPREHENSIONS, Reading._comprehension),
}


def _without_docstring(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
) -> list[ast.stmt]:
    match node.body[0]:
        case ast.Expr(value=ast.Constant(value=str())):
            return node.body[1:]
    return node.body


def _chains(node: ast.AST, texts: bool = False) -> list[Chain]:
    """Dotted names in an expression, with `texts` also in what is quoted."""
    found, todo = [], [node]
    while todo:
        part, names = todo.pop(), []
        if isinstance(part, ast.Call):  # of a decorator with arguments its name
            todo.append(part.func)
            continue
        while isinstance(part, ast.Attribute):
            names.append(part.attr)
            part = part.value
        if isinstance(part, ast.Name):
            if part.id not in _BUILTINS:
                found.append((part.id, *reversed(names)))
        elif texts and isinstance(part, ast.Constant) and isinstance(part.value, str):
            with contextlib.suppress(SyntaxError):  # a text of `Literal`
                todo.append(ast.parse(part.value, mode="eval").body)
        else:
            todo += ast.iter_child_nodes(part)
    return found


def _imports(node: ast.AST, module: "Module") -> dict[str, str]:
    """Names that import statements at this level bind, and what they stand for."""
    found: dict[str, str] = {}
    todo = [node]
    while todo:
        part = todo.pop()
        if isinstance(part, ast.Import):
            for alias in part.names:
                first = alias.name.partition(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(part, ast.ImportFrom):
            up = len(module.package) + 1 - part.level
            above = module.package[:up] if part.level else []
            origin = ".".join([*above, *([part.module] if part.module else [])])
            for alias in part.names:
                found[alias.asname or alias.name] = f"{origin}.{alias.name}"
        elif not isinstance(part, (*_FUNCTIONS, ast.ClassDef, ast.expr)):
            todo += ast.iter_child_nodes(part)
    return found


def _bound(node: ast.stmt) -> set[str]:
    """Names of the module that a statement binds, or changes what is bound to."""
    found: set[str] = set()
    todo: list[ast.AST] = [node]
    while todo:
        part = todo.pop()
        if isinstance(part, (*_FUNCTIONS, ast.ClassDef)):
            found.add(part.name)
        elif isinstance(part, ast.Name):
            if not isinstance(part.ctx, ast.Load):
                found.add(part.id)
        elif isinstance(part, ast.Attribute | ast.Subscript):
            if not isinstance(part.ctx, ast.Load):
                found |= {chain[0] for chain in _chains(part)[:1]}
        elif isinstance(part, ast.Expr):  # such as `NAMES.update(more)`
            if isinstance(part.value, ast.Call) and isinstance(part.value.func, ast.Attribute):
                found |= {chain[0] for chain in _chains(part.value.func)}
        elif isinstance(part, ast.Assign | ast.AnnAssign | ast.AugAssign):
            todo += part.targets if isinstance(part, ast.Assign) else [part.target]
        else:
            todo += ast.iter_child_nodes(part)
    return found

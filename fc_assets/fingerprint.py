"""Which code a table is made by: every definition its asset reaches, each with a digest.

Read from the sources' syntax trees, nothing is imported: what the asset's function, its closures,
decorators and defaults name is followed through the project's modules, to functions, classes,
constants and the files they load. Comments, docstrings, formatting and annotations change nothing,
and an annotation tells which class a parameter has. Of a class that is reached, those methods count
whose names are mentioned somewhere, special methods, and those that a decorator registers.
Annotations of fields count except in data classes, and docstrings of DSPy signatures, which are
prompts; in a file that is loaded every byte does.

Not seen: what is looked up by a computed name (`getattr`, `eval`, `importlib`, entry points), star
imports, subclasses nobody names, effects of importing a module other than its names, and installed
packages, of which the lock files keep versions. What carries rows but does not make them is left
out on purpose, or every change of it would outdate everything.
"""

import contextlib
import functools
import gc
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fc_assets.syntax import Definition, Module, sha

#: Begins versions: changes when digests of the same code do.
_METHOD = "1-"
_PACKAGES = ("fc_assets", "fc_resources", "fc_sensors")
#: What carries rows, as names begin: neither counted nor followed.
CARRIERS = (
    *("fc_assets.fingerprint", "fc_assets.interrupts", "fc_assets.lock_files"),
    *("fc_assets.materialize", "fc_assets.plan", "fc_assets.provenance", "fc_assets.syntax"),
    *("fc_assets.why", "fc_assets.work", "fc_resources.errors", "fc_resources.ledger"),
    *("fc_resources.living", "fc_resources.locks", "fc_resources.meanwhile"),
    "fc_resources.warehouse",
)
#: Where choices are kept: compared by their values as parameters, but followed.
CHOICES = frozenset({"fc_assets.options", "fc_resources.settings"})
_ASSETS = frozenset({"dagster.asset", "dagster.multi_asset"})


class Fingerprint(NamedTuple):
    """`version` changes when any of `definitions` does, which maps qualified names to digests."""

    version: str
    definitions: Mapping[str, str]

    def changes(self, version: str, before: Mapping[str, str]) -> list[str]:
        """Names of definitions that differ from those of another version, came, or went; sorted.

        Empty when that was made in another way, which cannot be compared.
        """
        if version == self.version or not version.startswith(_METHOD):
            return []
        names = before.keys() | self.definitions.keys()
        return sorted(n for n in names if before.get(n) != self.definitions.get(n))


@functools.cache
def of(table: str) -> Fingerprint:
    """The fingerprint of the table whose stage has the folder `fc_assets/<table>`."""
    return _project().of(f"fc_assets.{table}.asset")


@functools.cache
def _project() -> "Kept":
    return Kept(Path(__file__).parent.parent)


class Kept:
    """Fingerprints of the assets below a folder, found once for its files as they are.

    They are kept where Python keeps bytecode, by the same rules: files are the same whose sizes and
    times are, and nothing is kept where nothing can be written.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._sources = root, Sources(root)
        beside = importlib.util.cache_from_source(str(root / "fc_assets" / "fingerprints.py"))
        self._file = Path(beside).with_suffix(".json")

    def of(self, entry: str) -> Fingerprint:
        """The fingerprint of the assets that a module defines."""
        if entry not in self._found:
            self._found[entry] = self._sources.of(entry)
            self._keep()
        return self._found[entry]

    @functools.cached_property
    def _found(self) -> dict[str, Fingerprint]:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            kept = json.loads(self._file.read_text("utf-8"))
            if kept["state"] == self._state:
                return {entry: Fingerprint(*told) for entry, told in kept["found"].items()}
        return {}

    @functools.cached_property
    def _state(self) -> str:
        """Of all files: any may be reached."""
        files = (
            (str(file), told.st_mtime_ns, told.st_size)
            for package in _PACKAGES
            for file in sorted((self._root / package).rglob("*"))
            if "__pycache__" not in file.parts and file.is_file() and (told := file.stat())
        )
        return _METHOD + sha(repr([*files]), 32)

    def _keep(self) -> None:
        if sys.dont_write_bytecode:
            return
        part = self._file.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)
            try:
                part.write_text(json.dumps({"state": self._state, "found": self._found}), "utf-8")
                part.replace(self._file)
            finally:
                part.unlink(missing_ok=True)


class Sources:
    """The modules below a folder, each parsed when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._modules: dict[str, Module | None] = {}

    def of(self, entry: str) -> Fingerprint:
        """The fingerprint of the assets that a module defines."""
        with _without_collector():
            found = _Reached(self)
            module = self.module(entry)
            for definition in module.definitions.values() if module else ():
                if module and _ASSETS & {
                    module.absolute(chain) for chain in definition.decorators()
                }:
                    found.reach(definition)
            definitions = dict(sorted(found.digests().items()))
        return Fingerprint(_METHOD + sha(repr(definitions), 16), definitions)

    def module(self, name: str) -> Module | None:
        """A module of the project by its dotted name, or None."""
        if name not in self._modules and name.partition(".")[0] not in _PACKAGES:
            return None
        if name not in self._modules:
            path = self._root.joinpath(*name.split("."))
            files = (path.with_suffix(".py"), path / "__init__.py")
            file = next((file for file in files if file.is_file()), None)
            self._modules[name] = Module(name, file) if file else None
        return self._modules[name]

    def resolve(self, dotted: str) -> Iterator[Definition]:
        """Definitions that a dotted name stands for; all of a module for the module itself."""
        name, *rest = dotted.split(".")
        module = self.module(name)
        while module is not None and not module.name.startswith(CARRIERS):
            if not rest:
                yield from module.definitions.values()
                return
            name, *rest = rest
            if name in module.definitions:
                yield module.definitions[name]
            if name in module.imports:
                yield from self.resolve(".".join([module.imports[name], *rest]))
            if name in module.definitions or name in module.imports:
                return
            module = self.module(f"{module.name}.{name}")


class _Reached:
    """What is reached from some definitions, each once."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._definitions: dict[str, Definition] = {}
        self._aliases: set[str] = set()
        self._mentioned: set[str] = set()
        #: Methods of reached classes that nothing mentioned so far, by name.
        self._waiting: dict[str, list[Definition]] = {}

    def reach(self, definition: Definition) -> None:
        todo = [definition]
        while todo:
            found = todo.pop()
            if found.name in self._definitions:
                continue
            self._definitions[found.name] = found
            for method in found.methods:
                name = method.name.rpartition(".")[2]
                if method.is_always_used() or name in self._mentioned:
                    todo.append(method)
                else:
                    self._waiting.setdefault(name, []).append(method)
            for name in found.reading.attributes - self._mentioned:
                self._mentioned.add(name)
                todo += self._waiting.pop(name, ())
            for dotted in found.reading.refers:
                todo += self._sources.resolve(dotted)
            todo += self._classes(found.reading.typed)

    def _classes(self, dotted: Iterable[str]) -> Iterator[Definition]:
        """Classes that annotations name, also by an alias, which itself does not count."""
        for name in dotted:
            for found in self._sources.resolve(name):
                if found.is_class:
                    yield found
                elif found.name not in self._aliases:
                    self._aliases.add(found.name)
                    if not found.is_function:
                        yield from self._classes(found.reading.refers | found.reading.typed)

    def digests(self) -> dict[str, str]:
        """Digests by qualified name; files by their paths."""
        counted = [d for d in self._definitions.values() if d.module.name not in CHOICES]
        found = {definition.name: definition.reading.digest for definition in counted}
        for definition in counted:
            if definition.reading.loads_files:
                for file in definition.files():
                    name = "/".join([*definition.module.package, file.as_posix()])
                    found[name] = sha((definition.module.path.parent / file).read_bytes())
        return found


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Trees are many objects and no garbage: collecting meanwhile doubles the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

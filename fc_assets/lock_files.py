"""Lock files: what a written month of a table was made from, `FC_HOME/locks/<table>/<month>.lock`.

YAML in two documents, so that the long one, the digest of every definition, is read only where code
differs. A lock decides what a month's rows are compared to as code, and that only while its
`output` is the version that the ledger has of the month: one that a crash left behind is never
wrong, at worst of no use. Each is written by itself and replaced as a whole.
"""

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import os
import platform
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fc_assets import months
from fc_assets.fingerprint import Fingerprint
from fc_resources.ledger import Progress

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_NEXT = "---\n"
#: Installed packages that stages use, besides Python itself.
_TOOLS: Mapping[int, tuple[str, ...]] = {
    1: ("httpx",),
    2: ("httpx",),
    3: ("dspy",),
    4: ("uv", "packaging", "docker"),
    5: ("dspy", "httpx", "jinja2"),
    6: ("uv", "docker"),
    7: ("docker", "huggingface_hub", "pyarrow"),
}


class Code(NamedTuple):
    """The fingerprint rows were made by: its `version`, None when not known, and as YAML `text`."""

    version: str | None = None
    text: str = ""

    @classmethod
    def of(cls, found: Fingerprint) -> "Code":
        return cls(found.version, _dump({"definitions": dict(found.definitions)}))

    @property
    def definitions(self) -> Mapping[str, str]:
        """Digests by qualified name."""
        return _definitions(self.text)


@dataclasses.dataclass(frozen=True)
class Lock:
    """What a month was made from.

    `output` is the ledger's version of its rows, None before they are written; `inputs` are those
    of the tables it was made from. `code` is the oldest that any of its rows was made by. `tools`
    are versions of installed packages.
    """

    output: str | None
    code: Code
    inputs: Mapping[str, str]
    parameters: Mapping[str, str]
    tools: Mapping[str, str]
    run: str
    written: str

    def tells_of(self, state: Progress | None) -> bool:
        """Whether it is about the rows that the ledger knows of."""
        return self.output == (state.version if state else None)


class LockFiles:
    """The locks of a home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "locks"

    def write(self, table: str, month: datetime.date, lock: Lock) -> None:
        """Replace the lock of a month; `OSError` leaves the one before."""
        path = self._path(table, month)
        path.parent.mkdir(parents=True, exist_ok=True)
        head = {f.name: getattr(lock, f.name) for f in dataclasses.fields(lock)}
        text = _dump(head | {"code": lock.code.version}) + _NEXT + lock.code.text
        part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            part.write_text(text, "utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def read(self, table: str, month: datetime.date) -> Lock | None:
        """The lock of a month; None when there is none, or none that can be read."""
        try:
            text = self._path(table, month).read_text("utf-8")
            head, _, definitions = text.partition(f"\n{_NEXT}")
            found = yaml.load(head, _LOADER)
            return Lock(**found | {"code": Code(found["code"], definitions)})
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
            return None

    def begins(self, table: str, month: datetime.date, output: str, code: str) -> bool:
        """Whether the lock of a month is of this output and code; told without parsing it."""
        start = _dump({"output": output, "code": code})
        try:
            with self._path(table, month).open("r", encoding="utf-8") as file:
                return file.read(len(start)) == start
        except (OSError, ValueError):
            return False

    def _path(self, table: str, month: datetime.date) -> Path:
        return self._folder / table / f"{months.label(month)}.lock"


def tools(stage: int) -> dict[str, str]:
    """Versions of what a stage uses and this project is not."""
    found = {"python": platform.python_version()}
    for name in _TOOLS[stage]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@functools.lru_cache(maxsize=64)
def _definitions(text: str) -> Mapping[str, str]:
    """Months written by the same code have the same text."""
    try:
        found = yaml.load(text, _LOADER)["definitions"]
    except (TypeError, KeyError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _dump(values: Mapping[str, Any]) -> str:
    return yaml.dump(values, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=1000)

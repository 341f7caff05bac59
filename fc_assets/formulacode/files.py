"""The files of a dataset: Parquet of a month, and what `manifest.json` says about all of them.

README.md            the card
data/2026-01.parquet        the records of a month
verified/2026-01.parquet    those of them whose solution was measured to be faster
manifest.json        versions, what each month has, SHA-256 of every other file
withdrawn.json       records that were withdrawn, with the reason
pictures/            of the card
"""

import collections
import dataclasses
import datetime
import functools
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fc_assets.formulacode import records
from fc_assets.tables import FORMULACODE
from fc_resources.errors import PermanentError

MANIFEST, WITHDRAWN, CARD = "manifest.json", "withdrawn.json", "README.md"
_FORMAT = 1
#: Counted for the card, and the value of those that have none.
_COUNTED = ("classification", "difficulty", "license", "python_version", "sandbox", "verdict")
_NONE = "not known"
_ROWS = 1000
#: Upper ends of what the best benchmark's speedup is counted by.
_STEPS = (1.05, 1.1, 1.25, 1.5, 2, 5, 10, 100)


@dataclasses.dataclass(frozen=True)
class Month:
    """What the newest version has of a month: patches by task, and counts by column and value."""

    version: str
    published_at: datetime.datetime
    content: str
    records: Mapping[str, str]
    counts: Mapping[str, Mapping[str, int]]


@dataclasses.dataclass(frozen=True)
class File:
    sha256: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class Withdrawal:
    """A record that is not published any more, whatever a later run finds."""

    task_id: str
    reason: str
    withdrawn_at: datetime.datetime
    month: str
    #: That of its patch, which must not come back under another id.
    patch_id: str = ""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All versions, oldest first, and what the newest one consists of."""

    versions: Sequence[str] = ()
    months: Mapping[str, Month] = dataclasses.field(default_factory=dict)
    files: Mapping[str, File] = dataclasses.field(default_factory=dict)
    #: Of the Parquet files, see `columns`: those of all months have the same.
    columns: Sequence[str] = ()

    def dump(self) -> bytes:
        return _dump({"format": _FORMAT, **dataclasses.asdict(self)})

    @classmethod
    def load(cls, data: bytes) -> "Manifest":
        """`PermanentError` for what this version cannot read."""
        try:
            found = json.loads(data)
            if found.pop("format") != _FORMAT:
                raise ValueError("its format is another one")
            months = {label: _month(told) for label, told in found["months"].items()}
            files = {path: File(**told) for path, told in found["files"].items()}
            return cls(**{**found, "months": months, "files": files})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PermanentError(
                f"{MANIFEST} of the dataset cannot be read ({error}); update formulacode-data"
            ) from None


def _month(told: Mapping[str, Any]) -> Month:
    published_at = datetime.datetime.fromisoformat(told["published_at"])
    return Month(**{**told, "published_at": published_at})


def dump_withdrawn(withdrawn: Iterable[Withdrawal]) -> bytes:
    return _dump([dataclasses.asdict(one) for one in sorted(withdrawn, key=lambda w: w.task_id)])


def load_withdrawn(data: bytes) -> dict[str, Withdrawal]:
    """By task; `PermanentError` for what this version cannot read."""
    try:
        found = [
            Withdrawal(
                **{**one, "withdrawn_at": datetime.datetime.fromisoformat(one["withdrawn_at"])}
            )
            for one in json.loads(data)
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PermanentError(
            f"{WITHDRAWN} of the dataset cannot be read ({error}); update formulacode-data"
        ) from None
    return {one.task_id: one for one in found}


def _dump(value: Any) -> bytes:
    def text(other: object) -> str:
        return other.isoformat() if isinstance(other, datetime.datetime) else str(other)

    return (json.dumps(value, indent=1, default=text) + "\n").encode()


def data(label: str) -> str:
    """Where the records of a month are, such as 2026-01."""
    return f"data/{label}.parquet"


def verified(label: str) -> str:
    """Where those of them are that were measured to be faster."""
    return f"verified/{label}.parquet"


def described(name: str, content: bytes) -> tuple[str, File]:
    return name, File(hashlib.sha256(content).hexdigest(), len(content))


@functools.cache
def schema() -> pa.Schema:
    """Columns as published, each with its documentation."""
    return pa.schema(
        [
            pa.field(c.name, c.type, metadata={"description": c.doc})
            for c in FORMULACODE.all_columns
            if c.name in records.COLUMNS
        ]
    )


def columns() -> list[str]:
    """`name: type` of each column and of what is inside of it, such as `checks[].check: string`."""
    return [told for field in schema() for told in _inside(field.name, field.type)]


def _inside(name: str, kind: pa.DataType) -> Iterator[str]:
    if pa.types.is_list(kind):
        yield f"{name}: list"
        yield from _inside(f"{name}[]", kind.value_type)
    elif pa.types.is_struct(kind):
        yield f"{name}: struct"
        for part in kind:
            yield from _inside(f"{name}.{part.name}", part.type)
    else:
        yield f"{name}: {kind}"


def table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows of the warehouse as they are published, in the order of their key."""
    found = pa.Table.from_pylist([records.published(row) for row in rows], schema())
    return found.sort_by([(name, "ascending") for name in FORMULACODE.key])


def faster(month: pa.Table) -> pa.Table:
    """The records whose solution was measured to be faster."""
    return month.filter(pc.field("verdict") == "faster")


def to_parquet(month: pa.Table) -> bytes:
    """The same bytes for the same records, with statistics of every column."""
    sink = io.BytesIO()
    pq.write_table(
        month, sink, compression="zstd", write_statistics=True, row_group_size=_ROWS, version="2.6"
    )
    return sink.getvalue()


def from_parquet(content: bytes) -> pa.Table:
    """Records in the columns of today; those that a file does not have are null."""
    found = pq.read_table(io.BytesIO(content))
    return table(found.to_pylist())


def month(version: str, published_at: datetime.datetime, found: pa.Table) -> Month:
    """What the manifest says of the records of a month."""
    rows = found.to_pylist()
    counts = {
        name: dict(sorted(collections.Counter(row[name] or _NONE for row in rows).items()))
        for name in _COUNTED
    }
    names = collections.Counter(f"{row['owner']}/{row['repo']}" for row in rows)
    speedups = collections.Counter(_step(row["best"]) for row in faster(found).to_pylist())
    counts |= {"repository": dict(sorted(names.items())), "speedup": dict(sorted(speedups.items()))}
    return Month(
        version,
        published_at,
        records.content(rows),
        {row["task_id"]: row["patch_id"] or "" for row in rows},
        counts,
    )


def _step(speedup: float | None) -> str:
    if speedup is None:
        return _NONE
    return next((f"to {step:g}x" for step in _STEPS if speedup <= step), f"over {_STEPS[-1]:g}x")


#: In the order of size.
SPEEDUPS = (*(f"to {step:g}x" for step in _STEPS), f"over {_STEPS[-1]:g}x", _NONE)

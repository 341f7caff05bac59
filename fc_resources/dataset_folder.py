"""The dataset in a local folder: one Parquet file a month and a README, each replaced atomically.

What a record holds and what the README says is decided by `fc_assets.formulacode`.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_PREFIX = "formulacode@"


class DatasetFolder:
    """A folder of `formulacode@YYYY-MM.parquet` files and their README."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def month(self, label: str) -> Path:
        """Where the records of a month are, such as 2026-01."""
        return self.path / f"{_PREFIX}{label}.parquet"

    def write(self, label: str, records: pa.Table) -> Path | None:
        """Replace a month, rows in the given order; a month without records has no file."""
        target = self.month(label)
        if not records.num_rows:
            target.unlink(missing_ok=True)
            return None
        with self._replacing(target) as part:
            pq.write_table(records, part, compression="zstd")
        return target

    def describe(self, readme: str) -> None:
        """Replace the README."""
        with self._replacing(self.path / "README.md") as part:
            part.write_text(readme, "utf-8")

    def counts(self) -> dict[str, int]:
        """Number of records per month, in order."""
        files = sorted(self.path.glob(f"{_PREFIX}*.parquet"))
        return {f.stem.removeprefix(_PREFIX): pq.read_metadata(f).num_rows for f in files}

    @contextlib.contextmanager
    def _replacing(self, target: Path) -> Iterator[Path]:
        self.path.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(dir=self.path, prefix=".part-")
        os.close(fd)
        part = Path(name)
        try:
            yield part
            part.chmod(0o644)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

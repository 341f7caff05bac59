"""Synthetic pull requests in the shape of real ones, as an offline source of one month.

Sizes follow quantiles that were measured once; texts are drawn from invented words and names, so
that they compress like English and like diffs. What is done with them is `benchmarks.scale`'s.
"""

import datetime
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import common
from fc_assets import months

#: Of 472 pull requests of networkx, anndata, shapely and tqdm: characters of titles and bodies
#: (messages of merges; descriptions on GitHub are longer), files; of 1,399 merges into shapely:
#: characters of the diff.
_SHARES = (0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
_TITLE = (11, 25, 25, 34, 47, 59, 71, 77, 87, 112)
_BODY = (1, 1, 1, 1, 66, 178, 381, 805, 1944, 5265)
_FILES = (1, 1, 1, 1, 2, 4, 7, 10, 27, 40)
_PATCH = (150, 376, 458, 741, 2126, 5751, 15_244, 27_042, 100_076, 932_732)
#: A diff has so many characters for a file and for a changed line (least squares).
_PER_FILE, _PER_LINE = 534, 47
#: Of the 472: no file of the library, a word against it, judged to improve performance by rules.
_BESIDE, _AGAINST, _FASTER = 0.46, 0.13, 0.068
_BATCH_ROWS = 2_000
_LETTERS = np.array(list("etaoinshrdlucmfwypvbgk"))
_LICENSES = ("BSD-3-Clause", "MIT", "Apache-2.0")
#: What the body of a performance pull request begins with, so that it tells a problem.
_PROBLEM = "Currently this takes {} s for {} rows, as seen with "


class Texts:
    """Invented prose and code to cut pieces from; the same for the same seed."""

    def __init__(self, seed: int, size: int = 8_000_000) -> None:
        self._source = np.random.default_rng(seed)
        self._words = self._names(3_000, 2, 10)
        self.prose = self._prose(size // 2)
        self.code = self._code(size)

    def _names(self, count: int, least: int, most: int) -> np.ndarray:
        letters = self._source.choice(_LETTERS, (count, most))
        lengths = self._source.integers(least, most + 1, count)
        return np.array(["".join(row[:n]) for row, n in zip(letters, lengths, strict=True)])

    def _prose(self, size: int) -> str:
        """Words as often as those of a language are."""
        weights = 1 / (np.arange(len(self._words)) + 2.7)
        words = self._source.choice(self._words, size // 7, p=weights / weights.sum())
        ends = np.where(self._source.random(len(words)) < 0.08, ".\n", " ")
        return "".join(np.char.add(words, ends))

    def _code(self, size: int) -> str:
        """Lines of a diff; what is near each other is about the same few names."""
        names = self._names(6_000, 4, 18)
        shapes = np.array(
            [
                "{} = {}.{}({})",
                "if {} is not {}.{}[{}]:",
                "return {}({}, {}={})",
                "",
                "# {} {} {} {}",
            ]
        )
        lines: list[str] = []
        while len(lines) * 38 < size:
            local = self._source.choice(names, 30)
            picked = self._source.integers(0, len(local), (120, 4))
            shape = self._source.choice(shapes, 120, p=(0.42, 0.17, 0.21, 0.1, 0.1))
            mark = self._source.choice(list(" +-"), 120, p=(0.6, 0.26, 0.14))
            depth = self._source.integers(0, 4, 120)
            lines += [
                f"{m}{'    ' * d}{s.format(*local[p])}"
                for m, d, s, p in zip(mark, depth, shape, picked, strict=True)
            ]
        return "\n".join(lines)


def generate(folder: Path, month: datetime.date, first: int, pulls: int, repositories: int) -> None:
    """`pull_requests.parquet` and `repositories.parquet` of a month, whose numbers begin at one.

    Sizes, kinds and repositories are the same in every month, texts and hashes are not.
    """
    folder.mkdir(parents=True)
    texts = Texts(first)
    sizes = np.random.default_rng(7)
    shares = sizes.random((5, pulls))
    title, body, files = (
        _sizes(share, of) for share, of in zip(shares, (_TITLE, _BODY, _FILES), strict=False)
    )
    patch = np.exp(np.interp(shares[3], _SHARES, np.log(_PATCH))).astype(int)
    kind = np.searchsorted((_BESIDE, _BESIDE + _AGAINST, 1 - _FASTER), shares[4])
    # Some repositories have far more than others.
    repository = (repositories * sizes.random(pulls) ** 2).astype(int)
    start, end = months.window(month)
    merged = np.sort(sizes.random(pulls)) * (end - start).total_seconds()
    cuts = np.random.default_rng(first).random((3, pulls))
    names = [f"octo{n % 40}/library{n}" for n in range(repositories)]
    with pq.ParquetWriter(
        folder / "pull_requests.parquet", common.OFFLINE, compression="zstd"
    ) as writer:
        for begin in range(0, pulls, _BATCH_ROWS):
            rows = [
                _pull_request(
                    texts,
                    names[repository[n]],
                    first + n,
                    start + datetime.timedelta(seconds=round(merged[n])),
                    int(kind[n]),
                    (int(title[n]), int(body[n]), int(patch[n]), int(files[n])),
                    cuts[:, n],
                )
                for n in range(begin, min(begin + _BATCH_ROWS, pulls))
            ]
            writer.write_table(pa.Table.from_pylist(rows, common.OFFLINE))
    known = {"repo_name": names, "license": [_LICENSES[n % 3] for n in range(repositories)]}
    pq.write_table(pa.table(known), folder / "repositories.parquet")


def _sizes(shares: np.ndarray, quantiles: tuple[int, ...]) -> np.ndarray:
    return np.interp(shares, _SHARES, quantiles).round().astype(int)


def _pull_request(
    texts: Texts,
    repository: str,
    number: int,
    merged_at: datetime.datetime,
    kind: int,
    sizes: tuple[int, int, int, int],
    cuts: np.ndarray,
) -> dict[str, Any]:
    """`kind` is 0 beside the library, 1 with a word against it, 2 anything, 3 performance."""
    title, body, patch, files = sizes
    prefix = ("", "Update documentation of ", "", "Speed up ")[kind]
    text = cut(texts.prose, cuts[1], body)
    if kind == 3:
        text = _PROBLEM.format(number % 90 + 10, number) + cut(texts.prose, cuts[1], body + 200)
    folder = "docs" if kind == 0 else "src"
    paths = [f"{folder}/module{(number + n) % 300}.py" for n in range(files)]
    lines = max(1, (patch - _PER_FILE * files) // _PER_LINE // files)
    head = "".join(_head(path, lines) for path in paths[1:])
    diff = _head(paths[0], lines) + cut(texts.code, cuts[2], max(40, patch - len(head)))
    row = common.pull_request(
        repository, number, merged_at, prefix + cut(texts.prose, cuts[0], title), text, diff + head
    )
    table = "".join(f"| {p} | {lines * 2 // 3} | {lines // 3} | {lines} |\n" for p in paths)
    sha = hashlib.sha1(repr(number).encode()).hexdigest()
    row |= {"pr_merge_commit_sha": sha, "pr_base": {"sha": sha[::-1]}}
    row["file_change_summary"] = (
        f"| File | Lines Added | Lines Removed | Total Changes |\n|---|---|---|---|\n{table}"
    )
    return row


def _head(path: str, lines: int) -> str:
    return (
        f"\ndiff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1,{lines} +1,{lines} @@\n"
    )


def cut(text: str, share: float, size: int) -> str:
    """A piece of a text."""
    start = int(share * max(1, len(text) - size))
    return text[start : start + size]

"""Diffs of a mirror's commits: how many a second, with contents fetched first and without.

The origin is a bare repository in a folder, given or made, so that no network is measured; its
newest commits on first parents are what pull requests were merged as.

    .venv/bin/python -m benchmarks.diffs [/path/to/repository.git] [--commits 500] [--rounds 3]
"""

import argparse
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import common
from fc_resources.git import Mirror, Mirrors
from fc_resources.git_diffs import Diff

_BATCH = 100
_FILES = 400
_LINES = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path, nargs="?")
    parser.add_argument("--commits", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(common.machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        origin = given.repository or _generate(folder / "made", given.commits + 1)
        _point_github_at(origin.resolve(), folder / "gitconfig")
        _measure(folder, _merged(origin, given.commits), given.rounds)


def _measure(folder: Path, commits: Sequence[str], rounds: int) -> None:
    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        mirrors = Mirrors(folder / f"mirrors-{number}")
        seconds.setdefault("clone", []).append(
            _timed(lambda mirrors=mirrors: mirrors.mirror("own", "repo", commits))
        )
        mirror = mirrors.mirror("own", "repo", commits)
        ways = {
            f"cold, batches of {_BATCH}": _BATCH,
            f"warm, batches of {_BATCH}": _BATCH,
            "warm, one commit at a time": 1,
        }
        for way, size in ways.items():
            took = _timed(lambda mirror=mirror, size=size: _read(mirror, commits, size))
            seconds.setdefault(way, []).append(took)
        took = _timed(lambda mirror=mirror: _read_by_process(mirror, commits))
        seconds.setdefault("warm, one `git diff-tree` per commit", []).append(took)
    print(f"| {len(commits)} commits | seconds | diffs/s |")
    print("|---|---|---|")
    for way, took in seconds.items():
        rate = "" if way == "clone" else f"{len(commits) / statistics.median(took):,.0f}"
        print(f"| {way} | {common.spread(took)} | {rate} |", flush=True)


def _read(mirror: Mirror, commits: Sequence[str], size: int) -> None:
    for start in range(0, len(commits), size):
        for sha, diff in mirror.diffs(commits[start : start + size]).items():
            if not isinstance(diff, Diff):
                raise RuntimeError(f"{sha}: {diff}")


def _read_by_process(mirror: Mirror, commits: Sequence[str]) -> None:
    """The patch alone, from a process that need not look for what lacks."""
    options = ("-r", "-p", "--no-renames", "--binary", "--full-index")
    for sha in commits:
        _git(mirror.path, "diff-tree", *options, f"{sha}^1", sha)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _merged(origin: Path, count: int) -> list[str]:
    """The newest commits that have a parent, along first parents of HEAD."""
    options = ("--first-parent", "--min-parents=1", f"--max-count={count}")
    return _git(origin, "rev-list", *options, "HEAD").decode().split()


def _point_github_at(origin: Path, config: Path) -> None:
    config.write_text(
        f'[url "{origin.as_uri()}"]\n\tinsteadOf = https://github.com/own/repo.git\n'
        "[uploadpack]\n\tallowFilter = true\n[safe]\n\tdirectory = *\n"
    )
    os.environ["GIT_CONFIG_GLOBAL"] = str(config)


def _generate(path: Path, count: int) -> Path:
    """A repository of files with 300 lines, of which each commit changes three in a few lines."""
    source = random.Random(1)
    files = [[f"value_{n} = {source.random()}" for n in range(_LINES)] for _ in range(_FILES)]
    stream = []
    for number in range(count):
        message = f"change {number}"
        stream.append(f"commit refs/heads/main\ncommitter a <a@b> {1_700_000_000 + number} +0000")
        stream.append(f"data {len(message)}\n{message}")
        for changed in range(_FILES) if number == 0 else source.sample(range(_FILES), 3):
            for _ in range(5):
                files[changed][source.randrange(_LINES)] = f"value = {source.random()}"
            text = "\n".join(files[changed]) + "\n"
            stream.append(f"M 100644 inline src/part_{changed % 20}/module_{changed}.py")
            stream.append(f"data {len(text)}\n{text}")
    path.mkdir()
    _git(path, "init", "--quiet", "--bare", "--initial-branch=main")
    _git(path, "fast-import", "--quiet", stdin="\n".join(stream).encode() + b"\n")
    return path


def _git(path: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    command = ["git", "-C", str(path), *arguments]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    main()

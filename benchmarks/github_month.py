"""A month from a loopback GitHub and git: requests a pull request, wall time, peak memory.

`fc-data --stage 1 --stage 2` as a process; every request takes 50 ms. A pull request has a body of
1 to 3 KB, a real commit of five files, three events, and every thirtieth 60 of them. "Mirrors at
hand" is a second home that has the mirrors of the first and nothing else.

    .venv/bin/python -m benchmarks.github_month [--months 1000x1 1000x70 10000x1]
"""

import argparse
import datetime
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks import common
from fc_resources.ledger import Ledger
from tests.fakes import github as fake_github
from tests.fakes import github_data

_TOKEN = "ghp_benchmark"
_LATENCY_S = 0.05
_JANUARY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_MODULES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", nargs="+", default=["1000x1", "1000x70", "10000x1"])
    given = parser.parse_args()
    print(common.machine())
    print(
        "| pull requests | repositories | mirrors | requests | a pull request | seconds "
        "| CPU s | peak memory | with git |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for month in given.months:
        pulls, _, repositories = month.partition("x")
        _month(int(pulls), int(repositories))


def _month(pulls: int, repositories: int) -> None:
    with tempfile.TemporaryDirectory() as name, fake_github.GitHub((_TOKEN,)) as fake:
        folder = Path(name)
        share = pulls // repositories
        for number in range(repositories):
            count = share + (pulls - share * repositories if number == 0 else 0)
            _repository(fake, folder, f"octo/library{number}", count)
        config = folder / "gitconfig"
        config.write_text(
            f'[url "file://{folder}/hub/"]\n\tinsteadOf = https://github.com/\n'
            "[protocol]\n\tfile = allow\n[safe]\n\tdirectory = *\n"
        )
        fake.latency_s = _LATENCY_S
        first, second = folder / "a" / "home", folder / "b" / "home"
        _report(fake, folder, first, pulls, repositories, "none")
        second.mkdir(parents=True)
        shutil.move(first / "mirrors", second / "mirrors")
        _report(fake, folder, second, pulls, repositories, "at hand")
        if fake.invalid_queries:
            raise RuntimeError(fake.invalid_queries[0])


def _report(
    fake: fake_github.GitHub,
    folder: Path,
    home: Path,
    pulls: int,
    repositories: int,
    mirrors: str,
) -> None:
    fake.requests.clear()
    home.parent.mkdir(exist_ok=True)
    command = common.command(
        *("--start-date", "2026-01-01", "--end-date", "2026-02-01"),
        *("--stage", "1", "--stage", "2"),
    )
    environment = common.environment(
        folder,
        FC_HOME=str(home),
        GH_TOKENS=_TOKEN,
        FC_GITHUB_URL=fake.url,
        GIT_CONFIG_GLOBAL=str(folder / "gitconfig"),
    )
    ended = common.timed(command, home.parent, environment)
    states = Ledger(f"sqlite:///{home / 'ledger.sqlite'}").progress()
    [state] = [s for (table, _), s in states.items() if table == "pull_requests"]
    if (state.done, state.failed, state.unknown, state.state) != (pulls, 0, 0, "written"):
        raise RuntimeError(f"of {pulls} pull requests: {state}")
    cells = (
        f"{pulls:,}",
        f"{repositories}",
        mirrors,
        f"{len(fake.requests)}",
        f"{len(fake.requests) / pulls:.4f}",
        f"{ended.seconds:.1f}",
        f"{ended.cpu_seconds:.1f}",
        f"{ended.peak_mib:,.0f} MiB",
        f"{ended.largest_mib:,.0f} MiB",
    )
    print(f"| {' | '.join(cells)} |", flush=True)


def _repository(fake: fake_github.GitHub, folder: Path, name: str, pulls: int) -> None:
    """A repository with a commit for each pull request, on GitHub and in git."""
    source = random.Random(name)
    words = ["".join(source.choices("etaoinshrdlu", k=source.randint(2, 10))) for _ in range(2000)]
    path = folder / "hub" / f"{name}.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", path], check=True)
    for key in ("allowFilter", "allowAnySHA1InWant"):
        subprocess.run(["git", "-C", path, "config", f"uploadpack.{key}", "true"], check=True)
    marks = folder / "marks"
    importing = ["git", "-C", path, "fast-import", "--quiet", f"--export-marks={marks}"]
    with subprocess.Popen(importing, stdin=subprocess.PIPE) as git:
        assert git.stdin
        for line in _history(source, words, pulls):
            git.stdin.write(line.encode())
    shas = dict(line.split() for line in marks.read_text().splitlines())
    fake.repository(name, stargazerCount=900)
    fake.code.append({"repository": name, "path": "asv.conf.json", "size": 700})
    for number in range(1, pulls + 1):
        merged_at = _JANUARY + datetime.timedelta(seconds=number * 31 * 86_400 // (pulls + 1))
        count = 60 if number % 30 == 0 else 3
        fake.pull_request(
            name,
            number,
            title=" ".join(source.choices(words, k=8)),
            body=" ".join(source.choices(words, k=source.randint(150, 450))),
            createdAt=merged_at - datetime.timedelta(days=9),
            mergedAt=merged_at,
            mergeCommit=shas[f":{number + 1}"],
            files=[{"path": f"m{n}.py", "additions": 3, "deletions": 3} for n in range(5)],
            timelineItems=[
                github_data.comment(" ".join(source.choices(words, k=60))) for _ in range(count)
            ],
        )


def _history(source: random.Random, words: list[str], pulls: int) -> "list[str]":
    """A fast-import stream: a first commit of all modules, then one commit a pull request."""
    modules = [[" ".join(source.choices(words, k=7)) for _ in range(100)] for _ in range(_MODULES)]
    lines = []
    for number in range(pulls + 1):
        chosen = range(_MODULES) if number == 0 else source.sample(range(_MODULES), 5)
        lines.append(
            f"commit refs/heads/main\nmark :{number + 1}\n"
            f"committer a <a@b> {1_767_225_600 + number} +0000\ndata 1\nm\n"
        )
        for module in chosen:
            for _ in range(3):
                modules[module][source.randrange(100)] = " ".join(source.choices(words, k=7))
            text = "\n".join(modules[module]) + "\n"
            lines.append(f"M 100644 inline src/m{module}.py\ndata {len(text)}\n{text}\n")
    return lines


if __name__ == "__main__":
    main()

"""How often a coding agent is asked for each verified container, with and without neighbours.

    python -m benchmarks.cascade [--pulls 240] [--drift 6] [--luck 0.5]

A simulation: containers and agents are a rule, everything else (queue, ledger, warehouse) is what
stage 6 runs. A repository's environment drifts over two years: scripts of one era work for pull
requests of that era only, and one pull request in ten is of another. An agent finds the scripts
for a pull request with a fixed chance. Months run in a random order, as backfills do.
"""

import argparse
import datetime
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from fc_resources import settings
from tests.fc_assets.candidate_containers.village import Pull, Village, day


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pulls", type=int, default=240)
    parser.add_argument("--drift", type=int, default=6, help="Eras in two years.")
    parser.add_argument("--luck", type=float, default=0.5, help="An agent's chance of success.")
    given = parser.parse_args()
    pulls = _history(given.pulls, given.drift)
    print(
        f"{len(pulls)} pull requests in {len({p.month for p in pulls})} months, {given.drift} eras"
    )
    header = ("", "verified", "agent sessions", "for each verified", "runs of a month")
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    ways: dict[str, tuple[str, bool, Callable[[Village], int]]] = {
        "each by itself": ("0", True, _each_month),
        "scripts of neighbours known when a month runs": ("0", False, _each_month),
        "with the cascade": ("40", False, _until_settled),
    }
    for label, (cap, alone, run) in ways.items():
        with tempfile.TemporaryDirectory() as name:
            os.environ |= {"FC_HOME": str(Path(name) / "home"), "DATASMITH_NEIGHBOR_CAP": cap}
            settings.current.cache_clear()
            town = Village(pulls, agent=given.luck)
            town.alone = alone
            runs = run(town)
            verified = len(town.verified())
            each = f"{town.asked / verified:.2f}"
            print(f"| {label} | {verified} | {town.asked} | {each} | {runs} |", flush=True)


def _history(count: int, eras: int) -> list[Pull]:
    """Evenly spread over two years, in time's order of eras but for every tenth."""
    luck, start = random.Random(7), day("2024-01-01")
    step = datetime.timedelta(days=730 / count)
    return [
        Pull(
            number + 1,
            start + number * step,
            luck.randrange(eras) if luck.random() < 0.1 else number * eras // count,
        )
        for number in range(count)
    ]


def _each_month(town: Village) -> int:
    wanted = sorted({pull.month for pull in town.pulls.values()})
    random.Random(3).shuffle(wanted)
    for month in wanted:
        town.run_elsewhere(month, None)
    return len(wanted)


def _until_settled(town: Village) -> int:
    runs = _each_month(town)
    while waiting := town.ledger.neighbors():
        town.run_elsewhere(waiting[0].month, None)
        runs += 1
    return runs


if __name__ == "__main__":
    main()

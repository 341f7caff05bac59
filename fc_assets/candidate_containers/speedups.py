"""From times of two states in interleaved rounds to a verdict, by exact rank tests.

A sample is what one round says of one benchmark, because times of one process depend on each other.
How the times come about is for `measure`.
"""

import contextlib
import dataclasses
import functools
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Chance of calling any benchmark of a pull request changed when none is (Holm's correction): of
#: 1,000 pull requests that change nothing, ten are called otherwise, and with 0.05 it were fifty.
ALPHA = 0.01
#: A smaller change is not called one: two builds of one source differ by their layout alone.
MIN_CHANGE = 1.05
_MIN_ROUNDS = 6


@dataclasses.dataclass(frozen=True)
class Speedup:
    """One benchmark: base time by patched time, interval and p corrected for all benchmarks."""

    benchmark: str
    base_s: float
    patched_s: float
    ratio: float
    ci_low: float
    ci_high: float
    p: float

    @property
    def changed(self) -> bool:
        far = self.ratio >= MIN_CHANGE or self.ratio <= 1 / MIN_CHANGE
        return far and self.p < ALPHA and not self.ci_low <= 1 <= self.ci_high


def rounds_for(tests: int) -> int:
    """Rounds of each state after which a clear change of one benchmark of many can be told.

    With fewer, not even times that do not overlap at all would be significant; half of what Holm
    asks for leaves room for one round out of place.
    """
    rounds = _MIN_ROUNDS
    while 2 / math.comb(2 * rounds, rounds) > ALPHA / max(tests, 1) / 2:
        rounds += 1
    return rounds


def compare(
    base: Sequence[Mapping[str, float]], patched: Sequence[Mapping[str, float]]
) -> list[Speedup]:
    """Speed-ups of the benchmarks that all rounds of both states have a time of.

    Combinations of parameters (`name[0]`, `name[1]`) are one benchmark: their geometric mean.
    """
    before, after = _samples(base), _samples(patched)
    names = sorted(before.keys() & after.keys())
    found = {name: p_value(before[name], after[name]) for name in names}
    corrected = holm(found)
    return [
        Speedup(
            name,
            statistics.median(before[name]),
            statistics.median(after[name]),
            *interval(before[name], after[name], ALPHA / len(names)),
            corrected[name],
        )
        for name in names
    ]


def overall(
    base: Sequence[Mapping[str, float]], patched: Sequence[Mapping[str, float]]
) -> tuple[float, float, float]:
    """Geometric mean of all speed-ups and its 99 % interval, from each round's geometric mean."""
    before, after = _samples(base), _samples(patched)
    names = sorted(before.keys() & after.keys())
    sums = [
        [statistics.geometric_mean(samples[name][n] for name in names) for n in range(len(rounds))]
        for samples, rounds in ((before, base), (after, patched))
    ]
    return interval(sums[0], sums[1], ALPHA)


def _samples(rounds: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    always = set.intersection(*(set(times) for times in rounds)) if rounds else set()
    grouped: dict[str, list[str]] = {}
    for name in sorted(always):
        grouped.setdefault(name.partition("[")[0], []).append(name)
    return {
        name: [statistics.geometric_mean(times[part] for part in parts) for times in rounds]
        for name, parts in grouped.items()
    }


def p_value(before: Sequence[float], after: Sequence[float]) -> float:
    """Two-sided exact Mann-Whitney U test; ties count as half, rounded to the larger p."""
    wins = sum(a > b for a in before for b in after)
    ties = sum(a == b for a in before for b in after)
    smaller = min(wins + ties / 2, len(before) * len(after) - wins - ties / 2)
    counts = _null(len(before), len(after))
    tail = sum(counts[: math.ceil(smaller) + 1])
    return min(1.0, 2 * tail / sum(counts))


def interval(
    before: Sequence[float], after: Sequence[float], alpha: float
) -> tuple[float, float, float]:
    """Hodges and Lehmann's estimate of base by patched time, with its exact interval.

    The interval goes with the test above (Hollander, Wolfe: Nonparametric Statistical Methods,
    chapter 4.3); it is from 0 to infinity where there are too few rounds for `alpha`.
    """
    ratios = sorted(a / b for a in before for b in after)
    middle = math.exp(statistics.median(math.log(ratio) for ratio in ratios))
    counts = _null(len(before), len(after))
    total, tail, skipped = sum(counts), 0, 0
    while tail + counts[skipped] <= alpha / 2 * total:
        tail += counts[skipped]
        skipped += 1
    if skipped == 0:
        return middle, 0.0, math.inf
    return middle, ratios[skipped - 1], ratios[-skipped]


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P-values corrected for how many there are (Holm 1979)."""
    corrected, largest = {}, 0.0
    ordered = sorted(p_values.items(), key=lambda item: (item[1], item[0]))
    for position, (name, p) in enumerate(ordered):
        largest = max(largest, min(1.0, p * (len(ordered) - position)))
        corrected[name] = largest
    return corrected


@functools.cache
def _null(m: int, n: int) -> list[int]:
    """How many orders of m and n values have each U, from 0 to m * n, if there is no difference.

    The coefficients of the Gaussian binomial, (1 - q^(n+1)) ... (1 - q^(n+m)) by
    (1 - q) ... (1 - q^m).
    """
    size = m * n + 1
    counts = [1] + [0] * (size - 1)
    for step in range(1, m + 1):
        for u in range(size - 1, n + step - 1, -1):
            counts[u] -= counts[u - n - step]
        for u in range(step, size):
            counts[u] += counts[u - step]
    return counts


class UnknownError(Exception):
    """Why it cannot be told whether a solution makes the benchmarks faster."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """`faster`, `not_faster` or `unknown`, with what it rests on."""

    verdict: str
    reason: str | None = None
    speedups: Sequence[Speedup] = ()
    overall: tuple[float, float, float] | None = None
    rounds: int = 0
    seconds: float = 0.0

    @classmethod
    def of(
        cls, base: Sequence[Mapping[str, float]], patched: Sequence[Mapping[str, float]]
    ) -> "Verdict":
        """From the times of all rounds; faster is what gains more than it loses."""
        found = compare(base, patched)
        if not found:
            raise UnknownError("no benchmark gave a time in every round of both states")
        gained = math.prod(speedup.ratio for speedup in found if speedup.changed)
        verdict = "faster" if gained > 1 else "not_faster"
        return cls(verdict, None, found, overall(base, patched), len(base))

    def row(self) -> dict[str, Any]:
        """Columns of `candidate_containers`."""
        values: dict[str, Any] = {"verdict": self.verdict, "verdict_reason": self.reason}
        values["machine"] = machine()
        if not self.speedups or self.overall is None:
            return values
        changed = [speedup for speedup in self.speedups if speedup.changed]
        best = max(self.speedups, key=lambda s: (s.changed and s.ratio > 1, s.ratio))
        return values | {
            "benchmarks_run": len(self.speedups),
            "improved": sum(speedup.ratio > 1 for speedup in changed),
            "regressed": sum(speedup.ratio < 1 for speedup in changed),
            "rounds": self.rounds,
            "speedup": self.overall[0],
            "speedup_low": self.overall[1],
            "speedup_high": self.overall[2],
            "best_benchmark": best.benchmark,
            "best": best.ratio,
            "best_low": best.ci_low,
            "best_high": best.ci_high,
            "best_p": best.p,
            "speedups": [dataclasses.asdict(speedup) for speedup in self.speedups],
        }

    def evidence(self) -> str:
        if self.verdict == "unknown":
            return f"unknown: {self.reason}"
        row = self.row()
        return (
            f"{self.verdict}: {row['improved']} of {row['benchmarks_run']} benchmarks improved, "
            f"{row['regressed']} regressed, {self.rounds} rounds each in {self.seconds:.0f} s; "
            f"best {row['best_benchmark']} x{row['best']:.2f} "
            f"({row['best_low']:.2f} to {row['best_high']:.2f})"
        )


def machine() -> str:
    """The kind of processor, as Linux names it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()

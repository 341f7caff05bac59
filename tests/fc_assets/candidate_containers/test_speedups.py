"""The tests behind a verdict, against tables, brute force and simulated noise."""

import itertools
import math
import random

import pytest

from fc_assets.candidate_containers import speedups


def _brute_force(before: list[float], after: list[float]) -> float:
    everything = before + after
    count = lambda a, b: sum((x > y) + (x == y) / 2 for x in a for y in b)  # noqa: E731
    middle = len(before) * len(after) / 2
    seen = abs(count(before, after) - middle)
    orders = list(itertools.combinations(range(len(everything)), len(before)))
    extreme = 0
    for chosen in orders:
        a = [everything[i] for i in chosen]
        b = [everything[i] for i in range(len(everything)) if i not in chosen]
        extreme += abs(count(a, b) - middle) >= seen
    return extreme / len(orders)


@pytest.mark.parametrize("seed", range(8))
def test_the_test_is_exact(seed: int) -> None:
    source = random.Random(seed)
    before = [source.random() for _ in range(5)]
    after = [source.random() + 0.2 for _ in range(4)]
    assert speedups.p_value(before, after) == pytest.approx(_brute_force(before, after))


def test_known_values() -> None:
    assert speedups.p_value([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / 252)
    assert speedups.p_value([1.0] * 6, [1.0] * 6) == 1
    assert speedups.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )


def test_the_interval_has_the_true_ratio_as_often_as_it_says() -> None:
    source, inside = random.Random(1), 0
    for _ in range(400):
        before = [2 * math.exp(source.gauss(0, 0.1)) for _ in range(7)]
        after = [math.exp(source.gauss(0, 0.1)) for _ in range(7)]
        _, low, high = speedups.interval(before, after, 0.05)
        inside += low <= 2 <= high
    assert inside / 400 >= 0.93


@pytest.mark.parametrize("tests", [1, 5, 23, 50, 300])
def test_there_are_enough_rounds_for_the_number_of_tests(tests: int) -> None:
    rounds = speedups.rounds_for(tests)
    base = [{f"b{n}": 1 + r / 1000 for n in range(tests)} for r in range(rounds)]
    patched = [{**times, "b0": times["b0"] / 2} for times in base]
    found = speedups.compare(base, patched)
    assert [s.benchmark for s in found if s.changed] == ["b0"]
    assert found[0].ci_low > 1
    assert all(not s.changed for s in found[1:])


def test_noise_is_rarely_called_a_change() -> None:
    source, wrong = random.Random(3), 0
    for _ in range(100):
        noise = lambda: {f"b{n}": math.exp(source.gauss(0, 0.2)) for n in range(20)}  # noqa: E731
        rounds = speedups.rounds_for(20)
        found = speedups.compare([noise() for _ in range(rounds)], [noise() for _ in range(rounds)])
        wrong += any(s.changed for s in found)
    assert wrong <= 8


def test_parameters_are_one_benchmark_and_missing_times_are_left_out() -> None:
    base = [{"a[0]": 4.0, "a[1]": 1.0, "b": 1.0, "c": 1.0}] * 6
    patched = [{"a[0]": 1.0, "a[1]": 1.0, "b": 1.0}] * 5 + [{"a[0]": 1.0, "a[1]": 1.0}]
    [found] = speedups.compare(base, patched)
    assert (found.benchmark, found.base_s, found.ratio) == ("a", 2.0, pytest.approx(2))
    assert speedups.overall(base, patched)[0] == pytest.approx(2)


def test_too_few_rounds_tell_nothing() -> None:
    assert speedups.interval([1.0], [0.1], 0.05)[1:] == (0, math.inf)
    assert not speedups.compare([{"a": 1.0}] * 3, [{"a": 0.1}] * 3)[0].changed
    assert speedups.compare([{"a": 1.0}], [{"b": 1.0}]) == []

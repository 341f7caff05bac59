"""The pre-filter: which pull requests are worth judging, each decision with its reason."""

import pytest

from fc_assets import sample
from fc_assets.pull_requests import prefilter
from fc_assets.pull_requests.record import summary
from fc_resources.git_diffs import FileChange

_CORE = [FileChange("lib/core.py", 5, 5)]
_PATCH = "x" * 400


@pytest.mark.parametrize(
    ("path", "core"),
    [
        ("lib/core.py", True),
        ("src/ufuncs.c", True),
        ("lib/_fast.pyx", True),
        ("src/lib.rs", True),
        ("lib/tests/test_core.py", False),
        ("tests/helpers.py", False),
        ("docs/conf.py", False),
        ("benchmarks/time_core.py", False),
        ("setup.py", False),
        ("README.md", False),
        (".github/workflows/ci.yml", False),
        ("lib/data.json", False),
    ],
)
def test_core_files_are_code_of_the_library_itself(path: str, core: bool) -> None:
    assert prefilter.is_core(path) is core


@pytest.mark.parametrize(
    ("title", "body", "labels", "passes", "reason"),
    [
        ("Speed up parsing", "", [], True, "mentions 'speed'"),
        ("Rework internals", "", [], True, "mentions nothing that speaks against it"),
        ("Fix typo", "", [], False, "mentions 'typo' and nothing about performance"),
        ("Fix typo", "makes it faster", [], True, "mentions 'faster'"),
        ("Tidy", "", ["docs"], False, "mentions 'docs'"),
        ("Tidy", "", ["performance"], True, "mentions 'performance'"),
    ],
)
def test_a_positive_word_or_no_negative_one_passes(
    title: str, body: str, labels: list[str], passes: bool, reason: str
) -> None:
    found = prefilter.judge(title, body, labels, _CORE, _PATCH)
    assert found[0] is passes
    assert reason in found[1]


@pytest.mark.parametrize(
    ("files", "patch", "reason"),
    [
        ([FileChange("docs/a.md", 1, 1)], _PATCH, "no file of the library itself"),
        ([], _PATCH, "no file of the library itself"),
        (_CORE * 500, _PATCH, "500 files"),
        ([FileChange("lib/core.py", 30_000, 10_000)], _PATCH, "40000 changed lines"),
        (_CORE, "x" * 100_000, "tokens"),
        (_CORE, "x", "tokens"),
        ([FileChange("lib/core.c", None, None)], "", "tokens"),
    ],
)
def test_sizes_and_places_reject_whatever_the_words_say(
    files: list[FileChange], patch: str, reason: str
) -> None:
    passes, why = prefilter.judge("perf: faster", "", [], files, patch)
    assert not passes
    assert reason in why


def test_an_unknown_diff_is_not_held_against_it() -> None:
    assert prefilter.judge("perf: faster", "", [], _CORE, None)[0]


def test_it_keeps_the_samples_performance_and_drops_most_of_the_noise() -> None:
    labels = {row["pr_number"]: row["is_performance_commit"] for row in sample.load("labels")}
    passed = {
        row["pr_number"]: prefilter.judge(
            row["pr_title"],
            row["pr_body"],
            [label["name"] for label in row["pr_labels"]],
            summary(row["file_change_summary"]),
            None,
        )[0]
        for row in sample.load("pull_requests")
    }
    assert all(passed[number] for number, performance in labels.items() if performance)
    noise = [passed[number] for number, performance in labels.items() if not performance]
    assert sum(noise) <= 0.5 * len(noise)

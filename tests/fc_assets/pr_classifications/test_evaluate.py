"""Evaluation against labels: what is counted, and what is not taken for a mistake."""

from pathlib import Path
from typing import Any

import pytest

from fc_assets import evaluate as evaluation
from fc_assets.pr_classifications import evaluate
from fc_assets.pr_classifications.evaluate import Label
from fc_resources.errors import UsageError
from fc_resources.ledger import Bill, Usage


def _pull(number: int, passes: bool = True) -> dict[str, Any]:
    key = {"owner": "O", "repo": "r", "issue_number": number}
    return key | {"passes_prefilter": passes, "prefilter_reason": "mentions 'docs'"}


def _verdict(number: int, says: bool, category: str | None = None) -> dict[str, Any]:
    given = {"is_performance": says, "category": category, "reasoning": f"reason {number}"}
    return _pull(number) | given | {"classifier": "rules/1"}


def _report() -> evaluate.Report:
    labels = [
        Label("o/r#1", True, "cache_and_reuse"),  # found, same category
        Label("o/r#2", True, "cache_and_reuse"),  # found, another category
        Label("o/r#3", True, ""),  # missed by the classifier
        Label("o/r#4", True, ""),  # dropped by the pre-filter
        Label("o/r#5", False, ""),  # found, wrongly
        Label("o/r#6", False, ""),  # right
        Label("o/r#7", False, ""),  # dropped, right, and judged before it was
        Label("o/r#8", True, ""),  # a model was down
        Label("o/r#9", True, ""),  # never scraped
    ]
    pulls = [_pull(n, passes=n not in (4, 7)) for n in range(1, 9)]
    verdicts = [
        *(_verdict(1, True, "cache_and_reuse"), _verdict(2, True, "micro_optimizations")),
        *(_verdict(3, False), _verdict(5, True, "uncategorized"), _verdict(6, False)),
        _verdict(7, True),
    ]
    return evaluate.evaluate(labels, pulls, verdicts)


def test_counts_and_shares() -> None:
    report = _report()
    assert (report.positives, report.negatives) == (5, 3)
    assert (report.unknown, report.unjudged) == (1, 1)
    assert report.prefilter_recall == 4 / 5  # what is not judged yet has passed
    assert report.prefilter_dropped == 1 / 3
    assert report.precision == 2 / 3
    assert report.recall == 2 / 4
    assert report.f1 == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert (report.same_category, report.of_category) == (
        {"cache_and_reuse": 1},
        {"cache_and_reuse": 2},
    )


def test_what_was_misjudged_has_its_reason() -> None:
    assert _report().misjudged == [
        ("o/r#3", True, "reason 3"),
        ("o/r#4", True, "pre-filter: mentions 'docs'"),
        ("o/r#5", False, "reason 5"),
    ]


def test_nothing_judged_has_no_shares() -> None:
    report = evaluate.evaluate([Label("o/r#1", True, "")], [], [])
    assert (report.f1, report.precision, report.prefilter_recall) == (None, None, None)
    assert list(evaluation.shown(report, []))


def test_labels_are_read_once_each_and_by_name(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "\ufeffpr_number,repo_name,is_performance_commit,category\n1,O/r,True,x\n1,o/R, true ,\n"
    )
    assert evaluate.read_labels(path) == [Label("o/r#1", True, "")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no labels"),
        ("repo_name,pr_number\no/r,1\n", "line 2: no is_performance_commit"),
        ("repo_name,pr_number,is_performance_commit\no/r,1,maybe\n", "line 2: .* True or False"),
        ("repo_name,pr_number,is_performance_commit\no/r,1.0,True\n", "pr_number is no number"),
        (
            "repo_name,pr_number,is_performance_commit\no/r,1,True\nO/r,1,False\n",
            "line 3: o/r#1 is labelled otherwise above",
        ),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_other_files_are_refused_on_one_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError, match=says) as caught:
        evaluate.read_labels(path)
    assert "\n" not in str(caught.value)


def test_a_cost_without_a_price_says_so() -> None:
    known = Bill("s", "m", 1, 2, 0, Usage(10, 0, 5, 0.25, 1.0))
    other = Bill("s", "n", 1, 1, 1, Usage(10, 0, 5, None, 1.0))
    assert evaluation.cost([known]) == "$0.2500 for 2 answers, 15 tokens"
    assert evaluation.cost([known, other]).endswith("1 answers without a known price")

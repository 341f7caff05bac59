"""The embedded classifier: written rules over title, labels, body and diff, and marked as such.

It stands in where no language model is configured.
"""

import dataclasses
import functools
import importlib.resources
import re
import tomllib
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer on one pull request; category, its reasoning and difficulty for performance."""

    is_performance: bool
    confidence: float
    reasoning: str
    category: str | None = None
    difficulty: str | None = None
    category_reasoning: str | None = None


@functools.cache
def _table() -> dict[str, list[dict[str, Any]]]:
    """`rules.toml` with its patterns compiled."""
    text = importlib.resources.files("fc_assets.pr_classifications").joinpath("rules.toml")
    table = tomllib.loads(text.read_text("utf-8"))
    for entry in (*table["rule"], *table["category"]):
        entry["pattern"] = re.compile(entry["pattern"], re.IGNORECASE)
    return table


_THRESHOLD = 1.0
_EASY_LINES, _MEDIUM_LINES = 50, 500


def classify(title: str, body: str, labels: Sequence[str], core_lines: int) -> Verdict:
    """Judge a pull request; `core_lines` are the changed lines of the library's own files."""
    places = {"title": [title], "labels": list(labels), "body": [body]}
    found = [
        (rule["weight"], rule["says"])
        for rule in _table()["rule"]
        if any(rule["pattern"].search(text) for text in places[rule["in"]])
    ]
    score = sum(weight for weight, _ in found)
    reasoning = "; ".join(f"{says} ({weight:+.1f})" for weight, says in found) or "no evidence"
    confidence = round(min(0.95, 0.5 + abs(score - _THRESHOLD + 0.05) / 3), 2)
    if score < _THRESHOLD:
        return Verdict(False, confidence, reasoning)
    return Verdict(True, confidence, reasoning, _category(title, body), _difficulty(core_lines))


def _category(title: str, body: str) -> str:
    for text in (title, body):
        for category in _table()["category"]:
            if category["pattern"].search(text):
                return category["name"]
    return "uncategorized"


def _difficulty(core_lines: int) -> str:
    if core_lines < _EASY_LINES:
        return "easy"
    return "medium" if core_lines < _MEDIUM_LINES else "hard"

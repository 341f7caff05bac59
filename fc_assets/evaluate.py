"""`fc-data evaluate`: how the judging stages do, as text for a person; nothing is asked or run."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rich.box
import rich.table
import rich.text

from fc_assets.candidate_prs import evaluate as statements
from fc_assets.pr_classifications import evaluate
from fc_assets.tables import CANDIDATE_PRS, PR_CLASSIFICATIONS, PULL_REQUESTS, Table
from fc_assets.texts import printable
from fc_resources.errors import UsageError
from fc_resources.ledger import Bill
from fc_resources.warehouse import Warehouse

_PULL_REQUESTS = ["owner", "repo", "issue_number", "passes_prefilter", "prefilter_reason"]
_VERDICTS = ["owner", "repo", "issue_number", "is_performance", "category", "reasoning"]


def classify(labels: Path, warehouse: Warehouse) -> evaluate.Report:
    """Labels against all that the warehouse has; `UsageError` for a stage that never ran."""
    wanted = evaluate.read_labels(labels)
    return evaluate.evaluate(
        wanted,
        rows(warehouse, PULL_REQUESTS, _PULL_REQUESTS),
        rows(warehouse, PR_CLASSIFICATIONS, [*_VERDICTS, "classifier"]),
    )


def extract(warehouse: Warehouse, bills: Sequence[Bill]) -> list[str]:
    """Statements that the warehouse has, as lines; `UsageError` if stage 5 never ran."""
    report = statements.evaluate(rows(warehouse, CANDIDATE_PRS, statements.COLUMNS))
    models = {name.partition(";")[0] for name in report.extractors}
    asked = [b for b in bills if b.stage == CANDIDATE_PRS.name and b.model in models]
    return [*report.lines(), f"cost of all answers of theirs: {cost(asked)}"]


def rows(warehouse: Warehouse, table: Table, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """All rows of a table, streamed."""
    months: dict[datetime.date, int] = warehouse.tables().get(table.name, {})
    if not months:
        raise UsageError(f"{table.name} is empty; run stage {table.stage} first")
    for batch in warehouse.read(table.name, list(months), columns):
        yield from batch.to_pylist()


def shown(report: evaluate.Report, bills: Sequence[Bill]) -> Iterator[rich.table.Table]:
    """The report as tables: figures, categories, what was misjudged."""
    judged = report.positives + report.negatives - report.unjudged
    models = {name.partition(";")[0] for name in report.classifiers}
    asked = [b for b in bills if b.stage == PR_CLASSIFICATIONS.name and b.model in models]
    figures = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_header=False)
    lines = {
        "labelled": f"{judged + report.unjudged} ({report.positives} performance)",
        "not in the warehouse": str(report.unknown),
        "passed and not judged yet": str(report.unjudged),
        "pre-filter: recall": _percent(report.prefilter_recall),
        "pre-filter: others dropped": _percent(report.prefilter_dropped),
        "classifier": ", ".join(sorted(report.classifiers)) or "-",
        "precision": _percent(report.precision),
        "recall, with the pre-filter": _percent(report.recall),
        "F1": "-" if report.f1 is None else f"{report.f1:.3f}",
        "cost of all answers of it": cost(asked),
    }
    for name, value in lines.items():
        figures.add_row(name, value)
    yield figures
    if report.of_category:
        categories = rich.table.Table("category by hand", "of", "same", box=rich.box.SIMPLE_HEAD)
        for name, count in sorted(report.of_category.items()):
            categories.add_row(name, str(count), str(report.same_category[name]))
        of, same = sum(report.of_category.values()), sum(report.same_category.values())
        categories.add_row("all", str(of), str(same))
        yield categories
    if report.misjudged:
        misjudged = rich.table.Table("misjudged", "by hand", "why", box=rich.box.SIMPLE_HEAD)
        for key, label, why in sorted(report.misjudged):
            by_hand = "performance" if label else "other"
            reason = printable(" ".join(why.split()))
            misjudged.add_row(rich.text.Text(key), by_hand, rich.text.Text(reason))
        yield misjudged


def cost(bills: Sequence[Bill]) -> str:
    """What models took, in a line."""
    if not bills:
        return "nothing: no model was asked"
    tokens = sum(b.usage.input_tokens + b.usage.output_tokens for b in bills)
    dollars = sum(b.usage.dollars or 0.0 for b in bills)
    unpriced = sum(b.unpriced for b in bills)
    lacking = f", {unpriced} answers without a known price" if unpriced else ""
    return f"${dollars:.4f} for {sum(b.answers for b in bills)} answers, {tokens} tokens{lacking}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"

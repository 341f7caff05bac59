"""What a call of `fc-data` did, as a table for a person; counted from the ledger."""

import dataclasses
import datetime
from collections.abc import Sequence

import rich.box
import rich.table

from fc_assets.tables import STAGES
from fc_resources.ledger import Ledger


@dataclasses.dataclass
class Report:
    """What happened to one stage: months asked for, months run, and why some were not written."""

    stage: int
    asked: list[datetime.date]
    ran: list[datetime.date] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def summary(
    reports: Sequence[Report], ledger: Ledger, wanted: Sequence[datetime.date]
) -> rich.table.Table:
    """Per stage: items, done now, skipped as done before, failed, unknown, seconds."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for column in ("items", "done", "skipped", "failed", "unknown", "seconds"):
        table.add_column(column, justify="right")
    states = ledger.progress()
    for report in reports:
        name = STAGES[report.stage].name
        ran = [s for m in report.ran if (s := states.get((name, m))) is not None]
        rest = [m for m in wanted if m not in report.ran]
        before = sum(s.total for m in rest if (s := states.get((name, m))) is not None)
        counts = [
            sum(s.total for s in ran) + before,
            sum(s.done for s in ran),
            sum(s.skipped for s in ran) + before,
            sum(s.failed for s in ran),
            sum(s.unknown for s in ran),
        ]
        seconds = f"{sum(s.seconds for s in ran):.1f}"
        table.add_row(f"{report.stage} {name}", *map(str, counts), seconds)
    return table

"""The `pr_classifications` asset: a verdict on every pull request that passed the pre-filter."""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from fc_assets import materialize, months, work
from fc_assets.options import Options
from fc_assets.pr_classifications import rules
from fc_assets.pull_requests import prefilter
from fc_assets.tables import PR_CLASSIFICATIONS
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows

#: What a verdict rests on; the patch itself is not among it and is never loaded here.
_COLUMNS = [
    "partition_month",
    "owner",
    "repo",
    "issue_number",
    "title",
    "body",
    "labels",
    "files",
    "merged_at",
    "merge_commit_sha",
    "passes_prefilter",
]


@dg.asset(
    partitions_def=materialize.MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={"pull_requests": dg.AssetIn(metadata={"columns": _COLUMNS})},
    group_name="judgement",
    owners=[materialize.OWNER],
    kinds={"python"},
    description=PR_CLASSIFICATIONS.doc,
    metadata=materialize.metadata(PR_CLASSIFICATIONS),
)
def pr_classifications(
    context: dg.AssetExecutionContext,
    pull_requests: pa.RecordBatchReader,
    runner: dg.ResourceParam[work.Work],
    settings: dg.ResourceParam[Settings],
    options: dg.ResourceParam[Options],
) -> Rows:
    outcome = materialize.run(
        context,
        runner,
        options,
        PR_CLASSIFICATIONS,
        items(months.split(pull_requests, materialize.wanted(context))),
        judge,
        settings=settings,
    )
    return outcome.rows[PR_CLASSIFICATIONS.name]


def items(
    pull_requests: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
) -> Iterator[tuple[datetime.date, list[work.Item[Mapping[str, Any]]]]]:
    """Pull requests that passed the pre-filter."""
    for month, rows in pull_requests:
        yield (
            month,
            [
                work.Item(work.key_of(row), row, work.digest(row, rules.CLASSIFIER))
                for row in rows
                if row["passes_prefilter"]
            ],
        )


def judge(row: Mapping[str, Any]) -> work.Answer:
    """The verdict of the rules on a row of `pull_requests`."""
    core_lines = sum(
        (f["additions"] or 0) + (f["deletions"] or 0)
        for f in row["files"]
        if prefilter.is_core(f["path"])
    )
    verdict = rules.classify(row["title"], row["body"], row["labels"], core_lines)
    copied = ("owner", "repo", "issue_number", "merged_at", "merge_commit_sha")
    return work.Answer(
        [{name: row[name] for name in copied} | vars(verdict) | {"classifier": rules.CLASSIFIER}]
    )

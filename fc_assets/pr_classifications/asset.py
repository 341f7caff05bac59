"""The `pr_classifications` asset: a verdict on every pull request that passed the pre-filter."""

import datetime
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from fc_assets import fingerprint, materialize, months, work
from fc_assets.options import Options
from fc_assets.pr_classifications import classifier, rules
from fc_assets.pull_requests import prefilter
from fc_assets.tables import PR_CLASSIFICATIONS
from fc_resources.llm import Llm
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows

#: What a verdict rests on.
_COLUMNS = [
    "partition_month",
    "owner",
    "repo",
    "issue_number",
    "title",
    "body",
    "labels",
    "files",
    "patch",
    "merged_at",
    "merge_commit_sha",
    "passes_prefilter",
]


@dg.asset(
    partitions_def=materialize.MONTHS,
    pool="llm",
    code_version=fingerprint.of("pr_classifications").version,
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
    llm: dg.ResourceParam[Llm],
    options: dg.ResourceParam[Options],
) -> Rows:
    by = classifier(llm.name if llm else None)
    judge = functools.partial(judged, by=by, llm=llm, fresh=options.force)
    outcome = materialize.run(
        context,
        runner,
        options,
        PR_CLASSIFICATIONS,
        items(months.split(pull_requests, materialize.wanted(context)), by),
        judge,
        settings=settings,
    )
    return outcome.rows[PR_CLASSIFICATIONS.name]


def items(
    pull_requests: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]], by: str
) -> Iterator[tuple[datetime.date, list[work.Item[Mapping[str, Any]]]]]:
    """Pull requests that passed the pre-filter."""
    for month, rows in pull_requests:
        yield (
            month,
            [
                work.Item(work.key_of(row), row, work.digest(row, by))
                for row in rows
                if row["passes_prefilter"]
            ],
        )


def judged(row: Mapping[str, Any], by: str, llm: Llm, *, fresh: bool) -> work.Answer:
    """The verdict on a row of `pull_requests`: the model's if there is one, else the rules'."""
    if llm:
        from fc_assets.pr_classifications import model  # DSPy takes a second to import

        verdict = model.classify(row, llm, work.key_of(row), fresh=fresh)
    else:
        verdict = by_rules(row)
    copied = ("owner", "repo", "issue_number", "merged_at", "merge_commit_sha")
    return work.Answer([{name: row[name] for name in copied} | vars(verdict) | {"classifier": by}])


def by_rules(row: Mapping[str, Any]) -> rules.Verdict:
    core_lines = sum(
        (f["additions"] or 0) + (f["deletions"] or 0)
        for f in row["files"]
        if prefilter.is_core(f["path"])
    )
    return rules.classify(row["title"], row["body"], row["labels"], core_lines)

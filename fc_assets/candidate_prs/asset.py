"""The `candidate_prs` asset: the problem statement of every performance pull request."""

import datetime
import functools
import importlib.resources
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import jinja2
import pyarrow as pa

from fc_assets import materialize, months, work
from fc_assets.candidate_prs import issues, rules
from fc_assets.options import Options
from fc_assets.tables import CANDIDATE_PRS
from fc_resources.github import GitHub
from fc_resources.settings import Settings
from fc_resources.warehouse import Rows

_CLASSIFIED = ["partition_month", "owner", "repo", "issue_number", "is_performance"]
_TEXT = [
    *_CLASSIFIED[:-1],
    "title",
    "body",
    "patch",
    "merged_at",
    "merge_commit_sha",
]


@dg.asset(
    partitions_def=materialize.MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    ins={
        "pr_classifications": dg.AssetIn(metadata={"columns": _CLASSIFIED}),
        "pull_requests": dg.AssetIn(metadata={"columns": _TEXT}),
    },
    group_name="judgement",
    owners=[materialize.OWNER],
    kinds={"python"},
    description=CANDIDATE_PRS.doc,
    metadata=materialize.metadata(CANDIDATE_PRS),
)
def candidate_prs(
    context: dg.AssetExecutionContext,
    pr_classifications: pa.RecordBatchReader,
    pull_requests: pa.RecordBatchReader,
    runner: dg.ResourceParam[work.Work],
    settings: dg.ResourceParam[Settings],
    github: dg.ResourceParam[GitHub],
    options: dg.ResourceParam[Options],
) -> Rows:
    wanted = materialize.wanted(context)
    find = functools.partial(
        issues.find, offline=issues.offline(options.source(settings)), github=github
    )
    outcome = materialize.run(
        context,
        runner,
        options,
        CANDIDATE_PRS,
        items(months.split(pr_classifications, wanted), months.split(pull_requests, wanted), find),
        functools.partial(state, template=template()),
        settings=settings,
    )
    return outcome.rows[CANDIDATE_PRS.name]


def items(
    classified: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    pull_requests: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    find: Callable[[Sequence[Mapping[str, Any]]], Sequence[issues.Linked]],
) -> Iterator[tuple[datetime.date, list[work.Item[Mapping[str, Any]]]]]:
    """Performance pull requests, each with the issues it refers to."""
    for (month, verdicts), (_, rows) in zip(classified, pull_requests, strict=True):
        performance = {work.key_of(row) for row in verdicts if row["is_performance"]}
        wanted = [row for row in rows if work.key_of(row) in performance]
        found = []
        for row, linked in zip(wanted, find(wanted), strict=True):
            value = {**row, "issues": linked.issues, "unknown": linked.unknown}
            found.append(work.Item(work.key_of(row), value, work.digest(value, rules.EXTRACTOR)))
        yield month, found


def template() -> jinja2.Template:
    """The template of the rendered statement."""
    text = (
        importlib.resources.files("fc_assets.candidate_prs")
        .joinpath("statement.md.jinja")
        .read_text("utf-8")
    )
    # Markdown, not HTML; the values are text of others and are never parsed as templates.
    return jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined).from_string(text)


def state(row: Mapping[str, Any], template: jinja2.Template) -> work.Answer:
    """The problem side rendered, or the reason why there is none."""
    found = rules.extract(row["issues"], row["body"], row["merged_at"])
    statement, leaks, reason = None, [], "no linked issue from before the merge"
    if found.observations is not None:
        statement = template.render(repo=row["repo"], observations=found.observations)
        leaks = rules.leaked_identifiers(statement, row["patch"])
        reason = f"names only the solution has: {', '.join(leaks)}" if leaks else None
    copied = ("owner", "repo", "issue_number", "merged_at", "merge_commit_sha")
    return work.Answer(
        [
            {name: row[name] for name in copied}
            | {
                "linked_issues": found.used,
                "observations": found.observations,
                "solution": found.solution,
                "statement": statement,
                "leak_suspected": bool(leaks),
                "reason": reason,
                "extractor": rules.EXTRACTOR,
            }
        ],
        unknown=row["unknown"],
    )

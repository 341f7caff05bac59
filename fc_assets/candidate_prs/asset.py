"""The `candidate_prs` asset: the problem statement of every performance pull request."""

import datetime
import functools
import importlib.resources
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import jinja2
import pyarrow as pa

from fc_assets import materialize, months, work
from fc_assets.candidate_prs import links, rules
from fc_assets.options import Options
from fc_assets.tables import CANDIDATE_PRS
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
Issues = Mapping[tuple[str, int], Mapping[str, Any]]


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
    options: dg.ResourceParam[Options],
) -> Rows:
    source = options.source(settings)
    issues = {(i["repo_name"].lower(), i["issue_number"]): i for i in source.issues()}
    wanted = materialize.wanted(context)
    outcome = materialize.run(
        context,
        runner,
        options,
        CANDIDATE_PRS,
        items(
            months.split(pr_classifications, wanted), months.split(pull_requests, wanted), issues
        ),
        functools.partial(state, template=template()),
        settings=settings,
    )
    return outcome.rows[CANDIDATE_PRS.name]


def items(
    classified: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    pull_requests: Iterable[tuple[datetime.date, Sequence[Mapping[str, Any]]]],
    issues: Issues,
) -> Iterator[tuple[datetime.date, list[work.Item[Mapping[str, Any]]]]]:
    """Performance pull requests, each with the issues it refers to."""
    for (month, verdicts), (_, rows) in zip(classified, pull_requests, strict=True):
        performance = {work.key_of(row) for row in verdicts if row["is_performance"]}
        found = []
        for row in rows:
            if work.key_of(row) in performance:
                value = {**row, "issues": linked(row, issues)}
                found.append(
                    work.Item(work.key_of(row), value, work.digest(value, rules.EXTRACTOR))
                )
        yield month, found


def linked(row: Mapping[str, Any], issues: Issues) -> list[Mapping[str, Any]]:
    """Issues that title and body refer to; a pull request is none, itself least of all."""
    name = f"{row['owner']}/{row['repo']}".lower()
    numbers = links.references(f"{row['title']}\n{row['body']}", row["owner"], row["repo"])
    return [
        issues[name, number]
        for number in numbers
        if number != row["issue_number"] and (name, number) in issues
    ]


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
        ]
    )

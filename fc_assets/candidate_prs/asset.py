"""The `candidate_prs` asset: the problem statement of every performance pull request."""

import datetime
import functools
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from fc_assets import fingerprint, materialize, months, plan, work
from fc_assets.candidate_prs import candidates, issues, rules, statement
from fc_assets.candidate_prs.sides import Extractor
from fc_assets.options import Options
from fc_assets.tables import CANDIDATE_PRS
from fc_resources.errors import FcError
from fc_resources.github import GitHub
from fc_resources.llm import Llm
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
    "events",
]


@dg.asset(
    partitions_def=materialize.MONTHS,
    pool="llm",
    code_version=fingerprint.of("candidate_prs").version,
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
    llm: dg.ResourceParam[Llm],
    options: dg.ResourceParam[Options],
) -> Rows:
    wanted = materialize.wanted(context)
    extractor = extractor_of(llm, fresh=options.force)
    offline = issues.offline(options.source(settings))
    anew = materialize.anew(context, runner, options, CANDIDATE_PRS, settings)
    found = candidates.items(
        months.split(pr_classifications, wanted),
        months.split(pull_requests, wanted),
        lambda rows, pulls, stored: issues.find(rows, offline, github, pulls, stored),
        lambda month: known(runner, month, force=month in anew),
        extractor.name,
        origins(offline, options, settings),
    )
    outcome = materialize.run(
        context,
        runner,
        options,
        CANDIDATE_PRS,
        found,
        functools.partial(candidates.state, extractor=extractor, template=statement.template()),
        settings=settings,
    )
    return outcome.rows[CANDIDATE_PRS.name]


def origins(offline: issues.Issues, options: Options, settings: Settings) -> dict[str, str]:
    """Where issues come from, and what the offline source has of them."""
    return {
        "issues": work.digest([offline[key] for key in sorted(offline)]),
        "github": plan.parameters(CANDIDATE_PRS.stage, options, settings)["github"],
    }


def extractor_of(llm: Llm, *, fresh: bool = False) -> Extractor:
    """The model if one is configured, asked again if `fresh`; else the rules."""
    if not llm:
        return rules.Rules()
    from fc_assets.candidate_prs import model  # DSPy takes a second to import

    return model.Model(llm, fresh=fresh)


def known(
    runner: work.Work, month: datetime.date, *, force: bool = False
) -> dict[str, Mapping[str, Any]]:
    """Rows that a month has, by key; with `force` nothing that is known counts."""
    if force:
        return {}
    try:
        return {work.key_of(row): row for row in runner.rows(CANDIDATE_PRS, month)}
    except FcError:  # lost, or of another version: computed again
        return {}
